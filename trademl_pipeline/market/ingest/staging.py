"""Downloads that resume: a range of a vendor's bars, in chunks on disk until they are published.

A chunk is a batch of symbols over a window of time, written beside and renamed into place, so that a download that
was broken off goes on with the first chunk that is missing. Months are then served from the chunks; once they are
published the chunks go.
"""

import hashlib
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import polars as pl
from filelock import FileLock, Timeout

from trademl_pipeline.market.calendar import month_bounds, month_key, offset_month
from trademl_pipeline.market.errors import EmptyMonthError, MarketError
from trademl_pipeline.market.schema import BAR_DTYPES, SOURCE_COLUMNS
from trademl_pipeline.market.sources import BarSource
from trademl_pipeline.tables.bar_tables import DAILY

# Months in one chunk: about as many rows for every time frame.
_WINDOWS = {DAILY: None, "4h": None, "1h": 12, "1min": 1}
_WAIT_SECONDS = 60

Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Chunk:
    """A batch of symbols over [start, end], both inclusive."""

    symbols: list[str]
    start: date
    end: date

    @property
    def batch(self) -> str:
        """Name of the batch, the same for the same symbols."""
        return hashlib.sha256(",".join(self.symbols).encode()).hexdigest()[:16]

    def file(self, folder: Path) -> Path:
        """Return the chunk's path in a folder."""
        return folder / f"{self.batch}_{self.start}_{self.end}.parquet"


class Staged:
    """A remote source's range of days, downloaded once and then served from disk; a `BarSource`.

    Args:
        source: the source to download from.
        folder: staging folder; each source, time frame and feed has one of its own in it.
        start, end: calendar days, inclusive; days that lie ahead are left out.
    """

    remote = True

    def __init__(self, source: BarSource, folder: Path, start: date, end: date) -> None:
        self._source = source
        self.name, self.timeframe, self.calendar = source.name, source.timeframe, source.calendar
        self.delay, self.revisions = source.delay, source.revisions
        flavour = "-".join([source.name, source.timeframe, getattr(source, "feed", "")]).rstrip("-")
        self._folder = folder / flavour
        self._start, self._end = start, max(start, min(end, source.span()[1]))

    def symbols(self) -> list[str]:
        """The source's symbols."""
        return self._source.symbols()

    def selection(self) -> list[str] | None:
        """The source's selection."""
        return self._source.selection()

    def span(self) -> tuple[date, date]:
        """First and last session that was downloaded; the range asked for where nothing was."""
        days = (
            self._scan()
            .select(pl.col("session").min().alias("a"), pl.col("session").max().alias("b"))
            .collect()
        )
        first, last = days.row(0)
        return (first, last) if first else (self._start, self._end)

    def absent(self) -> list[str]:
        """Symbols without one row in the range."""
        present = self._scan().select(pl.col("symbol").unique()).collect()["symbol"].to_list()
        return sorted(set(self.symbols()) - set(present))

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Keep other runs out of the chunks.

        Raises:
            MarketError: another run is at work on them.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        file_lock = FileLock(self._folder.with_suffix(".lock"), timeout=_WAIT_SECONDS)
        try:
            file_lock.acquire()
        except Timeout:
            raise MarketError(
                f"another run is downloading {self.name} bars into {self._folder}; wait for it, or stop it, and run "
                "again"
            ) from None
        try:
            yield
        finally:
            file_lock.release()

    def download(self, progress: Progress | None = None) -> int:
        """Fetch the chunks that are not there yet.

        Args:
            progress: called with chunks there, chunks in all, and what is being fetched.

        Returns:
            How many were fetched.

        Raises:
            MarketError: as the source's fetch; the chunks so far stay.
        """
        chunks, files = self._chunks(), self._files()
        missing = [chunk for chunk in chunks if _covering(chunk, files) is None]
        done = len(chunks) - len(missing)
        for chunk in missing:
            if progress:
                progress(done, len(chunks), _named(chunk))
            self._store(chunk)
            done += 1
        if progress:
            progress(done, len(chunks), "")
        return len(missing)

    def fetch(self, symbols: Sequence[str] | None, start: date, end: date) -> pl.DataFrame:
        """Bars in [start, end] from the chunks, downloading those that are missing.

        Raises:
            EmptyMonthError: there is no row.
            MarketError: as the source's fetch.
        """
        self.download()
        rows = self._scan(start, end)
        if symbols is not None:
            rows = rows.filter(pl.col("symbol").is_in(list(symbols)))
        frame = rows.collect()
        if frame.is_empty():
            raise EmptyMonthError(self.name, start, end, self.span())
        return frame.unique(subset=["symbol", "event_time"], keep="last", maintain_order=True)

    def discard(self) -> None:
        """Let the chunks go."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _chunks(self) -> list[Chunk]:
        size = max(1, int(getattr(self._source, "batch", 1)))
        names = self.symbols()
        batches = [names[i : i + size] for i in range(0, len(names), size)]
        return [Chunk(batch, *window) for window in self._windows() for batch in batches]

    def _windows(self) -> list[tuple[date, date]]:
        months = _WINDOWS[self.timeframe]
        if months is None:
            return [(self._start, self._end)]
        windows, at = [], self._start
        while at <= self._end:
            first = at.replace(month=1, day=1) if months == 12 else at.replace(day=1)
            stop = month_bounds(offset_month(month_key(first), months - 1))[1]
            windows.append((at, min(stop, self._end)))
            at = stop + timedelta(days=1)
        return windows

    def _files(self) -> dict[str, list[tuple[date, date, Path]]]:
        """By batch the files there are, with the window that each holds."""
        files: dict[str, list[tuple[date, date, Path]]] = {}
        for file in sorted(self._folder.glob("*.parquet")):
            batch, start, end = file.stem.split("_")
            files.setdefault(batch, []).append((date.fromisoformat(start), date.fromisoformat(end), file))
        return files

    def _store(self, chunk: Chunk) -> None:
        try:
            frame = self._source.fetch(chunk.symbols, chunk.start, chunk.end)
        except EmptyMonthError:
            frame = _no_rows()
        file = chunk.file(self._folder)
        self._folder.mkdir(parents=True, exist_ok=True)
        partial = file.with_suffix(".partial")
        frame.select(SOURCE_COLUMNS).write_parquet(partial)
        partial.replace(file)

    def _scan(self, start: date | None = None, end: date | None = None) -> pl.LazyFrame:
        """Rows of the chunks that touch [start, end], by default of the whole range."""
        low, high = max(start or self._start, self._start), min(end or self._end, self._end)
        touched = [chunk for chunk in self._chunks() if chunk.start <= high and chunk.end >= low]
        files = self._files()
        covering_files = {file for chunk in touched if (file := _covering(chunk, files)) is not None}
        rows = pl.scan_parquet(sorted(covering_files)) if covering_files else _no_rows().lazy()
        return rows.filter(pl.col("session").is_between(low, high))


def _covering(chunk: Chunk, files: dict[str, list[tuple[date, date, Path]]]) -> Path | None:
    """The file that holds the chunk, perhaps as part of a longer window."""
    for start, end, file in files.get(chunk.batch, []):
        if start <= chunk.start and end >= chunk.end:
            return file
    return None


def _no_rows() -> pl.DataFrame:
    return pl.DataFrame(schema={name: BAR_DTYPES[name] for name in SOURCE_COLUMNS})


def _named(chunk: Chunk) -> str:
    more = f" and {len(chunk.symbols) - 1} more" if len(chunk.symbols) > 1 else ""
    return f"{chunk.symbols[0]}{more}, {chunk.start:%Y-%m} to {chunk.end:%Y-%m}"
