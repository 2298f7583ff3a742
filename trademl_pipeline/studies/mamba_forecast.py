"""Return and volatility over 1 and 30 sessions, by a Mamba forecaster."""

from trademl_pipeline.studies.base_learners import RETURN_TREES
from trademl_pipeline.studies.spec import StudySpec, WalkForwardConfig
from trademl_pipeline.training.estimators import EstimatorSpec, TrainingPreset
from trademl_pipeline.training.networks.schedule import Augmentation
from trademl_pipeline.training.study import TrainingConfig

MAMBA_FORECAST = StudySpec(
    name="mamba_forecast",
    title="Return and volatility over 1 and 30 sessions",
    feature_set="forecast",
    target="forecast",
    universe="TIER_1",
    window=60,
    evaluation_horizon=1,
    folds=WalkForwardConfig(min_train=252, window=None, embargo=5, refit="quarter"),
    training=TrainingConfig(
        task="forecast",
        ensemble="horizon",
        estimators=(
            EstimatorSpec(
                "mamba_forecast",
                "mamba_forecast",
                {
                    "small": TrainingPreset(
                        "small_32",
                        epochs=1,
                        max_rows=20_000,
                        training={"batch_size": 64, "learning_rate": 6e-3},
                    ),
                    "base": TrainingPreset("base_128", epochs=50, max_rows=400_000),
                },
                training={
                    "batch_size": 256,
                    "learning_rate": 1e-3,
                    "patience": 5,
                    "monitor": "directional_accuracy",
                    "augmentation": Augmentation(noise=0.01, warp=0.2),
                },
            ),
            EstimatorSpec("linear", "linear", {"small": TrainingPreset(), "base": TrainingPreset()}),
            RETURN_TREES,
        ),
    ),
)
