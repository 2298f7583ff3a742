"""When a bar happened: vendors stamp a bar by its opening, decisions know it by its close.

A bar belongs to the session on whose local day it starts. It ends one length later, or with its session where
that closes earlier: the last bar of a half day, and the daily bar, end with the close. A bar that starts before
the opening and ends after it (the 09:00 bar of New York, which holds 09:30 to 10:00) is one of the session; one
that lies before the opening or after the close is not.
"""

from datetime import timedelta

import polars as pl

from trademl_pipeline.market.calendar import DEFAULT_CALENDAR, calendar_frame, time_zone

AROUND_THE_CLOCK = "24/7"
DAY = timedelta(days=1)


def timed_bars(
    bars: pl.DataFrame,
    length: timedelta,
    calendar: str = DEFAULT_CALENDAR,
    *,
    start: str = "start",
    cut: bool = True,
) -> pl.DataFrame:
    """The bars of a session with their `session` and `event_time`, the moment they ended.

    Args:
        bars: one row per bar with the column `start`.
        length: of a bar; a day or more means the bar of a whole session.
        calendar: exchange calendar, "24/7" for crypto.
        start: column with the opening of the bar (Datetime UTC).
        cut: whether bars hold trades of the regular session only, so that the last ends with the close.

    Returns:
        The bars, without those that lie outside their session, in their order. A bar on a day that is no session
        stays, with its day as `session` and the end of its length as `event_time`: that is for the quality checks
        to judge. A daily one has no `event_time` then.

    Raises:
        CalendarError: the calendar is unknown.
    """
    day = pl.col(start).dt.convert_time_zone(time_zone(calendar)).dt.date()
    frame = bars.with_columns(day.alias("session"))
    days = calendar_frame(calendar=calendar).select("session", "open_utc", "close_utc")
    frame = frame.join(days, on="session", how="left", maintain_order="left")
    close, opened = pl.col("close_utc"), pl.col("open_utc")
    if length >= DAY:
        return frame.with_columns(close.alias("event_time")).drop("open_utc", "close_utc")
    end = pl.col(start) + length
    outside = (end <= opened) | (pl.col(start) >= close)
    ended = pl.min_horizontal(end, close.fill_null(end)) if cut else end
    return (
        frame.filter(~outside.fill_null(False))
        .with_columns(ended.alias("event_time"))
        .drop("open_utc", "close_utc")
    )
