"""Stage patterns."""
