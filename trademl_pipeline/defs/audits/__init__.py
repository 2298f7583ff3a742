"""Audits of what is published."""
