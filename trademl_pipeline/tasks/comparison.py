"""Scores that a challenger is compared with the champion by: two of a row, one of which fits every task so far."""

import numpy as np
import polars as pl

from trademl_pipeline.tasks.protocol import Comparison, Task

MIN_PROBABILITY = 1e-6


def log_likelihood(
    task: Task, values: np.ndarray, outcomes: pl.DataFrame, context: pl.DataFrame
) -> np.ndarray:
    """Return the log of the probability that was given to the class that came, (rows,).

    Args:
        task: of both models; it has a class label.
        values: probabilities of the classes, (rows, columns of the task).
        outcomes: the task's labels, aligned with `values`.
        context: not read; every score of a `Comparison` is called with it.

    Raises:
        ValueError: the task has no class label.
    """
    if task.class_label is None:
        raise ValueError(f"task {task.name} has no class_label, whose likelihood could be compared")
    outcome = outcomes[task.class_label].cast(pl.Int64).to_numpy()
    return np.log(np.maximum(values[np.arange(len(outcome)), outcome], MIN_PROBABILITY))


def score_times_outcome(
    task: Task, values: np.ndarray, outcomes: pl.DataFrame, context: pl.DataFrame
) -> np.ndarray:
    """Return the rank of the score among the session's, centred, times the sign of what came, (rows,).

    Larger numbers gain nothing: only the rank of a score and the sign of an outcome count.

    Args:
        task: of both models; its predictions have a `score`.
        values: predictions, (rows, columns of the task).
        outcomes: session and forward_return, aligned with `values`.
        context: as for `Task.to_predictions`, aligned with `values`.
    """
    ranked = outcomes.select("session", "forward_return").with_columns(
        score=task.to_predictions(values, context)["score"]
    )
    share = (pl.col("score").rank("average") / (pl.len() + 1)).over("session") - 0.5
    return ranked.select(share * pl.col("forward_return").sign()).to_series().to_numpy()


LOG_LIKELIHOOD = Comparison("log likelihood", log_likelihood)
SCORE_TIMES_OUTCOME = Comparison("score times outcome", score_times_outcome)
