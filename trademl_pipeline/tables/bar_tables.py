"""The tables of bars, one family for each time frame: the bars, all their versions, and those refused.

Daily bars are `raw_bars`, `bar_versions` and `quarantined_bars`; those of other time frames carry its name,
such as `raw_bars_1h`.
"""

from dataclasses import replace
from functools import lru_cache
from typing import NamedTuple

import polars as pl

from trademl_pipeline.lake.schema import MONTH, GatedTable, Ledger, UngatedTable
from trademl_pipeline.tables import QUARANTINED_BARS, RAW_BARS

DAILY = "1Day"
TIMEFRAMES = (DAILY, "4h", "1h", "1min")

BAR_VERSIONS = Ledger(
    name="bar_versions",
    columns={
        **RAW_BARS.columns,
        "version": pl.Int32,
        "withdrawn": pl.Boolean,
        MONTH: pl.String,
    },
    key=(),
    order=("symbol", "session", "version"),
    description="Every value that a source has ever given for a bar, appended and never replaced. version 0 is the "
    "first; knowledge_time is when the version became known. withdrawn: the source no longer has the bar; the "
    "values are the last it gave.",
)


class BarTables(NamedTuple):
    """The tables of one time frame."""

    bars: GatedTable
    versions: Ledger
    quarantined: UngatedTable

    @property
    def key(self) -> tuple[str, str]:
        """Symbol, and the column that orders its bars: the session, or the moment of an intraday bar's close."""
        return self.bars.key[0], self.bars.key[1]


@lru_cache
def bar_tables(timeframe: str = DAILY) -> BarTables:
    """The tables of a time frame.

    Raises:
        ValueError: the time frame is none of `TIMEFRAMES`.
    """
    if timeframe not in TIMEFRAMES:
        raise ValueError(f"there is no time frame {timeframe!r}; use one of {', '.join(TIMEFRAMES)}")
    if timeframe == DAILY:
        return BarTables(RAW_BARS, BAR_VERSIONS, QUARANTINED_BARS)
    key = ("symbol", "event_time")
    return BarTables(
        replace(
            RAW_BARS,
            name=f"{RAW_BARS.name}_{timeframe}",
            key=key,
            order=key,
            description=f"Bars of {timeframe} as traded, stamped by their close (event_time). session is the day of "
            "trading that a bar belongs to. split_factor and dividend stand on the first bar of their ex-date.",
        ),
        replace(BAR_VERSIONS, name=f"{BAR_VERSIONS.name}_{timeframe}", order=(*key, "version")),
        replace(
            QUARANTINED_BARS,
            name=f"{QUARANTINED_BARS.name}_{timeframe}",
            order=("symbol", "event_time", "row"),
        ),
    )
