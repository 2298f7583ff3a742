"""Recognising columns and reading dates and numbers of other people's tables."""

from datetime import UTC, date, datetime

import polars as pl
import pytest

from trademl_pipeline.market import BarsSchemaError, MissingColumnsError, SourceFileError
from trademl_pipeline.market.files.columns import expressions, in_range, recognise, session

OURS = ("symbol", "session", "open", "high", "low", "close", "volume")


def table(**columns: object) -> pl.DataFrame:
    """One bar, with columns replaced."""
    base = {
        "symbol": ["A"],
        "date": [date(2016, 1, 4)],
        "open": [1.0],
        "high": [2.0],
        "low": [0.5],
        "close": [1.5],
        "volume": [100],
    }
    return pl.DataFrame({**base, **columns})


def read(frame: pl.DataFrame, **given: str) -> pl.DataFrame:
    return frame.select(expressions(recognise(frame.schema, given, "the table"), "XNYS", "the table"))


@pytest.mark.parametrize(
    "names",
    [
        ("symbol", "session", "open", "high", "low", "close", "volume"),
        ("Ticker", "Date", "Open", "High", "Low", "Close", "Volume"),
        ("SYM", "timestamp", "Open Price", "High-Price", "LOW_PRICE", "close.price", "Vol"),
        ("instrument", "Trade Date", "o", "h", "l", "c", "v"),
    ],
)
def test_common_names_are_recognised(names: tuple[str, ...]):
    layout = recognise(dict.fromkeys(names, pl.String()), {}, "the table")
    assert layout.names == dict(zip(OURS, names, strict=True))


def test_what_is_given_goes_before_what_is_recognised():
    frame = table(adj_close=[1.4])
    assert read(frame)["close"].to_list() == [1.5]
    assert read(frame, close="adj_close")["close"].to_list() == [1.4]


def test_our_own_name_goes_before_an_alias():
    layout = recognise(dict.fromkeys((*OURS, "date", "ticker"), pl.String()), {}, "the table")
    assert layout.names["session"] == "session"
    assert layout.names["symbol"] == "symbol"


def test_missing_columns_are_named_with_what_was_found():
    with pytest.raises(
        MissingColumnsError, match=r"the table has no column for close, volume; it has: symbol.*Price"
    ) as e:
        recognise(
            dict.fromkeys(("symbol", "date", "open", "high", "low", "Price"), pl.String()), {}, "the table"
        )
    assert e.value.missing == ["close", "volume"]
    assert "--column close=<your column>" in str(e.value)


def test_a_mapping_to_what_is_not_there_is_an_error():
    with pytest.raises(MissingColumnsError, match="asked for 'Last'"):
        recognise(table().schema, {"close": "Last"}, "the table")
    with pytest.raises(SourceFileError, match="vwap: no column of bars"):
        recognise(table().schema, {"vwap": "close"}, "the table")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (date(2016, 1, 4), date(2016, 1, 4)),
        ("2016-01-04", date(2016, 1, 4)),
        (" 2016/01/04 ", date(2016, 1, 4)),
        ("20160104", date(2016, 1, 4)),
        ("01/04/2016", date(2016, 1, 4)),
        ("04.01.2016", date(2016, 1, 4)),
        ("04-Jan-2016", date(2016, 1, 4)),
        ("2016-01-04 16:00:00", date(2016, 1, 4)),
        ("2016-01-04T16:00:00.000", date(2016, 1, 4)),
        ("2016-01-04T21:00:00Z", date(2016, 1, 4)),
        ("2016-01-04T21:00:00+00:00", date(2016, 1, 4)),
        # 20:00 in New York, but the next day in UTC.
        ("2016-01-05 01:00:00+0000", date(2016, 1, 4)),
        # How pandas writes a date that it took for a time stamp.
        ("2016-01-04 00:00:00+00:00", date(2016, 1, 4)),
        (20160104, date(2016, 1, 4)),
        (1451941200, date(2016, 1, 4)),
        (1451941200000, date(2016, 1, 4)),
        (1451865600, date(2016, 1, 4)),
        (datetime(2016, 1, 4, 0, 0), date(2016, 1, 4)),
        (datetime(2016, 1, 4, 23, 30), date(2016, 1, 4)),
        (datetime(2016, 1, 4, 0, 0, tzinfo=UTC), date(2016, 1, 4)),
        (datetime(2016, 1, 5, 1, 0, tzinfo=UTC), date(2016, 1, 4)),
        ("soon", None),
        ("2016-02-30", None),
        (20161340, None),
        ("", None),
        (None, None),
    ],
)
def test_dates_are_read_in_many_forms(value: object, expected: date | None):
    frame = table(date=pl.Series([value], dtype=pl.String if value is None else None))
    got = read(frame)
    assert got["session"].to_list() == [expected]
    unreadable = expected is None and value not in (None, "")
    assert got["defect"].to_list() == ([f"not_a_date: session='{value}'"] if unreadable else [None])


