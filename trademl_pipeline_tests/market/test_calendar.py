"""Sessions, closes in UTC and month arithmetic of exchange calendars."""

import subprocess
import sys
from datetime import UTC, date, datetime, timedelta

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trademl_pipeline.market import calendar
from trademl_pipeline.market.errors import CalendarError

DAYS = st.dates(date(1991, 1, 1), date(2034, 12, 31))


def is_session(day: date) -> bool:
    return calendar.sessions(day, day) == [day]


def test_holidays_and_weekends_are_no_sessions():
    assert calendar.sessions(date(2015, 12, 24), date(2016, 1, 5)) == [
        date(2015, 12, 24),
        date(2015, 12, 28),
        date(2015, 12, 29),
        date(2015, 12, 30),
        date(2015, 12, 31),
        date(2016, 1, 4),
        date(2016, 1, 5),
    ]
    assert not is_session(date(2012, 10, 29)), "hurricane Sandy closed the exchange"
    assert not is_session(date(2001, 9, 11))


def test_close_follows_daylight_saving_and_half_days():
    assert calendar.close_utc(date(2016, 1, 4)) == datetime(2016, 1, 4, 21, tzinfo=UTC)
    assert calendar.close_utc(date(2016, 7, 5)) == datetime(2016, 7, 5, 20, tzinfo=UTC)
    # The clocks changed on Sunday 2016-03-13.
    assert calendar.close_utc(date(2016, 3, 11)) == datetime(2016, 3, 11, 21, tzinfo=UTC)
    assert calendar.close_utc(date(2016, 3, 14)) == datetime(2016, 3, 14, 20, tzinfo=UTC)
    # The day after Thanksgiving ends at 13:00 New York.
    assert calendar.close_utc(date(2016, 11, 25)) == datetime(2016, 11, 25, 18, tzinfo=UTC)
    assert calendar.open_utc(date(2016, 11, 25)) == datetime(2016, 11, 25, 14, 30, tzinfo=UTC)
    days = calendar.calendar_frame(date(2018, 1, 1), date(2018, 12, 31))
    short = days.filter(pl.col("close_utc") - pl.col("open_utc") < timedelta(hours=6.5))["session"].to_list()
    assert short == [date(2018, 7, 3), date(2018, 11, 23), date(2018, 12, 24)]


def test_close_of_a_series_has_null_where_there_is_no_session():
    days = pl.Series("session", [date(2016, 1, 4), date(2016, 1, 2), None])
    closes = calendar.close_utc(days)
    assert closes.to_list() == [datetime(2016, 1, 4, 21, tzinfo=UTC), None, None]
    assert closes.dtype == pl.Datetime("us", "UTC")
    assert calendar.open_utc(days)[0] == datetime(2016, 1, 4, 14, 30, tzinfo=UTC)


def test_a_calendar_that_never_closes_has_every_day():
    assert len(calendar.sessions(date(2016, 2, 1), date(2016, 2, 29), "24/7")) == 29
    assert calendar.close_utc(date(2016, 1, 2), "24/7") == datetime(2016, 1, 3, tzinfo=UTC)
    assert calendar.time_zone("24/7") == "UTC"
    assert calendar.time_zone() == "America/New_York"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "first", "outside"),
    [("XTKS", date(1997, 1, 6), date(1996, 12, 30)), ("XBOM", date(1997, 1, 1), date(2030, 1, 2))],
)
def test_exchanges_whose_holidays_are_known_of_fewer_years(name: str, first: date, outside: date):
    everything = calendar.sessions(calendar.FIRST_DAY, calendar.LAST_DAY, name)
    assert everything[0] == first
    assert calendar.session_index(first, name) == 0
    assert 230 <= calendar.sessions_a_year(name) <= 250
    for asked in (calendar.session_index, calendar.on_or_after):
        with pytest.raises(
            CalendarError, match=f"{outside} lies outside the calendar {name}; its sessions are known"
        ):
            asked(outside, name)
    with pytest.raises(CalendarError, match="lies outside"):
        calendar.sessions(min(outside, first), max(outside, first), name)


def test_offset_steps_over_holidays():
    assert calendar.offset(date(2015, 12, 31), 1) == date(2016, 1, 4)
    assert calendar.offset(date(2016, 1, 4), -1) == date(2015, 12, 31)
    assert calendar.next_session(date(2016, 1, 1)) == date(2016, 1, 4)
    assert calendar.next_session(date(2016, 1, 4)) == date(2016, 1, 5)


@given(day=DAYS, n=st.integers(-200, 200))
def test_offset_and_count_are_inverse(day: date, n: int):
    start = calendar.on_or_after(day)
    end = calendar.offset(start, n)
    assert calendar.count_between(start, end) == n
    assert calendar.offset(end, -n) == start


