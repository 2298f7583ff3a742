"""The gaps of a month: the least that a daily run has to fetch."""

from datetime import datetime, timedelta

import polars as pl

from trademl_pipeline.market.calendar import calendar_frame, month_bounds
from trademl_pipeline.market.ingest.versions import Scope
from trademl_pipeline.market.sources import BarSource
from trademl_pipeline.tables.bar_tables import DAILY

# Vendors correct a bar within days if at all; so many sessions before the first missing one are looked at again.
OVERLAP = 5


def missing(
    source: BarSource, stored: pl.DataFrame, month: str, moment: datetime, overlap: int = OVERLAP
) -> list[Scope]:
    """The fetches that complete a month.

    Args:
        source: where bars come from.
        stored: the month's bars as the lake holds them.
        month: partition key, `YYYY-MM-01`.
        moment: until when bars are due, with time zone.
        overlap: sessions before the first missing one to fetch again.

    Returns:
        One scope for all symbols that lack the same sessions; empty where nothing is due that is not held.
    """
    first, last = month_bounds(month)
    days = calendar_frame(first, last, source.calendar)
    # A daily bar is due when its session has closed, the first of the intraday ones when it has opened.
    due = "close_utc" if source.timeframe == DAILY else "open_utc"
    sessions = days.filter(pl.col(due) + source.delay <= moment)["session"].to_list()
    if not sessions:
        return []
    latest = dict(stored.group_by("symbol").agg(pl.col("session").max()).iter_rows())
    starts: dict = {}
    open_ended = source.timeframe != DAILY and moment < datetime.combine(
        last + timedelta(days=2), datetime.min.time(), tzinfo=moment.tzinfo
    )
    for symbol in source.selection() or source.symbols():
        reached = latest.get(symbol)
        if reached is None:
            start = first
        elif reached < sessions[-1] or open_ended:
            behind = [s for s in sessions if s <= reached]
            start = behind[-overlap] if len(behind) >= overlap else first
        else:
            continue
        starts.setdefault(start, []).append(symbol)
    return [Scope(tuple(sorted(symbols)), start, last) for start, symbols in sorted(starts.items())]
