"""The probes of `audit_features`, over one extractor and one panel."""

import copy
import functools
import sys
from collections.abc import Callable

import numpy as np
import polars as pl

from trademl_pipeline.leakage.errors import ExtractorError
from trademl_pipeline.leakage.feature_audit import plans
from trademl_pipeline.leakage.feature_audit.compare import Difference, Tolerance, difference
from trademl_pipeline.leakage.feature_audit.corrupt import (
    SPLIT_RATIO,
    corrupt_future,
    corrupt_source,
    split_adjusted,
    ulp_noise,
)
from trademl_pipeline.leakage.feature_audit.cutoffs import Cutoffs
from trademl_pipeline.leakage.feature_audit.diagnosing import Diagnoses
from trademl_pipeline.leakage.feature_audit.extractor import Extractor, View, alone, as_of, whole
from trademl_pipeline.leakage.feature_audit.findings import Findings
from trademl_pipeline.leakage.feature_audit.report import report_of
from trademl_pipeline.leakage.feature_audit.roles import DIVIDENDS, Roles, has_gaps, roles_of
from trademl_pipeline.leakage.feature_audit.sweep import Cells, Make, Sweep
from trademl_pipeline.leakage.feature_audit.views import Panel
from trademl_pipeline.leakage.probes.plausibility import audit_plausibility
from trademl_pipeline.leakage.report import AuditReport
from trademl_pipeline.leakage.tables import Table

# Told as the audit goes on: probe, cut-offs (months, splits) done, and how many there are.
Progress = Callable[[str, int, int], None]

# A computation that starts a declared warm-up earlier agrees to 1e-6 of a feature's size, see the definition
# of warm-up.
WARMUP_RTOL = 4e-6

# Additive constants against division by zero move a scale-free feature by less than this, a price level by
# far more.
ADJUSTMENT_RTOL = 1e-4

ADJUSTED_ALONE = "a split that only adjusted columns know"

# Sessions of synthetic future shown at each cut-off of the exhaustive perturbation; the full future is shown at
# a few.
PERTURBED_AHEAD = 5
SPREAD = 4
PERTURBATION_EXACT_ROWS = 3_000_000
# Computations of a small panel that made-up futures may cost, beside the full ones.
PERTURBATION_TIMES = 4
PERTURBATION_BUDGET_ROWS = 6_000_000
PERTURBATION_BUDGET_TIMES = 24


