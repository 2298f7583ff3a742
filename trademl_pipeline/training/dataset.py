"""Keys of one fold: decisions and labels joined, purged and embargoed."""

import zlib

import polars as pl

from trademl_pipeline.folds.walk_forward import Fold, WalkForward
from trademl_pipeline.market.calendar import month_sessions

KEY = ["symbol", "session"]


def decisions(symbols: pl.Series, month: str) -> pl.DataFrame:
    """The decisions that a fold of that month may have to take: each symbol at each session, no label yet."""
    sessions = pl.DataFrame({"session": month_sessions(month)}, schema={"session": pl.Date})
    return symbols.unique().sort().to_frame("symbol").join(sessions, how="cross")


def training_rows(
    sequences: pl.DataFrame, labels: pl.DataFrame, plan: WalkForward, fold: Fold, *, stride: int = 1
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Purged and embargoed training keys of a fold, and the decisions it must not touch.

    Args:
        sequences: symbol, session, n_valid, knowledge_time of months before the fold's.
        labels: rows of the label table of months before the fold's.
        plan: the walk-forward plan the fold comes from.
        fold: the fold.
        stride: keep every so many-th session of a symbol; symbols start on different ones, so that every session
            trains on some of them.

    Returns:
        (train, test): symbol, session, n_valid, the label's columns, knowledge_time, sorted by key; the test side has
        no labels. A row's knowledge_time is the later of its inputs' and its label's.

    Raises:
        FoldError: no training row is left.
    """
    own = [c for c in labels.columns if c not in (*KEY, "knowledge_time", "horizon", "last_price")]
    decided = sequences.sort(KEY)
    if stride > 1:
        shift = {name: zlib.crc32(name.encode()) % stride for name in decided["symbol"].unique()}
        age = pl.int_range(pl.len()).over("symbol")
        decided = decided.filter((age + pl.col("symbol").replace_strict(shift)) % stride == 0)
    known = decided.select(*KEY, "n_valid", pl.col("knowledge_time").alias("input_time")).join(
        labels.select(*KEY, *own, pl.col("knowledge_time").alias("label_time")), on=KEY, how="inner"
    )
    joined = (
        known.with_columns(pl.max_horizontal("input_time", "label_time").alias("knowledge_time"))
        .filter(pl.col("session") < fold.test_start)
        .drop("input_time", "label_time")
    )
    future = decisions(sequences["symbol"], fold.month)
    train, test = plan.split(pl.concat([joined, future], how="diagonal_relaxed"), fold)
    return train, test
