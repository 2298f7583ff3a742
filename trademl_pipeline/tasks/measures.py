"""Measures that several tasks have alike: of ranks, of direction and of classes."""

from collections.abc import Callable

import polars as pl

from trademl_pipeline.evaluation import metrics
from trademl_pipeline.evaluation.scores import Score
from trademl_pipeline.tasks.report_spec import ClassView, Measure, Measuring


def ranking(rows: pl.DataFrame, how: Measuring) -> Score | None:
    """Mean daily rank IC of the score."""
    daily = metrics.rank_ic_by_session(rows, min_symbols=how.min_symbols)
    return None if daily.is_empty() else metrics.rank_ic(daily, how.bootstrap)


def direction(rows: pl.DataFrame, how: Measuring) -> Score | None:
    """Directional accuracy of the score's sign."""
    if not has_calls(rows):
        return None
    return metrics.directional_accuracy(rows, how.bootstrap)


def has_calls(rows: pl.DataFrame) -> bool:
    """Return whether any row has both a call and a direction."""
    return not rows.filter((pl.col("score") != 0) & (pl.col("forward_return") != 0)).is_empty()


def class_score(view: ClassView, figure: Callable) -> Callable[[pl.DataFrame, Measuring], Score | None]:
    """Make a measure out of a figure of class probabilities, such as `metrics.brier`; None where no class is known."""

    def of(rows: pl.DataFrame, how: Measuring) -> Score | None:
        known = view.with_classes(rows)
        if known.is_empty():
            return None
        return figure(known, how.bootstrap, probabilities=view.all_columns, target=view.target)

    return of


RANK_IC = Measure("rank IC", "signed", ranking)
DIRECTION = Measure("directional accuracy", "percent", direction, by_symbol=True)


CLASS_ACCURACY, BRIER = "class accuracy", "Brier score"
AT_THE_TOP = frozenset({RANK_IC.name, DIRECTION.name, CLASS_ACCURACY, BRIER})
"""Names of the measures that every report shows among its figures of merit, whatever its task."""


def class_measures(view: ClassView) -> tuple[Measure, Measure]:
    """Accuracy and Brier score of the only set of classes that a task has."""
    return (
        Measure(CLASS_ACCURACY, "percent", class_score(view, metrics.class_accuracy)),
        Measure(BRIER, "number", class_score(view, metrics.brier), "low"),
    )
