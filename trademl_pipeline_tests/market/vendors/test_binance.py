from datetime import UTC, date, datetime
from typing import Any

import polars as pl
import pytest

from trademl_pipeline.market.errors import (
    EmptyMonthError,
    UnknownSymbolError,
    VendorFormatError,
    VendorRateLimitedError,
    VendorRefusedError,
    VendorUnavailableError,
)
from trademl_pipeline.market.quality.rows import split_bars
from trademl_pipeline.market.schema import SOURCE_COLUMNS
from trademl_pipeline.market.vendors import BinanceSource
from trademl_pipeline.market.vendors import binance as module
from trademl_pipeline_tests.market.vendors.binance_server import Binance
from trademl_pipeline_tests.market.vendors.conftest import HURRIED, IMPATIENT
from trademl_pipeline_tests.market.vendors.server import Reply

NOW = datetime(2021, 3, 10, 12, 30, tzinfo=UTC)
FEBRUARY = (date(2021, 2, 1), date(2021, 2, 28))


def source(server: Binance, *symbols: str, **options: Any) -> BinanceSource:
    options = {"now": NOW, "retry_policy": HURRIED, **options}
    return BinanceSource(symbols or ("BTCUSDT", "ETHUSDT"), url=server.url, **options)


def test_a_month_of_days_is_stamped_by_the_end_of_each(binance: Binance):
    frame = source(binance).fetch(None, *FEBRUARY)
    assert frame.columns == list(SOURCE_COLUMNS)
    assert frame.height == 2 * 28
    assert (frame["event_time"].dt.date() == frame["session"].dt.offset_by("1d")).all()
    assert not frame["adjusted"].any()
    good, bad = split_bars(frame, ingested_at=NOW, calendar="24/7")
    assert (good.height, bad.height) == (56, 0)


@pytest.mark.parametrize(("timeframe", "bars"), [("4h", 6), ("1h", 24), ("1min", 1440)])
def test_intraday_bars_belong_to_the_day_they_start_on(binance: Binance, timeframe: str, bars: int):
    frame = source(binance, "BTCUSDT", timeframe=timeframe).fetch(None, date(2021, 2, 1), date(2021, 2, 2))
    assert frame.group_by("session").len().sort("session")["len"].to_list() == [bars, bars]
    assert frame["event_time"].max() == datetime(2021, 2, 3, tzinfo=UTC)
    assert frame["event_time"].is_sorted()


def test_long_ranges_are_fetched_page_by_page(binance: Binance):
    frame = source(binance, "BTCUSDT", timeframe="1h").fetch(None, date(2021, 1, 1), date(2021, 2, 28))
    assert frame.height == 59 * 24
    assert frame["event_time"].n_unique() == frame.height
    assert len(binance.asked("klines")) == 2


def test_a_gap_of_the_exchange_stays_a_gap(binance: Binance):
    missing = int(datetime(2021, 2, 5, 7, tzinfo=UTC).timestamp() * 1000)
    binance.gaps.add(("BTCUSDT", missing))
    frame = source(binance, "BTCUSDT", timeframe="1h").fetch(None, date(2021, 2, 5), date(2021, 2, 5))
    assert frame.height == 23
    assert datetime(2021, 2, 5, 8, tzinfo=UTC) not in frame["event_time"].to_list()


def test_a_bar_that_has_not_ended_is_no_bar_yet(binance: Binance):
    days = source(binance, "BTCUSDT").fetch(None, date(2021, 3, 1), date(2021, 3, 31))
    assert days["session"].max() == date(2021, 3, 9)
    hours = source(binance, "BTCUSDT", timeframe="1h").fetch(None, date(2021, 3, 10), date(2021, 3, 31))
    assert hours["event_time"].max() == datetime(2021, 3, 10, 12, tzinfo=UTC)


def test_pairs_may_be_written_with_a_stroke(binance: Binance):
    frame = source(binance, "BTC/USDT").fetch(None, *FEBRUARY)
    assert frame["symbol"].unique().to_list() == ["BTC/USDT"]


def test_busy_and_broken_answers_are_asked_again(binance: Binance):
    binance.faults.extend([Reply({}, status=429, headers={"Retry-After": "0"}), Reply("<html>", status=502)])
    assert source(binance, "BTCUSDT").fetch(None, *FEBRUARY).height == 28
    assert len(binance.seen) == 3


@pytest.mark.parametrize(
    ("fault", "error", "said"),
    [
        (Reply({}, status=429), VendorRateLimitedError, "429"),
        (Reply({}, status=418, headers={"Retry-After": "7200"}), VendorRateLimitedError, "rest of 7200 s"),
        (Reply("oops", status=503), VendorUnavailableError, "503"),
        (Reply([[1, "2"] * 3], cut=True), VendorUnavailableError, "3 attempts"),
        (
            Reply('[[1609459200000,"1",', headers={"Content-Type": "application/json"}),
            VendorUnavailableError,
            "broke off",
        ),
        (Reply([], drop=True), VendorUnavailableError, "no whole response"),
        (Reply([], hang=True), VendorUnavailableError, "timed out"),
        (Reply({"klines": []}), VendorFormatError, "interface has changed"),
        (Reply([{"openTime": 1}]), VendorFormatError, "interface has changed"),
        (Reply([[1609459200000, "a", "b", "c", "d", "e"]]), VendorFormatError, "no number"),
        (Reply({"code": -1003, "msg": "Way too much"}, status=403), VendorRefusedError, "Way too much"),
    ],
    ids=["busy", "banned", "5xx", "cut", "half-json", "dropped", "slow", "object", "rows", "text", "refused"],
)
def test_each_failure_has_its_error(binance: Binance, fault: Reply, error: type[Exception], said: str):
    binance.faults.extend([fault] * HURRIED.attempts)
    retry_policy = IMPATIENT if fault.hang else HURRIED
    with pytest.raises(error, match=said):
        source(binance, "BTCUSDT", retry_policy=retry_policy).fetch(None, *FEBRUARY)


def test_a_server_that_is_gone_is_named(binance: Binance):
    binance.close()
    with pytest.raises(VendorUnavailableError, match="binance gave no whole response in 3 attempts"):
        source(binance, "BTCUSDT").fetch(None, *FEBRUARY)


def test_an_unknown_pair_is_named(binance: Binance):
    with pytest.raises(VendorRefusedError, match="pair 'BTCUSD'"):
        source(binance, "BTCUSD", "BTCUSDT").fetch(None, *FEBRUARY)
    with pytest.raises(UnknownSymbolError, match="'ETHUSDT'"):
        source(binance, "BTCUSDT").fetch(["ETHUSDT"], *FEBRUARY)


def test_nothing_there_is_an_empty_month(binance: Binance):
    with pytest.raises(EmptyMonthError, match="2020-02"):
        source(binance, "BTCUSDT").fetch(None, date(2020, 2, 1), date(2020, 2, 29))


def test_pages_meet_without_a_seam_whatever_their_size(binance: Binance, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "PAGE", 7)
    paged = source(binance, "BTCUSDT").fetch(None, *FEBRUARY)
    monkeypatch.setattr(module, "PAGE", 1000)
    assert paged.equals(source(binance, "BTCUSDT").fetch(None, *FEBRUARY))
    assert isinstance(paged, pl.DataFrame)
