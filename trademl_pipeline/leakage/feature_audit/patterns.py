"""The likely pattern of a leak, told from how the column behaves and not from its code.

Two experiments tell most patterns apart. In the first only a part of the future is deleted: later rows of one source,
or rows that became known late. In the second only one session is replaced, and which rows move shows which sessions
each row reads: one later row for a shift, as many later as earlier ones for a centred window, none in particular where
it only matters that later rows exist. A pattern is named where the evidence singles it out.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from trademl_pipeline.leakage.diagnosis import (
    CENTRED,
    FILL,
    LATE,
    LATER_ROWS,
    SAMPLE,
    SHIFT,
    SOURCE,
    UNCLEAR,
    Diagnosis,
)
from trademl_pipeline.leakage.feature_audit.compare import Difference, difference
from trademl_pipeline.leakage.feature_audit.corrupt import impulse
from trademl_pipeline.leakage.feature_audit.extractor import View, whole
from trademl_pipeline.leakage.feature_audit.findings import ROWS
from trademl_pipeline.leakage.feature_audit.holdings import CAPTURED
from trademl_pipeline.leakage.feature_audit.horizon import Cell, Cuts, Horizon, Recomputed, moved
from trademl_pipeline.leakage.tables import Table

# Prices of a replaced session are multiplied by this or divided by it, neighbouring symbols one way and the other, so
# that ranks among symbols move too.
IMPULSE = 4.0
# Sessions, spread over what comes later, that have to move a value which is a statistic of the whole sample.
FAR = 3


@dataclass(frozen=True)
class Response:
    """Which rows of a column read one session.

    Attributes:
        ahead: distances, in sessions, of earlier rows that read it.
        behind: distances of the session's own row (0) and later ones that read it.
    """

    ahead: frozenset[int]
    behind: frozenset[int]


class Impulses:
    """The output with one session replaced, for some sessions.

    Args:
        audit: of the features.
        seed: of the values in place of the session's.
    """

    def __init__(self, audit: Recomputed, seed: int) -> None:
        self._audit, self._seed = audit, seed
        self._moves_by_session: dict[int, list[Difference]] = {}

    def at(self, session: int) -> list[Difference]:
        """Return how the output moved: once with rising prices, once with falling ones."""
        if session not in self._moves_by_session:
            self._moves_by_session[session] = [self._moves(session, sign) for sign in (1, -1)]
        return self._moves_by_session[session]

    def moves(self, session: int, cell: Cell) -> bool:
        """Return whether a cell moves with one session."""
        column = self._audit.base.columns.index(cell.column)
        return any(((m.keys == cell.key) & (m.columns == column)).any() for m in self.at(session))

    def response(self, session: int, column: str) -> Response:
        """Return which rows of a column, of symbols that trade throughout, move with one session."""
        axis, panel = self._audit.panel.axis, self._audit.panel
        number = self._audit.base.columns.index(column)
        offsets: set[int] = set()
        for moves in self.at(session):
            keys = moves.keys[moves.columns == number]
            keys = keys[_trade_between(panel.keys, len(axis.sessions), keys, session)]
            offsets |= {int(offset) for offset in np.unique(session - axis.session_of(keys))}
        return Response(frozenset(o for o in offsets if o > 0), frozenset(-o for o in offsets if o <= 0))

    def moves_with_all_later(self, cell: Cell) -> bool:
        """Return whether a cell moves when the values of all later bars are replaced and the keys stay.

        A flag may withstand that by chance, so that other rows of its column are asked too: those of the first half.
        """
        panel = self._audit.panel
        middle = (int(panel.axis.session_of(self._audit.base.keys).min()) + panel.last) // 2
        for session in dict.fromkeys((cell.session, middle)):
            where = f"with all after {panel.axis.sessions[session]} replaced"
            for sign in (1, -1):
                table = self._audit.extractor(self._replaced(panel.bars.index > session, sign), where)
                if moved(self._audit, table, cell) and session == cell.session:
                    return True
                earlier = self._audit.base.take(panel.axis.session_of(self._audit.base.keys) <= session)
                others = table.take(panel.axis.session_of(table.keys) <= session).arranged(earlier.columns)
                moves = difference(earlier, others, self._audit.exact)
                if cell.column == ROWS and (len(moves.missing) or len(moves.extra)):
                    return True
                if cell.column != ROWS and earlier.columns.index(cell.column) in moves.columns:
                    return True
        return False

    def _moves(self, session: int, sign: int) -> Difference:
        panel = self._audit.panel
        where = f"with {panel.axis.sessions[session]} alone replaced, to see which rows read it"
        table = self._audit.extractor(self._replaced(panel.bars.index == session, sign), where)
        return difference(self._audit.base, table.arranged(self._audit.base.columns), self._audit.exact)

    def _replaced(self, mask: np.ndarray, sign: int) -> View:
        """The panel with other values in some bars: higher prices for one half of the symbols, lower for the other."""
        panel, rows = self._audit.panel, np.flatnonzero(mask)
        parity = panel.axis.symbol_of(panel.keys[rows]) % 2 * 2 - 1
        rng = np.random.default_rng([self._seed, 7, int(sign > 0)])
        # A factor of its own for each row, since a level that only changes once hides in ratios.
        power = sign * parity * rng.uniform(0.5, 1.0, len(rows))
        bars = impulse(panel.bars.frame, rows, IMPULSE**power, rng)
        return View(bars, panel.keys, whole(panel).sources)


def _trade_between(bar_keys: np.ndarray, sessions: int, keys: np.ndarray, session: int) -> np.ndarray:
    """Return (rows,) bool: the row's symbol has a bar in every session from it to another, so that rows are sessions.

    Args:
        bar_keys: (bars,) ascending key codes of all bars.
        sessions: number of sessions of the panel.
        keys: (rows,) key codes.
        session: index of the other session.
    """
    others = keys // sessions * sessions + session
    low, high = np.minimum(keys, others), np.maximum(keys, others)
    first, last = np.searchsorted(bar_keys, low), np.searchsorted(bar_keys, high)
    ends = bar_keys[np.minimum(last, len(bar_keys) - 1)] == high
    return ends & (last - first == high - low)


def pattern_of(audit: Recomputed, cuts: Cuts, impulses: Impulses, cell: Cell, horizon: Horizon) -> Diagnosis:
    """Return what a refused cell's behaviour tells of its cause.

    Args:
        audit: of the features.
        cuts: computes on later and later cut-offs.
        impulses: computes with one session replaced.
        cell: that moved at its cut-off.
        horizon: how far ahead it sees.
    """
    if cell.column != ROWS and cell.column not in cuts.at(cell.cutoff).columns:
        return _diagnosis(LATER_ROWS, "the column itself is there because of rows that come later", horizon)
    sources = _of_a_part(audit, cell)
    if sources is not None:
        return _diagnosis(*sources, horizon)
    if not impulses.moves_with_all_later(cell):
        return _diagnosis(LATER_ROWS, "no later value moves it, only that there are later rows", horizon)
    if cell.column == ROWS:
        return _diagnosis(UNCLEAR, "later values decide whether there is a row", horizon)
    if _is_of_the_sample(audit, impulses, cell, horizon):
        first, last = (audit.panel.axis.sessions[s] for s in (cell.session + 1, audit.panel.last))
        return _diagnosis(SAMPLE, f"it moves with any later session, from {first} to {last}", horizon)
    return _of_neighbours(audit, cuts, impulses, cell, horizon)


def _diagnosis(pattern: str, evidence: str, horizon: Horizon) -> Diagnosis:
    return Diagnosis(pattern, evidence, horizon.sessions, horizon.is_minimum)


def _is_of_the_sample(audit: Recomputed, impulses: Impulses, cell: Cell, horizon: Horizon) -> bool:
    """Return whether sessions all over what comes later move a cell, and the last one moves rows long before it."""
    last = audit.panel.last
    far = [int(s) for s in np.unique(np.linspace(cell.session + 1, last, FAR).astype(int))]
    if len(far) < FAR or not (horizon.is_minimum or last > cell.session + horizon.sessions):
        return False
    if not all(impulses.moves(session, cell) for session in far):
        return False
    span = last - int(audit.panel.axis.session_of(audit.base.keys).min())
    return 2 * max(impulses.response(last, cell.column).ahead, default=0) >= span


def _of_a_part(audit: Recomputed, cell: Cell) -> tuple[str, str] | None:
    """Pattern and evidence where only later rows of a source, or only rows known late, move a cell; None otherwise."""
    panel, everything, cutoff = audit.panel, whole(audit.panel), cell.cutoff
    when = f"to see what it needs of what came after {panel.axis.sessions[cutoff]}"

    def moves(bars: np.ndarray, sources: dict[str, pl.DataFrame]) -> bool:
        view = View(
            panel.bars.frame.filter(pl.Series(bars)), panel.keys[bars], {**everything.sources, **sources}
        )
        return moved(audit, audit.extractor(view, when, sessions=(cell.session, cell.session)), cell)

    every = np.ones(len(panel), dtype=bool)
    by_session = panel.bars.index <= cutoff
    if panel.sources and not moves(panel.bars.visible <= cutoff, {}):
        for name, source in panel.sources.items():
            if moves(every, {name: source.as_of(cutoff, panel.axis)}):
                label = name.removeprefix(CAPTURED)
                late = (source.index <= cutoff) & (source.visible > cutoff)
                if late.any() and moves(every, {name: source.frame.filter(pl.Series(~late))}):
                    return LATE, f"it moves with rows of {label} that became known after their session"
                return SOURCE, f"it moves when only {label} is cut, and not when only the bars are"
    late = by_session & (panel.bars.visible > cutoff)
    if late.any() and moves(~late, {}) and not moves(by_session, {}):
        return (
            LATE,
            "it moves when bars that became known late are taken away, and not when later sessions are",
        )
    return None


def _of_neighbours(
    audit: Recomputed, cuts: Cuts, impulses: Impulses, cell: Cell, horizon: Horizon
) -> Diagnosis:
    """Return the pattern of a cell that needs a number of later sessions."""
    ahead = horizon.sessions
    if _is_filled(audit, cuts, cell, horizon):
        evidence = f"missing until the value of {ahead} session{'s' * (ahead != 1)} later is copied back"
        return _diagnosis(FILL, evidence, horizon)
    here = impulses.response(cell.session + ahead, cell.column)
    elsewhere = [impulses.response(u, cell.column) for u in _inner_sessions(audit, ahead)]
    if not elsewhere:
        evidence = (
            "some later sessions move it and others do not, and none has room on both sides to see more"
        )
        return _diagnosis(UNCLEAR, evidence, horizon)
    first = elsewhere[0]
    # What every row does the same way reaches as far as it does where there is room, also next to the end of the bars.
    known = Horizon(ahead, is_minimum=False) if first.ahead and max(first.ahead) == ahead else horizon
    same = all(response.ahead == first.ahead for response in elsewhere)
    window: frozenset[int] = frozenset(range(1, ahead + 1))
    around = window | frozenset((0,))
    if all(r.ahead == window and r.behind == around for r in elsewhere):
        each = "the session" if ahead == 1 else f"each of the {ahead} sessions"
        evidence = f"it moves with {each} before and after its own"
        return _diagnosis(CENTRED, evidence, known)
    if same and first.ahead and max(first.ahead) == ahead:
        count = len(first.ahead)
        evidence = (
            f"it reads exactly one later row, {ahead} session{'s' * (ahead != 1)} on, in every row"
            if count == 1
            else f"it reads {count} later rows, up to {ahead} sessions on, the same in every row"
        )
        return _diagnosis(SHIFT, evidence, known)
    if here.ahead == frozenset((ahead,)):
        evidence = (
            f"one later row, {ahead} session{'s' * (ahead != 1)} on, moves it, and not in every row: "
            "a peek on a condition, or a gap that is filled from what comes later"
        )
        return _diagnosis(UNCLEAR, evidence, horizon)
    return _diagnosis(UNCLEAR, "which later sessions move it differs from row to row", horizon)


def _inner_sessions(audit: Recomputed, ahead: int) -> Sequence[int]:
    """Two sessions with room for a window on both sides, in what the audited features have rows for."""
    sessions = np.unique(audit.panel.axis.session_of(audit.base.keys))
    inner = sessions[(sessions >= sessions[0] + ahead + 1) & (sessions <= sessions[-1] - ahead - 1)]
    if not len(inner):
        return []
    middle = len(inner) // 2
    return [int(s) for s in np.unique(inner[[middle, min(middle + 1, len(inner) - 1)]])]


def _is_filled(audit: Recomputed, cuts: Cuts, cell: Cell, horizon: Horizon) -> bool:
    """Return whether a cell is missing until a later value is known, which it then repeats.

    The later value needs nothing later, none but the cells between the two are equal to it, and there was nothing to be
    had at the cell itself: it is the beginning of the symbol's values, or its bar has a gap.
    """
    later = Cell(cell.column, cell.key + horizon.sessions, cell.session + horizon.sessions, cell.session)
    published = _value(audit.base, cell)
    if horizon.is_minimum or published is None or published != _value(audit.base, later):
        return False
    axis, number = audit.panel.axis, audit.base.columns.index(cell.column)
    mine = audit.base.take(axis.symbol_of(audit.base.keys) == axis.symbol_of(np.array(cell.key)))
    equal = mine.keys[mine.values[:, number] == published]
    between = mine.keys[(mine.keys >= equal[0]) & (mine.keys <= later.key)]
    begins = not np.isfinite(mine.values[mine.keys < equal[0], number]).any()
    if not np.array_equal(equal, between) or not (begins or _has_gap(audit, cell)):
        return False
    is_missing = _value(cuts.at(cell.cutoff), cell) is None
    return is_missing and not moved(audit, cuts.at(later.session), later)


def _has_gap(audit: Recomputed, cell: Cell) -> bool:
    """Return whether a value of the cell's own bar is missing."""
    row = audit.panel.bars.frame.filter(pl.Series(audit.panel.keys == cell.key))
    return any(
        row[c].null_count() > 0 or (t.is_float() and bool(row[c].is_nan().any()))
        for c, t in row.schema.items()
    )


def _value(table: Table, cell: Cell) -> float | None:
    """The value of a cell; None where it is missing, or there is no row."""
    at = int(np.searchsorted(table.keys, cell.key))
    if at >= len(table.keys) or table.keys[at] != cell.key or cell.column not in table.columns:
        return None
    value = float(table.values[at, table.columns.index(cell.column)])
    return None if np.isnan(value) else value
