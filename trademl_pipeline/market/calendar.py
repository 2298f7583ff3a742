"""Exchange calendars: sessions, closes in UTC, session arithmetic and months.

All lags, horizons and embargoes of this project count sessions. A session is a `datetime.date`; its ordinal
is its position among all sessions of the calendar since `FIRST_DAY`, so the difference of two ordinals is
their distance in sessions. Times of day come from exchange-calendars, half days and daylight saving
included.

The calendar's bounds are fixed, never relative to today, so the same call gives the same answer every day.
Holidays after the release of the installed exchange-calendars are its forecast.
"""

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import lru_cache
from typing import overload

import numpy as np
import polars as pl

from trademl_pipeline.market.errors import CalendarError

DEFAULT_CALENDAR = "XNYS"
FIRST_DAY = date(1990, 1, 1)
LAST_DAY = date(2035, 12, 31)

_DAY = np.dtype("datetime64[D]")


@dataclass(frozen=True)
class _Calendar:
    """One calendar's sessions as arrays and as a frame for joins, and the days between which they are known."""

    name: str
    zone: str
    days: np.ndarray
    frame: pl.DataFrame
    first: date
    last: date


@lru_cache(maxsize=8)
def _load(name: str) -> _Calendar:
    # exchange-calendars brings pandas, which would cost every import of this package half a second.
    import exchange_calendars
    from exchange_calendars.errors import InvalidCalendarName

    first, last = FIRST_DAY, LAST_DAY
    try:
        try:
            calendar = exchange_calendars.get_calendar(name, start=str(first), end=str(last))
        except ValueError:
            # Of some exchanges the holidays are known of fewer years.
            kind = type(exchange_calendars.get_calendar(name))
            first, last = (
                project if bound is None else pick(project, bound.date())
                for pick, project, bound in ((max, first, kind.bound_min()), (min, last, kind.bound_max()))
            )
            calendar = exchange_calendars.get_calendar(name, start=str(first), end=str(last))
    except InvalidCalendarName as error:
        known = ", ".join(sorted(exchange_calendars.get_calendar_names(include_aliases=False)))
        raise CalendarError(f"there is no calendar {name!r}; use one of: {known}") from error
    schedule = calendar.schedule
    days = schedule.index.to_numpy().astype(_DAY)
    utc = pl.Datetime("us", "UTC")
    frame = pl.DataFrame(
        {
            "session": pl.Series(days).cast(pl.Date),
            "index": pl.Series(np.arange(len(days), dtype=np.int32)),
            "open_utc": pl.Series(schedule["open"].dt.tz_localize(None).to_numpy()).cast(pl.Datetime("us")),
            "close_utc": pl.Series(schedule["close"].dt.tz_localize(None).to_numpy()).cast(pl.Datetime("us")),
        }
    ).with_columns(
        pl.col("open_utc").dt.replace_time_zone("UTC").cast(utc),
        pl.col("close_utc").dt.replace_time_zone("UTC").cast(utc),
    )
    return _Calendar(name, str(calendar.tz), days, frame, first, last)


def _check_bounds(calendar: str, *days: date) -> None:
    known = _load(calendar)
    for day in days:
        # The bounds of the project stand for the beginning and the end, whichever they are.
        if not known.first <= day <= known.last and day not in (FIRST_DAY, LAST_DAY):
            raise CalendarError(
                f"{day} lies outside the calendar {calendar}; its sessions are known from {known.first} to {known.last}"
            )


def time_zone(calendar: str = DEFAULT_CALENDAR) -> str:
    """Name of the exchange's time zone, e.g. "America/New_York"."""
    return _load(calendar).zone


