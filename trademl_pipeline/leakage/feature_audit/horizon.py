"""How far ahead a leaking value sees: the earliest later cut-off at which it comes out as it was published."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from trademl_pipeline.leakage.feature_audit.compare import Tolerance, difference
from trademl_pipeline.leakage.feature_audit.extractor import Extractor, View
from trademl_pipeline.leakage.feature_audit.findings import ROWS
from trademl_pipeline.leakage.feature_audit.views import Panel
from trademl_pipeline.leakage.report import Violation
from trademl_pipeline.leakage.tables import Table


class Recomputed(Protocol):
    """The audit that a cell was refused by, see `feature_audit.probes.FeatureAudit`."""

    panel: Panel
    extractor: Extractor
    exact: Tolerance
    approximate: Tolerance
    warmup: int | None

    @property
    def base(self) -> Table:
        """The output on everything."""
        ...


@dataclass(frozen=True)
class Cell:
    """A value that was refused.

    Attributes:
        column: name of the feature; `ROWS` where it is the row that appeared or vanished.
        key: code of its symbol and session.
        session: index of its session.
        cutoff: index of the session after which everything was deleted, or made up, when it moved.
    """

    column: str
    key: int
    session: int
    cutoff: int

    @classmethod
    def of(cls, violation: Violation, audit: Recomputed) -> "Cell | None":
        """Return the cell of a violation that was moves at a cut-off; None where it is no cell of the output."""
        axis = audit.panel.axis
        if violation.symbol is None or violation.cutoff is None or violation.first_leak is None:
            return None
        if violation.column != ROWS and violation.column not in audit.base.columns:
            return None
        symbol, session = axis.symbols.index(violation.symbol), axis.sessions.index(violation.first_leak)
        key = symbol * len(axis.sessions) + session
        return cls(violation.column, key, session, axis.sessions.index(violation.cutoff))


def moved(audit: Recomputed, other: Table, cell: Cell, tolerance: Tolerance | None = None) -> bool:
    """Return whether a cell (for `ROWS`: whether there is a row) is another than was published.

    Args:
        audit: of the features.
        other: output that has the cell's session.
        cell: that is compared.
        tolerance: within which values are equal; None: that of exact computations.
    """
    ours, theirs = (table.take(table.keys == cell.key) for table in (audit.base, other))
    if cell.column == ROWS or len(ours.keys) != len(theirs.keys):
        return len(ours.keys) != len(theirs.keys)
    moves = difference(ours, theirs.arranged(ours.columns), tolerance or audit.exact)
    return ours.columns.index(cell.column) in moves.columns


class Cuts:
    """The output on views that are cut at later and later sessions, of the sessions of some cells.

    Args:
        audit: of the features.
        view: gives the input that a cut-off leaves, as the probe makes it.
        cells: whose sessions are remembered, and those to which their horizons reach.
    """

    def __init__(self, audit: Recomputed, view: Callable[[int], View], cells: Sequence[Cell]) -> None:
        self._audit, self._view = audit, view
        self._first = min(cell.session for cell in cells)
        self._keys = np.array([cell.key for cell in cells])
        self._tables: dict[int, Table] = {}

    def at(self, cutoff: int) -> Table:
        """Return the rows of the cells, and those of the cut-off's own session, at a cut-off (session index)."""
        if cutoff not in self._tables:
            axis = self._audit.panel.axis
            where = f"cut at {axis.sessions[cutoff]}, to see how far ahead it looks"
            table = self._audit.extractor(self._view(cutoff), where, sessions=(self._first, cutoff))
            rows = np.isin(table.keys, self._keys) | (axis.session_of(table.keys) == cutoff)
            self._tables[cutoff] = table.take(rows)
        return self._tables[cutoff]


@dataclass(frozen=True)
class Horizon:
    """How far ahead a cell sees.

    Attributes:
        sessions: how many; 0 where it is reproduced without any later one.
        is_minimum: the bars end first.
    """

    sessions: int
    is_minimum: bool


def horizon_of(audit: Recomputed, cuts: Cuts, cell: Cell) -> Horizon:
    """Return how many sessions after its own a cell needs to come out as it was published.

    The distance is doubled until the cell is reproduced, and then halved; that it stays so further on is taken for
    granted.

    Args:
        audit: of the features.
        cuts: computes on later and later cut-offs.
        cell: that moved at its cut-off.
    """
    room = audit.panel.last - cell.session

    def is_reproduced(ahead: int) -> bool:
        return not moved(audit, cuts.at(cell.session + ahead), cell)

    short, step = cell.cutoff - cell.session, 1
    while (ahead := short + step) < room and not is_reproduced(ahead):
        short, step = ahead, 2 * step
    enough = min(ahead, room)
    while enough - short > 1:
        middle = (short + enough) // 2
        if is_reproduced(middle):
            enough = middle
        else:
            short = middle
    # With every bar there is nothing left to be deleted, so that a value which needs the last may need later ones.
    return Horizon(enough, is_minimum=enough >= room)
