"""Six tasks at once by xLSTM and Transformer, and by two simpler forms of it, on the same folds."""

from trademl_pipeline.studies.base_learners import RETURN_TREES
from trademl_pipeline.studies.spec import StudySpec, WalkForwardConfig
from trademl_pipeline.training.estimators import EstimatorSpec, TrainingPreset
from trademl_pipeline.training.networks.schedule import Phase
from trademl_pipeline.training.selection import SelectionPlan
from trademl_pipeline.training.study import TrainingConfig

# Returns and direction first, then the tasks that build on them.
CURRICULUM = (
    Phase(1, {"price": 0.6, "direction": 0.4}),
    Phase(1, {"price": 0.4, "direction": 0.25, "position": 0.2, "volatility": 0.15}),
    Phase(
        1,
        {
            "price": 0.30,
            "direction": 0.20,
            "position": 0.20,
            "volatility": 0.15,
            "risk": 0.10,
            "confidence": 0.05,
        },
    ),
)
LEARNING = {"batch_size": 256, "learning_rate": 2e-3, "patience": 0, "curriculum": CURRICULUM}


def _form(name: str, small: str, base: str) -> EstimatorSpec:
    presets = {
        "small": TrainingPreset(
            small,
            epochs=3,
            max_rows=4_000,
            training={"batch_size": 64, "learning_rate": 4e-3, "keep": "last"},
        ),
        "base": TrainingPreset(base, epochs=30, max_rows=200_000),
    }
    return EstimatorSpec(name, "hybrid", presets, training=LEARNING)


HYBRID = StudySpec(
    name="hybrid",
    title="Returns over 1, 4 and 24 bars, direction, position, volatility and risk at once",
    feature_set="indicators",
    target="hybrid",
    universe="TIER_1",
    window=60,
    folds=WalkForwardConfig(min_train=252, window=None, embargo=5, refit="quarter"),
    training=TrainingConfig(
        task="hybrid",
        ensemble="weighted",
        select=SelectionPlan(),
        estimators=(
            # Benchmarked beside each other, and forecast together: what one of them learns by luck the others do not.
            _form("efficient", "small", "efficient"),
            _form("single", "small_single", "single"),
            _form("task_ensemble", "small_ensemble", "ensemble"),
            RETURN_TREES,
        ),
    ),
)
