"""Keys of one fold: decisions and labels joined, purged and embargoed."""

import zlib
from datetime import date

import polars as pl

from trademl_pipeline.folds.walk_forward import Fold, WalkForward
from trademl_pipeline.market.calendar import month_sessions, offset, offset_sessions

KEY = ["symbol", "session"]


def decisions(symbols: pl.Series, month: str, calendar: str) -> pl.DataFrame:
    """The decisions that a fold of that month may have to take: each symbol at each session, no label yet."""
    sessions = pl.DataFrame({"session": month_sessions(month, calendar)}, schema={"session": pl.Date})
    return symbols.unique().sort().to_frame("symbol").join(sessions, how="cross")


def last_matured_session(last: date, horizon: int, calendar: str) -> date:
    """The last session whose label, `horizon` sessions long, is decided by `last` whatever the outcome."""
    return offset(last, -horizon, calendar)


def reach(horizon: int, calendar: str) -> pl.Expr:
    """label_end, but not before `horizon` sessions after the decision."""
    whole = pl.col("session").map_batches(
        lambda days: offset_sessions(days, horizon, calendar), return_dtype=pl.Date
    )
    return pl.max_horizontal("label_end", whole).alias("label_end")


def training_rows(
    sequences: pl.DataFrame,
    labels: pl.DataFrame,
    plan: WalkForward,
    fold: Fold,
    *,
    stride: int = 1,
    horizon: int = 0,
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Purged and embargoed training keys of a fold, and the decisions it must not touch.

    Args:
        sequences: symbol, session, n_valid, knowledge_time of months before the fold's.
        labels: rows of the label table of months before the fold's.
        plan: the walk-forward plan the fold comes from.
        fold: the fold.
        stride: keep every so many-th session of a symbol; symbols start on different ones, so that every session
            trains on some of them.
        horizon: sessions after which every label is decided. A first-passage label may be decided sooner by some
            outcomes than by others, and the quick ones would seem too frequent among recent rows; every label is
            therefore taken to reach as far as the longest.

    Returns:
        (train, test): symbol, session, n_valid, the label's columns, knowledge_time, sorted by key; the test side has
        no labels. A row's knowledge_time is the later of its inputs' and its label's.

    Raises:
        FoldError: no training row is left.
    """
    label_columns = [c for c in labels.columns if c not in (*KEY, "knowledge_time", "horizon", "last_price")]
    decided = sequences.sort(KEY)
    if stride > 1:
        shift = {name: zlib.crc32(name.encode()) % stride for name in decided["symbol"].unique()}
        age = pl.int_range(pl.len()).over("symbol")
        decided = decided.filter((age + pl.col("symbol").replace_strict(shift)) % stride == 0)
    known = decided.select(*KEY, "n_valid", pl.col("knowledge_time").alias("input_time")).join(
        labels.select(*KEY, *label_columns, pl.col("knowledge_time").alias("label_time")), on=KEY, how="inner"
    )
    joined = (
        known.with_columns(pl.max_horizontal("input_time", "label_time").alias("knowledge_time"))
        .filter(pl.col("session") < fold.test_start)
        .with_columns(reach(horizon, plan.calendar))
        .drop("input_time", "label_time")
    )
    future = decisions(sequences["symbol"], fold.month, plan.calendar)
    train, test = plan.split(pl.concat([joined, future], how="diagonal_relaxed"), fold)
    return train, test