def calendar_frame(
    start: date | None = None, end: date | None = None, calendar: str = DEFAULT_CALENDAR
) -> pl.DataFrame:
    """The sessions of [start, end] as a frame for joins.

    Args:
        start: first day, inclusive; None is the calendar's first.
        end: last day, inclusive; None is the calendar's last.
        calendar: name known to exchange-calendars, such as "XNYS" or "24/7".

    Returns:
        session (Date), index (Int32: the session's ordinal), open_utc and close_utc (Datetime us UTC).

    Raises:
        CalendarError: the calendar is unknown.
    """
    frame = _load(calendar).frame
    if start is None and end is None:
        return frame
    return frame.filter(pl.col("session").is_between(start or FIRST_DAY, end or LAST_DAY))


def sessions(start: date, end: date, calendar: str = DEFAULT_CALENDAR) -> list[date]:
    """All sessions in [start, end], both inclusive, in order; empty where there is none."""
    _check_bounds(calendar, start, end)
    days = _load(calendar).days
    low, high = np.searchsorted(days, [np.datetime64(start), np.datetime64(end + timedelta(days=1))])
    return days[low:high].tolist()


def session_index(session: date, calendar: str = DEFAULT_CALENDAR) -> int:
    """The session's ordinal.

    Raises:
        CalendarError: that day is no session; the message names the neighbours.
    """
    _check_bounds(calendar, session)
    days = _load(calendar).days
    position = int(np.searchsorted(days, np.datetime64(session)))
    if position == len(days) or days[position] != np.datetime64(session):
        before = days[position - 1] if position else None
        after = days[position] if position < len(days) else None
        raise CalendarError(f"{session} is no session of {calendar}; the nearest are {before} and {after}")
    return position


def session_at(index: int, calendar: str = DEFAULT_CALENDAR) -> date:
    """The session with that ordinal.

    Raises:
        CalendarError: no session has it.
    """
    days = _load(calendar).days
    if not 0 <= index < len(days):
        raise CalendarError(
            f"session ordinal {index} lies outside {calendar}, which has 0 to {len(days) - 1}"
        )
    return days[index].item()


def offset(session: date, n: int, calendar: str = DEFAULT_CALENDAR) -> date:
    """The session n sessions after (n > 0) or before (n < 0) a session.

    Raises:
        CalendarError: `session` is no session, or the answer lies outside the calendar's bounds.
    """
    return session_at(session_index(session, calendar) + n, calendar)


def on_or_after(day: date, calendar: str = DEFAULT_CALENDAR) -> date:
    """The first session on or after a day."""
    _check_bounds(calendar, day)
    return session_at(int(np.searchsorted(_load(calendar).days, np.datetime64(day))), calendar)


def next_session(day: date, calendar: str = DEFAULT_CALENDAR) -> date:
    """The first session strictly after a day."""
    return on_or_after(day + timedelta(days=1), calendar)


def count_between(start: date, end: date, calendar: str = DEFAULT_CALENDAR) -> int:
    """Number of sessions in (start, end]; negative where end lies before start. Neither need be a session."""
    _check_bounds(calendar, start, end)
    days = _load(calendar).days
    low, high = np.searchsorted(days, [np.datetime64(start), np.datetime64(end)], side="right")
    return int(high - low)


def index_of(days: pl.Series, calendar: str = DEFAULT_CALENDAR) -> pl.Series:
    """Ordinals (Int32) of a Date series; null where a day is null or no session."""
    table = _load(calendar).days
    values = days.cast(pl.Date).to_physical().fill_null(0).to_numpy().astype("int64").astype(_DAY)
    position = np.minimum(np.searchsorted(table, values), len(table) - 1)
    hit = (table[position] == values) & days.is_not_null().to_numpy()
    return (
        pl.select(pl.when(pl.Series(hit)).then(pl.Series(position.astype(np.int32))))
        .to_series()
        .alias(days.name)
    )


def offset_sessions(days: pl.Series, n: int, calendar: str = DEFAULT_CALENDAR) -> pl.Series:
    """Each session of a Date series moved by n sessions.

    Null where a day is no session, or where the answer lies outside the calendar's bounds.
    """
    frame = _load(calendar).frame
    moved = index_of(days, calendar).cast(pl.Int64) + n
    inside = moved.is_between(0, frame.height - 1)
    taken = frame["session"].gather(moved.fill_null(0).clip(0, frame.height - 1))
    return pl.select(pl.when(inside).then(taken)).to_series().alias(days.name)


