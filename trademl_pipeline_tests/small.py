"""Studies cut down to what a test needs."""

from dataclasses import replace

from trademl_pipeline.studies import DIRECTION, STUDIES, StudySpec, WalkForwardConfig
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


def _small_estimator(spec: EstimatorSpec) -> EstimatorSpec:
    """Return an estimator of one epoch, or of a few trees that split what little there is."""
    if spec.is_network:
        preset = replace(spec.presets["small"], epochs=1, max_rows=96)
        return replace(spec, presets={"small": preset}, training={**spec.training, "batch_size": 32})
    settings = {**spec.settings, "max_rounds": 8, "min_leaf": 5, "min_rows": 20}
    return replace(spec, presets={"small": TrainingPreset()}, settings=settings, space={})


def small_study(study: StudySpec) -> StudySpec:
    """Return a study with its task, ensemble and calibration, one network, trees, and short folds.

    Args:
        study: as it is declared.
    """
    network = next(spec for spec in study.training.base_learners if spec.is_network)
    trees = next(spec for spec in study.training.base_learners if spec.kind == "lightgbm")
    order = sorted((network, trees), key=study.training.estimators.index)
    # Patterns come on few sessions, and their outcomes take a hundred of the exchange's.
    sparse = study.decisions == "pattern_observations"
    training = replace(
        study.training, estimators=tuple(_small_estimator(spec) for spec in order), cross_validate=None
    )
    return replace(
        study,
        folds=WalkForwardConfig(min_train=40, embargo=0 if sparse else 5),
        train_stride=1,
        validation_sessions=10 if sparse else 39,
        presets=("small",),
        training=training,
    )


def small_studies() -> dict[str, StudySpec]:
    """Return all five studies, each as `small_study` makes it."""
    return {name: small_study(study) for name, study in STUDIES.items()}
