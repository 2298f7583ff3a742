"""What a study's summary says for the comparison of studies."""

from typing import Any

import polars as pl

from trademl_pipeline.reports.evaluation import Evaluation
from trademl_pipeline.reports.verdict import looks


def compared(e: Evaluation) -> dict[str, Any]:
    """The figures that studies of different kinds have in common, as plain values.

    Returns:
        accuracy (a score with `name` and baselines, or None), rank_ic (a score or None), looks (name -> score or
        None: what the verdict rests on), cost (train_seconds in all and parameters of the largest fold, where
        the folds say so).
    """
    accuracy = e.task.accuracy or e.directional_accuracy
    return {
        "accuracy": accuracy.to_dict() if accuracy else None,
        "rank_ic": e.rank_ic.to_dict() if e.rank_ic else None,
        "looks": {name: score.to_dict() if score else None for name, score in looks(e).items()},
        "cost": {
            "train_seconds": _over(e.folds, "train_seconds", "sum"),
            "parameters": _over(e.folds, "parameters", "max"),
        },
    }


def _over(folds: pl.DataFrame, column: str, how: str) -> float | None:
    known = folds[column].drop_nulls() if column in folds.columns else pl.Series([])
    if known.is_empty():
        return None
    return float(known.sum() if how == "sum" else known.max())  # pyright: ignore[reportArgumentType]
