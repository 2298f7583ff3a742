"""Findings and coverage of an audit: the same report from every probe.

A report with no violation says: no leak within the declared clocks and the tested mutants. It says nothing
about what was not tested, so every report carries its coverage, and a report that tested nothing does not
pass.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

import polars as pl

from trademl_pipeline.leakage.traces import Trace

VERDICT = "no leak within the declared clocks and the tested mutants"

REPORT_SCHEMA = pl.Schema(
    {
        "probe": pl.String,
        "passed": pl.Boolean,
        "column": pl.String,
        "symbol": pl.String,
        "cutoff": pl.Date,
        "first_leak": pl.Date,
        "max_delta": pl.Float64,
        "detail": pl.String,
        "coverage": pl.String,
    }
)


@dataclass(frozen=True)
class Violation:
    """One way in which a value knew the future. A column has few of them: the first and the worst, with counts.

    Attributes:
        probe: name of the probe that saw it.
        column: the feature, object or column that moved; "<rows>" where rows appeared or vanished.
        symbol: whose value moved; None where the violation belongs to no symbol.
        cutoff: the session after which everything was deleted or corrupted, or the fold's first test session.
        first_leak: first session whose value (or row) was wrong.
        max_delta: largest absolute change seen; infinite where a value appeared or vanished; None where there
            is no number.
        detail: one sentence: what moved, from what to what, what to look for.
        count: cells, rows or trades that this violation stands for.
        trace: the values around the leak, where the probe compares values.
    """

    probe: str
    column: str | None
    symbol: str | None = None
    cutoff: date | datetime | None = None
    first_leak: date | datetime | None = None
    max_delta: float | None = None
    detail: str = ""
    count: int = 1
    trace: Trace | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True)
class AuditReport:
    """Violations and coverage of one or more probes. Reports add up with `+` and `sum(reports, AuditReport())`.

    Attributes:
        violations: what was found.
        coverage: probe -> what it tested (cut-offs, cells, calls, …). A probe that was asked for and could
            not be run has the key "skipped" with the reason.
    """

    violations: tuple[Violation, ...] = ()
    coverage: Mapping[str, Mapping[str, Any]] = field(default_factory=dict[str, Mapping[str, Any]])

    @property
    def passed(self) -> bool:
        """True if something was tested and nothing was found."""
        return not self.violations and bool(self.tested)

    @property
    def tested(self) -> tuple[str, ...]:
        """Probes that ran."""
        return tuple(p for p, c in self.coverage.items() if "skipped" not in c)

    def __bool__(self) -> bool:
        raise TypeError("an audit report has no truth value: use report.passed or report.assert_clean()")

    def __add__(self, other: object) -> "AuditReport":
        if not isinstance(other, AuditReport):
            return NotImplemented
        coverage = dict(self.coverage)
        for probe, added in other.coverage.items():
            if probe not in coverage:
                coverage[probe] = added
            else:
                before = coverage[probe]
                parts = before["parts"] if set(before) == {"parts"} else [before]
                coverage[probe] = {"parts": [*parts, added]}
        return AuditReport(self.violations + other.violations, coverage)

    def __radd__(self, other: Any) -> "AuditReport":
        return self if other == 0 else NotImplemented

    def first_violation(self) -> str:
        """Return the first violation in words, and how many others there are; there has to be one."""
        first, others = self.violations[0], len(self.violations) - 1
        since = f"from {first.first_leak}" if first.first_leak else None
        where = ", ".join(part for part in (first.probe, first.column, first.symbol, since) if part)
        return f"{where}: {first.detail}" + (f" (and {others} more)" if others else "")

    def to_frame(self) -> pl.DataFrame:
        """Return a row per violation and per probe that ran without any, in the columns of the lake's `audits`.

        A probe that was not run has no row: it neither passed nor failed.
        """
        rows: list[dict[str, Any]] = []
        for probe in dict.fromkeys([*self.coverage, *(v.probe for v in self.violations)]):
            coverage = json.dumps(self.coverage.get(probe, {}), default=str, sort_keys=True)
            violations = [v for v in self.violations if v.probe == probe]
            rows += [
                {
                    "probe": probe,
                    "passed": False,
                    "column": v.column,
                    "symbol": v.symbol,
                    "cutoff": _day(v.cutoff),
                    "first_leak": _day(v.first_leak),
                    "max_delta": v.max_delta,
                    "detail": v.detail,
                    "coverage": coverage,
                }
                for v in violations
            ]
            if not violations and probe in self.tested:
                rows.append({"probe": probe, "passed": True, "detail": VERDICT, "coverage": coverage})
        return pl.DataFrame(rows, schema=REPORT_SCHEMA)

    def to_markdown(self) -> str:
        """The report for a reader: a verdict, what each probe tested, and each violation."""
        lines = [f"**{self._headline()}**", "", "| probe | result | tested |", "|---|---|---|"]
        for probe in dict.fromkeys([*self.coverage, *(v.probe for v in self.violations)]):
            count = sum(1 for v in self.violations if v.probe == probe)
            coverage = self.coverage.get(probe, {})
            result = f"{count} violation{'s' * (count != 1)}" if count else "passed"
            if not count and "skipped" in coverage:
                result = "not run"
            lines.append(f"| {probe} | {result} | {_cell(_summary(coverage))} |")
        if self.violations:
            lines += ["", "| probe | column | symbol | as of | first leak | largest change | what happened |"]
            lines.append("|---|---|---|---|---|---|---|")
            for v in self.violations:
                delta = "" if v.max_delta is None else f"{v.max_delta:.4g}"
                cells = (v.probe, v.column, v.symbol, v.cutoff, v.first_leak, delta, v.detail)
                lines.append("| " + " | ".join(_cell(c) for c in cells) + " |")
        return "\n".join(lines)

    def assert_clean(self) -> "AuditReport":
        """Return the report if it passed.

        Raises:
            LeakageError: with the violations in readable form, or because nothing was tested.
        """
        if self.passed:
            return self
        lines = [self._headline()]
        for v in self.violations[:20]:
            where = " ".join(str(x) for x in (v.column, v.symbol) if x is not None)
            when = f", as of {v.cutoff}" if v.cutoff is not None else ""
            first = f", first at {v.first_leak}" if v.first_leak is not None else ""
            lines.append(f"  [{v.probe}] {where}{when}{first}: {v.detail}")
        if len(self.violations) > 20:
            lines.append(f"  … and {len(self.violations) - 20} more")
        raise LeakageError("\n".join(lines), self)

    def _headline(self) -> str:
        if self.violations:
            kinds = ", ".join(dict.fromkeys(v.probe for v in self.violations))
            columns = list(dict.fromkeys(v.column for v in self.violations if v.column))
            named = ", ".join(columns[:5]) + (f" and {len(columns) - 5} more" if len(columns) > 5 else "")
            return f"Refused by {kinds}: {named or len(self.violations)}"
        if not self.tested:
            return "Nothing was tested, so nothing passed"
        return f"Passed: {VERDICT}"


def _day(value: date | datetime | None) -> date | None:
    return value.date() if isinstance(value, datetime) else value


def _cell(value: Any) -> str:
    return "" if value is None else str(value).replace("|", "\\|").replace("\n", " ")


def _summary(coverage: Mapping[str, Any]) -> str:
    if "skipped" in coverage:
        return str(coverage["skipped"])
    if "parts" in coverage:
        return f"{len(coverage['parts'])} audits: {_summary(coverage['parts'][0])}; …"
    items: Iterable[tuple[str, Any]] = ((k, v) for k, v in coverage.items() if v not in (None, "", [], {}))
    return ", ".join(f"{k.replace('_', ' ')} {_number(v)}" for k, v in items)


def _number(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


class LeakageError(Exception):
    """An audit found violations; `report` holds all of it."""

    def __init__(self, message: str, report: AuditReport) -> None:
        super().__init__(message, report)
        self.message = message
        self.report = report

    def __str__(self) -> str:
        return self.message
