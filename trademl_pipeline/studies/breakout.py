"""Which class of breakout follows a consolidation, by Mamba and attention on its pattern observations."""

from trademl_pipeline.portfolio.long_short import LongShortConfig
from trademl_pipeline.studies.spec import StudySpec, WalkForwardConfig
from trademl_pipeline.training.estimators import EstimatorSpec, TrainingPreset
from trademl_pipeline.training.networks.schedule import Augmentation
from trademl_pipeline.training.study import TrainingConfig

ROWS = {"small": TrainingPreset(max_rows=20_000), "base": TrainingPreset()}

BREAKOUT = StudySpec(
    name="breakout",
    title="Class of the breakout after a consolidation, K0 to K5",
    feature_set="breakout",
    target="breakout",
    universe="ALL",
    window=50,
    decisions="pattern_observations",
    portfolio=LongShortConfig(holding=20),
    folds=WalkForwardConfig(min_train=252, window=None, embargo=5),
    training=TrainingConfig(
        task="breakout",
        calibrate=True,
        ensemble="mean",
        estimators=(
            EstimatorSpec(
                "mamba_attention",
                "mamba_attention",
                {
                    "small": TrainingPreset(
                        "small", epochs=4, max_rows=6_000, training={"patience": 0, "keep": "last"}
                    ),
                    "base": TrainingPreset("base", epochs=30, max_rows=200_000),
                },
                training={
                    "batch_size": 128,
                    "learning_rate": 1e-3,
                    "patience": 5,
                    "monitor": "both",
                    "augmentation": Augmentation(noise=0.1),
                },
            ),
            # A pattern shows what it shows over weeks: the trees that vote also see means of the window.
            EstimatorSpec(
                "window_trees",
                "lightgbm",
                ROWS,
                settings={
                    "class_weights": "none",
                    "max_rounds": 100,
                    "num_leaves": 15,
                    "min_leaf": 20,
                    "feature_share": 0.3,
                },
                rolling_mean_windows=(10, 25, 50),
            ),
            EstimatorSpec("lightgbm", "lightgbm", ROWS, settings={"class_weights": "none"}, benchmark=True),
            EstimatorSpec(
                "xgboost",
                "xgboost",
                ROWS,
                settings={"class_weights": "none", "max_depth": 4},
                benchmark=True,
            ),
        ),
    ),
)
