"""The findings of a probe of features and its coverage, as a report."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Protocol

import numpy as np

from trademl_pipeline.leakage.feature_audit.cutoffs import Cutoffs
from trademl_pipeline.leakage.feature_audit.diagnosing import Diagnoses
from trademl_pipeline.leakage.feature_audit.extractor import Extractor, View
from trademl_pipeline.leakage.feature_audit.findings import Findings
from trademl_pipeline.leakage.feature_audit.sweep import Sweep
from trademl_pipeline.leakage.feature_audit.views import Panel
from trademl_pipeline.leakage.report import AuditReport, Violation
from trademl_pipeline.leakage.tables import Table
from trademl_pipeline.leakage.traces import TRACED_VIOLATIONS, trace_of

ViewAt = Callable[[Any], View]


class AuditedFeatures(Protocol):
    """The audit that a report is of, see `feature_audit.probes.FeatureAudit`."""

    panel: Panel
    extractor: Extractor
    chosen: Cutoffs
    cutoffs: list[int]
    exhaustive: bool
    input_sensitivity: str | None
    diagnoses: Diagnoses

    @property
    def base(self) -> Table:
        """The output on everything."""
        ...


def report_of(
    audit: AuditedFeatures,
    findings: Findings,
    before: tuple[int, int],
    sweep: Sweep | None,
    view: ViewAt | None,
    **more: Any,
) -> AuditReport:
    """Return the report of one probe: its violations, the first with traces and what they come of, and its coverage.

    Args:
        audit: of the features: panel, extractor, cut-offs and base output.
        findings: of the probe.
        before: calls of the extractor and bars handed over before the probe began, to count its own.
        sweep: that made the findings; None for a probe without one.
        view: gives the input that a cut-off was computed on, for the traces; None: no trace.
        more: further entries of the coverage; `splits` or `months` stand instead of the cut-offs.
    """
    days = audit.panel.axis.sessions
    coverage: dict[str, Any] = {
        "columns": len(audit.base.columns),
        "symbols": len(audit.panel.axis.symbols),
    }
    if "splits" not in more and "months" not in more:
        coverage |= {
            "cutoffs": len(audit.cutoffs),
            "mode": "every session" if audit.exhaustive else "sampled",
            "from": str(days[audit.cutoffs[0]]),
            "to": str(days[audit.cutoffs[-1]]),
            "event_sessions": audit.chosen.events or None,
            "rare_columns_at_no_cutoff": list(audit.chosen.missed),
        }
    coverage |= {"cells": findings.compared, "calls": audit.extractor.calls - before[0]}
    coverage["bars_handed_over"] = audit.extractor.rows - before[1]
    if sweep is not None:
        coverage |= {
            "window": sweep.plan.window,
            "groups": sweep.plan.stride if sweep.plan.stride > 1 else None,
            "every_nth_session": sweep.plan.every if sweep.plan.every > 1 else None,
            "side_by_side": sweep.side_by_side or None,
            "looked_at_again": sweep.benign or None,
            "history_too_short": sweep.too_short or None,
            "ended_early": str(days[sweep.stopped]) if sweep.stopped is not None else None,
        }
    coverage |= {
        "late_bars": audit.panel.late or None,
        "empty_columns": [
            c for j, c in enumerate(audit.base.columns) if np.isnan(audit.base.values[:, j]).all()
        ],
        "ignored_columns": sorted(audit.extractor.ignored),
        "symbols_without_output": _left_out(audit),
        "alive": audit.input_sensitivity,
        "static_sources": list(audit.panel.static),
        "clock": None if audit.panel.clock is None else audit.panel.clocks.name(audit.panel.clock),
        "decisions_apart": audit.panel.clocks.merged // 1_000_000 or None,
        "held_frames": audit.extractor.captured,
        "sealed_by": audit.extractor.sealed_by,
        "vouched_for": audit.extractor.holdings.vouched,
        "not_audited": [f"{k}: {v}" for k, v in audit.extractor.holdings.unaudited.items()],
        "state_put_back": audit.extractor.stateful,
        **more,
    }
    known_coverage = {k: v for k, v in coverage.items() if v not in (None, [])}
    violations = audit.diagnoses.of(_traced(audit, findings.violations(), view), view)
    return AuditReport(violations, {findings.probe: known_coverage})


def _traced(
    audit: AuditedFeatures, violations: tuple[Violation, ...], view: ViewAt | None
) -> tuple[Violation, ...]:
    """The violations, the first of them with the values around the leak."""
    days = audit.panel.axis.sessions
    tables: dict[int | None, Table] = {}
    out: list[Violation] = []
    for v in violations:
        trace = None
        if (
            view is not None
            and v.symbol is not None
            and v.column in audit.base.columns
            and len(tables) < TRACED_VIOLATIONS
        ):
            at = None if v.cutoff is None else days.index(v.cutoff)
            if at not in tables:
                tables[at] = audit.extractor(view(at), f"around {v.first_leak}")
            trace = trace_of(audit.base, tables[at], audit.panel.axis, v.column, v.symbol, v.first_leak)
        out.append(replace(v, trace=trace))
    return tuple(out)


def _left_out(audit: AuditedFeatures) -> int | None:
    """Number of symbols with bars and without a row. A list of names fixed in hindsight looks like this."""
    with_rows = np.unique(audit.panel.axis.symbol_of(audit.base.keys))
    return len(audit.panel.axis.symbols) - len(with_rows) or None
