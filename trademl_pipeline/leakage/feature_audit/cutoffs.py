"""Which sessions an audit cuts at: all, those that are listed, or some that are drawn, events first.

A leak that acts on rare rows only, such as those of a crash or of a flag that seldom fires, shows at a cut-off at such
a row and nowhere else. So of the cut-offs that are drawn, all but one go to sessions of events as long as there are
some: those at which most columns that seldom leave their usual value do so, then the largest fall and rise of a price.
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, time
from typing import Any

import numpy as np
import polars as pl

from trademl_pipeline.leakage.errors import AuditInputError
from trademl_pipeline.leakage.feature_audit.views import Panel
from trademl_pipeline.leakage.tables import Table

# A column that has another value than its usual one in no more than this share of the rows is rare there.
RARE = 0.05
PRICE_NAMES = ("close", "adj_close", "c", "price")


@dataclass(frozen=True)
class Cutoffs:
    """Cut-offs of an audit.

    Attributes:
        sessions: their session indices, ascending.
        exhaustive: they are all there are.
        is_drawn: they were drawn, so that others may stand in their place.
        events: how many are sessions of events.
        missed: columns that seldom leave their usual value, and do so at none of the cut-offs.
    """

    sessions: list[int]
    exhaustive: bool
    is_drawn: bool = False
    events: int = 0
    missed: tuple[str, ...] = ()

    def months(self, days: Sequence[date], window: tuple[int, int]) -> list[tuple[int, int]]:
        """Return the first and last session index of the months in a window that hold a cut-off.

        Args:
            days: all sessions.
            window: first and last session index.
        """
        by_month: dict[tuple[int, int], list[int]] = {}
        for i in range(window[0], window[1] + 1):
            by_month.setdefault((days[i].year, days[i].month), []).append(i)
        if not self.exhaustive:
            sampled = {(days[t].year, days[t].month) for t in self.sessions}
            by_month = {month: rows for month, rows in by_month.items() if month in sampled}
        return [(rows[0], rows[-1]) for rows in by_month.values()]


def events_first(cutoffs: Cutoffs, panel: Panel, base: Table, window: tuple[int, int], seed: int) -> Cutoffs:
    """Return cut-offs of which sessions of events take the place of those that were drawn, all but the first.

    Args:
        cutoffs: as `cutoffs_of` gives them.
        panel: everything.
        base: output of the extractor on it.
        window: first and last session index of the audited window, both inclusive.
        seed: of the choice among equals.
    """
    if not cutoffs.is_drawn:
        return cutoffs
    first, last = window[0], min(window[1], panel.last - 1)
    rare = _rare_sessions(panel, base, first, last)
    budget = max(len(cutoffs.sessions) - 1, 1)
    order = np.random.default_rng([seed, 8]).permutation(np.arange(first, last + 1))
    chosen: list[int] = []
    left: list[str] = list(rare)
    while left and len(chosen) < budget:
        fired = {t: sum(t in rare[column] for column in left) for t in order.tolist()}
        best = max(fired, key=lambda t: fired[t])
        chosen.append(best)
        left = [column for column in left if best not in rare[column]]
    for extreme in _extremes(panel, first, last):
        if len(chosen) < budget and extreme not in chosen:
            chosen.append(extreme)
    spaced = [t for t in cutoffs.sessions if t not in chosen]
    room = len(cutoffs.sessions) - len(chosen)
    spread = [spaced[int(i)] for i in np.linspace(0, len(spaced) - 1, room)] if room else []
    sessions = sorted({*chosen, *spread})
    missed = tuple(c for c, fires in rare.items() if not fires & set(sessions))
    return Cutoffs(sessions, exhaustive=False, is_drawn=True, events=len(chosen), missed=missed)


def _rare_sessions(panel: Panel, base: Table, first: int, last: int) -> dict[str, set[int]]:
    """Columns that seldom leave their usual value, and the sessions from the first to the last at which they do."""
    session = panel.axis.session_of(base.keys)
    inside = (session >= first) & (session <= last)
    session, values = session[inside], base.values[inside]
    rare: dict[str, set[int]] = {}
    for j, column in enumerate(base.columns):
        numbers = values[:, j]
        missing = np.isnan(numbers)
        if missing.all():
            continue
        if missing.mean() >= 1 - RARE:
            fires = ~missing
        else:
            # What most rows share is their median too; where rows are even in number, that of one of the middle two.
            present = np.sort(numbers[~missing])
            fires = ~missing & (numbers != present[len(present) // 2])
        if 0 < fires.mean() <= RARE:
            rare[column] = {int(t) for t in np.unique(session[fires])}
    return rare


def _extremes(panel: Panel, first: int, last: int) -> list[int]:
    """The sessions of the largest fall and the largest rise of a price, in units of its symbol's usual move."""
    bars = panel.bars.frame
    price = next((c for name in PRICE_NAMES for c in bars.columns if c.lower() == name), None)
    if price is None or not bars.schema[price].is_numeric():
        return []
    move = (pl.col(price) / pl.col(price).shift(1) - 1).over("symbol")
    moves = (
        bars.select("symbol", move=move.cast(pl.Float64))
        .select(pl.col("move") / pl.col("move").abs().median().over("symbol"))
        .to_series()
        .to_numpy()
    )
    index = panel.bars.index
    at = np.flatnonzero((index >= first) & (index <= last) & np.isfinite(moves))
    return [int(index[at[pick(moves[at])]]) for pick in (np.argmin, np.argmax)] if len(at) else []


