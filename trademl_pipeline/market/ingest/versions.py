"""Bars in two times: when a bar happened, and when each of its values became known.

The ledger `bar_versions` keeps every value that a source has ever given for a bar. The promise: **what was
once readable as known at t stays readable as known at t, with the same values.** A fetch is merged into what the
lake holds:

- a bar seen for the first time becomes version 0, known when its source says (event_time + delay);
- other values for a bar already held become its next version, known when they were ingested: the value
  before proves that nobody who asked this source knew them earlier;
- a bar that appears *behind* the last bar held of its symbol is known when it was ingested too, for the
  source did not have it when its successor came;
- a bar that a source no longer has is withdrawn: a version that says so, with the last values.

What this deliberately does not know: when a vendor really published the first value of a bar. A history fetched
years later, and the bars that continue a series, are taken at their source's word, even where an earlier fetch
could have had them; read `bars(..., clock="ingested_at")` to see only what this lake had at a moment.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Literal

import polars as pl

from trademl_pipeline.lake import Lake
from trademl_pipeline.lake.errors import MissingTableError
from trademl_pipeline.lake.schema import MONTH, UTC_TIME, TableSchema
from trademl_pipeline.market.schema import PRICE_COLUMNS
from trademl_pipeline.tables.bar_tables import DAILY, BarTables, bar_tables

Revisions = Literal["first", "latest"]
Clock = Literal["knowledge_time", "ingested_at"]

# Vendors keep prices in single precision, and undoing a split multiplies; what differs by less is the same value.
TOLERANCE = 1e-6
_FIGURES = (*PRICE_COLUMNS, "volume", "split_factor", "dividend")


@dataclass(frozen=True)
class Scope:
    """The symbols and days that a fetch asked for: only there does the absence of a bar mean anything.

    Attributes:
        symbols: None for all that the source has.
        start, end: calendar days, both inclusive.
    """

    symbols: tuple[str, ...] | None
    start: date
    end: date

    def covers(self) -> pl.Expr:
        """Return the condition that a row lies in what was asked for."""
        in_range = pl.col("session").is_between(self.start, self.end)
        return in_range if self.symbols is None else in_range & pl.col("symbol").is_in(list(self.symbols))


@dataclass(frozen=True)
class Merged:
    """One month after a fetch, and how many rows are what.

    Attributes:
        bars: to publish.
        versions: to append.
        new: rows seen for the first time.
        restated: rows with other values than before.
        late: rows behind the symbol's last bar.
        withdrawn: rows no longer there.
    """

    bars: pl.DataFrame
    versions: pl.DataFrame
    new: int
    restated: int
    late: int
    withdrawn: int


def merge(
    good: pl.DataFrame,
    *,
    stored: pl.DataFrame,
    ledger: pl.DataFrame,
    refused: pl.DataFrame,
    scopes: Sequence[Scope],
    tables: BarTables,
    month: str,
    ingested_at: datetime,
    revisions: Revisions,
) -> Merged:
    """Merge a fetch into one month of bars.

    Args:
        good: the fetch's good rows, in the columns of the table of bars.
        stored: the month as that table holds it.
        ledger: the month's versions.
        refused: the fetch's quarantined rows; under "first" a bar that the source now garbles is not withdrawn.
        scopes: what the fetch asked for.
        tables: the time frame's tables.
        month: partition key, `YYYY-MM-01`.
        ingested_at: moment of the fetch, with time zone.
        revisions: what the table of bars holds. "first": the first value known of each bar, so that no
            row ever changes; later values, and bars that came late, are in the ledger alone. "latest": what
            the source says now, at its own clock: for a file that its owner has put right.

    Returns:
        The month's bars and the versions to append; both unchanged data (no version, the stored rows) where the
        fetch says nothing new.
    """
    key, clock = list(tables.key), tables.key[1]
    versions, adopted = _latest_versions(stored, ledger, tables, month)
    heads = versions.group_by("symbol").agg(pl.col(clock).max().alias("_head"))
    pairs = (
        good.join(versions.select(*key, *_theirs(), "version", "withdrawn", "_known"), on=key, how="left")
        .join(heads, on="symbol", how="left")
        .with_columns(seen=pl.col("version").is_not_null())
        .with_columns(
            changed=pl.col("seen") & (pl.col("withdrawn") | _differs()),
            late=~pl.col("seen") & (pl.col(clock) < pl.col("_head")).fill_null(False),
        )
    )
    moment = pl.lit(ingested_at).dt.convert_time_zone("UTC").cast(UTC_TIME)
    known = pl.max_horizontal("knowledge_time", moment, "_known")
    fresh = pairs.filter(~pl.col("seen") | pl.col("changed")).with_columns(
        pl.when(pl.col("seen") | pl.col("late"))
        .then(known)
        .otherwise("knowledge_time")
        .alias("knowledge_time"),
        (pl.col("version") + 1).fill_null(0).cast(pl.Int32),
        pl.lit(False).alias("withdrawn"),
        pl.lit(month).alias(MONTH),
    )
    covered = pl.any_horizontal(pl.lit(False), *(scope.covers() for scope in scopes))
    withdrawn = _withdrawn(versions, good, refused, covered, key, revisions).with_columns(
        pl.max_horizontal("_known", moment).alias("knowledge_time"),
        moment.alias("ingested_at"),
        (pl.col("version") + 1).cast(pl.Int32),
        pl.lit(True).alias("withdrawn"),
    )
    columns = list(tables.versions.columns)
    if revisions == "first":
        additions = pairs.filter(~pl.col("seen") & ~pl.col("late"))
        bars = pl.concat([stored, additions.select(stored.columns)])
    else:
        bars = _latest(good, stored, covered, key)
    return Merged(
        bars=bars.sort(key),
        versions=pl.concat([adopted, fresh.select(columns), withdrawn.select(columns)]),
        new=pairs.filter(~pl.col("seen") & ~pl.col("late")).height,
        restated=pairs.filter("changed").height,
        late=pairs.filter("late").height,
        withdrawn=withdrawn.height,
    )


def _theirs() -> list[pl.Expr]:
    return [pl.col(name).alias(f"{name}_held") for name in (*_FIGURES, "adjusted")]


def _differs() -> pl.Expr:
    """True if a row's values are others than those held, beyond the noise of single precision."""

    def other(name: str) -> pl.Expr:
        now, before = pl.col(name), pl.col(f"{name}_held")
        return (now - before).abs() > TOLERANCE * pl.max_horizontal(now.abs(), before.abs())

    figures = pl.any_horizontal(other(name) for name in _FIGURES)
    return (figures | (pl.col("adjusted") != pl.col("adjusted_held"))).fill_null(False)


