"""When is each row of the bars decided on, and when was it known?

Bars with `decision_time` say it themselves, for each (symbol, session). Without it the decision of a (symbol, session)
is the moment by which its bar and those that come with it were known, `knowledge_time` and `event_time` taken together:

- A daily bar is punctual if it was known no later than `LENIENCE` after its symbol's usual delay, the median of its
  delays since the beginning of the session's day. That leaves room for a change of the clocks and some jitter. One
  that comes later is late, on the same day too, and what is decided at its session cannot have it.
- The punctual bars of a session that were known within `TOGETHER` of each other are decided on together, with the
  last of them. Exchanges that close an hour or more apart have decisions of their own, bars of one that arrive minutes
  apart do not. Exchanges that close within that time of each other are told apart by `decision_time` alone.

Bars without a clock are decided on at the end of their day, UTC.

A clock is a series with at most one decision a session, never decreasing. One exchange is one clock; a panel of
exchanges that close at other times has as many as a session has decisions, and each is audited with its own rows.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from trademl_pipeline.leakage.errors import AuditInputError
from trademl_pipeline.leakage.tables import Axis

DAY_US = 86_400_000_000
MINUTE_US = 60_000_000
LENIENCE = 90 * MINUTE_US
TOGETHER = 45 * MINUTE_US

# A symbol with fewer bars shows no delay of its own: its bars may be no more days late than most of the panel's.
USUAL_ROWS = 10

# Decisions of one session that are audited apart; of more than these, the closest count as one, the last of them.
CLOCKS = 8

NEVER = np.iinfo(np.int64).max
CLOCK_COLUMNS = ("knowledge_time", "event_time")


@dataclass(frozen=True)
class Clocks:
    """The decisions of a panel.

    Attributes:
        decisions: (clocks, sessions) int64 microseconds UTC, ascending along the sessions.
        of_row: (rows,) number of the clock by which each bar is decided on.
        known: (rows,) int64 moment at which each bar was known, `NEVER` where null; None for bars without a clock.
        merged: microseconds by which decisions that count as one lie apart, at most.
    """

    decisions: np.ndarray
    of_row: np.ndarray
    known: np.ndarray | None
    merged: int = 0

    @property
    def latest(self) -> np.ndarray:
        """(sessions,) the last decision of each session."""
        return self.decisions.max(axis=0)

    def name(self, clock: int) -> str:
        """Return the usual time of day of a clock, such as "06:05 UTC"."""
        minutes = self.decisions[clock] % DAY_US // MINUTE_US
        usual = int(np.median(minutes))
        return f"{usual // 60:02d}:{usual % 60:02d} UTC"


def clocks_of(bars: pl.DataFrame, axis: Axis) -> Clocks:
    """Return when the rows of bars are decided on, and when they were known.

    Args:
        bars: sorted by key.
        axis: of the bars.

    Raises:
        AuditInputError: a clock has the wrong type or is null throughout, a decision is null, or a symbol's decisions
            go backwards.
    """
    symbol, session = axis.codes(bars)
    starts = micros(pl.Series(axis.sessions, dtype=axis.dtype))
    known = known_times(bars)
    if known is not None and (known == NEVER).all():
        raise AuditInputError(
            "knowledge_time or event_time of the bars is null throughout; give each bar its clock"
        )
    merged = 0
    if "decision_time" in bars.columns:
        decided = _given(bars)
        decided, merged = _few(decided, session)
    elif known is None:
        decided = (starts + DAY_US - 1 if axis.dtype == pl.Date else starts)[session]
    elif axis.dtype == pl.Date:
        decided = _daily(known, symbol, session, starts)
        decided, merged = _few(decided, session)
    else:
        decided = _intraday(known, session, starts)
    return Clocks(*_dealt(decided, session, len(starts)), known, merged)


def known_times(frame: pl.DataFrame, columns: Sequence[str] = CLOCK_COLUMNS) -> np.ndarray | None:
    """Return (rows,) int64 moment at which each row had happened and was known; None without a clock.

    A row whose first clock is null is never known; a missing one beside it says nothing.

    Args:
        frame: with any of the columns, dates or datetimes.
        columns: clocks, of which the last one counts.
    """
    known: np.ndarray | None = None
    for column in columns:
        if column not in frame.columns or not isinstance(frame.schema[column], pl.Date | pl.Datetime):
            continue
        null = frame[column].is_null().to_numpy()
        times = np.where(null, NEVER if known is None else np.iinfo(np.int64).min, micros(frame[column]))
        known = times if known is None else np.maximum(known, times)
    return known


def _given(bars: pl.DataFrame) -> np.ndarray:
    """(rows,) the decisions that the bars state."""
    dtype = bars.schema["decision_time"]
    if not isinstance(dtype, pl.Datetime):
        raise AuditInputError(f"column 'decision_time' of the bars is {dtype}; it must be a Datetime")
    nulls = bars["decision_time"].null_count()
    if nulls:
        raise AuditInputError(
            f"column 'decision_time' of the bars has {nulls} nulls; give each row its decision"
        )
    decided = micros(bars["decision_time"])
    backwards = (decided[1:] < decided[:-1]) & (bars["symbol"][1:] == bars["symbol"][:-1]).to_numpy()
    if backwards.any():
        row = bars.row(int(np.argmax(backwards)) + 1, named=True)
        raise AuditInputError(
            f"{row['symbol']} {row['session']} is decided on at {row['decision_time']}, before the session that goes "
            "before it; correct decision_time"
        )
    return decided


def _daily(known: np.ndarray, symbol: np.ndarray, session: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """(rows,) the decisions of daily bars, see the module's text."""
    delay = np.where(known == NEVER, NEVER, known - starts[session])
    usual = _usual(delay, symbol)
    punctual = (known != NEVER) & (delay <= usual[symbol] + LENIENCE)
    rows = np.flatnonzero(punctual)
    rows = rows[np.lexsort((known[rows], session[rows]))]
    # A group ends where the next row is of another session, or was known much later.
    ends = np.ones(len(rows), dtype=bool)
    ends[:-1] = (session[rows][1:] != session[rows][:-1]) | (known[rows][1:] - known[rows][:-1] > TOGETHER)
    group = np.concatenate([[0], np.cumsum(ends)[:-1]]) if len(rows) else np.empty(0, dtype=np.int64)
    moments, of_session = known[rows][ends], session[rows][ends]
    decided = np.zeros(len(known), dtype=np.int64)
    decided[rows] = moments[group] if len(rows) else 0
    for row in np.flatnonzero(~punctual):
        expected = starts[session[row]] + usual[symbol[row]]
        low, high = np.searchsorted(of_session, (session[row], session[row] + 1))
        others = moments[low:high]
        decided[row] = others[np.argmin(np.abs(others - expected))] if len(others) else expected + LENIENCE
    return decided


