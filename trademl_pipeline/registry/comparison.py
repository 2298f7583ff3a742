"""Which of two models earned more trust on the same decisions, row by row."""

import numpy as np
import polars as pl

from trademl_pipeline.registry.promotion import CHALLENGER, CHAMPION
from trademl_pipeline.tasks.registry import TASKS


def row_scores(task: str, values: np.ndarray, outcomes: pl.DataFrame, context: pl.DataFrame) -> np.ndarray:
    """Score each prediction by what its task declares as its `comparison`; higher is better.

    Args:
        task: key of `TASKS`.
        values: (rows, columns of the task), as `FittedStudy.combine` gives them.
        outcomes: session, forward_return and the task's labels, aligned with `values`.
        context: features that the task's `to_predictions` reads, aligned.

    Returns:
        (rows,).
    """
    declared_task = TASKS[task]
    return declared_task.comparison.scores(declared_task, values, outcomes, context)


def paired(sessions: pl.Series, champion: np.ndarray, challenger: np.ndarray) -> pl.DataFrame:
    """The frame that `promotion.decide` takes."""
    return pl.DataFrame({"session": sessions, CHAMPION: champion, CHALLENGER: challenger})
