from datetime import UTC, date, datetime
from typing import Any

import polars as pl
import pytest

from trademl_pipeline.market.calendar import close_utc, sessions
from trademl_pipeline.market.errors import (
    EmptyMonthError,
    VendorFormatError,
    VendorRateLimitedError,
    VendorRefusedError,
    VendorUnavailableError,
)
from trademl_pipeline.market.quality.rows import split_bars
from trademl_pipeline.market.vendors import YahooSource
from trademl_pipeline_tests.market.vendors.conftest import HURRIED, IMPATIENT
from trademl_pipeline_tests.market.vendors.server import Reply
from trademl_pipeline_tests.market.vendors.yahoo_server import Yahoo, traded

NOW = datetime(2021, 12, 15, 18, tzinfo=UTC)
NOVEMBER = (date(2021, 11, 1), date(2021, 11, 30))
SPLIT_DAY = date(2021, 11, 17)


def source(*symbols: str, **options: Any) -> YahooSource:
    return YahooSource(symbols or ("AAPL", "BRK-B"), **{"now": NOW, "retry_policy": HURRIED, **options})


def test_a_month_of_days(yahoo: Yahoo):
    frame = source().fetch(None, *NOVEMBER)
    assert frame.filter(pl.col("symbol") == "BRK-B")["session"].to_list() == sessions(*NOVEMBER)
    assert (frame["event_time"] == close_utc(frame["session"])).all()
    expected = [traded(s, d) for s, d in frame.select("symbol", "session").iter_rows()]
    assert frame["close"].to_list() == expected
    good, bad = split_bars(frame, ingested_at=NOW)
    assert (good.height, bad.height) == (2 * len(sessions(*NOVEMBER)), 0)


@pytest.mark.parametrize("ratio", [2.0, 3.0, 0.1, 1.05])
@pytest.mark.parametrize("ex_date", [SPLIT_DAY, date(2021, 12, 9)], ids=["within", "after"])
def test_prices_are_put_back_to_what_was_traded(yahoo: Yahoo, ratio: float, ex_date: date):
    plain = source("AAPL").fetch(None, *NOVEMBER)
    yahoo.splits[("AAPL", ex_date)] = ratio
    frame = source("AAPL").fetch(None, *NOVEMBER)
    before = pl.col("session") < ex_date
    assert frame.filter(before)["close"].to_list() == pytest.approx(
        plain.filter(before)["close"].to_list(), rel=1e-7
    )
    assert frame.filter(before)["volume"].to_list() == plain.filter(before)["volume"].to_list()
    after = frame.filter(~before)
    assert after["close"].to_list() == pytest.approx(
        (plain.filter(~before)["close"] / ratio).to_list(), rel=1e-6
    )
    factors = frame.filter(pl.col("split_factor") != 1).select("session", "split_factor").rows()
    assert factors == ([(ex_date, ratio)] if ex_date == SPLIT_DAY else [])
    assert not frame["adjusted"].any()


def test_a_dividend_is_told_as_it_was_paid(yahoo: Yahoo):
    yahoo.dividends[("AAPL", date(2021, 11, 5))] = 0.88
    yahoo.splits[("AAPL", SPLIT_DAY)] = 4.0
    frame = source("AAPL").fetch(None, *NOVEMBER)
    assert frame.filter(pl.col("dividend") != 0).select("session", "dividend").rows() == [
        (date(2021, 11, 5), pytest.approx(0.88))
    ]


@pytest.mark.parametrize(
    ("timeframe", "ends"), [("1h", ["15:30", "16:30", "20:30", "21:00"]), ("4h", ["18:30", "21:00"])]
)
def test_intraday_bars_end_with_the_close(yahoo: Yahoo, timeframe: str, ends: list[str]):
    yahoo.splits[("AAPL", SPLIT_DAY)] = 2.0
    frame = source("AAPL", timeframe=timeframe).fetch(None, date(2021, 11, 16), date(2021, 11, 17))
    first, second = (frame.filter(pl.col("session") == date(2021, 11, d)) for d in (16, 17))
    stamps = first["event_time"].dt.strftime("%H:%M").to_list()
    assert stamps[:2] + stamps[-2:] == ends or stamps == ends
    assert second["split_factor"].to_list() == [2.0] + [1.0] * (second.height - 1)
    assert first["close"][0] == traded("AAPL", date(2021, 11, 16))


