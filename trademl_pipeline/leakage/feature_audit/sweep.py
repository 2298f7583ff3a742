"""Testing every session as a cut-off, without computing everything once per session.

**What clears a cell.** Let base[s] be a feature's value at session s. If any computation that was given
nothing after s reproduces base[s], then base[s] needs nothing after s. Which computation does not matter: the
full history up to s, only a window before s, or only some of the symbols. So a cell is first compared with a
cheap computation, and only where that disagrees with the full one, which alone can refuse. A cheap
computation can cost a second look; it cannot invent a leak, and it can hide none that is larger than the
tolerance of a warm-up (4e-6 of a feature's size).

**Which cells a cut-off tests.** A cut-off at t tests the dependence of every row s <= t on rows later than t.
The sharpest test of row s is the cut-off s itself. With every session a cut-off for every symbol, each row is
compared at its own session, and no dependence on later rows is left untested.

**What it costs.** Full history at every session costs half as many computations as there are sessions.

On small panels (`plans.EXACT_ROWS` bars in all) a window is handed over where a few sampled sessions come out of it as
of all history, to the tolerance of exact computations: there no leak is too small for it. Where none suffices, as for
averages of long memory, it is all history. Where the extractor works symbol by symbol, many such views lie side by
side in one call, see `stacking` for what that could hide. Truncation tests every row at its own session either way.
Made-up futures have a budget (`probes.PERTURBATION_TIMES` computations), beyond which symbols take turns, or sessions
are left out where symbols are mixed: each row is then tested some sessions later than itself, and a peek that no real
future triggered is seen if it is more than one row's. The styles of the futures take turns with the symbols.

Beyond that only a window is handed over: the declared warm-up, or the shortest that is seen to
suffice. If that is still above the budget and the extractor works symbol by symbol (seen on samples, see
`plans.separable`), the symbols are dealt into `stride` groups and each session is a cut-off for one group in turn.
Then each row is tested at most `stride` - 1 sessions later than itself: a dependence reaching `stride` or
more sessions ahead is always seen, a shorter one in one of `stride` rows. An extractor that mixes symbols is
never split; it takes the time it takes.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from trademl_pipeline.leakage.errors import ExtractorError, ExtractorOutputError
from trademl_pipeline.leakage.feature_audit.compare import Difference, Tolerance, difference
from trademl_pipeline.leakage.feature_audit.extractor import Extractor, View
from trademl_pipeline.leakage.feature_audit.findings import Findings
from trademl_pipeline.leakage.feature_audit.plans import Plan
from trademl_pipeline.leakage.feature_audit.stacking import room, together
from trademl_pipeline.leakage.feature_audit.views import Panel
from trademl_pipeline.leakage.tables import Table

# A column refused at this many cut-offs needs no further proof, and when all are the sweep ends.
PROOFS = 3

# After this many cheap disagreements that the full computation did not confirm, the cheap one is widened.
BENIGN = 3
# Calls on several views that the extractor may refuse before each view has a call of its own.
REFUSED = 2

Make = Callable[[Panel, int, int], View]


class Cells:
    """The base table, ready to be cut into stretches of sessions; of a panel with a clock the rows it decides on.

    Attributes:
        base: the output on everything.
        first, last: session indices of the audited window.
        earliest: session index of the first value that is not missing.
    """

    def __init__(self, base: Table, panel: Panel, window: tuple[int, int]) -> None:
        self.base = base
        self.first, self.last = window
        self._axis = panel.axis
        self._mine = panel.decided_here
        self._session = panel.axis.session_of(base.keys)
        self._order = np.argsort(self._session, kind="stable")
        if self._mine is not None:
            self._order = self._order[self._mine[base.keys[self._order]]]
        self._start = np.searchsorted(self._session[self._order], np.arange(len(panel.axis.sessions) + 1))
        with_value = self._order[np.isfinite(base.values[self._order]).any(axis=1)]
        self.earliest = int(self._session[with_value].min(initial=panel.last))

    def stretch(self, after: int, last_session: int, symbols: np.ndarray | None = None) -> Table:
        """Base rows of sessions in (after, until] within the audited window, of some symbols or all."""
        low, high = max(after + 1, self.first), min(last_session, self.last)
        if high < low:
            return self.base.take(np.empty(0, dtype=np.int64))
        rows = self._order[self._start[low] : self._start[high + 1]]
        if symbols is not None:
            rows = rows[symbols[self._axis.symbol_of(self.base.keys[rows])]]
        return self.base.take(np.sort(rows))

    def __len__(self) -> int:
        return len(self._order)

    def nothing_up_to(self, cutoff: int) -> bool:
        """Return whether nothing but missing values was published up to a session."""
        return (
            cutoff < self.earliest
            or not np.isfinite(self.base.values[self._order[: self._start[cutoff + 1]]]).any()
        )

    def compare(
        self,
        other: Table,
        after: int,
        last_session: int,
        tolerance: Tolerance,
        symbols: np.ndarray | None = None,
    ) -> Difference:
        """Return the difference between the base and another table over a stretch of the audited window.

        Args:
            other: computed on another view; its columns are put in the base's order.
            after, last_session: session indices; the stretch is (after, until].
            tolerance: within which two values are equal.
            symbols: (symbols,) mask of those to compare; None: all.
        """
        session = self._axis.session_of(other.keys)
        inside = (
            (session > after) & (session <= last_session) & (session >= self.first) & (session <= self.last)
        )
        if self._mine is not None:
            inside &= self._mine[other.keys]
        return difference(
            self.stretch(after, last_session, symbols),
            other.take(inside).arranged(self.base.columns),
            tolerance,
        )


@dataclass(frozen=True)
class _Task:
    """One cut-off of some symbols: the number of the cut-off, the group, and the stretch of sessions it tests."""

    number: int
    group: int
    part: Panel
    symbols: np.ndarray | None
    after: int
    cutoff: int


@dataclass
class Sweep:
    """One probe over many cut-offs.

    Attributes:
        make: (panel, cutoff, low) -> the view to compute cheaply.
        full: (panel, cutoff) -> the view that can refuse.
        what: of the input, for messages, such as "on the bars up to".
        exact, approximate: tolerances for the full computation, and for one that starts later.
        always_confirm: the cheap view is not the full one even with full history.
        known: cut-off -> output with full history, of its own session, that was computed before.
        ahead: sessions after the cut-off that a view has.
        progress: told the number of cut-offs done and of all, after each.
        benign: cheap disagreements that the full computation did not confirm.
        too_short: cut-offs at which the extractor refused so short a history, and had published nothing for
            it.
        side_by_side: views that were computed in one call with others.
    """

    extractor: Extractor
    panel: Panel
    cells: Cells
    findings: Findings
    make: Make
    full: Callable[[int], View]
    what: str
    exact: Tolerance
    approximate: Tolerance
    plan: Plan
    seed: int = 0
    always_confirm: bool = False
    known: Mapping[int, Table] = field(default_factory=dict[int, Table])
    ahead: int = 0
    progress: Callable[[int, int], None] | None = None
    benign: int = 0
    too_short: int = 0
    side_by_side: int = 0
    refused: int = 0
    stopped: int | None = None

    def run(self, cutoffs: Sequence[int]) -> None:
        """Test the cut-offs (session indices, ascending)."""
        number, first = 0, cutoffs[0] - 1 if self.cells.first else -1
        previous: dict[int, int] = {}
        while number < len(cutoffs) and self.stopped is None:
            plan, groups = self.plan, self._groups()
            if previous.keys() != set(range(len(groups))):
                previous = dict.fromkeys(range(len(groups)), min(previous.values(), default=first))
            tasks = list(self._tasks(cutoffs, number, groups, dict(previous)))
            while tasks and self.stopped is None and self.plan is plan:
                batch, tasks = self._batch(tasks)
                number = self._work(batch, plan, previous, len(cutoffs))

    def _tasks(
        self,
        cutoffs: Sequence[int],
        start: int,
        groups: Sequence[tuple[np.ndarray | None, Panel]],
        previous: dict[int, int],
    ) -> Iterator[_Task]:
        """Yield what is left to be tested from a number on; the last cut-off is of all groups, so that all rows are."""
        for number in range(start, len(cutoffs)):
            is_last = number == len(cutoffs) - 1 and not self.ahead
            chosen = range(len(groups)) if is_last else [number % len(groups)]
            for group in chosen:
                symbols, part = groups[group]
                yield _Task(number, group, part, symbols, previous[group], cutoffs[number])
                previous[group] = cutoffs[number]

    def _work(self, batch: Sequence[_Task], plan: Plan, previous: dict[int, int], count: int) -> int:
        """Test what is computed together, and return the number of the next cut-off.

        A cut-off that makes the plan another is the last of it.
        """
        tables = self._together(batch)
        for place, (task, table) in enumerate(zip(batch, tables, strict=True)):
            self._test(task, table)
            previous[task.group] = task.cutoff
            if place + 1 < len(batch) and batch[place + 1].number == task.number:
                continue
            if self.progress is not None:
                self.progress(task.number + 1, count)
            if self.findings.exhausted(PROOFS):
                self.stopped = task.cutoff
            if self.stopped is not None or self.plan is not plan:
                return task.number + 1
        return batch[-1].number + 1

    def _groups(self) -> Sequence[tuple[np.ndarray | None, Panel]]:
        if self.plan.stride == 1:
            return [(None, self.panel)]
        names = len(self.panel.axis.symbols)
        dealt = np.random.default_rng([self.seed, 2]).permutation(names) % self.plan.stride
        return [(dealt == g, self.panel.take(dealt == g)) for g in range(self.plan.stride)]

    def _low(self, task: _Task) -> int:
        return 0 if self.plan.window is None else max(task.after + 1 - self.plan.window, 0)

    def _batch(self, tasks: Sequence[_Task]) -> tuple[Sequence[_Task], Sequence[_Task]]:
        """Part off the tasks that fit into one call; all of one cut-off stay together."""
        many, rows, limit = 1, 0, room(self.panel) if self.plan.is_stacked else 0
        for number, task in enumerate(tasks, 1):
            bars = task.part.bars
            visible = (bars.index >= self._low(task)) & (bars.visible <= task.cutoff + self.ahead)
            rows += int(np.count_nonzero(visible))
            if number > 1 and rows > limit and task.number != tasks[number - 2].number:
                break
            many = number
        return tasks[:many], tasks[many:]

    def _together(self, batch: Sequence[_Task]) -> Sequence[Table | None]:
        """The outputs of one call, None for those that are to be computed alone."""
        tables: list[Table | None] = [None] * len(batch)
        if not self.plan.is_stacked:
            return tables
        # A history beside longer ones is not refused for being short, so the shortest that must not be stands alone.
        alone = {self.cells.earliest, *self.known}
        places = [
            place
            for place, task in enumerate(batch)
            if task.cutoff not in alone and len(task.part.rows_at(task.cutoff, self._low(task)))
        ]
        if len(places) < 2:
            return tables
        views = [self.make(batch[p].part, batch[p].cutoff, self._low(batch[p])) for p in places]
        where = f"{self.what} {self.panel.axis.sessions[batch[places[0]].cutoff]} and others, side by side"
        try:
            several = together(self.extractor, self.panel, views, where, self.seed)
        except (ExtractorError, ExtractorOutputError):
            # Histories that are too short for it are the first ones.
            self.refused += 1
            if self.refused >= REFUSED:
                self._less_cheap()
            return tables
        self.side_by_side += len(places)
        for place, table in zip(places, several, strict=True):
            session = self.panel.axis.session_of(table.keys)
            rows = (session > batch[place].after) & (session <= batch[place].cutoff)
            tables[place] = table.take(rows)
        return tables

    def _test(self, task: _Task, table: Table | None) -> None:
        """Compare a stretch of one cut-off; `table` where it was computed side by side with others."""
        part, symbols, after, cutoff = task.part, task.symbols, task.after, task.cutoff
        low = self._low(task)
        if not len(part.rows_at(cutoff, low)):
            # Nothing was known of these symbols; if something was published, it must answer for that.
            if len(self.cells.stretch(after, cutoff, symbols).keys):
                self._confirm(after, cutoff)
            return
        where = f"{self.what} {self.panel.axis.sessions[cutoff]}"
        is_exact = table is None and low == 0 and symbols is None and not self.always_confirm
        if table is None and symbols is None and after == cutoff - 1 and cutoff in self.known:
            table, low, is_exact = self.known[cutoff], 0, True
        try:
            if table is None:
                table = self.extractor(self.make(part, cutoff, low), where, sessions=(after + 1, cutoff))
        except ExtractorError:
            if self.cells.nothing_up_to(cutoff):
                self.too_short += 1
            elif is_exact:
                raise
            else:
                self._confirm(after, cutoff)
            return
        diff = self.cells.compare(table, after, cutoff, self.exact if low == 0 else self.approximate, symbols)
        changed = set(table.columns) ^ set(self.cells.base.columns)
        if not diff and not changed:
            self.findings.compared += diff.compared
            return
        if is_exact:
            self._refuse(table, diff, cutoff)
        elif not changed and self.findings.proven(diff, PROOFS):
            self.findings.suspect(diff)
        else:
            self._confirm(after, cutoff)

    def _confirm(self, after: int, cutoff: int) -> None:
        """Let the computation with everything known decide; if it agrees with the base, be less cheap from now on."""
        where = f"{self.what} {self.panel.axis.sessions[cutoff]}"
        table = self.extractor(self.full(cutoff), where, sessions=(after + 1, cutoff))
        diff = self.cells.compare(table, after, cutoff, self.exact)
        if diff or set(table.columns) != set(self.cells.base.columns):
            self._refuse(table, diff, cutoff)
            return
        self.findings.compared += diff.compared
        self.benign += 1
        if self.benign % BENIGN == 0:
            self._less_cheap()

    def _less_cheap(self) -> None:
        """Go on with more history, or, with all of it, call by call, or with all symbols."""
        plan = self.plan
        if plan.is_stacked:
            self.plan = replace(plan, is_stacked=False)
        elif plan.window is not None:
            wider = plan.window * 2
            self.plan = replace(plan, window=wider if wider < self.panel.last // 2 else None)
        elif plan.stride > 1:
            self.plan = replace(plan, stride=1)

    def _refuse(self, table: Table, diff: Difference, cutoff: int) -> None:
        self.findings.columns_changed(self.cells.base, table, cutoff)
        self.findings.add(diff, cutoff)
