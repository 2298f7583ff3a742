"""Common ground of all vendors' sources: their symbols and time frame, and the shape of what they hand over."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from importlib.util import find_spec

import polars as pl

from trademl_pipeline.lake.schema import UTC_TIME
from trademl_pipeline.market.bar_times import timed_bars
from trademl_pipeline.market.calendar import DEFAULT_CALENDAR, FIRST_DAY, calendar_frame
from trademl_pipeline.market.errors import (
    EmptyMonthError,
    MissingPackageError,
    UnknownSymbolError,
    VendorRefusedError,
)
from trademl_pipeline.market.schema import DEFAULTS, SOURCE_COLUMNS
from trademl_pipeline.tables.bar_tables import DAILY, TIMEFRAMES

LENGTHS = {
    DAILY: timedelta(days=1),
    "4h": timedelta(hours=4),
    "1h": timedelta(hours=1),
    "1min": timedelta(minutes=1),
}


def require(vendor: str, module: str, package: str) -> None:
    """Raise MissingPackageError where a client library is not installed; costs no import of it."""
    if find_spec(module) is None:
        raise MissingPackageError(vendor, package)


class VendorSource:
    """Base of the vendors' sources.

    Args:
        symbols: what to fetch; a vendor is never asked for "everything".
        timeframe: one of `TIMEFRAMES`.
        delay: time after a bar's end at which the vendor gives it out for good.
        calendar: of the symbols' exchange; "24/7" for crypto.
        now: the moment until which bars count as complete; None reads the clock at each fetch.
    """

    name = "vendor"
    remote = True
    # Later values of a vendor were not known earlier; see market/ingest/versions.py.
    revisions = "first"
    # How many symbols make one piece of a resumable download.
    batch = 1

    def __init__(
        self,
        symbols: Sequence[str],
        *,
        timeframe: str = DAILY,
        delay: timedelta = timedelta(0),
        calendar: str = DEFAULT_CALENDAR,
        now: datetime | None = None,
    ) -> None:
        if timeframe not in TIMEFRAMES:
            raise VendorRefusedError(
                f"source {self.name!r} has no time frame {timeframe!r}; use one of {', '.join(TIMEFRAMES)}"
            )
        unique = list(dict.fromkeys(s.strip() for s in symbols if s.strip()))
        if not unique:
            raise VendorRefusedError(
                f"source {self.name!r} needs to know what to fetch: give a universe (--universe TIER_1) or "
                "symbols (--symbols AAPL,MSFT), or set data.symbols"
            )
        if delay < timedelta(0):
            raise VendorRefusedError(f"nothing is known before a bar ends: delay is {delay}")
        self._symbols, self.timeframe, self.delay, self.calendar = unique, timeframe, delay, calendar
        self._now = now

    def __repr__(self) -> str:
        return f"{type(self).__name__}({len(self._symbols)} symbols, timeframe={self.timeframe!r})"

    def symbols(self) -> list[str]:
        """The symbols this source was made for, sorted."""
        return sorted(self._symbols)

    def selection(self) -> list[str]:
        """The same: only these are ever asked for."""
        return self.symbols()

    def span(self) -> tuple[date, date]:
        """First day of the project's calendars, and today: what a vendor has is known by asking only."""
        return FIRST_DAY, self.moment().date()

    def moment(self) -> datetime:
        """Until when bars are complete."""
        return self._now or datetime.now(UTC)

    def chosen(self, symbols: Sequence[str] | None) -> list[str]:
        """The symbols of a fetch.

        Raises:
            UnknownSymbolError: one of them is none of this source's.
        """
        if symbols is None:
            return self.symbols()
        unknown = sorted(set(symbols) - set(self._symbols))
        if unknown:
            raise UnknownSymbolError(self.name, unknown, self._symbols)
        return list(symbols)

    def dressed(self, frame: pl.DataFrame, start: date, end: date) -> pl.DataFrame:
        """Rows with `symbol`, `session`, `event_time` and figures as a source returns them.

        Bars that have not ended, or are not given out yet, are no bars, and are left for the next fetch.

        Raises:
            EmptyMonthError: nothing is left.
        """
        moment = pl.lit(self.moment()).dt.convert_time_zone("UTC")
        frame = frame.with_columns(
            *(pl.lit(v).alias(n) for n, v in DEFAULTS.items() if n not in frame.columns),
            *([] if "adjusted" in frame.columns else [pl.lit(False).alias("adjusted")]),
            pl.lit(self.name).alias("source"),
            pl.col("event_time").cast(UTC_TIME),
            (pl.col("event_time") + self.delay).cast(UTC_TIME).alias("knowledge_time"),
        ).filter(
            pl.col("session").is_between(start, end)
            & ((pl.col("knowledge_time") <= moment) | pl.col("knowledge_time").is_null())
        )
        if frame.is_empty():
            raise EmptyMonthError(self.name, start, end, None, f", {len(self._symbols)} symbols")
        return frame.select(SOURCE_COLUMNS).sort("symbol", "event_time")

    def with_close(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Daily rows (symbol, session) with `event_time`, the close of their session; null where there is none."""
        days = calendar_frame(calendar=self.calendar).select(
            "session", pl.col("close_utc").alias("event_time")
        )
        return frame.join(days, on="session", how="left")

    def stamped(self, frame: pl.DataFrame, *, cut: bool) -> pl.DataFrame:
        """Return intraday rows (symbol, `start` in UTC) with their session and `event_time`, the end of the bar.

        A bar belongs to the day on which it starts, in the exchange's time zone.

        Args:
            frame: the rows.
            cut: bars hold trades of the regular session only, so that the last ends with the close.
        """
        return timed_bars(frame, LENGTHS[self.timeframe], self.calendar, cut=cut)


def with_actions(frame: pl.DataFrame, actions: pl.DataFrame) -> pl.DataFrame:
    """Bars with split_factor and dividend.

    An action stands on the first bar of its ex-date, or, where the symbol did not trade then, on its next bar.

    Args:
        frame: bars with symbol, session and event_time.
        actions: symbol, session (the ex-date), split_factor, dividend.
    """
    frame = frame.sort("symbol", "session", "event_time")
    days = (
        frame.select("symbol", "session")
        .unique()
        .sort("session")
        .with_columns(pl.col("session").alias("day"))
    )
    placed = (
        actions.sort("session")
        .join_asof(days, on="session", by="symbol", strategy="forward", check_sortedness=False)
        .group_by("symbol", "day")
        .agg(pl.col("split_factor").product(), pl.col("dividend").sum())
        .rename({"day": "session"})
    )
    first = pl.int_range(pl.len()).over("symbol", "session") == 0
    return frame.join(placed, on=["symbol", "session"], how="left", maintain_order="left").with_columns(
        pl.when(first).then("split_factor").fill_null(1.0).alias("split_factor"),
        pl.when(first).then("dividend").fill_null(0.0).alias("dividend"),
    )
