"""Class probabilities judged: accuracy, Brier score, calibration and confusion of every set of classes."""

from dataclasses import dataclass

import numpy as np
import polars as pl

from trademl_pipeline.evaluation import metrics
from trademl_pipeline.evaluation.metrics import Bootstrap, Score
from trademl_pipeline.tasks.report_spec import ClassView


@dataclass(frozen=True)
class ClassScores:
    """How the probabilities of one set of classes did.

    Attributes:
        view: the classes.
        n: rows whose class is known.
        accuracy, brier, calibration: see `evaluation.metrics`.
        reliability: see `metrics.reliability`; series are the columns of `view.all_columns` and "top".
        confusion: (came, called) counts.
    """

    view: ClassView
    n: int
    accuracy: Score
    brier: Score
    calibration: Score
    reliability: pl.DataFrame
    confusion: np.ndarray


def class_scores(rows: pl.DataFrame, view: ClassView, bootstrap: Bootstrap) -> ClassScores | None:
    """Judge the probabilities of one set of classes; None where no class is known.

    Args:
        rows: session, the view's columns and target.
        view: the classes.
        bootstrap: how to draw the intervals.
    """
    known = view.with_classes(rows)
    if known.is_empty():
        return None
    columns, target = view.all_columns, view.target
    size = len(columns)
    called = known.select(columns).to_numpy().argmax(axis=1)
    outcome = known[target].cast(pl.Int64).to_numpy()
    return ClassScores(
        view,
        known.height,
        metrics.class_accuracy(known, bootstrap, probabilities=columns, target=target),
        metrics.brier(known, bootstrap, probabilities=columns, target=target),
        metrics.expected_calibration_error(known, bootstrap, probabilities=columns, target=target),
        metrics.reliability(known, probabilities=columns, target=target),
        np.bincount(outcome * size + called, minlength=size * size).reshape(size, size),
    )
