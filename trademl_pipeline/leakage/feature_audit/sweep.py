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

**What it costs.** Full history at every session costs half as many computations as there are sessions. Beyond
`EXACT_ROWS` bars in all, only a window is handed over: the declared warm-up, or the shortest that is seen to
suffice. If that is still above the budget and the extractor works symbol by symbol (seen on samples, see
`separable`), the symbols are dealt into `stride` groups and each session is a cut-off for one group in turn.
Then each row is tested at most `stride` - 1 sessions later than itself: a dependence reaching `stride` or
more sessions ahead is always seen, a shorter one in one of `stride` rows. An extractor that mixes symbols is
never split; it takes the time it takes.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from trademl_pipeline.leakage.errors import ExtractorError
from trademl_pipeline.leakage.feature_audit.compare import Difference, Tolerance, difference
from trademl_pipeline.leakage.feature_audit.extractor import Extractor, View, as_of
from trademl_pipeline.leakage.feature_audit.findings import Findings
from trademl_pipeline.leakage.feature_audit.views import Panel
from trademl_pipeline.leakage.tables import Table

EXACT_ROWS = 5_000_000

# Bars in all that may be handed over before symbols take turns: on small panels enough for nearly any window,
# so that every row is tested at its own session; on large ones little more than as many computations as there
# are groups.
SMALL_PANEL = 200_000
SMALL_BUDGET = 30_000_000
BUDGET_ROWS = 6_000_000
BUDGET_TIMES = 10
WINDOWS = (16, 64, 256)

# A column refused at this many cut-offs needs no further proof, and when all are the sweep ends.
PROOFS = 3
ENOUGH = 5

# After this many cheap disagreements that the full computation did not confirm, the cheap one is widened.
BENIGN = 3

Make = Callable[[Panel, int, int], View]


class Cells:
    """The base table, ready to be cut into stretches of sessions."""

    def __init__(self, base: Table, panel: Panel, window: tuple[int, int]) -> None:
        self.base = base
        self.first, self.last = window
        self._axis = panel.axis
        self._session = panel.axis.session_of(base.keys)
        self._order = np.argsort(self._session, kind="stable")
        self._start = np.searchsorted(self._session[self._order], np.arange(len(panel.axis.sessions) + 1))

    def stretch(self, after: int, last_session: int, symbols: np.ndarray | None = None) -> Table:
        """Base rows of sessions in (after, until] within the audited window, of some symbols or all."""
        low, high = max(after + 1, self.first), min(last_session, self.last)
        if high < low:
            return self.base.take(np.empty(0, dtype=np.int64))
        rows = self._order[self._start[low] : self._start[high + 1]]
        if symbols is not None:
            rows = rows[symbols[self._axis.symbol_of(self.base.keys[rows])]]
        return self.base.take(np.sort(rows))

    def nothing_up_to(self, cutoff: int) -> bool:
        """Return whether nothing but missing values was published up to a session."""
        return not np.isfinite(self.base.values[self._session <= cutoff]).any()

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
        return difference(
            self.stretch(after, last_session, symbols),
            other.take(inside).arranged(self.base.columns),
            tolerance,
        )


@dataclass
class Plan:
    """How a sweep computes.

    Attributes:
        window: sessions of history handed over; None for all.
        stride: number of groups of symbols that take turns.
    """

    window: int | None = None
    stride: int = 1


def make_plan(
    extractor: Extractor,
    panel: Panel,
    cutoffs: Sequence[int],
    approximate: Tolerance,
    *,
    warmup: int | None,
    exact: int | None = None,
    budget: int | None = None,
    seed: int = 0,
) -> Plan:
    """Choose the cheapest plan whose result is not weaker, see the module's text.

    Args:
        extractor: under audit; called on samples to see which window suffices and whether symbols are
            separable.
        panel: everything.
        cutoffs: session indices to be swept.
        approximate: tolerance for computations that start later than the base.
        warmup: declared sessions of history that a value needs; None to look for it.
        exact: bars in all up to which full history is used; None for `EXACT_ROWS`.
        budget: bars in all up to which symbols are not split into groups; None for the module's.
        seed: of the samples.
    """
    exact = EXACT_ROWS if exact is None else exact
    if budget is None:
        small = len(panel) <= SMALL_PANEL
        budget = SMALL_BUDGET if small else max(BUDGET_ROWS, BUDGET_TIMES * len(panel))
    up_to = np.cumsum(np.bincount(panel.bars.visible.clip(0, panel.last), minlength=panel.last + 1))
    at = np.asarray(cutoffs)
    total = int(up_to[at].sum())
    if total <= exact:
        return Plan()
    window = warmup if warmup is not None else _window(extractor, panel, cutoffs, approximate)
    if window is not None and window < panel.last // 2:
        total = int((up_to[at] - np.where(at > window, up_to[at - window - 1], 0)).sum())
    else:
        window = None
    if total <= budget or not separable(extractor, panel, cutoffs, approximate, window, seed):
        return Plan(window)
    return Plan(window, min(math.ceil(total / budget), len(panel.axis.symbols), len(cutoffs)))


def _samples(cutoffs: Sequence[int]) -> list[int]:
    return sorted({cutoffs[int(len(cutoffs) * share)] for share in (0.5, 0.75, 0.97)})


