"""Inner folds: several validation windows inside a fold's training rows, for tuning and stacking.

Each is an ``inner_split`` of the rows known before its validation window ends, so each is purged and
embargoed as the outer fold is, and none trains on what comes after its validation rows.
"""

from dataclasses import dataclass

import numpy as np
import polars as pl

from trademl_pipeline.training.inner_split import FitError, inner_split


@dataclass(frozen=True)
class InnerFold:
    """Positions of rows in the keys that were split; ``number`` 0 is the earliest."""

    number: int
    train: np.ndarray
    validation: np.ndarray


def inner_folds(keys: pl.DataFrame, *, folds: int, validation_sessions: int, embargo: int) -> list[InnerFold]:
    """Return the last ``folds`` stretches of sessions, each with the rows before it to train on.

    Args:
        keys: symbol, session, label_end.
        folds: how many, at least 1.
        validation_sessions: sessions of each validation stretch.
        embargo: sessions left empty before each.

    Returns:
        Folds in time order. Validation stretches do not overlap.

    Raises:
        FitError: the history is too short for the earliest fold.
    """
    if folds < 1:
        raise ValueError(f"folds must be at least 1, got {folds}")
    sessions = keys["session"].unique().sort()
    splits = []
    for number in range(folds):
        end = len(sessions) - (folds - 1 - number) * validation_sessions
        if end <= validation_sessions:
            raise FitError(
                f"{len(sessions)} training sessions are too few for {folds} inner folds of "
                f"{validation_sessions} sessions; ask for fewer or shorter ones"
            )
        known = np.flatnonzero((keys["session"] <= sessions[end - 1]).to_numpy())
        split = inner_split(keys[known], validation_sessions=validation_sessions, embargo=embargo)
        splits.append(InnerFold(number, known[split.train], known[split.validation]))
    return splits
