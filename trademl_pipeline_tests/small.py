"""Studies cut down to what a test needs."""

from dataclasses import replace

from trademl_pipeline.studies import DIRECTION, FoldPlan, StudySpec
from trademl_pipeline.training.members import Effort, MemberSpec


def small_direction(min_train: int = 120, rounds: int = 15) -> StudySpec:
    """The direction study with a few trees alone."""
    trees = MemberSpec(
        "lightgbm",
        "lightgbm",
        {"small": Effort()},
        settings={"max_rounds": rounds, "early_stopping": 5},
        lags=(0, 1),
    )
    return replace(
        DIRECTION,
        folds=FoldPlan(min_train=min_train, embargo=5),
        validation_sessions=21,
        sizes=("small",),
        fit=replace(DIRECTION.fit, members=(trees,), ensemble="first"),
    )


def quarterly_direction() -> StudySpec:
    """Trees and a network with attention, trained once a quarter."""
    study = small_direction(min_train=40)
    network = MemberSpec(
        "lstm_attention",
        "lstm_attention",
        {"small": Effort("small", epochs=1, max_rows=64)},
        training={"batch_size": 64},
    )
    return replace(
        study,
        folds=replace(study.folds, refit="quarter"),
        fit=replace(study.fit, members=(*study.fit.members, network)),
    )
