"""Probes of what is not a feature: clocks, folds, fits, universes, networks, trades."""