class FeatureAudit:
    """One extractor on one panel, probe by probe."""

    def __init__(
        self,
        panel: Panel,
        extractor: Extractor,
        base: Table,
        window: tuple[int, int],
        cutoffs: Cutoffs,
        warmup: int | None,
        rtol: float,
        atol: float,
        seed: int,
        progress: Progress | None = None,
    ) -> None:
        self.panel = panel
        self.extractor = extractor
        self.cells = Cells(base, panel, window)
        self.window = window
        self.chosen = cutoffs
        self.cutoffs = cutoffs.sessions
        self.exhaustive = cutoffs.exhaustive
        self.warmup = warmup
        self.seed = seed
        self.progress: Progress = progress or (lambda probe, done, total: None)
        self.exact = Tolerance.of(base, rtol, atol)
        self.approximate = Tolerance.of(base, max(rtol, WARMUP_RTOL), atol, scaled=True)
        self.restated = Tolerance.of(base, max(rtol, ADJUSTMENT_RTOL), atol, scaled=True)
        self.missing = has_gaps(panel.bars.frame)
        self.input_sensitivity: str | None = None
        self.take_turns = True
        # Sessions from one made-up future to the next.
        self._pace = 1
        self.diagnoses = Diagnoses(self, seed)

    @property
    def base(self) -> Table:
        """The output on everything."""
        return self.cells.base

    def on(self, panel: Panel) -> "FeatureAudit":
        """The same audit on another panel of the same rows, such as one with other decisions."""
        other = copy.copy(self)
        other.panel, other.cells = panel, Cells(self.base, panel, self.window)
        other.diagnoses = Diagnoses(other, self.seed)
        return other

    @functools.cached_property
    def roles(self) -> Roles:
        """The effect of a split on the columns of the bars."""
        return roles_of(self.panel.bars.frame)

    @property
    def _clock(self) -> str:
        """Of which decision something is later, where a session has several."""
        return (
            ""
            if self.panel.clock is None
            else f" than its decision ({self.panel.clocks.name(self.panel.clock)})"
        )

    def truncation(self) -> AuditReport:
        """Delete everything after each cut-off."""
        event = f"when everything later{self._clock} was deleted"
        findings = Findings("truncation", self.panel.axis, self.base.columns, event)
        before = self.extractor.calls, self.extractor.rows
        sweep = None
        if self.exhaustive:
            sweep = self._sweep(findings, as_of, lambda t: as_of(self.panel, t), "on the bars up to")
            sweep.run(self.cutoffs)
        else:
            for number, t in enumerate(self.cutoffs, 1):
                self._whole_cutoff(findings, as_of(self.panel, t), t, "on the bars up to")
                self.progress("truncation", number, len(self.cutoffs))
        return report_of(self, findings, before, sweep, lambda t: as_of(self.panel, t))

    def perturbation(self) -> AuditReport:
        """Make up everything after each cut-off: all of it at a few, a stretch of it at every session."""
        event = f"when later values{self._clock} were made up"
        findings = Findings("perturbation", self.panel.axis, self.base.columns, event)
        before = self.extractor.calls, self.extractor.rows
        sweep = None
        spread = self.cutoffs
        if self.exhaustive:
            spread = [self.cutoffs[int(i)] for i in np.linspace(0, len(self.cutoffs) - 1, SPREAD)]
        for number, t in enumerate(dict.fromkeys(spread), 1):
            self._whole_cutoff(
                findings, self._synthetic_future(self.panel, t), t, "with a synthetic future after"
            )
            if not self.exhaustive:
                self.progress("perturbation", number, len(spread))
        if self.exhaustive and not findings.exhausted(1):
            sweep = self._sweep(
                findings,
                lambda panel, t, low: self._synthetic_future(
                    panel, t, low, min(t + PERTURBED_AHEAD, self.panel.last)
                ),
                lambda t: self._synthetic_future(self.panel, t),
                "with a synthetic future after",
                ahead=PERTURBED_AHEAD,
            )
            self._pace = sweep.plan.every
            sweep.run(self.cutoffs[:: sweep.plan.every])
        return report_of(self, findings, before, sweep, lambda t: self._synthetic_future(self.panel, t))

    def adjustment(self) -> AuditReport:
        """Restate all history for later splits."""
        findings = Findings("adjustment", self.panel.axis, self.base.columns, "after a synthetic later split")
        before = self.extractor.calls, self.extractor.rows
        bars = self.panel.bars.frame
        roles = self.roles
        if not roles.prices:
            skipped = f"no price column among {', '.join(bars.columns)}"
            return AuditReport(
                coverage={"adjustment": {"skipped": skipped, "not_restated": list(roles.others)}}
            )
        # An extractor that returns the bars with its features beside them has no price level among its
        # features.
        passed = self.extractor.passed_through
        price_columns = set(roles.powers) - {c for c in roles.powers if c.lower() in DIVIDENDS}
        beside = price_columns <= passed and set(self.base.columns) > passed
        exempt = [j for j, c in enumerate(self.base.columns) if beside and c in passed]
        symbols = self.panel.axis.symbol_of(self.panel.keys)
        powers = {"one split for all": np.full(len(self.panel), int(np.log2(SPLIT_RATIO)))}
        powers_by_symbol = np.random.default_rng([self.seed, 3]).integers(1, 7, len(self.panel.axis.symbols))
        if not any(bars.schema[c].is_integer() for c, power in roles.powers.items() if power > 0):
            powers_by_symbol *= np.random.default_rng([self.seed, 4]).choice([-1, 1], len(powers_by_symbol))
        powers["another split for each symbol"] = powers_by_symbol[symbols]
        moved = dict.fromkeys(powers, roles.powers)
        if roles.adjusted:
            powers[ADJUSTED_ALONE], moved[ADJUSTED_ALONE] = (
                powers["another split for each symbol"],
                roles.adjusted,
            )
        unstable, refusing = 0, list[str]()
        for what, power in powers.items():
            view = self._restated(split_adjusted(bars, power, moved[what]))
            table = self.extractor(view, f"on bars restated for {what}")
            diff = self.cells.compare(table, -1, self.panel.last, self.restated)
            diff = diff.only(~np.isin(diff.columns, exempt))
            diff, by_rounding = self._without_rounding(diff)
            unstable += by_rounding
            findings.columns_changed(self.base, table, None)
            findings.add(diff, None)
            refusing += [what] if diff else []
            self.progress("adjustment", list(powers).index(what) + 1, len(powers))
        refusing_split = refusing[0] if refusing else next(iter(powers))
        return report_of(
            self,
            findings,
            before,
            None,
            lambda _: self._restated(split_adjusted(bars, powers[refusing_split], moved[refusing_split])),
            splits=list(powers),
            restated=sorted({*roles.powers, *roles.adjusted}),
            not_restated=list(roles.others),
            decided_by_rounding=unstable,
            bars_returned=beside or None,
        )

    def incremental(self) -> AuditReport:
        """Compute each month alone from its warm-up."""
        findings = Findings(
            "incremental", self.panel.axis, self.base.columns, "when its month was computed alone"
        )
        before = self.extractor.calls, self.extractor.rows
        unstable = 0
        months = self.chosen.months(self.panel.axis.sessions, self.window)
        if self.warmup is None:
            if not self.extractor.stateful:
                return AuditReport(
                    coverage={"incremental": {"skipped": "no warm-up is declared: give warmup="}}
                )
            last = months[0][1]
            view = as_of(self.panel, last)
            findings.add(self._state_effect(view, self.extractor(view, "on the first month")), last)
            return report_of(self, findings, before, None, None, months=1, warmup="not declared")
        starts = {last: first for first, last in months}
        for number, (first, last) in enumerate(months, 1):
            view = alone(self.panel, first, last, self.warmup)
            days = self.panel.axis.sessions
            table = self.extractor(view, f"on {days[first]} to {days[last]} with its warm-up alone")
            diff = self.cells.compare(table, first - 1, last, self.approximate)
            diff, by_rounding = self._without_rounding(diff)
            unstable += by_rounding
            findings.columns_changed(self.base, table, last)
            findings.add(diff, last)
            if self.extractor.stateful:
                findings.add(self._state_effect(view, table), last)
            self.progress("incremental", number, len(months))
        return report_of(
            self,
            findings,
            before,
            None,
            lambda t: alone(self.panel, starts[t], t, self.warmup or 0),
            months=len(months),
            warmup=self.warmup,
            decided_by_rounding=unstable,
        )

    def plausibility(self) -> AuditReport:
        """Compare what columns know of the next return with what is plausible; a warning, never a refusal."""
        axis, base = self.panel.axis, self.base
        inside = (axis.session_of(base.keys) >= self.window[0]) & (
            axis.session_of(base.keys) <= self.window[1]
        )
        rows = base.take(inside)
        features = pl.DataFrame(
            {
                "symbol": np.array(axis.symbols)[axis.symbol_of(rows.keys)],
                "session": pl.Series(axis.sessions, dtype=axis.dtype)[axis.session_of(rows.keys)],
                **{c: rows.values[:, j] for j, c in enumerate(rows.columns)},
            }
        )
        return audit_plausibility(features, self.panel.bars.frame)

    def _without_rounding(self, diff: Difference) -> tuple[Difference, int]:
        """Keep what differs by more than rounding decides; returns it and how many cells do not."""
        if not len(diff.keys):
            return diff, 0
        stable = self._rounding_stable(diff.keys, diff.columns, diff.delta)
        return diff.only(stable), int((~stable).sum())

    def _state_effect(self, view: View, table: Table) -> Difference:
        """Effect of state that is kept between calls on a view that is computed after everything else."""
        self.extractor(whole(self.panel), "on all bars")
        again = self.extractor(view, "after a call on all bars", fresh=False)
        return difference(table.arranged(self.base.columns), again.arranged(self.base.columns), self.exact)

    def _whole_cutoff(self, findings: Findings, view: View, cutoff: int, what: str) -> None:
        """Compare all audited rows up to a cut-off."""
        try:
            table = self.extractor(view, f"{what} {self.panel.axis.sessions[cutoff]}")
        except ExtractorError:
            if not self.cells.nothing_up_to(cutoff):
                raise
            return
        findings.columns_changed(self.base, table, cutoff)
        findings.add(self.cells.compare(table, -1, cutoff, self.exact), cutoff)

    def _sweep(
        self, findings: Findings, make: Make, full: Callable[[int], View], what: str, *, ahead: int = 0
    ) -> Sweep:
        """Plan a probe of every session; `ahead`: made-up sessions after each, for the one that has them."""
        is_small = plans.rows_of(self.panel, self.cutoffs, None, ahead) <= (
            PERTURBATION_EXACT_ROWS if ahead else plans.EXACT_ROWS
        )
        return Sweep(
            self.extractor,
            self.panel,
            self.cells,
            findings,
            make,
            full,
            what,
            self.exact,
            self.exact if is_small else self.approximate,
            self._small_plan(ahead) if is_small else self._large_plan(ahead),
            self.seed,
            always_confirm=ahead > 0,
            known=self._traits.known if is_small and not ahead else {},
            ahead=ahead,
            progress=lambda done, total: self.progress(findings.probe, done, total),
        )

    def _small_plan(self, ahead: int) -> plans.Plan:
        traits = self._traits
        rows = plans.rows_of(self.panel, self.cutoffs, traits.window, ahead)
        is_split = ahead > 0 and self.take_turns
        return plans.small_plan(self.panel, rows, PERTURBATION_TIMES, traits, is_split=is_split)

    def _large_plan(self, ahead: int) -> plans.Plan:
        budget = None
        if ahead:
            budget = max(PERTURBATION_BUDGET_ROWS, PERTURBATION_BUDGET_TIMES * len(self.panel))
        if not self.take_turns:
            budget = sys.maxsize
        return plans.make_plan(
            self.extractor,
            self.panel,
            self.cutoffs,
            self.approximate,
            warmup=self.warmup,
            budget=budget,
            seed=self.seed,
        )

    @functools.cached_property
    def _traits(self) -> plans.Traits:
        return plans.traits_of(
            self.extractor, self.panel, self.cutoffs, self.exact, warmup=self.warmup, seed=self.seed
        )

    def _synthetic_future(self, panel: Panel, cutoff: int, low: int = 0, high: int | None = None) -> View:
        """The panel with synthetic values after a cut-off, keys kept, up to session index `high`."""
        rng = np.random.default_rng([self.seed, 5, cutoff])
        keep = panel.bars.index >= low
        if high is not None:
            keep &= panel.bars.index <= high
        bars, keys = panel.bars.frame.filter(pl.Series(keep)), panel.keys[keep]
        bars_view = corrupt_future(
            bars,
            panel.bars.visible[keep] > cutoff,
            panel.axis.symbol_of(keys),
            rng,
            missing=self.missing,
            prices=self.roles.prices,
            turn=cutoff // self._pace + self.seed,
        )
        sources: dict[str, pl.DataFrame] = {}
        for name, source in panel.sources.items():
            rows = np.ones(source.frame.height, dtype=bool)
            if low > 0 and source.dense:
                rows &= source.index >= low
            if high is not None and source.dense:
                rows &= source.index <= high
            part = source.take(rows)
            sources[name] = corrupt_source(part.frame, part.visible > cutoff, rng)
        return View(bars_view, keys, sources)

    def _restated(self, bars: pl.DataFrame) -> View:
        return View(bars, self.panel.keys, whole(self.panel).sources)

    def _rounding_stable(self, keys: np.ndarray, columns: np.ndarray, delta: np.ndarray) -> np.ndarray:
        """Which of some moved cells are decided by data and not by rounding, see `corrupt.ulp_noise`."""
        noisy = self.extractor(
            self._restated(ulp_noise(self.panel.bars.frame, self.roles.prices)), "on bars with rounding noise"
        )
        noisy = noisy.arranged(self.base.columns)
        at = np.minimum(np.searchsorted(noisy.keys, keys), len(noisy.keys) - 1)
        was = np.searchsorted(self.base.keys, keys)
        present = noisy.keys[at] == keys
        a, b = noisy.values[at, columns], self.base.values[was, columns]
        with np.errstate(invalid="ignore"):
            noise = np.where((a == b) | (np.isnan(a) & np.isnan(b)), 0.0, np.abs(a - b))
        noise = np.where(np.isnan(noise), np.inf, noise)
        return ~(present & (noise > 0) & (noise >= 0.01 * delta))
