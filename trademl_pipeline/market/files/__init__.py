"""Bars from files: which columns, formats and calendars they are of."""
