"""Validation reports in Markdown and HTML."""
