"""Looking into the first violations of a probe: how far ahead each column sees, and why."""

from collections.abc import Callable
from dataclasses import replace

from trademl_pipeline.leakage.diagnosis import LATER_ROWS, LEVEL, MEMORY, STATE, UNCLEAR, Diagnosis
from trademl_pipeline.leakage.errors import AuditError
from trademl_pipeline.leakage.feature_audit.extractor import View, alone
from trademl_pipeline.leakage.feature_audit.findings import ROWS
from trademl_pipeline.leakage.feature_audit.horizon import Cell, Cuts, Recomputed, horizon_of, moved
from trademl_pipeline.leakage.feature_audit.patterns import Impulses, pattern_of
from trademl_pipeline.leakage.report import Violation

# Columns that are looked into, each with a few dozen computations: a refusal shows how it leaks, not every leak.
DIAGNOSED_COLUMNS = 3
# Probes that take away the future; of their cut-offs it can be asked how much later one has to be.
CUTTING = frozenset(("truncation", "perturbation"))
NOT_LOOKED_INTO = Diagnosis(UNCLEAR, f"only the first {DIAGNOSED_COLUMNS} columns that leak are looked into")


class Diagnoses:
    """Why columns leak, each column looked into once per audit, whichever probe saw it first.

    Args:
        audit: of the features.
        seed: of the values that stand in place of a session's.
    """

    def __init__(self, audit: Recomputed, seed: int) -> None:
        self._audit = audit
        self._impulses = Impulses(audit, seed)
        self._by_column: dict[str, Diagnosis] = {}

    def of(
        self, violations: tuple[Violation, ...], view: Callable[[int], View] | None
    ) -> tuple[Violation, ...]:
        """Return the violations of one probe with what their columns' behaviour tells.

        Args:
            violations: at most two per column, the first of a column first.
            view: gives the input that a cut-off leaves; None for a probe that takes nothing away.
        """
        if not violations:
            return violations
        if violations[0].probe == "adjustment":
            evidence = "it moves when all history is restated for a later split"
            return tuple(replace(v, diagnosis=Diagnosis(LEVEL, evidence)) for v in violations)
        if violations[0].probe == "incremental":
            return self._of_history(violations)
        if violations[0].probe not in CUTTING or view is None:
            return violations
        first = {v.column: v for v in reversed(violations) if v.column is not None}
        fresh = [v for v in reversed(first.values()) if v.column not in self._by_column]
        cells = [(v, Cell.of(v, self._audit)) for v in fresh]
        room = DIAGNOSED_COLUMNS - len(self._by_column)
        chosen = [(v, cell) for v, cell in cells if cell is not None][: max(room, 0)]
        cuts = Cuts(self._audit, view, [cell for _, cell in chosen]) if chosen else None
        for _, cell in chosen:
            assert cuts is not None
            self._by_column[cell.column] = self._diagnosis(cuts, cell)
        return tuple(replace(v, diagnosis=self._diagnosis_for(v)) for v in violations)

    def _diagnosis_for(self, violation: Violation) -> Diagnosis:
        column = violation.column or ROWS
        if column in self._by_column:
            return self._by_column[column]
        if column != ROWS and column not in self._audit.base.columns:
            return Diagnosis(LATER_ROWS, "which columns there are depends on which rows come later")
        return NOT_LOOKED_INTO

    def _of_history(self, violations: tuple[Violation, ...]) -> tuple[Violation, ...]:
        """Return violations of months that were computed alone, with how much warm-up their columns need."""
        by_column: dict[str | None, Diagnosis | None] = {**self._by_column}
        for column in dict.fromkeys(v.column for v in violations):
            if column not in by_column:
                mine = [v for v in violations if v.column == column]
                room = len(by_column) - len(self._by_column) < DIAGNOSED_COLUMNS
                by_column[column] = self._memory(mine) if room else NOT_LOOKED_INTO
        return tuple(replace(v, diagnosis=by_column[v.column]) for v in violations)

    def _memory(self, violations: list[Violation]) -> Diagnosis | None:
        """Return why values of a column are others when their months are computed alone; None: it cannot be told."""
        declared, days = self._audit.warmup, self._audit.panel.axis.sessions
        if declared is None:
            return None
        history, everything = declared, False
        cells = [cell for v in violations if (cell := Cell.of(v, self._audit)) is not None]
        if not cells:
            return None
        try:
            for cell in cells:
                month = (days[cell.session].year, days[cell.session].month)
                first = next(i for i, day in enumerate(days) if (day.year, day.month) == month)
                while self._needs_more(cell, first, history):
                    if history >= first:
                        return None
                    history = max(2 * history, 1)
                everything |= history >= first
        except AuditError as error:
            return Diagnosis(UNCLEAR, f"it could not be looked into: {error}")
        if history == declared:
            return Diagnosis(STATE, "a call that nothing went before gives the published value")
        evidence = f"it takes a warm-up of more than {history // 2:,} sessions, and {declared:,} are declared"
        if everything:
            return Diagnosis(MEMORY, evidence)
        remedy = f"declare a warm-up of {history:,} sessions (warmup=), or use a window that ends"
        return Diagnosis(MEMORY, evidence, remedy=remedy)

    def _needs_more(self, cell: Cell, first: int, history: int) -> bool:
        view = alone(self._audit.panel, first, cell.cutoff, history)
        where = f"with {history} sessions of warm-up, to see how many it needs"
        table = self._audit.extractor(view, where, sessions=(cell.session, cell.session))
        return moved(self._audit, table, cell, self._audit.approximate)

    def _diagnosis(self, cuts: Cuts, cell: Cell) -> Diagnosis:
        try:
            horizon = horizon_of(self._audit, cuts, cell)
            return pattern_of(self._audit, cuts, self._impulses, cell, horizon)
        except AuditError as error:
            # The refusal stands by what its probe saw; a function that breaks on other bars only says less of why.
            return Diagnosis(UNCLEAR, f"it could not be looked into: {error}")
