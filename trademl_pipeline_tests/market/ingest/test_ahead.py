"""Read years at a time or month by month: the same rows."""

from datetime import date
from pathlib import Path
from threading import Event

import polars as pl
import pytest

from trademl_pipeline.market import FileSource
from trademl_pipeline.market.calendar import month_bounds, month_range
from trademl_pipeline.market.errors import BarsSchemaError, EmptyMonthError
from trademl_pipeline.market.ingest import ahead as module
from trademl_pipeline.market.ingest.ahead import Ahead, one_ahead
from trademl_pipeline.simulation import SimulatedMarket

MONTHS = month_range("2014-01-01", "2014-08-01")


@pytest.fixture
def file(small_market: pl.DataFrame, tmp_path: Path) -> Path:
    """Bars with a row whose date is not readable, and none of them in May."""
    bars = small_market.filter(pl.col("session").is_between(date(2014, 1, 1), date(2014, 7, 31)))
    bars = bars.filter(pl.col("session").dt.month() != 5).select(
        "symbol", pl.col("session").cast(pl.String), "open", "high", "low", "close", "volume"
    )
    stray = bars.head(1).with_columns(pl.lit("some day").alias("session"))
    path = tmp_path / "bars.parquet"
    pl.concat([bars, stray]).write_parquet(path)
    return path


@pytest.mark.parametrize("block", [1, 3, 24])
def test_each_month_is_what_the_source_gives_for_it(file: Path, block: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "MONTHS", block)
    source = FileSource(file)
    ahead, rows = Ahead(source, MONTHS), 0
    for month in MONTHS:
        if month[5:7] in ("05", "08"):
            for either in (source, ahead):
                with pytest.raises(EmptyMonthError, match=f"no bars in {month[:7]}"):
                    either.fetch(None, *month_bounds(month))
            continue
        frame = ahead.fetch(None, *month_bounds(month))
        assert frame.equals(source.fetch(None, *month_bounds(month)))
        rows += frame.height
    assert rows == pl.read_parquet(file).height


def test_other_ranges_and_symbols_are_the_sources_own(small_market_source: SimulatedMarket):
    ahead = Ahead(small_market_source, MONTHS)
    name = small_market_source.symbols()[0]
    days = date(2014, 2, 3), date(2014, 2, 7)
    assert ahead.fetch([name], *days).equals(small_market_source.fetch([name], *days))
    assert (ahead.symbols(), ahead.selection(), ahead.span()) == (
        small_market_source.symbols(),
        None,
        small_market_source.span(),
    )


def test_a_month_at_fault_keeps_no_other_from_its_bars(small_market_source, monkeypatch: pytest.MonkeyPatch):
    fetch = small_market_source.fetch

    def faulty(symbols, start, end):
        if start <= date(2014, 3, 1) <= end:
            raise BarsSchemaError("unreadable", "close")
        return fetch(symbols, start, end)

    monkeypatch.setattr(small_market_source, "fetch", faulty)
    ahead = Ahead(small_market_source, MONTHS)
    with pytest.raises(BarsSchemaError):
        ahead.fetch(None, *month_bounds("2014-03-01"))
    assert ahead.fetch(None, *month_bounds("2014-04-01")).height


def test_the_next_month_is_under_way_while_one_is_taken():
    begun = {month: Event() for month in MONTHS}

    def work(month: str) -> str:
        begun[month].set()
        return month

    with one_ahead(work, MONTHS) as ready:
        assert ready(MONTHS[0]) == MONTHS[0]
        assert begun[MONTHS[1]].wait(300)
        assert not begun[MONTHS[2]].is_set()
        assert [ready(month) for month in MONTHS[1:]] == MONTHS[1:]


def test_what_a_month_raises_comes_with_that_month():
    def work(month: str) -> str:
        if month == MONTHS[1]:
            raise EmptyMonthError("made up", date(2012, 1, 1), date(2012, 1, 31), None)
        return month

    with one_ahead(work, MONTHS) as ready:
        assert ready(MONTHS[0]) == MONTHS[0]
        with pytest.raises(EmptyMonthError):
            ready(MONTHS[1])
        assert ready(MONTHS[2]) == MONTHS[2]
