"""One month of a target as it is published: the labels that became known in it.

A month is always computed alone from the bars that its labels may read, so that a month published by a
backfill over years and the same month published on its own are the same rows.
"""

from datetime import date

import polars as pl

from trademl_pipeline.labels.horizon import KEY
from trademl_pipeline.labels.target import Target
from trademl_pipeline.market.calendar import DEFAULT_CALENDAR, month_bounds, sessions_before

ELSEWHERE = "labels_without_a_bar"


def bars_start(target: Target, month: str, calendar: str = DEFAULT_CALENDAR) -> date:
    """First session whose bars the labels that end in a month may read."""
    return sessions_before(month, target.lookback + target.horizon, calendar)


def label_month(bars: pl.DataFrame, target: Target, month: str) -> pl.DataFrame:
    """Labels whose interval ends in the month, with the moment they became known.

    Args:
        bars: raw bars from `bars_start` to the end of the month, with knowledge_time.
        target: the target.
        month: partition key, `YYYY-MM-01`.

    Returns:
        The columns of the target's table, sorted by key. A label is known when the last bar is that it may have
        read: of its symbol up to label_end, and of any symbol on label_end, since that a name did *not* trade there
        is known with the others' bars.
    """
    labels = target.compute(bars, None).filter(pl.col("label_end").is_between(*month_bounds(month)))
    market = bars.group_by(pl.col("session").alias("label_end")).agg(
        pl.col("knowledge_time").max().alias("_market")
    )
    symbol_clock = bars.sort("session").select(
        "symbol",
        pl.col("session").alias("_read"),
        pl.col("knowledge_time").cum_max().over("symbol").alias("_own"),
    )
    return (
        labels.join(market, on="label_end", how="left")
        .sort("label_end")
        .join_asof(symbol_clock, left_on="label_end", right_on="_read", by="symbol", check_sortedness=False)
        .with_columns(
            pl.lit(target.horizon).cast(pl.Int16).alias("horizon"),
            pl.max_horizontal("_market", "_own").alias("knowledge_time"),
        )
        .select(list(target.table.columns))
        .sort(KEY)
    )


def by_known_session(labels: pl.DataFrame, target: Target, rows: pl.DataFrame) -> pl.DataFrame:
    """The labels keyed by the session at which they became known, as a probe of look-ahead wants them.

    A label belongs to its label_end: it may read every session up to that one, and none after. Several labels of one
    symbol may end on the same session; their row then holds, for each value, a sum with weights that no two sets of
    labels share (cosines of whole numbers are linearly independent over the rationals), so that a change of any of
    them moves it. A single label's row holds its values as they are. Labels that end where their symbol has no bar
    are summed up in the row of the first symbol that has one.

    Args:
        labels: from `label_month`.
        target: the target.
        rows: symbol, session of the bars to hold the labels.

    Returns:
        symbol, session, the values as Float64 and `labels_without_a_bar`; one row for each of `rows`, null where no
        label ends.
    """
    rows = rows.select(KEY).sort(KEY)
    values = list(target.values)
    keyed = labels.sort(*KEY).select(
        "symbol", pl.col("label_end").alias("session"), *values, pl.col("last_price").cast(pl.Float64)
    )
    here = keyed.join(rows, on=KEY, how="semi", maintain_order="left")
    without_a_bar = keyed.join(rows, on=KEY, how="anti", maintain_order="left")
    summed = here.group_by(KEY).agg(_fingerprint(v).alias(v) for v in values)
    total = pl.sum_horizontal(_fingerprint(v).fill_null(-1.0) for v in (*values, "last_price"))
    first = rows.group_by("session").agg(pl.col("symbol").min())
    elsewhere = without_a_bar.group_by("session").agg(total.alias(ELSEWHERE)).join(first, on="session")
    return rows.join(summed, on=KEY, how="left").join(elsewhere, on=KEY, how="left").sort(KEY)


def _fingerprint(value: str) -> pl.Expr:
    """Weighted sum of a group, the first label with weight 1; null where no label has the value."""
    number = pl.int_range(pl.len())
    weight = (2.0 + number.cast(pl.Float64).cos()) / 3.0
    x = pl.col(value).cast(pl.Float64)
    # No value of a class is -1 and missing at once: a label that loses its value moves the sum, too.
    return pl.when(x.is_not_null().any()).then((x.fill_null(-1.0) * weight).sum())
