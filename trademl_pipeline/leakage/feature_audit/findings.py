"""Collecting what moved, and telling it shortly: per column the first and the worst example, with counts."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from trademl_pipeline.leakage.feature_audit.compare import Difference
from trademl_pipeline.leakage.report import Violation
from trademl_pipeline.leakage.tables import Axis, Table

ROWS = "<rows>"


@dataclass
class _Example:
    key: int
    cutoff: int | None
    delta: float
    text: str


@dataclass
class _Column:
    cells: int = 0
    unconfirmed: int = 0
    cutoffs: set[int | None] = field(default_factory=set[int | None])
    symbols: set[int] = field(default_factory=set[int])
    first: _Example | None = None
    worst: _Example | None = None


class Findings:
    """Differences of one probe, gathered over all its calls.

    Parameters
    ----------
    probe : str
    axis : Axis
    columns : sequence of str
        Columns of the base table.
    event : str
        What was done to the input, for the sentence: "when everything later was deleted".
    """

    def __init__(self, probe: str, axis: Axis, columns: Sequence[str], event: str) -> None:
        self.probe = probe
        self.axis = axis
        self.columns = tuple(columns)
        self.event = event
        self.compared = 0
        self._by_column: dict[str, _Column] = {}

    def add(self, diff: Difference, cutoff: int | None) -> None:
        """Record a confirmed difference at a cut-off (session index; None where there is none)."""
        self.compared += diff.compared
        for keys, what in ((diff.missing, "row vanished"), (diff.extra, "row appeared")):
            for key in keys:
                self._note(ROWS, _Example(int(key), cutoff, np.inf, what))
        for j in map(int, np.unique(diff.columns)):
            mine = np.flatnonzero(diff.columns == j)
            keys, delta = diff.keys[mine], diff.delta[mine]
            # The earliest session first, so that the report names where the leak begins.
            early = mine[np.argmin(self.axis.session_of(keys))]
            finite = np.where(np.isfinite(delta), delta, -1.0)
            large = mine[np.argmax(finite)] if (finite >= 0).any() else early
            column = self._by_column.setdefault(self.columns[j], _Column())
            column.cells += len(mine) - 2 if large != early else len(mine) - 1
            column.symbols.update(self.axis.symbol_of(keys).tolist())
            for at in dict.fromkeys((int(early), int(large))):
                text = f"{_value(diff.before[at])} became {_value(diff.after[at])}"
                self._note(self.columns[j], _Example(int(diff.keys[at]), cutoff, float(diff.delta[at]), text))

    def columns_changed(self, base: Table, other: Table, cutoff: int | None) -> None:
        """Record columns that exist on one side only."""
        for name in sorted(set(base.columns) ^ set(other.columns)):
            what = "column vanished" if name in base.columns else "column appeared"
            self._note(name, _Example(int(base.keys[0]), cutoff, np.inf, what))

    def suspect(self, diff: Difference) -> None:
        """Count a difference in columns that need no further proof."""
        self.compared += diff.compared
        if len(diff.missing) or len(diff.extra):
            self._by_column.setdefault(ROWS, _Column()).unconfirmed += len(diff.missing) + len(diff.extra)
        for j, n in zip(*np.unique(diff.columns, return_counts=True), strict=True):
            self._by_column.setdefault(self.columns[int(j)], _Column()).unconfirmed += int(n)

    def proven(self, diff: Difference, times: int) -> bool:
        """Return whether a difference would add nothing to what is proven.

        So it is where all its columns were refused at that many cut-offs, and earlier.
        """
        parts = [(ROWS, keys) for keys in (diff.missing, diff.extra) if len(keys)]
        parts += [(self.columns[j], diff.keys[diff.columns == j]) for j in np.unique(diff.columns)]
        for name, keys in parts:
            column = self._by_column.get(name)
            if column is None or column.first is None or len(column.cutoffs) < times:
                return False
            if self.axis.session_of(keys).min() < self.axis.session_of(np.array(column.first.key)):
                return False
        return True

    def exhausted(self, times: int) -> bool:
        """Return whether every feature was refused at that many cut-offs, so that more would say nothing new."""
        return all(c in self._by_column and len(self._by_column[c].cutoffs) >= times for c in self.columns)

    def violations(self) -> tuple[Violation, ...]:
        """At most two per column: the first, which carries the counts, and the worst."""
        out: list[Violation] = []
        for name, column in self._by_column.items():
            first, worst = column.first, column.worst
            if first is None:
                continue
            spread = (
                f"{column.cells:,} {'rows' if name == ROWS else 'cells'} in {len(column.symbols):,} symbols"
            )
            more = f", and {column.unconfirmed:,} more not looked at again" if column.unconfirmed else ""
            largest = max((e.delta for e in (first, worst) if e and np.isfinite(e.delta)), default=np.inf)
            detail = f"{first.text} {self.event}; {spread}{more}"
            out.append(self._violation(name, first, largest, detail, column.cells + column.unconfirmed))
            if worst is not None and worst.key != first.key and np.isfinite(worst.delta):
                out.append(self._violation(name, worst, worst.delta, f"worst: {worst.text} {self.event}", 1))
        return tuple(out)

    def _violation(self, name: str, at: _Example, delta: float, detail: str, count: int) -> Violation:
        symbol, session = self.axis.name(at.key)
        cutoff: Any = None if at.cutoff is None else self.axis.sessions[at.cutoff]
        return Violation(self.probe, name, symbol, cutoff, session, delta, detail, count)

    def _note(self, name: str, example: _Example) -> None:
        column = self._by_column.setdefault(name, _Column())
        column.cells += 1
        column.cutoffs.add(example.cutoff)
        column.symbols.add(int(self.axis.symbol_of(np.array(example.key))))
        when = int(self.axis.session_of(np.array(example.key)))
        if column.first is None or when < int(self.axis.session_of(np.array(column.first.key))):
            column.first = example
        rank = example.delta if np.isfinite(example.delta) else -1.0
        best = (
            -2.0 if column.worst is None else column.worst.delta if np.isfinite(column.worst.delta) else -1.0
        )
        if rank > best:
            column.worst = example


def _value(value: float) -> str:
    return "missing" if np.isnan(value) else f"{value:.6g}"
