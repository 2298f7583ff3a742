"""Which of two models earned more trust on the same decisions, row by row."""

import numpy as np
import polars as pl

from trademl_pipeline.registry.promotion import CHALLENGER, CHAMPION
from trademl_pipeline.training.tasks import TASKS

_LEAST = 1e-6
# What each task is compared by, for the record.
METRICS = {"class": "log likelihood", "value": "score times outcome"}


def row_scores(task: str, values: np.ndarray, outcomes: pl.DataFrame, context: pl.DataFrame) -> np.ndarray:
    """A score of each prediction, higher is better.

    Classes: log likelihood of the class that came. Values: the rank of the score among the session's, centred, times
    the sign of what came, so that no model gains by larger numbers.

    Args:
        task: key of `TASKS`.
        values: (rows, columns of the task), as `FittedStudy.combine` gives them.
        outcomes: session, forward_return and for classes target, aligned with `values`.
        context: features that the task's `publish` reads, aligned.
    """
    kind = TASKS[task]
    if kind.kind == "class":
        came = outcomes["target"].cast(pl.Int64).to_numpy()
        return np.log(np.maximum(values[np.arange(len(came)), came], _LEAST))
    ranked = outcomes.select("session", "forward_return").with_columns(
        score=kind.publish(values, context)["score"]
    )
    share = (pl.col("score").rank("average") / (pl.len() + 1)).over("session") - 0.5
    return ranked.select(share * pl.col("forward_return").sign()).to_series().to_numpy()


def paired(sessions: pl.Series, champion: np.ndarray, challenger: np.ndarray) -> pl.DataFrame:
    """The frame that `tracking.decide` takes."""
    return pl.DataFrame({"session": sessions, CHAMPION: champion, CHALLENGER: challenger})
