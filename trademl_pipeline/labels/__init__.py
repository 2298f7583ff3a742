"""Targets; each value carries the interval of sessions whose prices it reads."""
