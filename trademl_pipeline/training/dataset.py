"""Rows of one fold: windows, features and labels joined by key, as trees take them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from trademl_pipeline.folds.walk_forward import Fold, WalkForward
from trademl_pipeline.market.calendar import month_sessions
from trademl_pipeline.sequences.index import flat

KEY = ["symbol", "session"]


class DatasetError(ValueError):
    """Tables that should fit together do not; the message names the table and what to materialize."""


@dataclass(frozen=True)
class Rows:
    """Inputs of a model with the keys they belong to.

    Attributes:
        keys: symbol, session and what came with them, one row per row of `x`.
        x: (rows, features) float64, NaN where a value is missing.
        names: (features,) column names, `<feature>` for lag 0 and `<feature>@<lag>` for earlier ones.
    """

    keys: pl.DataFrame
    x: np.ndarray
    names: tuple[str, ...]


def flat_rows(
    keys: pl.DataFrame, features: pl.DataFrame, feature_names: Sequence[str], lags: Sequence[int]
) -> Rows:
    """The features of each decision's session and of earlier ones side by side.

    Args:
        keys: symbol, session, n_valid and anything else, one row per decision.
        features: sorted feature rows that hold every decision's session and its lags.
        feature_names: columns to take, in order.
        lags: sessions back, 0 being the decision's own.

    Raises:
        DatasetError: a decision has no feature row.
    """
    index = features.select(KEY).with_row_index("row").with_columns(pl.col("row").cast(pl.Int64))
    found = keys.join(index, on=KEY, how="left", maintain_order="left")
    lost = found.filter(pl.col("row").is_null())
    if lost.height:
        first = lost.row(0, named=True)
        raise DatasetError(
            f"{lost.height} of {keys.height} decisions have no feature row, e.g. {first['symbol']} "
            f"{first['session']}; materialize the features of {first['session']:%Y-%m} again, then the windows"
        )
    matrix = features.select(pl.col(list(feature_names)).cast(pl.Float64).fill_null(float("nan"))).to_numpy()
    names = tuple(name if lag == 0 else f"{name}@{lag}" for lag in lags for name in feature_names)
    row, n_valid = found["row"].to_numpy(), found["n_valid"].to_numpy()
    return Rows(found.drop("row"), flat(matrix, row, tuple(lags), n_valid), names)


def decisions(symbols: pl.Series, month: str) -> pl.DataFrame:
    """The decisions that a fold of that month may have to take: each symbol at each session, no label yet."""
    sessions = pl.DataFrame({"session": month_sessions(month)}, schema={"session": pl.Date})
    return symbols.unique().sort().to_frame("symbol").join(sessions, how="cross")


def training_rows(
    sequences: pl.DataFrame, labels: pl.DataFrame, plan: WalkForward, fold: Fold
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Purged and embargoed training keys of a fold, and the decisions it must not touch.

    Args:
        sequences: symbol, session, n_valid, knowledge_time of months before the fold's.
        labels: symbol, session, label_end, target of months before the fold's.
        plan: the walk-forward plan the fold comes from.
        fold: the fold.

    Returns:
        (train, test): symbol, session, n_valid, label_start, label_end, target, knowledge_time, sorted by key; the
        test side has no labels. A row's knowledge_time is the later of its inputs' and its label's.

    Raises:
        FoldError: no training row is left.
    """
    known = sequences.select(*KEY, "n_valid", pl.col("knowledge_time").alias("input_time")).join(
        labels.select(
            *KEY, "label_start", "label_end", "target", pl.col("knowledge_time").alias("label_time")
        ),
        on=KEY,
        how="inner",
    )
    joined = (
        known.with_columns(
            pl.max_horizontal("input_time", "label_time").alias("knowledge_time"),
        )
        .filter(pl.col("session") < fold.test_start)
        .drop("input_time", "label_time")
    )
    future = decisions(sequences["symbol"], fold.month)
    train, test = plan.split(pl.concat([joined, future], how="diagonal_relaxed"), fold)
    return train, test