def test_midnight_of_the_exchange_is_that_day():
    local = pl.Series([datetime(2016, 7, 5)]).dt.replace_time_zone("America/New_York")
    assert read(table(date=local))["session"].to_list() == [date(2016, 7, 5)]


def test_numbers_in_text_are_read_and_the_rest_is_told():
    frame = pl.concat(
        [table(close=[text], volume=["7"]) for text in ("1.25", " 2 ", "1e1", "n/a", "", None, "NaN")]
    )
    got = read(frame)
    assert got["close"].to_list()[:6] == [1.25, 2.0, 10.0, None, None, None]
    assert got["close"].is_nan().to_list()[6]
    assert got["defect"].to_list() == [None, None, None, "not_a_number: close='n/a'", None, None, None]
    assert got["volume"].to_list() == [7.0] * 7


def test_two_unreadable_values_of_a_row_are_both_told():
    got = read(table(close=["x"], volume=["y"]))
    assert got["defect"].to_list() == ["not_a_number: close='x'; not_a_number: volume='y'"]


def test_no_split_and_no_dividend_are_understood():
    got = read(table(**{"Stock Splits": [0.0], "Dividends": pl.Series([None], dtype=pl.Float64)}))
    assert got["split_factor"].to_list() == [1.0]
    assert got["dividend"].to_list() == [0.0]


@pytest.mark.parametrize(("value", "expected"), [("True", True), ("no", False), (1, True), (False, False)])
def test_adjusted_may_be_text_or_number(value: object, expected: bool):
    assert read(table(adjusted=[value]))["adjusted"].to_list() == [expected]


@pytest.mark.parametrize(
    ("ours", "value"), [("close", [[1.0]]), ("volume", [True]), ("open", [date(2016, 1, 4)])]
)
def test_a_type_that_holds_no_numbers_is_an_error_naming_the_column(ours: str, value: list):
    with pytest.raises(BarsSchemaError, match=f"'{ours}'") as caught:
        read(table(**{ours: value}))
    assert caught.value.column == ours


def test_a_type_that_holds_no_dates_is_an_error_naming_the_column():
    with pytest.raises(BarsSchemaError, match="'date' is Float64"):
        read(table(date=[2016.0104]))


@pytest.mark.parametrize("zone", [None, "UTC", "America/New_York", "Asia/Tokyo"])
def test_the_range_asks_for_the_same_rows_as_the_session(zone: str | None):
    hours = pl.datetime_range(datetime(2016, 2, 26), datetime(2016, 3, 4), "1h", eager=True)
    stamps = hours if zone is None else hours.dt.replace_time_zone("UTC").dt.convert_time_zone(zone)
    frame = pl.DataFrame({"date": stamps}).join(table().drop("date"), how="cross")
    layout = recognise(frame.schema, {}, "the table")
    day = session(layout, "XNYS", "the table")
    for start, end in ((date(2016, 3, 1), date(2016, 3, 1)), (date(2016, 2, 28), date(2016, 3, 2))):
        asked = frame.filter(in_range(layout, "XNYS", "the table", start, end))
        assert asked.equals(frame.filter(day.is_between(start, end)))
        assert asked.height > 0
