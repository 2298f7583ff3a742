"""Buy, Hold or Sell over the next week, by trees and networks on daily indicators."""

from trademl_pipeline.studies.spec import StudySpec, WalkForwardConfig
from trademl_pipeline.training.estimators import EstimatorSpec, TrainingPreset
from trademl_pipeline.training.study import TrainingConfig
from trademl_pipeline.training.tuning import Choice, Range

TREES = {"small": TrainingPreset(max_rows=60_000, trials=2), "base": TrainingPreset(trials=20)}
# A signal as faint as the market's is learned from many different rows, not from the same ones again: the small preset
# sees each row once, in a small network.
BASE = TrainingPreset("base", epochs=30, max_rows=200_000)
LEARNING = {"batch_size": 256, "learning_rate": 2e-3, "patience": 5, "schedule": "cosine"}
ONCE = {"batch_size": 64, "learning_rate": 4e-3}

DIRECTION = StudySpec(
    name="direction",
    title="Buy/Hold/Sell over the next 5 sessions",
    feature_set="indicators",
    target="direction",
    universe="TIER_1",
    window=60,
    folds=WalkForwardConfig(min_train=252, window=None, embargo=5, refit="quarter"),
    training=TrainingConfig(
        task="direction",
        ensemble="weighted",
        estimators=(
            EstimatorSpec(
                "lightgbm",
                "lightgbm",
                TREES,
                settings={
                    "class_weights": "none",
                    "max_rounds": 100,
                    "num_leaves": 7,
                    "min_leaf": 400,
                    "feature_share": 0.5,
                },
                demean_within=(),
                space={
                    "num_leaves": Choice((4, 7, 15)),
                    "min_leaf": Range(200, 800, log=True),
                    "feature_share": Range(0.3, 0.7),
                },
            ),
            EstimatorSpec(
                "xgboost",
                "xgboost",
                {"small": TrainingPreset(max_rows=60_000), "base": TrainingPreset(trials=20)},
                settings={
                    "class_weights": "none",
                    "max_rounds": 100,
                    "max_depth": 3,
                    "min_child_weight": 100.0,
                },
                demean_within=(),
                space={"max_depth": Choice((2, 3, 4)), "min_child_weight": Range(20.0, 400.0, log=True)},
            ),
            EstimatorSpec("linear", "linear", {"small": TrainingPreset(), "base": TrainingPreset()}),
            EstimatorSpec(
                "lstm_attention",
                "lstm_attention",
                {"small": TrainingPreset("small_16", epochs=1, max_rows=6_000, training=ONCE), "base": BASE},
                training=LEARNING,
            ),
            EstimatorSpec(
                "transformer",
                "transformer",
                {"small": TrainingPreset("small_32", epochs=1, max_rows=20_000, training=ONCE), "base": BASE},
                training=LEARNING,
            ),
        ),
    ),
)
