"""Fitting: ledger, metrics, losses and loops."""