def span_of(sessions: Sequence[Any] | None, panel: Panel) -> tuple[Any, Any] | None:
    """Return the first and the last of the sessions to audit, as the panel has them; None: all.

    Raises:
        AuditInputError: fewer than two sessions, or no dates.
    """
    if sessions is None:
        return None
    days = list(sessions)
    if len(days) < 2 or not all(isinstance(d, date) for d in days):
        raise AuditInputError(
            f"sessions is {sessions!r}; give the first and the last session to audit, both as dates"
        )
    return _like(min(days), panel, time.min), _like(max(days), panel, time.max)


def _like(day: date, panel: Panel, at: time) -> date:
    """A date as the panel's session type; for datetime sessions the start or the end of that day."""
    if isinstance(panel.axis.dtype, pl.Datetime) and not isinstance(day, datetime):
        zone = panel.axis.sessions[0].tzinfo
        return datetime.combine(day, at, zone)
    if panel.axis.dtype == pl.Date and isinstance(day, datetime):
        return day.date()
    return day


def cutoffs_of(
    panel: Panel, window: tuple[int, int], cutoffs: str | int | Sequence[date], seed: int
) -> Cutoffs:
    """Return the cut-offs that are asked for.

    Args:
        panel: everything.
        window: first and last session index of the audited window, both inclusive.
        cutoffs: "all", how many are to be drawn, or a list of dates.
        seed: of the draw.

    Raises:
        AuditInputError: there is no session to cut at, or they are none of these.
    """
    first, last = window[0], min(window[1], panel.last - 1)
    if last < first:
        raise AuditInputError(
            f"no session lies after {panel.axis.sessions[window[0]]}, so nothing can be deleted; give more "
            "bars"
        )
    if isinstance(cutoffs, str):
        if cutoffs != "all":
            raise AuditInputError(
                f'cutoffs is {cutoffs!r}; give "all", a number of sessions, or a list of dates'
            )
        return Cutoffs(list(range(first, last + 1)), exhaustive=True)
    if isinstance(cutoffs, int):
        if isinstance(cutoffs, bool) or cutoffs < 1:
            raise AuditInputError(f"cutoffs is {cutoffs!r}; it must be at least 1")
        count = last - first + 1
        if cutoffs >= count:
            return Cutoffs(list(range(first, last + 1)), exhaustive=True)
        edges = [int(e) for e in np.linspace(first, last + 1, cutoffs + 1)]
        # The first is drawn from the first week: what is filled backwards shows near the beginning only.
        ends = [min(edges[1], first + 5), *edges[2:]]
        rng = np.random.default_rng([seed, 0])
        spaced = [int(rng.integers(a, b)) for a, b in zip(edges[:-1], ends, strict=True)]
        return Cutoffs(spaced, exhaustive=False, is_drawn=True)
    return Cutoffs(_listed(panel, first, last, cutoffs), exhaustive=False)


def _listed(panel: Panel, first: int, last: int, cutoffs: Sequence[Any]) -> list[int]:
    days = panel.axis.sessions
    chosen: set[int] = set()
    for day in cutoffs:
        if not isinstance(day, date):
            raise AuditInputError(f"cut-off {day!r} is {type(day).__name__}; give dates")
        at = bisect_right(days, _like(day, panel, time.max)) - 1
        if not first <= at <= last:
            raise AuditInputError(
                f"cut-off {day} is not between {days[first]} and {days[last]}, the audited sessions with a "
                "later one"
            )
        chosen.add(at)
    if not chosen:
        raise AuditInputError("cutoffs is an empty list; nothing would be tested")
    return sorted(chosen)
