"""Stage reports."""
