"""Stage sequences."""
