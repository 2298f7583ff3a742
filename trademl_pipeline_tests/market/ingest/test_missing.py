from datetime import UTC, date, datetime, timedelta

import polars as pl
import pytest

from trademl_pipeline.market.calendar import close_utc, month_sessions, sessions
from trademl_pipeline.market.ingest.missing import missing
from trademl_pipeline.market.vendors import BinanceSource, YahooSource

MONTH = "2021-11-01"
DAYS = month_sessions(MONTH)
SOURCE = YahooSource(["A", "B", "C"])


def held(**reached: int) -> pl.DataFrame:
    """Symbols that have the first so many sessions of the month."""
    rows = [(symbol, day) for symbol, count in reached.items() for day in DAYS[:count]]
    return pl.DataFrame(rows, schema={"symbol": pl.String, "session": pl.Date}, orient="row")


def asked(bars: pl.DataFrame, moment: datetime, overlap: int = 2) -> list[tuple[tuple[str, ...], date]]:
    return [(scope.symbols or (), scope.start) for scope in missing(SOURCE, bars, MONTH, moment, overlap)]


def after(day: int) -> datetime:
    return close_utc(DAYS[day])


def test_an_empty_month_is_missing_as_a_whole():
    assert asked(held(), after(3)) == [(("A", "B", "C"), date(2021, 11, 1))]


def test_a_complete_month_lacks_nothing():
    assert asked(held(A=21, B=21, C=21), datetime(2022, 1, 1, tzinfo=UTC)) == []
    assert asked(held(A=4, B=4, C=4), after(3)) == []


def test_each_symbol_is_fetched_from_where_it_stopped_with_an_overlap():
    assert asked(held(A=4, B=5), after(4)) == [(("C",), date(2021, 11, 1)), (("A",), DAYS[2])]


def test_nothing_is_due_before_the_first_close():
    assert asked(held(), datetime(2021, 11, 1, 12, tzinfo=UTC)) == []


def test_a_bar_is_due_when_the_vendor_gives_it_out():
    slow = YahooSource(["A"], delay=timedelta(hours=3))
    assert missing(slow, held(A=4), MONTH, after(4)) == []
    assert len(missing(slow, held(A=4), MONTH, after(4) + timedelta(hours=3))) == 1


@pytest.mark.parametrize(("hour", "due"), [(1, 1), (23, 1)])
def test_intraday_bars_of_the_running_day_are_due(hour: int, due: int):
    source = BinanceSource(["BTCUSDT"], timeframe="1h")
    bars = pl.DataFrame(
        {"symbol": ["BTCUSDT"] * 3, "session": sessions(date(2021, 11, 1), date(2021, 11, 3))}
    )
    assert len(missing(source, bars, MONTH, datetime(2021, 11, 3, hour, 30, tzinfo=UTC))) == due
    whole = pl.DataFrame({"symbol": ["BTCUSDT"], "session": [date(2021, 11, 30)]})
    assert missing(source, whole, MONTH, datetime(2021, 12, 24, tzinfo=UTC)) == []
