"""How far to trust technical patterns over the next week, by a shared LSTM backbone."""

from trademl_pipeline.market.symbols import MAG7
from trademl_pipeline.studies.spec import StudySpec, WalkForwardConfig
from trademl_pipeline.training.cross_validation import GappedSplits
from trademl_pipeline.training.estimators import EstimatorSpec, TrainingPreset
from trademl_pipeline.training.study import TrainingConfig

PATTERN_CONFIDENCE = StudySpec(
    name="pattern_confidence",
    title="Confidence in technical patterns over the next 5 sessions",
    feature_set="pattern",
    target="pattern",
    universe="PATTERN_34",
    window=20,
    train_stride=5,
    folds=WalkForwardConfig(min_train=252, window=None, embargo=5),
    training=TrainingConfig(
        task="pattern",
        ensemble="weighted",
        fine_tune=MAG7,
        cross_validate=GappedSplits(
            splits=3, gap=5, presets={"small": TrainingPreset("base", epochs=3, max_rows=2_000)}
        ),
        estimators=(
            EstimatorSpec(
                "lstm_backbone",
                "lstm_backbone",
                {
                    # The last epoch: validation rows are free to judge the base learners, and few years are enough for
                    # them.
                    "small": TrainingPreset(
                        "base",
                        epochs=12,
                        max_rows=6_000,
                        training={"patience": 0, "schedule": "cosine", "keep": "last"},
                    ),
                    "base": TrainingPreset("base", epochs=80, max_rows=None),
                },
                training={
                    "batch_size": 128,
                    "learning_rate": 2e-3,
                    "patience": 8,
                    "schedule": "plateau",
                },
            ),
            EstimatorSpec(
                "lightgbm",
                "lightgbm",
                {"small": TrainingPreset(), "base": TrainingPreset()},
                settings={
                    "early_stopping": 0,
                    "max_rounds": 100,
                    "num_leaves": 15,
                    "min_leaf": 100,
                    "feature_share": 0.5,
                    "row_share": 0.7,
                },
                rolling_mean_windows=(5, 10, 20),
                # Whether a move goes on or turns is told by the market for all that moved the same way.
                demean_within=("return_7",),
            ),
        ),
    ),
)
