"""The protocol of every source of bars, and the fetch of one month through it."""

from collections.abc import Sequence
from datetime import date, timedelta
from typing import Protocol, runtime_checkable

import polars as pl

from trademl_pipeline.market.calendar import month_bounds


@runtime_checkable
class BarSource(Protocol):
    """Anything that can be asked for bars.

    A source hands over what it has, bad rows included, in the columns of `schema.SOURCE_COLUMNS`; judging
    them is the work of `quality.rows.split_bars`.

    Attributes:
        name: of the source; it also fills the column `source` where the data does not say better.
        timeframe: of its bars, one of `tables.bar_tables.TIMEFRAMES`.
        calendar: that its sessions are on, such as "XNYS" or "24/7".
        delay: time after a bar's end at which the bar is known.
        remote: a fetch goes over a network, so that a range of months is better fetched in one go.
        revisions: what becomes of values that differ from those held, "first" or "latest"
            (market/ingest/versions.py).
    """

    name: str
    timeframe: str
    calendar: str
    delay: timedelta
    remote: bool
    revisions: str

    def fetch(self, symbols: Sequence[str] | None, start: date, end: date) -> pl.DataFrame:
        """Bars of the symbols (None: all) in [start, end], both calendar days inclusive.

        Raises:
            UnknownSymbolError: the source does not have a symbol at all.
            EmptyMonthError: there is not one row in the range.
        """
        ...

    def symbols(self) -> list[str]:
        """All symbols that the source has, sorted."""
        ...

    def selection(self) -> list[str] | None:
        """The symbols that a fetch of all stands for; None where that is everything there is."""
        ...

    def span(self) -> tuple[date, date]:
        """First and last session for which the source has a row."""
        ...


def fetch_month(source: BarSource, month: str, symbols: Sequence[str] | None = None) -> pl.DataFrame:
    """Bars of one month key, "YYYY-MM-01".

    The range is the month's calendar days, not its sessions: a row stamped on a holiday at the month's edge
    would otherwise belong to no month and vanish unseen.
    """
    first, last = month_bounds(month)
    return source.fetch(symbols, first, last)
