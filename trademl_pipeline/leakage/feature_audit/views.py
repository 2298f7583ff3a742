"""The panel as it was known after a session: rows and keys of all sources cut together.

A row is visible at cut-off t if its session is not later than t and, where the frame has `knowledge_time`, if
it was known by the decision at t. A bar that was restated a month later is therefore not there for a month.

The decision at t is the moment by which the punctual bars of session t are known: the usual delay between
session and `knowledge_time` is taken from the bars themselves, so a vendor that delivers overnight is not at
fault. Bars without a clock are decided on at the end of their day, UTC.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from trademl_pipeline.leakage.errors import AuditInputError
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
DAY_US = 86_400_000_000

# A source with a row for at least this share of the sessions is a series, of which a month reads the warm-up
# only. Others, such as quarterly reports or membership intervals, are read back to their beginning.
DENSE = 0.5


def decision_times(bars: pl.DataFrame, axis: Axis) -> np.ndarray:
    """(sessions,) int64 microseconds UTC of the decision of each session; never decreasing."""
    starts = _micros(pl.Series(axis.sessions, dtype=axis.dtype))
    daily = axis.dtype == pl.Date
    clock = next((c for c in ("knowledge_time", "event_time") if c in bars.columns), None)
    if clock is None:
        return starts + DAY_US - 1 if daily else starts
    known = _micros(bars[clock])
    lateness = known - starts[axis.codes(bars)[1]]
    if daily:
        lateness = lateness // DAY_US
    usual, counts = np.unique(lateness[bars[clock].is_not_null().to_numpy()], return_counts=True)
    if not len(usual):
        raise AuditInputError(f"column {clock!r} of the bars is null throughout")
    limit = usual[np.argmax(counts)]
    decisions = starts + (limit + 1) * DAY_US - 1 if daily else starts + limit
    punctual = (lateness <= limit) & bars[clock].is_not_null().to_numpy()
    latest = np.full(len(starts), np.iinfo(np.int64).min)
    np.maximum.at(latest, axis.codes(bars)[1][punctual], known[punctual])
    has = latest > np.iinfo(np.int64).min
    return np.maximum.accumulate(np.where(has, latest, decisions))


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
    """

    frame: pl.DataFrame
    visible: np.ndarray
    index: np.ndarray
    dense: bool = True
    ends: tuple[str, ...] = ()

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
        return Timed(
            self.frame.filter(pl.Series(rows)), self.visible[rows], self.index[rows], self.dense, self.ends
        )


class Panel:
    """Bars and sources of an audit, with the moment at which each row became known.

    Attributes:
        axis: symbols and sessions of the bars.
        bars: `Timed` bars, sorted by (symbol, session).
        keys: (rows,) ascending key codes of the bars.
        sources: name -> `Timed`.
        static: names of sources without any time, which nothing can cut.
        late: number of bars known later than the decision of their own session.
    """

    def __init__(self, bars: pl.DataFrame, sources: Mapping[str, pl.DataFrame] | None = None) -> None:
        self.axis = Axis(bars)
        self.decisions = decision_times(bars, self.axis)
        self.keys = self.axis.keys(bars)
        index = self.axis.session_of(self.keys)
        visible = index
        if "knowledge_time" in bars.columns:
            visible = np.maximum(index, self._known(bars["knowledge_time"]))
        self.late = int((visible > index).sum())
        ends = tuple(c for c, t in bars.schema.items() if c.lower() in ENDS and t.is_temporal())
        self.bars = Timed(bars, visible, index, ends=ends)
        self.sources: dict[str, Timed] = {}
        self.static: list[str] = []
        for name, frame in (sources or {}).items():
            self.sources[name] = self.timed(name, frame)
            if (self.sources[name].visible < 0).all():
                self.static.append(name)

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def last(self) -> int:
        """Index of the last session."""
        return len(self.axis.sessions) - 1

    def take(self, symbols: np.ndarray) -> "Panel":
        """The bars of some symbols (boolean mask over the axis), with all sources, on the same axis."""
        part = object.__new__(Panel)
        part.axis, part.decisions, part.sources, part.static = (
            self.axis,
            self.decisions,
            self.sources,
            self.static,
        )
        rows = symbols[self.axis.symbol_of(self.keys)]
        part.keys, part.bars, part.late = self.keys[rows], self.bars.take(rows), self.late
        return part

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
        known = "knowledge_time" if "knowledge_time" in temporal else None
        time_column = interval[0] if interval else next((c for c in TIME_COLUMNS if c in temporal), None)
        if time_column is None:
            rest = [c for c in temporal if c != known]
            if len(rest) > 1 and known is None:
                raise AuditInputError(
                    f"source {name!r} has the time columns {', '.join(rest)}; name the one that says when a "
                    "row became known `session` or `knowledge_time`"
                )
            time_column = rest[0] if len(rest) == 1 and known is None else None
        index = np.full(frame.height, -1, dtype=np.int64)
        if time_column is not None:
            index = self._from(frame[time_column])
        visible = index if known is None else np.maximum(index, self._known(frame[known]))
        if time_column is None and known is not None:
            index = visible
        inside = np.unique(index[(index >= 0) & (index <= self.last)])
        dense = interval is None and len(inside) >= DENSE * len(self.axis.sessions)
        return Timed(frame, visible, index, dense, (interval[1],) if interval else ())

    def _from(self, times: pl.Series) -> np.ndarray:
        """(rows,) first session index at which a row with that own time exists; null: always."""
        if times.dtype == self.axis.dtype or times.dtype == pl.Date:
            table = _micros(pl.Series(self.axis.sessions, dtype=self.axis.dtype))
        else:
            table = self.decisions
        index = np.searchsorted(table, _micros(times), side="left")
        return np.where(times.is_null().to_numpy(), -1, index)

    def _known(self, times: pl.Series) -> np.ndarray:
        """(rows,) first session index whose decision may use what became known at these times; null: never."""
        index = np.searchsorted(self.decisions, _micros(times), side="left")
        return np.where(times.is_null().to_numpy(), len(self.axis.sessions), index)


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


def _micros(times: pl.Series) -> np.ndarray:
    """(rows,) int64 microseconds since 1970, UTC; 0 where null."""
    dtype = times.dtype
    if isinstance(dtype, pl.Datetime) and dtype.time_zone not in (None, "UTC"):
        times = times.dt.convert_time_zone("UTC")
    if isinstance(dtype, pl.Datetime) and dtype.time_zone is not None:
        times = times.dt.replace_time_zone(None)
    return times.cast(pl.Datetime("us")).to_physical().fill_null(0).to_numpy()
