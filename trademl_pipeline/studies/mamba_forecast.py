"""Return and volatility over 1 and 30 sessions, by a Mamba forecaster."""

from trademl_pipeline.studies.spec import FoldPlan, StudySpec
from trademl_pipeline.studies.voters import RETURN_TREES
from trademl_pipeline.training.members import Effort, MemberSpec
from trademl_pipeline.training.networks.schedule import Augmentation
from trademl_pipeline.training.study import FitPlan

MAMBA_FORECAST = StudySpec(
    name="mamba_forecast",
    title="Return and volatility over 1 and 30 sessions",
    feature_set="forecast",
    target="forecast",
    universe="TIER_1",
    window=60,
    judged_over=1,
    folds=FoldPlan(min_train=252, window=None, embargo=5, refit="quarter"),
    fit=FitPlan(
        task="forecast",
        ensemble="horizon",
        members=(
            MemberSpec(
                "mamba_forecast",
                "mamba_forecast",
                {
                    "small": Effort(
                        "slim",
                        epochs=1,
                        max_rows=20_000,
                        training={"batch_size": 64, "learning_rate": 6e-3},
                    ),
                    "base": Effort("new", epochs=50, max_rows=400_000),
                },
                training={
                    "batch_size": 256,
                    "learning_rate": 1e-3,
                    "patience": 5,
                    "monitor": "directional_accuracy",
                    "augmentation": Augmentation(noise=0.01, warp=0.2),
                },
            ),
            MemberSpec("linear", "linear", {"small": Effort(), "base": Effort()}),
            RETURN_TREES,
        ),
    ),
)
