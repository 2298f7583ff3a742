"""Stage models."""
