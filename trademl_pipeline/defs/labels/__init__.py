"""Stage labels."""