def _window(extractor: Extractor, panel: Panel, cutoffs: Sequence[int], approximate: Tolerance) -> int | None:
    """The shortest history among `WINDOWS` from which the last row comes out as from all of it."""
    reference = {t: extractor(as_of(panel, t), _where(panel, t), sessions=(t, t)) for t in _samples(cutoffs)}
    for window in WINDOWS:
        if window >= panel.last // 2:
            return None
        for t, table in reference.items():
            view = as_of(panel, t, max(t - window, 0))
            short = extractor(view, _where(panel, t, window), sessions=(t, t))
            if difference(table, short.arranged(table.columns), approximate):
                break
        else:
            return window
    return None


def separable(
    extractor: Extractor,
    panel: Panel,
    cutoffs: Sequence[int],
    approximate: Tolerance,
    window: int | None,
    seed: int,
) -> bool:
    """Return whether some symbols on their own come out as among all, on a few sampled sessions.

    A wrong yes costs time only: values of a group that disagree are looked at again with all symbols.

    Args:
        extractor: under audit.
        panel: everything.
        cutoffs: session indices to sample from.
        approximate: tolerance for computations that start later than the base.
        window: sessions of history handed over; None for all.
        seed: of the choice of symbols.
    """
    rng = np.random.default_rng([seed, 1])
    for t in _samples(cutoffs):
        low = 0 if window is None else max(t - window, 0)
        some = np.zeros(len(panel.axis.symbols), dtype=bool)
        some[rng.permutation(len(some))[: max(len(some) // 8, 1)]] = True
        among = extractor(as_of(panel, t, low), _where(panel, t), sessions=(t, t))
        among = among.take(some[panel.axis.symbol_of(among.keys)])
        group = panel.take(some)
        if not len(group.rows_at(t, low)):
            continue
        alone = extractor(as_of(group, t, low), _where(panel, t), sessions=(t, t))
        if difference(among, alone.arranged(among.columns), approximate):
            return False
    return True


def _where(panel: Panel, cutoff: int, window: int | None = None) -> str:
    text = f"on the bars up to {panel.axis.sessions[cutoff]}"
    return text if window is None else f"{text}, {window} sessions of history"


@dataclass
class Sweep:
    """One probe over many cut-offs.

    Attributes:
        make: (panel, cutoff, low) -> the view to compute cheaply.
        full: (panel, cutoff) -> the view that can refuse.
        what: of the input, for messages, such as "on the bars up to".
        exact, approximate: tolerances for the full computation, and for one that starts later.
        always_confirm: the cheap view is not the full one even with full history.
        progress: told the number of cut-offs done and of all, after each.
        too_short: cut-offs at which the extractor refused so short a history, and had published nothing for
            it.
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
    progress: Callable[[int, int], None] | None = None
    benign: int = 0
    too_short: int = 0
    stopped: int | None = None

    def run(self, cutoffs: Sequence[int]) -> None:
        """Test the cut-offs (session indices, ascending)."""
        groups = self._groups()
        previous = dict.fromkeys(range(len(groups)), cutoffs[0] - 1 if self.cells.first else -1)
        for number, cutoff in enumerate(cutoffs):
            last = number == len(cutoffs) - 1
            chosen = list(range(len(groups))) if last else [number % len(groups)]
            for group in chosen:
                symbols, part = groups[group] if self.plan.stride > 1 else (None, self.panel)
                self._test(part, symbols, previous[group], cutoff)
                previous[group] = cutoff
            if self.plan.stride == 1 and len(groups) > 1:
                groups, previous = [(None, self.panel)], {0: min(previous.values())}
            if self.progress is not None:
                self.progress(number + 1, len(cutoffs))
            if self.findings.exhausted(ENOUGH):
                self.stopped = cutoff
                return

    def _groups(self) -> Sequence[tuple[np.ndarray | None, Panel]]:
        if self.plan.stride == 1:
            return [(None, self.panel)]
        names = len(self.panel.axis.symbols)
        dealt = np.random.default_rng([self.seed, 2]).permutation(names) % self.plan.stride
        return [(dealt == g, self.panel.take(dealt == g)) for g in range(self.plan.stride)]

    def _test(self, part: Panel, symbols: np.ndarray | None, after: int, cutoff: int) -> None:
        low = 0 if self.plan.window is None else max(after + 1 - self.plan.window, 0)
        if not len(part.rows_at(cutoff, low)):
            # Nothing was known of these symbols; if something was published, it must answer for that.
            if len(self.cells.stretch(after, cutoff, symbols).keys):
                self._confirm(after, cutoff)
            return
        where = f"{self.what} {self.panel.axis.sessions[cutoff]}"
        is_exact = low == 0 and symbols is None and not self.always_confirm
        try:
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
        if self.benign % BENIGN:
            return
        if self.plan.window is not None:
            wider = self.plan.window * 2
            self.plan = Plan(wider if wider < self.panel.last // 2 else None, self.plan.stride)
        elif self.plan.stride > 1:
            self.plan = Plan()

    def _refuse(self, table: Table, diff: Difference, cutoff: int) -> None:
        self.findings.columns_changed(self.cells.base, table, cutoff)
        self.findings.add(diff, cutoff)
