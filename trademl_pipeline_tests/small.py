"""Studies cut down to what a test needs."""

from dataclasses import replace

from trademl_pipeline.studies import DIRECTION, StudySpec, WalkForwardConfig
from trademl_pipeline.training.estimators import EstimatorSpec, TrainingPreset


def small_direction(min_train: int = 120, rounds: int = 15) -> StudySpec:
    """The direction study with a few trees alone."""
    trees = EstimatorSpec(
        "lightgbm",
        "lightgbm",
        {"small": TrainingPreset()},
        settings={"max_rounds": rounds, "early_stopping": 5},
        lags=(0, 1),
    )
    return replace(
        DIRECTION,
        folds=WalkForwardConfig(min_train=min_train, embargo=5),
        validation_sessions=21,
        presets=("small",),
        training=replace(DIRECTION.training, estimators=(trees,), ensemble="first"),
    )


def quarterly_direction() -> StudySpec:
    """Trees and a network with attention, trained once a quarter."""
    study = small_direction(min_train=40)
    network = EstimatorSpec(
        "lstm_attention",
        "lstm_attention",
        {"small": TrainingPreset("small", epochs=1, max_rows=64)},
        training={"batch_size": 64},
    )
    return replace(
        study,
        folds=replace(study.folds, refit="quarter"),
        training=replace(study.training, estimators=(*study.training.estimators, network)),
    )
