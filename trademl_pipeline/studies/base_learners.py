"""Estimators that several studies have alike."""

from trademl_pipeline.training.estimators import EstimatorSpec, TrainingPreset

# Shallow trees of many rows, learned apart from the market: what returns of single symbols can bear.
RETURN_TREES = EstimatorSpec(
    "lightgbm",
    "lightgbm",
    {"small": TrainingPreset(max_rows=100_000), "base": TrainingPreset()},
    settings={
        "early_stopping": 0,
        "max_rounds": 80,
        "num_leaves": 7,
        "min_leaf": 400,
        "feature_share": 0.5,
        "row_share": 0.7,
    },
    demean_within=(),
)
