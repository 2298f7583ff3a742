"""The panel as it was known after a session: rows and keys of all sources cut together.

A row is visible at cut-off t if its session is not later than t and, where the frame says when the row happened and was
known, if that was before the decision at t. A bar that was restated a month later is therefore not there for a month.

The decision at t is that of the rows that are compared there. Where symbols are decided on at other moments of the same
session, as on exchanges that close at other times, each clock is a part of the panel with its own cuts, see `clocks`.
"""

import copy
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl

from trademl_pipeline.leakage.errors import AuditInputError
from trademl_pipeline.leakage.feature_audit.clocks import (
    CLOCK_COLUMNS,
    DAY_US,
    clocks_of,
    known_times,
    micros,
)
from trademl_pipeline.leakage.tables import Axis

TIME_COLUMNS = ("session", "date", "event_time", "timestamp", "datetime", "time")
INTERVAL_COLUMNS = (
    ("start_date", "end_date"),
    ("start", "end"),
    ("list_date", "delist_date"),
    ("listing_date", "delisting_date"),
    ("listed", "delisted"),
    ("date_added", "date_removed"),
    ("added", "removed"),
    ("first_date", "last_date"),
    ("first_session", "last_session"),
)

# Columns of bars that tell when a symbol will end; unknown while that lies ahead.
ENDS = frozenset(end for _, end in INTERVAL_COLUMNS) | {"last_trade_date", "last_trading_day"}
# Names of a lone date that says since when a row holds.
STARTS = frozenset(("start_date", "start", "date_added", "added"))
NO_TIME = "a source without a time by which to cut it"

# Names of columns that say which period a row is about, and not when it was known.
PERIODS = frozenset(("month", "quarter", "year", "week", "period", "fiscal_year", "fiscal_quarter"))

# A source with a row for at least this share of the sessions is a series, of which a month reads the warm-up
# only. Others, such as quarterly reports or membership intervals, are read back to their beginning.
DENSE = 0.5


@dataclass(frozen=True)
class Timed:
    """A frame and, for each of its rows, the first cut-off at which it is visible.

    Attributes:
        frame: the rows.
        visible: (rows,) int64 session index; len(sessions) where a row never becomes visible; -1 where
            always.
        index: (rows,) int64 session index of the row's own time, for windows that start later.
        dense: a series with a row for most sessions, see `DENSE`.
        ends: names of columns that tell an end, which is unknown while it lies ahead.
        untimed: why nothing can cut the rows, or some; empty where each has a time.
    """

    frame: pl.DataFrame
    visible: np.ndarray
    index: np.ndarray
    dense: bool = True
    ends: tuple[str, ...] = ()
    untimed: str = ""

    def as_of(self, cutoff: int, axis: Axis, low: int = 0) -> pl.DataFrame:
        """Rows visible at a cut-off (session index), of a series only those from session index `low` on."""
        keep = self.visible <= cutoff
        if low > 0 and self.dense:
            keep &= self.index >= low
        view = self.frame.filter(pl.Series(keep))
        if self.ends:
            now = pl.lit(axis.sessions[cutoff], axis.dtype)
            view = view.with_columns(
                pl.when(pl.col(c).cast(axis.dtype) <= now).then(pl.col(c)).alias(c) for c in self.ends
            )
        return view

    def take(self, rows: np.ndarray) -> "Timed":
        """The rows of a boolean mask."""
        return replace(
            self, frame=self.frame.filter(pl.Series(rows)), visible=self.visible[rows], index=self.index[rows]
        )


