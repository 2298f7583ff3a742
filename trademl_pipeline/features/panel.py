"""One month of a feature set as it is published: features with the moments they were decided and known.

A month is always computed alone from its warm-up window, never cut out of a longer run, so that a month
published by a backfill over years and the same month published on its own are the same rows.
"""

from datetime import date, timedelta

import polars as pl

from trademl_pipeline.features.references import index_of_history, reference_clock
from trademl_pipeline.features.registry import compute, reference_inputs, warmup
from trademl_pipeline.market.calendar import DEFAULT_CALENDAR, month_bounds, sessions_before

# Bars of a close reach a trader with the vendor's delay; decisions are taken an hour after the close, long before the
# next open at which they trade.
DECISION_DELAY = timedelta(hours=1)


def warmup_start(set_name: str, month: str, calendar: str = DEFAULT_CALENDAR) -> date:
    """First session whose bars the month needs."""
    return sessions_before(month, warmup(set_name), calendar)


def clock(bars: pl.DataFrame) -> pl.DataFrame:
    """Decision and knowledge time of every bar's row.

    Returns:
        symbol, session, decision_time, knowledge_time; the latter is the latest moment at which any bar of the
        symbol up to that session became known, so a bar restated late shows in every row that may have read it.
    """
    return bars.sort("symbol", "session").select(
        "symbol",
        "session",
        (pl.col("event_time") + DECISION_DELAY).alias("decision_time"),
        pl.col("knowledge_time").cum_max().over("symbol").alias("knowledge_time"),
    )


def as_decided(bars: pl.DataFrame) -> pl.DataFrame:
    """The bars with each one's knowledge at its decision: what was known by then counts as known.

    For audits with references, of which some are known later than the bars, but before the decision.
    """
    decided = pl.col("event_time") + DECISION_DELAY
    return bars.with_columns(pl.max_horizontal("knowledge_time", decided).alias("knowledge_time"))


def feature_month(
    bars: pl.DataFrame,
    set_name: str,
    month: str,
    *,
    reference: pl.DataFrame | None = None,
    universe: pl.DataFrame | None = None,
) -> pl.DataFrame:
    """Features of one month.

    Args:
        bars: raw bars from `warmup_start` to the end of the month, with event_time and knowledge_time.
        set_name: name in `FEATURE_SETS`.
        month: partition key, `YYYY-MM-01`.
        reference: bars of the index, the sector funds and the VIX over the same span, with knowledge_time; None
            leaves null the features that read them. The index is SPY, or the synthetic one where SPY is not there.
        universe: symbol, the symbol of its sector's fund (`sector`), and since when (`start_date`).

    Returns:
        symbol, session, decision_time, knowledge_time, one Float64 per feature; sorted by key. knowledge_time counts
        the references that the set reads.
    """
    first, last = month_bounds(month)
    names = index_of_history(reference, first)
    values = compute(bars, set_name, reference=reference, universe=universe, names=names)
    inside = pl.col("session").is_between(first, last)
    features = [c for c in values.columns if c not in ("symbol", "session")]
    times = clock(bars).filter(inside)
    read = reference_inputs(set_name)
    if reference is not None and read:
        known = reference_clock(times, reference, universe, names, read)
        times = times.with_columns(pl.max_horizontal("knowledge_time", known).alias("knowledge_time"))
    return (
        values.filter(inside)
        .join(times, on=["symbol", "session"], how="left")
        .select(
            "symbol",
            "session",
            "decision_time",
            "knowledge_time",
            *features,
        )
        .sort("symbol", "session")
    )
