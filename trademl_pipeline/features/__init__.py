"""Causal features: pure functions from bars to values keyed by (symbol, session)."""