@given(day=DAYS)
def test_neighbours_enclose_a_day(day: date):
    after = calendar.on_or_after(day)
    before = after if is_session(day) else calendar.offset(after, -1)
    assert before <= day <= after
    assert (before == after) == is_session(day)
    assert not calendar.sessions(before + timedelta(days=1), after - timedelta(days=1))


@given(days=st.lists(st.one_of(st.none(), DAYS), max_size=20), n=st.integers(-30, 30))
def test_series_arithmetic_agrees_with_the_scalar_one(days: list[date | None], n: int):
    series = pl.Series("day", days, dtype=pl.Date)
    indices = calendar.index_of(series).to_list()
    moved = calendar.offset_sessions(series, n).to_list()
    for day, index, target in zip(days, indices, moved, strict=True):
        if day is None or not is_session(day):
            assert index is None
            assert target is None
        else:
            assert index == calendar.session_index(day)
            assert target == calendar.offset(day, n)


def test_offset_of_a_series_is_null_beyond_the_bounds():
    frame = calendar.calendar_frame()
    edge = pl.Series([frame["session"][0], frame["session"][-1]])
    assert calendar.offset_sessions(edge, 1).to_list() == [frame["session"][1], None]
    assert calendar.offset_sessions(edge, -1).to_list() == [None, frame["session"][-2]]


def test_calendar_frame_joins_by_session_and_counts_sessions():
    frame = calendar.calendar_frame(date(2016, 1, 1), date(2016, 12, 31))
    assert frame.schema == {
        "session": pl.Date,
        "index": pl.Int32,
        "open_utc": pl.Datetime("us", "UTC"),
        "close_utc": pl.Datetime("us", "UTC"),
    }
    assert frame.height == 252
    assert frame["index"].diff().drop_nulls().unique().to_list() == [1]
    assert frame["index"][0] == calendar.session_index(date(2016, 1, 4))


def test_months():
    assert calendar.month_sessions("2016-01-01")[0] == date(2016, 1, 4)
    assert calendar.month_sessions("2016-01-01")[-1] == date(2016, 1, 29)
    assert calendar.month_bounds("2016-02-01") == (date(2016, 2, 1), date(2016, 2, 29))
    assert calendar.month_key(date(2016, 2, 29)) == "2016-02-01"
    assert calendar.offset_month("2016-01-01", -1) == "2015-12-01"
    assert calendar.offset_month("2016-12-01", 13) == "2018-01-01"
    assert calendar.month_range("2015-11-01", "2016-02-01") == [
        "2015-11-01",
        "2015-12-01",
        "2016-01-01",
        "2016-02-01",
    ]
    assert calendar.month_range("2016-02-01", "2015-11-01") == []
    days = pl.DataFrame({"session": [date(2016, 1, 29), date(2016, 2, 1)]})
    assert days.select(calendar.month_expr())["month"].to_list() == ["2016-01-01", "2016-02-01"]


def test_every_session_belongs_to_exactly_one_month():
    months = calendar.month_range("2010-01-01", "2019-12-01")
    joined = [day for month in months for day in calendar.month_sessions(month)]
    assert joined == calendar.sessions(date(2010, 1, 1), date(2019, 12, 31))


@pytest.mark.parametrize("text", ["2016-01-15", "2016-13-01", "January", ""])
def test_a_wrong_month_is_refused(text: str):
    with pytest.raises(CalendarError, match="YYYY-MM-01"):
        calendar.parse_month(text)


def test_errors_name_the_day_and_its_neighbours():
    with pytest.raises(CalendarError, match=r"2016-01-02 is no session of XNYS.*2015-12-31 and 2016-01-04"):
        calendar.session_index(date(2016, 1, 2))
    with pytest.raises(CalendarError, match="1985-01-01 lies outside"):
        calendar.sessions(date(1985, 1, 1), date(2016, 1, 1))
    with pytest.raises(CalendarError, match=r"no calendar 'NYSE2'.*XNYS"):
        calendar.calendar_frame(calendar="NYSE2")
    with pytest.raises(CalendarError, match="ordinal"):
        calendar.session_at(10**6)


def test_import_does_not_bring_pandas_or_exchange_calendars():
    code = (
        "import sys, trademl_pipeline.market;"
        "print([m for m in ('pandas', 'exchange_calendars', 'pandera', 'scipy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_sessions_before_a_month_are_counted_from_its_first_one():
    assert calendar.sessions_before("2016-01-01", 0) == date(2016, 1, 4)
    assert calendar.sessions_before("2016-01-01", 2) == date(2015, 12, 30)
    assert calendar.sessions_before("2016-01-01", 2, "24/7") == date(2015, 12, 30)
    assert calendar.sessions_before("2016-05-01", 1, "24/7") == date(2016, 4, 30)


def test_a_year_of_an_exchange_and_around_the_clock():
    assert calendar.sessions_a_year() == 252
    assert calendar.sessions_a_year("24/7") == 365
