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

from trademl_pipeline.leakage.diagnosis import PROBE_FIXES, Diagnosis
from trademl_pipeline.leakage.suspicion import SUSPICIOUS, Suspicion, suspicions_in
from trademl_pipeline.leakage.traces import Trace

VERDICT = "no leak within the declared clocks and the tested mutants"

UNAUDITED_FIX = "Pass it with sources=, dated, or name it in allow= to vouch for it"

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

# Key of a coverage under which a probe names what it does not see.
BLIND_SPOTS = "blind_spots"


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
        diagnosis: how far ahead the value sees, and why, where its behaviour was looked into.
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
    diagnosis: Diagnosis | None = field(default=None, compare=False, repr=False)

    @property
    def lesson(self) -> str:
        """How far ahead it sees, its pattern, where it is made, and the fix; empty where nothing is known of these."""
        if self.diagnosis is not None:
            return self.diagnosis.words
        fix = PROBE_FIXES.get(self.probe, "")
        return f"fix: {fix}" if fix else ""

    @property
    def sentence(self) -> str:
        """The detail with the lesson, in one line."""
        return f"{self.detail}; {self.lesson}" if self.lesson else self.detail


@dataclass(frozen=True)
class AuditReport:
    """Violations and coverage of one or more probes. Reports add up with `+` and `sum(reports, AuditReport())`.

    Attributes:
        violations: what was found.
        coverage: probe -> what it tested (cut-offs, cells, calls, …). A probe that was asked for and could
            not be run has the key "skipped" with the reason.
        unaudited: data that took part and that no probe could cut, each in words. With any, nothing passed.
    """

    violations: tuple[Violation, ...] = ()
    coverage: Mapping[str, Mapping[str, Any]] = field(default_factory=dict[str, Mapping[str, Any]])
    unaudited: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """True if something was tested, all of it, and nothing was found."""
        return not self.violations and not self.unaudited and bool(self.tested)

    @property
    def tested(self) -> tuple[str, ...]:
        """Probes that ran."""
        return tuple(p for p, c in self.coverage.items() if "skipped" not in c)

    @property
    def suspicions(self) -> tuple[Suspicion, ...]:
        """Columns that know more of the next return than is plausible; they keep nothing from passing."""
        return tuple(s for coverage in self.coverage.values() for s in suspicions_in(coverage))

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
        return AuditReport(self.violations + other.violations, coverage, (*self.unaudited, *other.unaudited))

    def __radd__(self, other: Any) -> "AuditReport":
        return self if other == 0 else NotImplemented

    def with_unaudited(self, unaudited: Iterable[str]) -> "AuditReport":
        """Return the report with data named that no probe could cut; without any, the report as it is."""
        return AuditReport(self.violations, self.coverage, (*self.unaudited, *unaudited))

    def first_violation(self) -> str:
        """Return the first violation in words, and how many others there are; there has to be one."""
        first, others = self.violations[0], len(self.violations) - 1
        since = f"from {first.first_leak}" if first.first_leak else None
        where = ", ".join(part for part in (first.probe, first.column, first.symbol, since) if part)
        return f"{where}: {first.sentence}" + (f" (and {others} more)" if others else "")

    def to_frame(self) -> pl.DataFrame:
        """Return a row per violation and per probe that ran without any, in the columns of the lake's `audits`.

        A probe that was not run has no row, nor has one that found nothing where something was not audited: it neither
        passed nor failed.
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
                    "detail": v.sentence,
                    "coverage": coverage,
                }
                for v in violations
            ]
            if not violations and probe in self.tested and not self.unaudited:
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
            elif any(suspicions_in(coverage)):
                result = "suspicious"
            elif not count and self.unaudited:
                result = "nothing seen, not audited"
            lines.append(f"| {probe} | {result} | {_cell(_summary(coverage))} |")
        blind = dict.fromkeys(
            (probe, spot) for probe, coverage in self.coverage.items() for spot in blind_spots_in(coverage)
        )
        if blind:
            lines += [
                "",
                "Not seen by these probes:",
                *(f"- {probe}: {_cell(spot)}" for probe, spot in blind),
            ]
        if self.unaudited:
            lines += ["", "Not audited:", *(f"- {_cell(name)}" for name in self.unaudited)]
        lines += (
            ["", *(f"- SUSPICIOUS: {_cell(s.words)}" for s in self.suspicions)] if self.suspicions else []
        )
        if self.violations:
            lines += ["", "| probe | column | symbol | as of | first leak | largest change | what happened |"]
            lines.append("|---|---|---|---|---|---|---|")
            for v in self.violations:
                delta = "" if v.max_delta is None else f"{v.max_delta:.4g}"
                cells = (v.probe, v.column, v.symbol, v.cutoff, v.first_leak, delta, v.detail)
                lines.append("| " + " | ".join(_cell(c) for c in cells) + " |")
            lines += ["", *(f"- `{name}`: {_cell(lesson)}" for name, lesson in self.lessons())]
        return "\n".join(lines).rstrip()

    def lessons(self) -> list[tuple[str, str]]:
        """Return column (or probe, where none is named) and why it leaks and how it is mended, each once."""
        return list(dict.fromkeys((v.column or v.probe, v.lesson) for v in self.violations if v.lesson))

    def assert_clean(self) -> "AuditReport":
        """Return the report if it passed.

        Raises:
            LeakageError: with the violations in readable form, or because not everything was tested.
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
        lines += [f"  {name}: {lesson}" for name, lesson in self.lessons()]
        raise LeakageError("\n".join(lines), self)

    def _headline(self) -> str:
        if self.violations:
            kinds = ", ".join(dict.fromkeys(v.probe for v in self.violations))
            columns = list(dict.fromkeys(v.column for v in self.violations if v.column))
            named = ", ".join(columns[:5]) + (f" and {len(columns) - 5} more" if len(columns) > 5 else "")
            return f"Refused by {kinds}: {named or len(self.violations)}"
        if not self.tested:
            return "Nothing was tested, so nothing passed"
        if self.unaudited:
            named = "; ".join(self.unaudited[:3])
            more = f" and {len(self.unaudited) - 3} more" if len(self.unaudited) > 3 else ""
            return f"Not audited, since nothing can cut {named}{more}. {UNAUDITED_FIX}"
        passed = f"Passed: {VERDICT}"
        names = ", ".join(s.column for s in self.suspicions)
        return f"{passed}, but SUSPICIOUS: {names}" if names else passed


def blind_spots_in(coverage: Mapping[str, Any]) -> list[str]:
    """Return what a probe says of itself that it does not see."""
    parts: list[Mapping[str, Any]] = coverage.get("parts", [coverage])
    return [spot for part in parts for spot in part.get(BLIND_SPOTS, [])]


def _day(value: date | datetime | None) -> date | None:
    return value.date() if isinstance(value, datetime) else value


def _cell(value: Any) -> str:
    return "" if value is None else str(value).replace("|", "\\|").replace("\n", " ")


def _summary(coverage: Mapping[str, Any]) -> str:
    if "skipped" in coverage:
        return str(coverage["skipped"])
    if "parts" in coverage:
        return f"{len(coverage['parts'])} audits: {_summary(coverage['parts'][0])}; …"
    items: Iterable[tuple[str, Any]] = (
        (k, v)
        for k, v in coverage.items()
        if k not in (SUSPICIOUS, BLIND_SPOTS) and v not in (None, "", [], {})
    )
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
