"""Bars from Parquet or CSV files in long format: one row per symbol and session.

A folder or a pattern is read as one table; each file's columns are recognised on their own. Parquet is
scanned lazily, so a month of a large file costs the row groups and columns that it needs. CSV is turned
once into Parquet in a cache folder, sorted by session, and read from there until the file changes.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cached_property
from pathlib import Path

import polars as pl

from trademl_pipeline.market.calendar import DEFAULT_CALENDAR, FIRST_DAY, LAST_DAY, close_utc
from trademl_pipeline.market.errors import (
    BarsSchemaError,
    EmptyMonthError,
    SourceFileError,
    UnknownSymbolError,
)
from trademl_pipeline.market.files.columns import (
    Layout,
    expressions,
    in_range,
    recognise,
    session,
    stamps,
    undated,
)
from trademl_pipeline.market.files.tables import (
    FILE_ROW,
    collect,
    converted,
    default_cache,
    find_files,
    is_parquet,
    reading,
)
from trademl_pipeline.market.schema import BAR_DTYPES, DEFAULTS, DEFECT, ROW, SOURCE_COLUMNS
from trademl_pipeline.tables.bar_tables import DAILY

_STAMP = "__stamp"
# Rows from which on it is no accident that none is readable.
_ENOUGH = 10


@dataclass(frozen=True)
class _Part:
    """One file: its lazy rows with their number, its columns, and how many rows the files before it have."""

    path: Path
    rows: pl.LazyFrame
    layout: Layout
    offset: int


class FileSource:
    """Daily bars in files; a `BarSource`.

    Args:
        path: a Parquet or CSV file, a folder of them (searched to the bottom), or a pattern with `*`.
        columns: our column names -> the file's, for those that are not recognised by name.
        symbols: only these; None is all.
        max_symbols: of those, only so many. They are drawn by a hash of the name: the same for everyone,
            and blind to how a symbol fared, which a choice by coverage or size would not be. The file's own
            list of names may still be a survivors' list.
        start, end: leave out what lies before and after these days, inclusive.
        adjusted: whether prices are adjusted for later splits or dividends, for files without such a
            column. None takes prices for as traded if the file has splits or dividends, and for adjusted
            otherwise.
        delay: time after a session's close at which its bar is known. The default, none, is right for
            decisions that are taken at the close and filled at the next open; the leakage gate refuses bars
            known after the decision.
        calendar: exchange calendar of the sessions.
        name: the source's name; None is the path's stem. The `source` column says it where the file does not.
        cache: folder for converted CSV; None is one in the system's folder for temporary files.

    Raises:
        SourceFileError: there is no such file, no bars in the folder, or a setting makes no sense.
    """

    timeframe = DAILY
    remote = False
    # A file is its owner's whole statement: what it says now stands.
    revisions = "latest"

    def __init__(
        self,
        path: str | Path,
        columns: Mapping[str, str] | None = None,
        *,
        symbols: Sequence[str] | None = None,
        max_symbols: int | None = None,
        start: date | None = None,
        end: date | None = None,
        adjusted: bool | None = None,
        delay: timedelta = timedelta(0),
        calendar: str = DEFAULT_CALENDAR,
        name: str | None = None,
        cache: str | Path | None = None,
    ) -> None:
        if max_symbols is not None and max_symbols < 1:
            raise SourceFileError(
                f"max_symbols is {max_symbols}; ask for at least one symbol, or None for all"
            )
        if start and end and end < start:
            raise SourceFileError(f"start {start} lies after end {end}")
        if delay < timedelta(0):
            raise SourceFileError(f"nothing is known before the close: delay is {delay}")
        self.path, self.columns, self.calendar, self.delay = Path(path), dict(columns or {}), calendar, delay
        self.name = name or self.path.name.split(".")[0].replace("*", "") or "files"
        self._files = find_files(self.path)
        self._requested, self._max_symbols, self._adjusted = symbols, max_symbols, adjusted
        self._start, self._end = start or FIRST_DAY, end or LAST_DAY
        self._cache = Path(cache) if cache else default_cache()

    def symbols(self) -> list[str]:
        """The selected symbols, sorted.

        Raises:
            UnknownSymbolError: a symbol that was asked for at construction is not in the files.
        """
        return self._selection

    def selection(self) -> list[str] | None:
        """The selected symbols; None where no selection was made."""
        return None if self._requested is None and self._max_symbols is None else self._selection

    def span(self) -> tuple[date, date]:
        """First and last day with a row of a selected symbol.

        Raises:
            SourceFileError: no selected symbol has a row with a date.
        """
        span = self._span
        if span is None:
            column = self._parts[0].layout.names["session"]
            raise SourceFileError(
                f"{self.path} holds no row of a selected symbol with a readable date between {self._start} "
                f"and {self._end}; check start, end and the column {column!r}, taken for session"
            )
        return span

    def coverage(self) -> pl.DataFrame:
        """symbol, first, last, rows: what the files hold of each symbol, selected or not."""
        return self._coverage

    def fetch(self, symbols: Sequence[str] | None, start: date, end: date) -> pl.DataFrame:
        """Rows of the symbols (None: all selected) in [start, end] as the files have them.

        Both are calendar days and inclusive.

        Rows without a symbol come with every selection of symbols. Rows whose date is not readable, or
        absurd, belong to no month; they come with the range that holds the source's first day, so that
        fetching month by month meets each once.

        Returns:
            The columns of `schema.SOURCE_COLUMNS`, in the order of the files, with `row` (number of the row
            in the files, from 0) and `defect` (what could not be read, null where nothing). A day that is
            no session has no event_time.

        Raises:
            UnknownSymbolError: a symbol is not among the selected.
            EmptyMonthError: there is no row in the range.
            BarsSchemaError: a column cannot hold what it should, or no row at all is readable in it.
            MissingColumnsError: a file lacks a needed column.
            SourceFileError: a file cannot be read.
        """
        selected = self._selected(symbols)
        low, high = max(start, self._start), min(end, self._end)
        strays = low <= self.span()[0] <= high
        frames = collect([self._read(part, low, high, strays, selected) for part in self._parts], self.path)
        frame = pl.concat(frames, how="diagonal_relaxed")
        if frame.is_empty():
            note = f", {len(selected)} symbols" if selected is not None else ""
            raise EmptyMonthError(self.name, start, end, self.span(), note)
        self._refuse_unreadable(frame)
        self._refuse_intraday(frame)
        return self._dressed(frame)

    def around_the_clock(self) -> bool:
        """Return whether days go on over weekends: at least a tenth of all rows on Saturdays, and on Sundays."""
        days = [
            part.rows.select(session(part.layout, self.calendar, str(part.path)).dt.weekday().alias("day"))
            for part in self._parts
        ]
        day = pl.concat(collect(days, self.path))["day"].drop_nulls()
        return min((day == weekday).sum() for weekday in (6, 7)) >= max(1, len(day) / 10)

    @cached_property
    def _parts(self) -> list[_Part]:
        parts, offset = [], 0
        for path in self._files:
            stored = path if is_parquet(path) else converted(path, self.columns, self.calendar, self._cache)
            rows = pl.scan_parquet(stored, row_index_name=FILE_ROW)
            mapping = self.columns if is_parquet(path) else {}
            schema = reading(lambda r=rows: r.drop(FILE_ROW).collect_schema(), path)
            layout = recognise(schema, mapping, str(path))
            parts.append(_Part(path, rows, layout, offset))
            offset += reading(lambda r=rows: r.select(pl.len()).collect().item(), path)
        return parts

    @cached_property
    def _coverage(self) -> pl.DataFrame:
        spans = []
        for part in self._parts:
            day = session(part.layout, self.calendar, str(part.path))
            name = pl.col(part.layout.names["symbol"]).cast(pl.String).str.strip_chars()
            rows = part.rows.select(symbol=name, session=day)
            rows = rows.filter(pl.col("session").is_between(self._start, self._end))
            spans.append(
                rows.filter(pl.col("symbol") != "")
                .group_by("symbol")
                .agg(first=pl.col("session").min(), last=pl.col("session").max(), rows=pl.len())
            )
        return (
            pl.concat(collect(spans, self.path))
            .group_by("symbol")
            .agg(pl.col("first").min(), pl.col("last").max(), pl.col("rows").sum())
            .sort("symbol")
        )

    @cached_property
    def _selection(self) -> list[str]:
        known = self._coverage["symbol"].to_list()
        chosen = known
        if self._requested is not None:
            unknown = sorted(set(self._requested) - set(known))
            if unknown:
                raise UnknownSymbolError(self.name, unknown, known)
            chosen = sorted(set(self._requested))
        if self._max_symbols is not None:
            chosen = sorted(
                sorted(chosen, key=lambda s: hashlib.sha256(s.encode()).digest())[: self._max_symbols]
            )
        return chosen

    @cached_property
    def _span(self) -> tuple[date, date] | None:
        selected = self._coverage.filter(pl.col("symbol").is_in(self._selection))
        first, last = selected.select(pl.col("first").min(), pl.col("last").max()).row(0)
        return (first, last) if first is not None else None

    def _selected(self, symbols: Sequence[str] | None) -> list[str] | None:
        if symbols is None:
            return self.selection()
        unknown = sorted(set(symbols) - set(self._selection))
        if unknown:
            raise UnknownSymbolError(self.name, unknown, self._selection)
        return list(symbols)

    def _read(
        self, part: _Part, low: date, high: date, strays: bool, selected: list[str] | None
    ) -> pl.LazyFrame:
        where = str(part.path)
        due = in_range(part.layout, self.calendar, where, low, high)
        rows = part.rows.filter((due | undated(part.layout, self.calendar, where)) if strays else due)
        if selected is not None:
            name = pl.col(part.layout.names["symbol"]).cast(pl.String).str.strip_chars()
            rows = rows.filter(name.is_in(selected) | name.is_null() | (name == ""))
        columns = [(pl.col(FILE_ROW).cast(pl.Int64) + part.offset).alias(ROW)]
        stamp = stamps(part.layout)
        if stamp is not None:
            columns.append(stamp.cast(pl.Int64).alias(_STAMP))
        if is_parquet(part.path):
            columns += expressions(part.layout, self.calendar, where)
        else:
            columns[0] = (pl.col(ROW) + part.offset).alias(ROW)
            columns += [pl.col(ours) for ours in part.layout.names] + [pl.col(DEFECT)]
        as_traded = {"split_factor", "dividend"} & set(part.layout.names)
        default = not as_traded if self._adjusted is None else self._adjusted
        known = pl.col("adjusted").fill_null(default) if "adjusted" in part.layout.names else pl.lit(default)
        return rows.select(columns).with_columns(known.alias("adjusted"))

    def _dressed(self, frame: pl.DataFrame) -> pl.DataFrame:
        close = close_utc(frame["session"], self.calendar)
        source = pl.col("source").fill_null(self.name) if "source" in frame.columns else pl.lit(self.name)
        known = (pl.col("event_time") + self.delay).cast(BAR_DTYPES["knowledge_time"])
        return (
            frame.with_columns(pl.lit(v).alias(n) for n, v in DEFAULTS.items() if n not in frame.columns)
            .with_columns(pl.Series("event_time", close), source.alias("source"))
            .with_columns(known.alias("knowledge_time"))
            .select(*SOURCE_COLUMNS, ROW, DEFECT)
            .sort(ROW)
        )

    def _refuse_unreadable(self, frame: pl.DataFrame) -> None:
        """A column in which nothing is readable is the wrong column, not so many bad rows."""
        for ours in ("open", "high", "low", "close", "volume"):
            unread = frame[DEFECT].str.contains(f"not_a_number: {ours}=").fill_null(False)
            if frame.height >= _ENOUGH and unread.all():
                example = frame[DEFECT].str.extract(f"{ours}='(.*?)'").head(3).to_list()
                theirs = self._parts[0].layout.names[ours]
                raise BarsSchemaError(
                    f"{self.path}: column {theirs!r}, taken for {ours}, holds no numbers, but text such as "
                    f"{example}; map the right one: --column {ours}=<your column>",
                    ours,
                )

    def _refuse_intraday(self, frame: pl.DataFrame) -> None:
        if _STAMP not in frame.columns:
            return
        per_key = frame.filter(pl.col(_STAMP).is_not_null()).group_by("symbol", "session")
        times = per_key.agg(pl.col(_STAMP).n_unique())[_STAMP]
        # A few keys with two times are duplicates, which the quality split judges.
        if (times > 1).sum() > times.len() / 2:
            raise SourceFileError(
                f"{self.path} holds up to {times.max()} times of day per symbol and session, so these are "
                "intraday bars; give one bar per symbol and session"
            )
