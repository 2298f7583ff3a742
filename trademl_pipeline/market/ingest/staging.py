"""Downloads that resume: a range of a vendor's bars, in pieces on disk until they are published.

A piece is a batch of symbols over a window of time, written beside and renamed into place, so that a download that
was broken off goes on with the first piece that is missing. Months are then served from the pieces; once they are
published the pieces go.
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

# Months in one piece: about as many rows for every time frame.
_WINDOWS = {DAILY: None, "4h": None, "1h": 12, "1min": 1}
_WAIT_SECONDS = 60

Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Piece:
    """A batch of symbols over [start, end], both inclusive."""

    symbols: list[str]
    start: date
    end: date

    @property
    def batch(self) -> str:
        """Name of the batch, the same for the same symbols."""
        return hashlib.sha256(",".join(self.symbols).encode()).hexdigest()[:16]

    def file(self, folder: Path) -> Path:
        """Return the piece's path in a folder."""
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
        held = self._scan().select(pl.col("symbol").unique()).collect()["symbol"].to_list()
        return sorted(set(self.symbols()) - set(held))

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep other runs out of the pieces.

        Raises:
            MarketError: another run is at work on them.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self._folder.with_suffix(".lock"), timeout=_WAIT_SECONDS)
        try:
            lock.acquire()
        except Timeout:
            raise MarketError(
                f"another run is downloading {self.name} bars into {self._folder}; wait for it, or stop it, and run "
                "again"
            ) from None
        try:
            yield
        finally:
            lock.release()

    def download(self, progress: Progress | None = None) -> int:
        """Fetch the pieces that are not there yet.

        Args:
            progress: called with pieces there, pieces in all, and what is being fetched.

        Returns:
            How many were fetched.

        Raises:
            MarketError: as the source's fetch; the pieces so far stay.
        """
        pieces, files = self._pieces(), self._files()
        missing = [piece for piece in pieces if _covering(piece, files) is None]
        done = len(pieces) - len(missing)
        for piece in missing:
            if progress:
                progress(done, len(pieces), _named(piece))
            self._store(piece)
            done += 1
        if progress:
            progress(done, len(pieces), "")
        return len(missing)

    def fetch(self, symbols: Sequence[str] | None, start: date, end: date) -> pl.DataFrame:
        """Bars in [start, end] from the pieces, downloading those that are missing.

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
        """Let the pieces go."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _pieces(self) -> list[Piece]:
        size = max(1, int(getattr(self._source, "batch", 1)))
        names = self.symbols()
        batches = [names[i : i + size] for i in range(0, len(names), size)]
        return [Piece(batch, *window) for window in self._windows() for batch in batches]

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

    def _store(self, piece: Piece) -> None:
        try:
            frame = self._source.fetch(piece.symbols, piece.start, piece.end)
        except EmptyMonthError:
            frame = _no_rows()
        file = piece.file(self._folder)
        self._folder.mkdir(parents=True, exist_ok=True)
        partial = file.with_suffix(".partial")
        frame.select(SOURCE_COLUMNS).write_parquet(partial)
        partial.replace(file)

    def _scan(self, start: date | None = None, end: date | None = None) -> pl.LazyFrame:
        """Rows of the pieces that touch [start, end], by default of the whole range."""
        low, high = max(start or self._start, self._start), min(end or self._end, self._end)
        touched = [piece for piece in self._pieces() if piece.start <= high and piece.end >= low]
        files = self._files()
        found = {file for piece in touched if (file := _covering(piece, files)) is not None}
        rows = pl.scan_parquet(sorted(found)) if found else _no_rows().lazy()
        return rows.filter(pl.col("session").is_between(low, high))


def _covering(piece: Piece, files: dict[str, list[tuple[date, date, Path]]]) -> Path | None:
    """The file that holds the piece, perhaps as part of a longer window."""
    for start, end, file in files.get(piece.batch, []):
        if start <= piece.start and end >= piece.end:
            return file
    return None


def _no_rows() -> pl.DataFrame:
    return pl.DataFrame(schema={name: BAR_DTYPES[name] for name in SOURCE_COLUMNS})


def _named(piece: Piece) -> str:
    more = f" and {len(piece.symbols) - 1} more" if len(piece.symbols) > 1 else ""
    return f"{piece.symbols[0]}{more}, {piece.start:%Y-%m} to {piece.end:%Y-%m}"
