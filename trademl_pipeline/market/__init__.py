"""Bars schema, exchange calendars, sources, quality checks and the market simulator."""