def test_a_day_without_prices_is_judged_and_not_dropped(yahoo: Yahoo):
    yahoo.holes.add(("AAPL", date(2021, 11, 9)))
    frame = source("AAPL").fetch(None, *NOVEMBER)
    _, bad = split_bars(frame, ingested_at=NOW)
    assert bad.select("session").rows() == [(date(2021, 11, 9),)]
    assert "not_finite" in bad["reason"][0]


def test_a_name_that_yahoo_does_not_have_gives_no_rows(yahoo: Yahoo):
    frame = source("AAPL", "GONE").fetch(None, *NOVEMBER)
    assert frame["symbol"].unique().to_list() == ["AAPL"]
    with pytest.raises(EmptyMonthError):
        source("GONE").fetch(None, *NOVEMBER)


def test_share_classes_may_be_written_with_a_dot(yahoo: Yahoo):
    assert source("BRK.B").fetch(None, *NOVEMBER)["symbol"].unique().to_list() == ["BRK.B"]


def test_the_running_day_is_no_bar_yet(yahoo: Yahoo):
    frame = source("AAPL").fetch(None, date(2021, 12, 1), date(2021, 12, 31))
    assert frame["session"].max() == date(2021, 12, 14)


def test_a_restated_past_is_seen(yahoo: Yahoo):
    made = source("AAPL")
    made.fetch(None, *NOVEMBER)
    yahoo.changed[("AAPL", date(2021, 11, 3))] = 55.5
    frame = made.fetch(None, *NOVEMBER)
    assert frame.filter(pl.col("session") == date(2021, 11, 3))["close"].to_list() == [55.5]


def test_busy_and_broken_answers_are_asked_again(yahoo: Yahoo):
    yahoo.faults.extend([Reply({}, status=429, headers={"Retry-After": "0"}), Reply({"chart": {}}, cut=True)])
    assert source("AAPL").fetch(None, *NOVEMBER).height == len(sessions(*NOVEMBER))


def without(field: str) -> Reply:
    """A chart in which a field has another name."""
    quote = {k: [1.0] for k in ("open", "high", "low", "close", "volume") if k != field} | {
        f"{field}Price": [1.0]
    }
    result = {
        "meta": {"exchangeTimezoneName": "America/New_York"},
        "timestamp": [1635773400],
        "indicators": {"quote": [quote]},
    }
    return Reply({"chart": {"result": [result], "error": None}})


@pytest.mark.parametrize(
    ("fault", "error", "said"),
    [
        (Reply({}, status=429), VendorRateLimitedError, "429"),
        (Reply("", status=502), VendorUnavailableError, "502"),
        (Reply({"chart": {}}, cut=True), VendorUnavailableError, "3 attempts"),
        (Reply({"chart": {}}, drop=True), VendorUnavailableError, "3 attempts"),
        (Reply({"chart": {}}, hang=True), VendorUnavailableError, "(?i)timed? ?out"),
        (Reply({"chart": {}}), VendorFormatError, "no chart"),
        (without("close"), VendorFormatError, "its interface has changed"),
        (
            Reply({"chart": {"result": [{"indicators": {}}], "error": None}}),
            VendorFormatError,
            "interface has changed",
        ),
        (Reply('{"chart": tomorrow}'), VendorFormatError, "no chart"),
    ],
    ids=["busy", "5xx", "cut", "dropped", "slow", "empty", "field", "shape", "text"],
)
def test_each_failure_has_its_error(yahoo: Yahoo, fault: Reply, error: type[Exception], said: str):
    yahoo.faults.extend([fault] * 2 * HURRIED.attempts)
    retry_policy = IMPATIENT if fault.hang else HURRIED
    with pytest.raises(error, match=said):
        source("AAPL", retry_policy=retry_policy).fetch(None, *NOVEMBER)


def test_a_server_that_is_gone_is_named(yahoo: Yahoo):
    yahoo.close()
    with pytest.raises(VendorUnavailableError, match="yahoo gave no whole response"):
        source("AAPL").fetch(None, *NOVEMBER)


def test_nothing_to_fetch_says_what_to_give():
    with pytest.raises(VendorRefusedError, match="--universe TIER_1"):
        YahooSource([" "])
