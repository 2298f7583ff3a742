"""Point-in-time trading-model pipeline with a blocking, mutation-tested leakage gate."""
