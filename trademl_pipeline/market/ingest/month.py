"""One month of bars on its way into the lake: fetched or completed, judged, and merged into what is there."""

from dataclasses import dataclass
from datetime import datetime

import polars as pl

from trademl_pipeline.lake import Lake
from trademl_pipeline.market.calendar import month_bounds
from trademl_pipeline.market.errors import EmptyMonthError
from trademl_pipeline.market.ingest.missing import missing
from trademl_pipeline.market.ingest.versions import Merged, Scope, merge, month_of
from trademl_pipeline.market.quality.rows import SplitBars, split_bars
from trademl_pipeline.market.schema import SOURCE_COLUMNS
from trademl_pipeline.market.sources import BarSource
from trademl_pipeline.tables.bar_tables import DAILY, BarTables

# Never part of a symbol; keeps the two parts of a bar's name apart.
_MARK = "\x1f"


@dataclass(frozen=True)
class Fetched:
    """A source's answer for a month: good and refused rows, and what was asked for."""

    split: SplitBars
    scopes: tuple[Scope, ...]


def fetch(
    source: BarSource,
    store: Lake,
    tables: BarTables,
    month: str,
    *,
    ingested_at: datetime,
    only_missing: bool,
) -> Fetched:
    """Ask a source for a month, or for what the lake lacks of it, and judge every row.

    Args:
        source: of the bars.
        store: the lake.
        tables: of the source's time frame.
        month: partition key "YYYY-MM-01".
        ingested_at: moment of the fetch, with time zone.
        only_missing: ask a remote source only for symbols and days that the lake lacks; files are read whole.

    Raises:
        EmptyMonthError: the source has nothing for a month of which the lake has nothing either.
        MarketError: as the source's fetch.
    """
    first, last = month_bounds(month)
    stored = month_of(store, tables.bars, month) if only_missing and source.remote else tables.bars.empty()
    if only_missing and source.remote:
        scopes = missing(source, stored, month, ingested_at)
    else:
        selection = source.selection()
        scopes = [Scope(tuple(selection) if selection is not None else None, first, last)]
    frames, nothing = [], None
    for scope in scopes:
        try:
            frames.append(source.fetch(scope.symbols, scope.start, scope.end))
        except EmptyMonthError as error:
            nothing = error
    if not frames and stored.is_empty():
        raise nothing or EmptyMonthError(source.name, first, last, None, ", nothing is due yet")
    frame = pl.concat(frames, how="diagonal_relaxed") if frames else stored.select(SOURCE_COLUMNS).clear()
    split = split_rows(frame, source, tables, ingested_at)
    return Fetched(split, tuple(scopes) if frames else ())


def split_rows(frame: pl.DataFrame, source: BarSource, tables: BarTables, ingested_at: datetime) -> SplitBars:
    """Split good rows from bad by `quality.rows.split_bars`; intraday bars are one a moment, not one a day.

    Args:
        frame: rows in `SOURCE_COLUMNS`.
        source: that gave them; its time frame and calendar count.
        tables: of that time frame.
        ingested_at: moment of the fetch, with time zone.
    """
    if source.timeframe == DAILY:
        return split_bars(frame, ingested_at=ingested_at, calendar=source.calendar)
    named = pl.concat_str("symbol", pl.col("event_time").dt.timestamp().cast(pl.String), separator=_MARK)
    split = split_bars(
        frame.with_columns(named.alias("symbol")), ingested_at=ingested_at, calendar=source.calendar
    )
    plain = pl.col("symbol").str.split(_MARK).list.first()
    good, bad = (side.with_columns(plain.alias("symbol")) for side in split)
    return SplitBars(good.sort(tables.key), bad)


def merged(
    fetched: Fetched, store: Lake, tables: BarTables, month: str, *, ingested_at: datetime, revisions: str
) -> Merged:
    """Merge a fetch with the month in the lake.

    Call it while `store.merging` holds the month, until it is published.

    Args:
        fetched: good and refused rows, and what was asked for.
        store: the lake.
        tables: of the time frame.
        month: partition key "YYYY-MM-01".
        ingested_at: moment of the fetch, with time zone.
        revisions: "latest" to hold what the source says now; anything else holds the first value known, see
            `merge`.
    """
    return merge(
        fetched.split.good,
        stored=month_of(store, tables.bars, month),
        ledger=month_of(store, tables.versions, month),
        refused=fetched.split.quarantined,
        scopes=fetched.scopes,
        tables=tables,
        month=month,
        ingested_at=ingested_at,
        revisions="latest" if revisions == "latest" else "first",
    )


def quarantine(fetched: Fetched, store: Lake, tables: BarTables, month: str) -> pl.DataFrame:
    """Return the month's refused rows after the fetch: its own, and those of what it did not ask for.

    Args:
        fetched: good and refused rows, and what was asked for.
        store: the lake.
        tables: of the time frame.
        month: partition key "YYYY-MM-01".
    """
    refused = fetched.split.quarantined
    if any(scope.symbols is None for scope in fetched.scopes):
        return refused
    covered = pl.any_horizontal(pl.lit(False), *(scope.covers() for scope in fetched.scopes))
    before = month_of(store, tables.quarantined, month)
    return pl.concat([before.filter(~covered.fill_null(False)), refused.select(before.columns)])
