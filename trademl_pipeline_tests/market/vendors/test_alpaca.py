from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from trademl_pipeline.market.calendar import close_utc, sessions
from trademl_pipeline.market.errors import (
    EmptyMonthError,
    MissingKeyError,
    VendorFormatError,
    VendorRateLimitedError,
    VendorRefusedError,
    VendorUnavailableError,
)
from trademl_pipeline.market.quality.rows import split_bars
from trademl_pipeline.market.vendors import AlpacaSource
from trademl_pipeline_tests.market.vendors.alpaca_server import Alpaca
from trademl_pipeline_tests.market.vendors.conftest import HURRIED, IMPATIENT
from trademl_pipeline_tests.market.vendors.server import Reply

NOW = datetime(2021, 12, 15, 18, tzinfo=UTC)
NOVEMBER = (date(2021, 11, 1), date(2021, 11, 30))
KEY, SECRET = "PKTESTKEYID", "very-secret-value"


def source(server: Alpaca, *symbols: str, **options: Any) -> AlpacaSource:
    options = {
        "key_id": KEY,
        "secret": SECRET,
        "now": NOW,
        "url": server.url,
        "retry_policy": HURRIED,
        **options,
    }
    return AlpacaSource(symbols or ("AAPL", "BRK-B", "MSFT"), **options)


def test_a_month_of_days_as_traded(alpaca: Alpaca):
    frame = source(alpaca).fetch(None, *NOVEMBER)
    days = sessions(*NOVEMBER)
    assert frame["symbol"].unique().sort().to_list() == ["AAPL", "BRK-B", "MSFT"]
    assert frame.filter(frame["symbol"] == "BRK-B")["session"].to_list() == days
    assert (frame["event_time"] == close_utc(frame["session"])).all()
    good, bad = split_bars(frame, ingested_at=NOW)
    assert (good.height, bad.height) == (3 * len(days), 0)
    asked = alpaca.asked("/v2/stocks/bars")[0]
    assert (asked["adjustment"], asked["feed"], asked["timeframe"]) == ("raw", "iex", "1Day")
    assert alpaca.seen[0].headers["APCA-API-KEY-ID"] == KEY


def test_the_feed_is_a_choice(alpaca: Alpaca):
    source(alpaca, "AAPL", feed="sip").fetch(None, *NOVEMBER)
    assert alpaca.asked("/v2/stocks/bars")[0]["feed"] == "sip"
    with pytest.raises(VendorRefusedError, match=r"vendors\.alpaca_feed.*iex"):
        source(alpaca, "AAPL", feed="nasdaq")


