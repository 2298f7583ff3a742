"""Metrics, intervals, Sharpe ratios and conformal prediction: pure statistics of outcomes and predictions."""