def _usual(delay: np.ndarray, symbol: np.ndarray) -> np.ndarray:
    """(symbols,) the usual delay of each symbol, in microseconds."""
    real = delay != NEVER
    frame = pl.DataFrame({"symbol": symbol[real], "delay": delay[real]})
    days, counts = np.unique(delay[real] // DAY_US, return_counts=True)
    limit = int(days[np.argmax(counts)])
    within = frame.filter(pl.col("delay") // DAY_US <= limit)
    usual = np.full(int(symbol.max()) + 1, int(within["delay"].quantile(0.5, "lower") or 0), dtype=np.int64)
    for rows, min_rows in ((within, 1), (frame, USUAL_ROWS)):
        median = rows.group_by("symbol").agg(pl.len(), pl.col("delay").quantile(0.5, "lower").cast(pl.Int64))
        median = median.filter(pl.col("len") >= min_rows)
        usual[median["symbol"].to_numpy()] = median["delay"].to_numpy()
    return usual


def _intraday(known: np.ndarray, session: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """(rows,) the decisions of bars within the day: one for all of a session, the most frequent delay after it."""
    real = known != NEVER
    lateness = np.where(real, known - starts[session], NEVER)
    usual, counts = np.unique(lateness[real], return_counts=True)
    limit = usual[np.argmax(counts)]
    latest = np.full(len(starts), np.iinfo(np.int64).min)
    punctual = lateness <= limit
    np.maximum.at(latest, session[punctual], known[punctual])
    has = latest > np.iinfo(np.int64).min
    return np.maximum.accumulate(np.where(has, latest, starts + limit))[session]


def _pairs(decided: np.ndarray, session: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Session and moment of each decision, in that order, and the number of each row's."""
    order = np.lexsort((decided, session))
    at, moments = session[order], decided[order]
    new = np.ones(len(order), dtype=bool)
    new[1:] = (at[1:] != at[:-1]) | (moments[1:] != moments[:-1])
    number = np.empty(len(order), dtype=np.int64)
    number[order] = np.cumsum(new) - 1
    return at[new], moments[new], number


def _few(decided: np.ndarray, session: np.ndarray) -> tuple[np.ndarray, int]:
    """Decisions of which a session has no more than `CLOCKS`, and by how much those that became one lie apart."""
    at, every, number = _pairs(decided, session)
    count = np.bincount(at)
    if count.max() <= CLOCKS:
        return decided, 0
    moments, width = every.copy(), 0
    for crowded in np.flatnonzero(count > CLOCKS):
        low, high = np.searchsorted(at, (crowded, crowded + 1))
        widest = np.sort(np.argsort(np.diff(every[low:high]), kind="stable")[-(CLOCKS - 1) :])
        ends = [*(low + widest).tolist(), int(high) - 1]
        for first, last in zip([int(low), *(end + 1 for end in ends[:-1])], ends, strict=True):
            moments[first : last + 1] = every[last]
            width = max(width, int(every[last] - every[first]))
    return moments[number], width


def _dealt(decided: np.ndarray, session: np.ndarray, sessions: int) -> tuple[np.ndarray, np.ndarray]:
    """The decisions dealt to clocks, none of which goes backwards, and the clock of each row."""
    at_session, every, number = _pairs(decided, session)
    last: list[int] = []
    clock_of = np.empty(len(every), dtype=np.int64)
    before = -1
    used: set[int] = set()
    for pair, (at, moment) in enumerate(zip(at_session.tolist(), every.tolist(), strict=True)):
        if at != before:
            before = at
            used.clear()
        free = (c for c, latest in enumerate(last) if c not in used and latest <= moment)
        clock = next(free, len(last))
        if clock == len(last):
            last.append(moment)
        last[clock] = moment
        used.add(clock)
        clock_of[pair] = clock
    unset = np.iinfo(np.int64).min
    decisions = np.full((len(last), sessions), unset)
    decisions[clock_of, at_session] = every
    decisions = np.maximum.accumulate(decisions, axis=1)
    # Before its first session a clock has no row that is decided on.
    first = np.where(decisions == unset, NEVER, decisions).min(axis=1, keepdims=True)
    return np.where(decisions == unset, first, decisions), clock_of[number]


def micros(times: pl.Series) -> np.ndarray:
    """Return (rows,) int64 microseconds since 1970, UTC; 0 where null."""
    dtype: Any = times.dtype
    if isinstance(dtype, pl.Datetime) and dtype.time_zone not in (None, "UTC"):
        times = times.dt.convert_time_zone("UTC")
    if isinstance(dtype, pl.Datetime) and dtype.time_zone is not None:
        times = times.dt.replace_time_zone(None)
    return times.cast(pl.Datetime("us")).to_physical().fill_null(0).to_numpy()
