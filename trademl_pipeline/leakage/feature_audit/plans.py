"""How a sweep computes: how much history, which symbols, and how many views to a call. See `sweep`."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from trademl_pipeline.leakage.errors import ExtractorError
from trademl_pipeline.leakage.feature_audit.compare import Tolerance, difference
from trademl_pipeline.leakage.feature_audit.extractor import Extractor, as_of
from trademl_pipeline.leakage.feature_audit.stacking import stackable
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

# Fewer cut-offs are computed one by one with all their history: looking for a cheaper way costs as much.
MANY = 12


@dataclass
class Plan:
    """How a sweep computes.

    Attributes:
        window: sessions of history handed over; None for all.
        stride: number of groups of symbols that take turns.
        every: only every so many cut-offs are swept.
        is_stacked: several views lie side by side in one call, see `stacking`.
    """

    window: int | None = None
    stride: int = 1
    every: int = 1
    is_stacked: bool = False


@dataclass(frozen=True)
class Traits:
    """Properties of an extractor that samples show, see `traits_of`.

    Attributes:
        window: sessions of history from which the last row comes out as from all of it, to the tolerance of exact
            computations; None where none of `WINDOWS`, nor the declared warm-up, suffices.
        is_separable: some symbols on their own come out as among all.
        known: cut-off -> output with full history, of the cut-off's session alone.
    """

    window: int | None = None
    is_separable: bool = False
    known: Mapping[int, Table] = field(default_factory=dict[int, Table])


def traits_of(
    extractor: Extractor,
    panel: Panel,
    cutoffs: Sequence[int],
    exact: Tolerance,
    *,
    warmup: int | None,
    seed: int,
) -> Traits:
    """Return what a few sampled cut-offs show of an extractor on a small panel.

    Args:
        extractor: under audit.
        panel: everything.
        cutoffs: session indices to sample from.
        exact: tolerance for computations that agree.
        warmup: declared sessions of history that a value needs, tried before others; None: not declared.
        seed: of the choice of symbols.
    """
    if len(cutoffs) < MANY:
        return Traits()
    try:
        known = _references(extractor, panel, cutoffs)
    except ExtractorError:
        # So short a history may be refused where nothing was published; the sweep knows.
        return Traits()
    windows = WINDOWS if warmup is None else (warmup, *(w for w in WINDOWS if w > warmup))
    window = _shortest(extractor, panel, known, windows, exact)
    return Traits(window, _splits(extractor, panel, known, exact, window, seed), known)


def small_plan(panel: Panel, total: int, budget: float, traits: Traits, *, is_split: bool) -> Plan:
    """Return the plan of a sweep that could be given everything, but costs less.

    Args:
        panel: everything.
        total: bars that would be handed over with the window of the traits.
        budget: computations of the panel that may be; beyond that symbols take turns, or cut-offs are left out where
            they mix.
        traits: of the extractor.
        is_split: symbols may take turns at all.
    """
    is_stacked = traits.is_separable and stackable(panel)
    share = math.ceil(total / (budget * len(panel))) if is_split else 1
    stride = min(share, len(panel.axis.symbols)) if traits.is_separable else 1
    return Plan(traits.window, stride, math.ceil(share / stride), is_stacked)


def make_plan(
    extractor: Extractor,
    panel: Panel,
    cutoffs: Sequence[int],
    approximate: Tolerance,
    *,
    warmup: int | None,
    budget: int | None = None,
    seed: int = 0,
) -> Plan:
    """Choose the cheapest plan of a large panel whose result is not weaker, see the text of `sweep`.

    Args:
        extractor: under audit; called on samples to see which window suffices and whether symbols are
            separable.
        panel: everything.
        cutoffs: session indices to be swept.
        approximate: tolerance for computations that start later than the base.
        warmup: declared sessions of history that a value needs; None to look for it.
        budget: bars in all up to which symbols are not split into groups; None for the module's.
        seed: of the samples.
    """
    if budget is None:
        small = len(panel) <= SMALL_PANEL
        budget = SMALL_BUDGET if small else max(BUDGET_ROWS, BUDGET_TIMES * len(panel))
    window = warmup if warmup is not None else _window(extractor, panel, cutoffs, approximate)
    if window is not None and window >= panel.last // 2:
        window = None
    total = rows_of(panel, cutoffs, window)
    if total <= budget or not separable(extractor, panel, cutoffs, approximate, window, seed):
        return Plan(window)
    return Plan(window, min(math.ceil(total / budget), len(panel.axis.symbols), len(cutoffs)))


def rows_of(panel: Panel, cutoffs: Sequence[int], window: int | None = None, ahead: int = 0) -> int:
    """Return how many bars are handed over at some cut-offs.

    Args:
        panel: everything.
        cutoffs: session indices.
        window: sessions of history; None for all.
        ahead: sessions after the cut-off.
    """
    up_to = np.cumsum(np.bincount(panel.bars.visible.clip(0, panel.last), minlength=panel.last + 1))
    at = np.asarray(cutoffs)
    total = int(up_to[np.minimum(at + ahead, panel.last)].sum())
    if window is not None:
        total -= int(np.where(at > window, up_to[at - window - 1], 0).sum())
    return total


def _samples(cutoffs: Sequence[int]) -> list[int]:
    return sorted({cutoffs[int(len(cutoffs) * share)] for share in (0.5, 0.75, 0.97)})


def _references(extractor: Extractor, panel: Panel, cutoffs: Sequence[int]) -> dict[int, Table]:
    return {t: extractor(as_of(panel, t), _where(panel, t), sessions=(t, t)) for t in _samples(cutoffs)}


def _window(extractor: Extractor, panel: Panel, cutoffs: Sequence[int], approximate: Tolerance) -> int | None:
    """The shortest history among `WINDOWS` from which the last row comes out as from all of it."""
    return _shortest(extractor, panel, _references(extractor, panel, cutoffs), WINDOWS, approximate)


def _shortest(
    extractor: Extractor,
    panel: Panel,
    references: Mapping[int, Table],
    windows: Sequence[int],
    tolerance: Tolerance,
) -> int | None:
    for window in windows:
        if window >= panel.last // 2:
            return None
        for t, table in references.items():
            view = as_of(panel, t, max(t - window, 0))
            try:
                short = extractor(view, _where(panel, t, window), sessions=(t, t))
            except ExtractorError:
                break
            if difference(table, short.arranged(table.columns), tolerance):
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
    among = {
        t: extractor(as_of(panel, t, _low(t, window)), _where(panel, t), sessions=(t, t))
        for t in _samples(cutoffs)
    }
    return _splits(extractor, panel, among, approximate, window, seed)


def _splits(
    extractor: Extractor,
    panel: Panel,
    among: Mapping[int, Table],
    tolerance: Tolerance,
    window: int | None,
    seed: int,
) -> bool:
    rng = np.random.default_rng([seed, 1])
    for t, table in among.items():
        some = np.zeros(len(panel.axis.symbols), dtype=bool)
        some[rng.permutation(len(some))[: max(len(some) // 8, 1)]] = True
        mine = table.take(some[panel.axis.symbol_of(table.keys)])
        group = panel.take(some)
        if not len(group.rows_at(t, _low(t, window))):
            continue
        try:
            alone = extractor(as_of(group, t, _low(t, window)), _where(panel, t), sessions=(t, t))
        except ExtractorError:
            return False
        if difference(mine, alone.arranged(mine.columns), tolerance):
            return False
    return True


def _low(cutoff: int, window: int | None) -> int:
    return 0 if window is None else max(cutoff - window, 0)


def _where(panel: Panel, cutoff: int, window: int | None = None) -> str:
    text = f"on the bars up to {panel.axis.sessions[cutoff]}"
    return text if window is None else f"{text}, {window} sessions of history"
