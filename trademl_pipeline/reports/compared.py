"""A study's summary for the comparison of studies."""

from typing import Any

from trademl_pipeline.reports.evaluation import Evaluation
from trademl_pipeline.reports.judging import primary_tests


def compared(e: Evaluation) -> dict[str, Any]:
    """The figures that studies of different kinds have in common, as plain values.

    Returns:
        accuracy (a score with `name` and baselines, or None), rank_ic (a score or None), looks (name -> score or
        None: what the verdict rests on), cost (train_seconds in all and parameters of the largest fold, where
        that is known).
    """
    accuracy = e.task.accuracy or e.directional_accuracy
    return {
        "accuracy": accuracy.to_dict() if accuracy else None,
        "rank_ic": e.rank_ic.to_dict() if e.rank_ic else None,
        "looks": {name: score.to_dict() if score else None for name, score in primary_tests(e).items()},
        "cost": dict(e.cost),
    }
