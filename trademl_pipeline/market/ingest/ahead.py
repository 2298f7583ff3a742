"""A local source read some years at a time, and a month made ready while the one before is published.

A file that is not sorted by date has to be searched as a whole for each month; once for many months costs no more.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from datetime import date
from itertools import pairwise
from typing import TypeVar

import polars as pl

from trademl_pipeline.market.calendar import month_bounds
from trademl_pipeline.market.errors import EmptyMonthError, MarketError
from trademl_pipeline.market.sources import BarSource

MONTHS = 24
T = TypeVar("T")


@contextmanager
def one_ahead(work: Callable[[str], T], months: Sequence[str]) -> Iterator[Callable[[str], T]]:
    """`work` of a month when it is asked for, that of the next month being under way in a thread by then.

    Months are to be asked for in order. What `work` raises comes where its month is asked for.
    """
    following = dict(pairwise(months))
    begun: dict[str, Future[T]] = {}
    pool = ThreadPoolExecutor(1, thread_name_prefix="month-ahead")

    def of(month: str) -> T:
        due = begun.pop(month, None) or pool.submit(work, month)
        if month in following:
            begun[following[month]] = pool.submit(work, following[month])
        return due.result()

    try:
        yield of
    finally:
        pool.shutdown(cancel_futures=True)


class Ahead:
    """Serves the months of a run from blocks of `MONTHS` of them; a `BarSource`.

    Args:
        source: the source to read.
        months: month keys of the run, ascending.
    """

    def __init__(self, source: BarSource, months: Sequence[str]) -> None:
        self._source = source
        self.name, self.timeframe, self.calendar = source.name, source.timeframe, source.calendar
        self.delay, self.remote, self.revisions = source.delay, source.remote, source.revisions
        bounds = [month_bounds(month) for month in months]
        blocks = [bounds[i : i + MONTHS] for i in range(0, len(bounds), MONTHS)]
        self._block_of = {month: (block[0][0], block[-1][1]) for block in blocks for month in block}
        self._prefetched: tuple[tuple[date, date], pl.DataFrame] | None = None

    def symbols(self) -> list[str]:
        """The source's symbols."""
        return self._source.symbols()

    def selection(self) -> list[str] | None:
        """The source's selection."""
        return self._source.selection()

    def span(self) -> tuple[date, date]:
        """The source's span."""
        return self._source.span()

    def fetch(self, symbols: Sequence[str] | None, start: date, end: date) -> pl.DataFrame:
        """As the source's fetch of the same range, rows and errors."""
        block = self._block_of.get((start, end))
        if symbols is not None or block is None:
            return self._source.fetch(symbols, start, end)
        if self._prefetched is None or self._prefetched[0] != block:
            try:
                self._prefetched = block, self._source.fetch(None, *block)
            except MarketError:
                # One month of the block may be at fault: let each answer for itself.
                self._prefetched = None
                return self._source.fetch(None, start, end)
        frame = self._prefetched[1]
        mine = pl.col("session").is_between(start, end)
        if start <= self._source.span()[0] <= end:
            # Rows that belong to no month come with the source's first.
            mine = mine | ~pl.col("session").is_between(*block)
            mine = mine | pl.col("session").is_null()
        rows = frame.filter(mine.fill_null(False))
        if rows.is_empty():
            raise EmptyMonthError(self.name, start, end, self.span())
        return rows