@overload
def close_utc(days: date, calendar: str = DEFAULT_CALENDAR) -> datetime: ...
@overload
def close_utc(days: pl.Series, calendar: str = DEFAULT_CALENDAR) -> pl.Series: ...
def close_utc(days: date | pl.Series, calendar: str = DEFAULT_CALENDAR) -> datetime | pl.Series:
    """Close of a session in UTC, half days included.

    A date gives a datetime and must be a session; a Date series gives a Datetime(us, UTC) series with null
    where a day is no session.
    """
    frame = _load(calendar).frame
    if isinstance(days, date):
        return frame["close_utc"][session_index(days, calendar)]
    return frame["close_utc"].gather(index_of(days, calendar)).alias(days.name)


@overload
def open_utc(days: date, calendar: str = DEFAULT_CALENDAR) -> datetime: ...
@overload
def open_utc(days: pl.Series, calendar: str = DEFAULT_CALENDAR) -> pl.Series: ...
def open_utc(days: date | pl.Series, calendar: str = DEFAULT_CALENDAR) -> datetime | pl.Series:
    """Opening of a session in UTC; as `close_utc`."""
    frame = _load(calendar).frame
    if isinstance(days, date):
        return frame["open_utc"][session_index(days, calendar)]
    return frame["open_utc"].gather(index_of(days, calendar)).alias(days.name)


def parse_month(month: str) -> date:
    """First day of a month key "YYYY-MM-01" ("YYYY-MM" is understood too).

    Raises:
        CalendarError: the text is no month.
    """
    text = f"{month}-01" if len(month) == 7 else month
    try:
        first = date.fromisoformat(text)
    except ValueError as error:
        raise CalendarError(f"{month!r} is no month; write it as YYYY-MM-01") from error
    if first.day != 1:
        raise CalendarError(f"{month!r} is not the first of a month; write it as YYYY-MM-01")
    return first


def month_key(day: date) -> str:
    """Month key "YYYY-MM-01" of a day."""
    return f"{day:%Y-%m}-01"


def month_expr(column: str = "session") -> pl.Expr:
    """The month key of a Date column, as an expression named `month`."""
    return pl.col(column).dt.strftime("%Y-%m-01").alias("month")


def offset_month(month: str, n: int) -> str:
    """The month key n months later (n < 0: earlier)."""
    first = parse_month(month)
    count = first.year * 12 + first.month - 1 + n
    return f"{count // 12:04d}-{count % 12 + 1:02d}-01"


def month_bounds(month: str) -> tuple[date, date]:
    """First and last calendar day of a month, both inclusive."""
    first = parse_month(month)
    return first, parse_month(offset_month(month, 1)) - timedelta(days=1)


def month_sessions(month: str, calendar: str = DEFAULT_CALENDAR) -> list[date]:
    """The sessions of a month key, in order."""
    return sessions(*month_bounds(month), calendar=calendar)


def sessions_before(month: str, n: int, calendar: str = DEFAULT_CALENDAR) -> date:
    """The session n sessions before the first one of a month."""
    return offset(on_or_after(parse_month(month), calendar), -n, calendar)


@lru_cache(maxsize=8)
def sessions_a_year(calendar: str = DEFAULT_CALENDAR) -> int:
    """Sessions of a usual year, to the nearest whole one: 252 of XNYS, 365 around the clock."""
    known = _load(calendar)
    return round(len(known.days) / ((known.last - known.first).days + 1) * 365.25)


def month_range(start_month: str, end_month: str) -> list[str]:
    """Month keys from start to end, both inclusive; empty where end lies before start."""
    first, last = parse_month(start_month), parse_month(end_month)
    count = (last.year - first.year) * 12 + last.month - first.month + 1
    return [offset_month(start_month, i) for i in range(max(count, 0))]
