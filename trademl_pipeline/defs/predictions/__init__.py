"""Stage predictions."""