def test_pages_are_followed_to_the_end(alpaca: Alpaca):
    alpaca.page = 7
    frame = source(alpaca).fetch(None, *NOVEMBER)
    assert frame.height == 3 * len(sessions(*NOVEMBER))
    assert len(alpaca.asked("/v2/stocks/bars")) == -(-frame.height // 7)


def test_actions_stand_on_their_ex_date(alpaca: Alpaca):
    alpaca.actions = {
        "forward_splits": [
            {
                "symbol": "AAPL",
                "new_rate": 4,
                "old_rate": 1,
                "ex_date": "2021-11-08",
                "process_date": "2021-11-08",
            }
        ],
        "reverse_splits": [
            {
                "symbol": "MSFT",
                "new_rate": 1,
                "old_rate": 10,
                "ex_date": "2021-11-09",
                "process_date": "2021-11-09",
            }
        ],
        "cash_dividends": [
            {
                "symbol": "BRK.B",
                "rate": 0.22,
                "special": False,
                "ex_date": "2021-11-05",
                "process_date": "2022-01-11",
            },
            {
                "symbol": "BRK.B",
                "rate": 1.0,
                "special": True,
                "ex_date": "2021-11-05",
                "process_date": "2021-11-11",
            },
            {
                "symbol": "AAPL",
                "rate": 0.5,
                "special": False,
                "ex_date": "2021-10-05",
                "process_date": "2021-11-11",
            },
        ],
        "stock_dividends": [
            {"symbol": "AAPL", "rate": 0.05, "ex_date": "2021-11-19", "process_date": "2021-11-19"}
        ],
    }
    frame = source(alpaca).fetch(None, *NOVEMBER)
    acted = frame.filter((frame["split_factor"] != 1) | (frame["dividend"] != 0))
    assert acted.select("symbol", "session", "split_factor", "dividend").sort("symbol", "session").rows() == [
        ("AAPL", date(2021, 11, 8), 4.0, 0.0),
        ("AAPL", date(2021, 11, 19), 1.05, 0.0),
        ("BRK-B", date(2021, 11, 5), 1.0, pytest.approx(1.22)),
        ("MSFT", date(2021, 11, 9), 0.1, 0.0),
    ]
    assert len(alpaca.asked("corporate-actions")) > 1


def test_hours_outside_the_session_are_left_out_and_bars_are_stamped_by_their_end(alpaca: Alpaca):
    half_day = date(2021, 11, 26)
    frame = source(alpaca, "AAPL", timeframe="1h").fetch(None, date(2021, 11, 22), date(2021, 11, 30))
    usual = frame.filter(frame["session"] == date(2021, 11, 23))["event_time"].to_list()
    # 09:00-10:00 holds the opening, 15:00-16:00 ends with the close.
    assert usual[0] == datetime(2021, 11, 23, 15, tzinfo=UTC)
    assert usual[-1] == datetime(2021, 11, 23, 21, tzinfo=UTC)
    assert len(usual) == 7
    assert frame.filter(frame["session"] == half_day).height == 4


def test_a_pair_trades_around_the_clock_and_needs_no_key(alpaca: Alpaca):
    made = source(alpaca, "BTC/USD", key_id="", secret="")
    frame = made.fetch(None, *NOVEMBER)
    assert made.calendar == "24/7"
    assert frame.height == 30
    assert frame["event_time"].max() == datetime(2021, 12, 1, tzinfo=UTC)
    assert (
        source(alpaca, "BTC/USD", timeframe="1h").fetch(None, date(2021, 11, 1), date(2021, 11, 1)).height
        == 24
    )
    with pytest.raises(VendorRefusedError, match="one after the other"):
        source(alpaca, "BTC/USD", "AAPL")


def test_the_running_day_is_no_bar_yet(alpaca: Alpaca):
    frame = source(alpaca, "AAPL").fetch(None, date(2021, 12, 1), date(2021, 12, 31))
    assert frame["session"].max() == date(2021, 12, 14)


def test_a_missing_key_says_what_to_set(alpaca: Alpaca):
    with pytest.raises(MissingKeyError, match="export APCA_API_SECRET_KEY=") as caught:
        source(alpaca, secret="")
    assert caught.value.variables == ["APCA_API_SECRET_KEY"]
    with pytest.raises(MissingKeyError, match="APCA_API_KEY_ID and APCA_API_SECRET_KEY"):
        source(alpaca, key_id="", secret="")


def test_busy_and_broken_answers_are_asked_again(alpaca: Alpaca):
    alpaca.page = 20
    alpaca.faults.extend([Reply({}, status=429, headers={"Retry-After": "0"}), Reply("", status=500)])
    assert source(alpaca).fetch(None, *NOVEMBER).height == 3 * len(sessions(*NOVEMBER))


@pytest.mark.parametrize(
    ("fault", "error", "said"),
    [
        (Reply({"message": "too many requests."}, status=429), VendorRateLimitedError, "429"),
        (Reply("", status=504), VendorUnavailableError, "504"),
        (Reply({"bars": {}, "next_page_token": None}, cut=True), VendorUnavailableError, "3 attempts"),
        (Reply({"bars": {}}, hang=True), VendorUnavailableError, "timed out"),
        (Reply({"candles": {}}), VendorFormatError, "does not match any known keys"),
        (
            Reply({"bars": {"AAPL": [{"t": "2021-11-01T04:00:00Z", "open": 1}]}}),
            VendorFormatError,
            "interface has changed",
        ),
        (
            Reply({"bars": {"AAPL": [{"t": "today", "o": 1, "h": 1, "l": 1, "c": 1, "v": 1}]}}),
            VendorFormatError,
            "time",
        ),
        (Reply({"bars": {"TSLA": []}}), VendorFormatError, "not asked for"),
        (Reply("[1]"), VendorFormatError, "promises"),
        (
            Reply({"message": "forbidden."}, status=403),
            VendorRefusedError,
            "APCA_API_KEY_ID and APCA_API_SECRET_KEY",
        ),
        (
            Reply({"message": "your subscription does not permit querying recent SIP data"}, status=403),
            VendorRefusedError,
            "vendors.alpaca_feed to iex",
        ),
        (Reply({"message": "invalid symbol"}, status=400), VendorRefusedError, "HTTP 400"),
    ],
    ids=[
        "busy",
        "5xx",
        "cut",
        "slow",
        "key",
        "fields",
        "time",
        "stranger",
        "array",
        "keys",
        "subscription",
        "bad",
    ],
)
def test_each_failure_has_its_error(alpaca: Alpaca, fault: Reply, error: type[Exception], said: str):
    alpaca.faults.extend([fault] * HURRIED.attempts)
    retry_policy = IMPATIENT if fault.hang else HURRIED
    with pytest.raises(error, match=said):
        source(alpaca, retry_policy=retry_policy).fetch(None, *NOVEMBER)


def test_a_changed_corporate_action_is_no_missing_one(alpaca: Alpaca):
    alpaca.actions = {"forward_splits": [{"symbol": "AAPL", "ratio": "4:1", "process_date": "2021-11-08"}]}
    with pytest.raises(VendorFormatError, match="corporate action"):
        source(alpaca).fetch(None, *NOVEMBER)


def test_nothing_there_is_an_empty_month(alpaca: Alpaca):
    with pytest.raises(EmptyMonthError, match="2021-11"):
        source(alpaca, "NOSUCH").fetch(None, *NOVEMBER)
    with pytest.raises(EmptyMonthError):
        source(alpaca, "AAPL").fetch(None, date(2022, 1, 1), date(2022, 1, 31))


@pytest.mark.parametrize(
    "fault",
    [
        Reply({"message": f"key {KEY} with {SECRET} is forbidden"}, status=403),
        Reply({"message": f"{SECRET}"}, status=400),
        Reply({"bars": None, "hint": SECRET}),
        Reply("", status=503),
    ],
)
def test_keys_are_in_no_error_and_no_repr(alpaca: Alpaca, fault: Reply):
    made = source(alpaca)
    alpaca.faults.extend([fault] * HURRIED.attempts)
    with pytest.raises((VendorRefusedError, VendorFormatError, VendorUnavailableError)) as caught:
        made.fetch(None, *NOVEMBER)
    shown = [repr(made), str(made)]
    error: BaseException | None = caught.value
    while error is not None:
        shown += [str(error), repr(error)]
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    assert not [text for text in shown if SECRET in text or KEY in text]


def test_delay_moves_what_is_known(alpaca: Alpaca):
    frame = source(alpaca, "AAPL", delay=timedelta(minutes=15)).fetch(None, *NOVEMBER)
    assert (frame["knowledge_time"] - frame["event_time"] == timedelta(minutes=15)).all()