def _latest_versions(
    stored: pl.DataFrame, ledger: pl.DataFrame, tables: BarTables, month: str
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The last version of each bar, and the bars that were published before there was a ledger."""
    key = list(tables.key)
    adopted = stored.join(ledger, on=key, how="anti").with_columns(
        pl.lit(0, pl.Int32).alias("version"), pl.lit(False).alias("withdrawn"), pl.lit(month).alias(MONTH)
    )
    adopted = adopted.select(list(tables.versions.columns))
    last = ledger.sort(*key, "version").unique(subset=key, keep="last", maintain_order=True)
    versions = pl.concat([last.select(adopted.columns), adopted])
    return versions.with_columns(pl.col("knowledge_time").alias("_known")), adopted


def _withdrawn(
    versions: pl.DataFrame,
    good: pl.DataFrame,
    refused: pl.DataFrame,
    covered: pl.Expr,
    key: list[str],
    revisions: Revisions,
) -> pl.DataFrame:
    """Bars that the source was asked for and no longer has.

    A vendor that knows nothing of a symbol any more has delisted it, which does not undo its history; a file is the
    whole statement of its owner.
    """
    missing = versions.filter(~pl.col("withdrawn") & covered).join(good, on=key, how="anti")
    if revisions == "latest":
        return missing
    return missing.join(good, on="symbol", how="semi").join(refused, on=key, how="anti")


def _latest(good: pl.DataFrame, stored: pl.DataFrame, covered: pl.Expr, key: list[str]) -> pl.DataFrame:
    """The source's rows now; those that say the same as before stay as they are, ingestion time included."""
    before = stored.select(*key, *_theirs(), pl.col("knowledge_time").alias("_known"))
    pairs = good.join(before, on=key, how="left")
    same = pl.col("open_held").is_not_null() & ~_differs() & (pl.col("knowledge_time") == pl.col("_known"))
    replaced = pairs.filter(~same.fill_null(False)).select(stored.columns)
    unchanged = stored.join(pairs.filter(same.fill_null(False)), on=key, how="semi")
    return pl.concat([stored.filter(~covered), unchanged, replaced])


def bars(
    store: Lake,
    *,
    as_of: datetime | None = None,
    timeframe: str = DAILY,
    months: tuple[str, str] | Sequence[str] | None = None,
    symbols: Sequence[str] | None = None,
    clock: Clock = "knowledge_time",
) -> pl.DataFrame:
    """Bars with the values that were known at a moment.

    Args:
        store: the lake.
        as_of: the moment, with time zone; None is now and ever after: the last value of each bar.
        timeframe: one of `TIMEFRAMES`.
        months: a tuple is a range of month keys, both inclusive; any other sequence is a set of them.
        symbols: only these.
        clock: what "known" means: "knowledge_time", or "ingested_at" for what this lake had at that moment.

    Returns:
        The columns of the table of bars, sorted by its key; knowledge_time and ingested_at are those of the value.

    Raises:
        ValueError: `as_of` has no time zone, or the time frame is unknown.
        MissingTableError: nothing has been ingested.
    """
    if as_of is not None and as_of.tzinfo is None:
        raise ValueError("as_of has no time zone; pass an aware datetime, e.g. datetime(..., tzinfo=UTC)")
    tables = bar_tables(timeframe)
    return bars_at(store.read(tables.versions, months=months, symbols=symbols), tables, as_of, clock)


def bars_at(
    ledger: pl.DataFrame, tables: BarTables, as_of: datetime | None, clock: Clock = "knowledge_time"
) -> pl.DataFrame:
    """Return the bars that stand at a moment; see `bars`.

    Args:
        ledger: versions, sorted by key and version.
        tables: of the time frame.
        as_of: the moment, with time zone; None: the last version of each bar.
        clock: "knowledge_time" for what was known at the moment, "ingested_at" for what this lake had.
    """
    key, columns = list(tables.key), list(tables.bars.columns)
    known = ledger
    if as_of is not None:
        known = known.filter(pl.col(clock) <= pl.lit(as_of).dt.convert_time_zone("UTC"))
    later = known.filter(pl.col("version") > 0)
    if later.is_empty():
        return known.select(columns)
    # Few bars are ever restated, so only those are looked for among all.
    last = later.unique(subset=key, keep="last", maintain_order=True)
    first = known.filter(pl.col("version") == 0).join(last, on=key, how="anti")
    revised = last.filter(~pl.col("withdrawn"))
    return pl.concat([first.select(columns), revised.select(columns)]).sort(key)


def month_of(store: Lake, table: TableSchema, month: str) -> pl.DataFrame:
    """One month of a table; no rows where the table has not been made."""
    try:
        return store.read(table, months=[month], columns=list(table.columns))
    except MissingTableError:
        return table.empty()
