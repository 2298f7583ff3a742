"""Weights of an ensemble and its calibration."""