class Panel:
    """Bars and sources of an audit, with the moment at which each row became known.

    Attributes:
        axis: symbols and sessions of the bars.
        clocks: the decisions of the bars.
        decisions: (sessions,) int64 microseconds UTC of the decision of each session, the last where there are several.
        bars: `Timed` bars, sorted by (symbol, session).
        keys: (rows,) ascending key codes of the bars.
        sources: name -> `Timed`.
        static: name -> why nothing can cut it, of sources.
        late: number of bars known later than the decision of their own session.
        clock: number of the clock that the panel is cut by; None for the last decision of each session.
    """

    def __init__(self, bars: pl.DataFrame, sources: Mapping[str, pl.DataFrame] | None = None) -> None:
        self.axis = Axis(bars)
        self.keys = self.axis.keys(bars)
        self.clocks = clocks_of(bars, self.axis)
        self.decisions = self.clocks.latest
        self.clock: int | None = None
        known = self.clocks.known
        decided = self.clocks.decisions[self.clocks.of_row, self.axis.session_of(self.keys)]
        self.late = 0 if known is None else int((known > decided).sum())
        self.bars = self._cut_bars(bars)
        self.sources: dict[str, Timed] = {}
        self.static: dict[str, str] = {}
        for name, frame in (sources or {}).items():
            self.sources[name] = self.timed(name, frame)
            if self.sources[name].untimed:
                self.static[name] = self.sources[name].untimed

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def last(self) -> int:
        """Index of the last session."""
        return len(self.axis.sessions) - 1

    def by_clock(self) -> list["Panel"]:
        """The same rows once for each clock, cut by its decisions; itself where there is one."""
        return (
            [self]
            if len(self.clocks.decisions) == 1
            else list(map(self._on, range(len(self.clocks.decisions))))
        )

    @property
    def decided_here(self) -> np.ndarray | None:
        """(keys,) bool, for each key code whether the panel's clock decides on it; None: on all."""
        if self.clock is None:
            return None
        mine = np.zeros(len(self.axis.symbols) * len(self.axis.sessions), dtype=bool)
        mine[self.keys[self.clocks.of_row == self.clock]] = True
        return mine

    def take(self, symbols: np.ndarray) -> "Panel":
        """The bars of some symbols (boolean mask over the axis), with all sources, on the same axis."""
        part = copy.copy(self)
        rows = symbols[self.axis.symbol_of(self.keys)]
        part.keys, part.bars = self.keys[rows], self.bars.take(rows)
        part.clocks = replace(
            self.clocks,
            of_row=self.clocks.of_row[rows],
            known=None if self.clocks.known is None else self.clocks.known[rows],
        )
        return part

    def _on(self, clock: int) -> "Panel":
        part = copy.copy(self)
        part.clock, part.decisions = clock, self.clocks.decisions[clock]
        part.bars = part._cut_bars(self.bars.frame)
        part.sources = {name: part.timed(name, source.frame) for name, source in self.sources.items()}
        return part

    def _cut_bars(self, bars: pl.DataFrame) -> Timed:
        index = self.axis.session_of(self.keys)
        known = self.clocks.known
        visible = (
            index if known is None else np.maximum(index, np.searchsorted(self.decisions, known, side="left"))
        )
        ends = tuple(c for c, t in bars.schema.items() if c.lower() in ENDS and t.is_temporal())
        return Timed(bars, visible, index, ends=ends)

    def rows_at(self, cutoff: int, low: int = 0) -> np.ndarray:
        """(n,) key codes of the bars visible at a cut-off."""
        keep = self.bars.visible <= cutoff
        if low > 0:
            keep &= self.bars.index >= low
        return self.keys[keep]

    def timed(self, name: str, frame: Any) -> Timed:
        """When each row of a source becomes visible.

        Raises:
            AuditInputError: no frame, or several time columns of which none is named as in `TIME_COLUMNS`.
        """
        if not isinstance(frame, pl.DataFrame):
            raise AuditInputError(f"source {name!r} is {type(frame).__name__}; give a pl.DataFrame")
        temporal = [c for c, t in frame.schema.items() if isinstance(t, pl.Date | pl.Datetime)]
        interval = next((s for s in INTERVAL_COLUMNS if set(s) <= set(temporal)), None)
        # What was known earlier may be decided on later: a decision is a clock where nothing else is.
        clocks = CLOCK_COLUMNS if "knowledge_time" in temporal else (*CLOCK_COLUMNS, "decision_time")
        known = known_times(frame, clocks)
        time_column = interval[0] if interval else next((c for c in TIME_COLUMNS if c in temporal), None)
        reason = ""
        if time_column is None and known is None:
            if len(temporal) > 1:
                raise AuditInputError(
                    f"source {name!r} has the time columns {', '.join(temporal)}; name the one that says when a "
                    "row became known `session` or `knowledge_time`"
                )
            reason = NO_TIME if not temporal else self._attribute_of(frame, temporal[0])
            time_column = temporal[0] if temporal and not reason else None
        index = np.full(frame.height, -1, dtype=np.int64)
        if time_column is not None:
            index = self._from(frame, time_column, is_start=interval is not None)
        visible = index
        if known is not None:
            visible = np.maximum(index, np.searchsorted(self.decisions, known, side="left"))
        elif time_column is not None and self.clock is not None and not interval:
            visible = np.maximum(index, self._known_with_bars(frame, time_column, index))
        if time_column is None and known is not None:
            index = visible
        always = int((visible < 0).sum())
        if not reason and always and (always == frame.height or not interval):
            reason = f"{always:,} rows without a time by which to cut them"
        inside = np.unique(index[(index >= 0) & (index <= self.last)])
        dense = interval is None and len(inside) >= DENSE * len(self.axis.sessions)
        return Timed(frame, visible, index, dense, (interval[1],) if interval else (), reason)

    def _attribute_of(self, frame: pl.DataFrame, column: str) -> str:
        """Return why the only date of a source does not say when its rows were known; empty where it may."""
        if column.lower() in PERIODS:
            return f"its only time, {column}, names a period and not when that was known; give knowledge_time"
        if column.lower() in STARTS:
            return ""
        names = set(self.axis.symbols)
        texts = frame.select(pl.col(pl.String, pl.Categorical, pl.Enum)).columns
        for text in texts:
            if frame[text].is_unique().all() and set(frame[text].cast(pl.String)) <= names:
                return (
                    f"one row for each {text}, whose only time, {column}, need not be when it was known; name it "
                    "event_time or knowledge_time"
                )
        return ""

    def _from(self, frame: pl.DataFrame, column: str, *, is_start: bool) -> np.ndarray:
        """(rows,) first session index at which a row with that own time exists; null: always."""
        times = frame[column]
        moments, table = micros(times), self.decisions
        if times.dtype == self.axis.dtype or times.dtype == pl.Date:
            table = micros(pl.Series(self.axis.sessions, dtype=self.axis.dtype))
        if times.dtype == pl.Date and self.axis.dtype != pl.Date and not is_start:
            # What is told of a day is not known within it.
            moments = moments + DAY_US
        index = np.searchsorted(table, moments, side="left")
        return np.where(times.is_null().to_numpy(), -1, index)

    def _known_with_bars(self, frame: pl.DataFrame, column: str, index: np.ndarray) -> np.ndarray:
        """(rows,) first session index of this clock at which rows that have a session and no clock are known.

        A row of a symbol is known with its bar, any other with the last decision of its session.
        """
        if frame.schema[column] != self.axis.dtype:
            return index
        at = np.clip(index, 0, self.last)
        known = self.clocks.latest[at]
        if "symbol" in frame.columns:
            keys = self.axis.keys(frame.select("symbol", pl.col(column).alias("session")))
            place = np.minimum(np.searchsorted(self.keys, keys), len(self.keys) - 1)
            decided = self.clocks.decisions[self.clocks.of_row[place], at]
            known = np.where(self.keys[place] == keys, decided, known)
        on_session = pl.Series(self.axis.sessions, dtype=self.axis.dtype)[at].eq_missing(frame[column])
        visible = np.searchsorted(self.decisions, known, side="left")
        return np.where(on_session.to_numpy(), visible, index)


def session_window(panel: Panel, window: tuple[Any, Any] | None) -> tuple[int, int]:
    """First and last session index of a (start, end) window, both inclusive; the whole panel where None.

    Raises:
        AuditInputError: the panel has no session in the window.
    """
    if window is None:
        return 0, panel.last
    start, end = window
    inside = [i for i, s in enumerate(panel.axis.sessions) if start <= s <= end]
    if not inside:
        first, last = panel.axis.sessions[0], panel.axis.sessions[-1]
        raise AuditInputError(f"no session between {start} and {end}; the bars go from {first} to {last}")
    return inside[0], inside[-1]
