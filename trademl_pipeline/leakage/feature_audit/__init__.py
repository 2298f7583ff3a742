"""The audit of functions from bars to features: truncation, perturbation, adjustment, incremental."""
