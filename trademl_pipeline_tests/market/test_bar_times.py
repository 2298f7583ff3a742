"""A bar is stamped by its end: half days, daylight saving, midnight, and the real intraday and crypto bars."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trademl_pipeline.market import calendar
from trademl_pipeline.market.bar_times import timed_bars

HOUR = timedelta(hours=1)


def at(*moments: datetime) -> pl.DataFrame:
    return pl.DataFrame({"start": moments}, schema={"start": pl.Datetime("us", "UTC")})


def utc(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)


def test_the_first_and_last_bar_of_a_session():
    bars = at(*(utc(2016, 1, 4, hour) for hour in range(12, 24)))
    got = timed_bars(bars, HOUR)
    # 09:00 in New York holds what was traded from 09:30 on; 16:00 is after the close.
    assert got["start"].to_list() == [utc(2016, 1, 4, hour) for hour in range(14, 21)]
    assert got["event_time"][0] == utc(2016, 1, 4, 15)
    assert got["event_time"][-1] == calendar.close_utc(date(2016, 1, 4))


def test_the_last_bar_of_a_half_day_ends_with_its_close():
    bars = at(utc(2016, 11, 25, 17), utc(2016, 11, 25, 17, 30), utc(2016, 11, 25, 18))
    close = utc(2016, 11, 25, 18)
    assert timed_bars(bars, HOUR)["event_time"].to_list() == [close, close]
    assert timed_bars(bars, HOUR, cut=False)["event_time"].to_list() == [close, close + HOUR / 2]


def test_bars_follow_new_york_through_the_change_of_the_clocks():
    # Clocks went forward on Sunday 2016-03-13 and back on Sunday 2016-11-06.
    for before, after, hours in (
        (date(2016, 3, 11), date(2016, 3, 14), (14, 13)),
        (date(2016, 11, 4), date(2016, 11, 7), (13, 14)),
    ):
        bars = at(*(utc(d.year, d.month, d.day, h) for d, h in zip((before, after), hours, strict=True)))
        got = timed_bars(bars, HOUR)
        assert got["session"].to_list() == [before, after]
        local = got["event_time"].dt.convert_time_zone("America/New_York").dt.hour().to_list()
        assert local == [10, 10]


def test_a_day_around_the_clock_ends_at_midnight_and_belongs_to_the_day_it_began():
    bars = at(utc(2020, 12, 31, 0), utc(2020, 12, 31, 23), utc(2021, 1, 1, 0))
    got = timed_bars(bars, HOUR, "24/7")
    assert got["session"].to_list() == [date(2020, 12, 31), date(2020, 12, 31), date(2021, 1, 1)]
    assert got["event_time"].to_list() == [utc(2020, 12, 31, 1), utc(2021, 1, 1, 0), utc(2021, 1, 1, 1)]
    daily = timed_bars(at(utc(2020, 12, 31)), timedelta(days=1), "24/7")
    assert daily.row(0) == (utc(2020, 12, 31), date(2020, 12, 31), utc(2021, 1, 1))
    assert calendar.month_key(daily["session"][0]) == "2020-12-01"


def test_the_change_of_the_clocks_does_not_touch_what_trades_around_the_clock():
    starts = [utc(2016, 3, 13, 0) + HOUR * k for k in range(24)]
    got = timed_bars(at(*starts), HOUR, "24/7")
    assert got["session"].unique().to_list() == [date(2016, 3, 13)]
    assert got["event_time"].to_list() == [s + HOUR for s in starts]


def test_an_evening_in_utc_is_still_the_session_of_new_york():
    # Futures trade past midnight in UTC; the bar of 20:00 in New York is of that day there.
    bars = at(utc(2016, 7, 6, 0))
    frame = timed_bars(bars, HOUR, cut=False)
    assert frame.is_empty(), "after the close of 2016-07-05, which is its day in New York"


def test_a_bar_on_a_holiday_is_kept_for_the_quality_checks():
    got = timed_bars(at(utc(2016, 7, 4, 15)), HOUR)
    assert got["session"].to_list() == [date(2016, 7, 4)]
    assert timed_bars(at(utc(2016, 7, 4, 15)), timedelta(days=1))["event_time"].to_list() == [None]


@given(st.datetimes(datetime(1995, 1, 1), datetime(2030, 1, 1)), st.sampled_from([1, 60, 240, 1440]))
def test_a_bar_ends_after_it_starts_and_not_after_its_session(start: datetime, minutes: int):
    for name in ("XNYS", "24/7"):
        got = timed_bars(at(start.replace(tzinfo=UTC)), timedelta(minutes=minutes), name)
        for row in got.filter(pl.col("event_time").is_not_null()).iter_rows(named=True):
            if minutes < 1440:
                assert row["start"] < row["event_time"]
            if name == "XNYS" and calendar.sessions(row["session"], row["session"]):
                assert row["event_time"] <= calendar.close_utc(row["session"])


@pytest.mark.real_data
def test_real_hourly_bars_end_with_their_sessions(real_data: Path):
    bars = pl.read_parquet(real_data / "intraday_hourly.parquet")
    got = timed_bars(bars, HOUR, start="date")
    # 122 bars hold trades after the close of half days.
    assert (bars.height, bars.height - got.height) == (115_900, 122)
    assert calendar.index_of(got["session"]).null_count() == 0
    close, opened = calendar.close_utc(got["session"]), calendar.open_utc(got["session"])
    assert ((got["event_time"] > opened) & (got["event_time"] <= close)).all()
    last = got.group_by("symbol", "session").agg(pl.col("event_time").max())
    whole = last.filter(calendar.close_utc(last["session"]) == last["event_time"])
    assert last.height == whole.height
    # Every half day of 22 years is there, and ends at 13:00.
    days = calendar.calendar_frame(date(1998, 1, 1), date(2019, 12, 31))
    early = days.filter(pl.col("close_utc") - pl.col("open_utc") < timedelta(hours=6.5))["session"].to_list()
    halves = whole.filter(pl.col("session").is_in(early) & (pl.col("symbol") == "IBM"))
    assert halves.height == len(early) == 50
    assert halves["event_time"].dt.convert_time_zone("America/New_York").dt.hour().unique().to_list() == [13]


@pytest.mark.real_data
def test_real_crypto_bars_trade_every_day_of_the_year(real_data: Path):
    bars = pl.read_parquet(real_data / "crypto.parquet")
    lengths = {"1h": HOUR, "4h": 4 * HOUR, "1d": timedelta(days=1)}
    for interval, length in lengths.items():
        own = bars.filter(pl.col("interval") == interval)
        got = timed_bars(own, length, "24/7", start="date")
        assert got.height == own.height
        assert ((got["event_time"] - got["date"]) == length).all()
        assert (got["event_time"].dt.date() - got["session"]).is_in([timedelta(0), timedelta(days=1)]).all()
    daily = timed_bars(bars.filter(pl.col("interval") == "1d"), lengths["1d"], "24/7", start="date")
    for (symbol,), own in daily.group_by("symbol"):
        first, last = own["session"].min(), own["session"].max()
        assert own["session"].sort().to_list() == calendar.sessions(first, last, "24/7"), symbol
    assert daily.filter(calendar.index_of(daily["session"]).is_null()).height / daily.height > 0.3
