"""Why columns leak and how to mend them, for the terminal and for programs."""

from collections.abc import Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from trademl_pipeline.leakage.report import AuditReport, Violation


def lessons_table(report: AuditReport) -> Table:
    """Return a table of each column that leaks: how far ahead it sees, the likely pattern, its line, and the fix."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True, style="dim")
    table.add_column()
    for name, rows in _by_column(report.violations).items():
        for number, (what, text) in enumerate(rows):
            table.add_row(Text("" if number else name, style="bold"), what, Text(text))
    return table


def plain_lesson(violation: Violation) -> dict[str, Any]:
    """Return what is known of a violation beside its values, as plain data."""
    diagnosis = violation.diagnosis
    if diagnosis is None:
        return {"fix": dict(_rows(violation)).get("fix")}
    return {
        "horizon": diagnosis.horizon,
        "horizon_is_minimum": diagnosis.is_minimum,
        "pattern": diagnosis.pattern,
        "evidence": diagnosis.evidence,
        "origin": diagnosis.origin or None,
        "fix": diagnosis.fix,
    }


def _by_column(violations: Sequence[Violation]) -> dict[str, list[tuple[str, str]]]:
    rows: dict[str, list[tuple[str, str]]] = {}
    for violation in violations:
        mine = rows.setdefault(violation.column or violation.probe, [])
        mine += [row for row in _rows(violation) if row not in mine]
    return {name: lines for name, lines in rows.items() if lines}


def _rows(violation: Violation) -> list[tuple[str, str]]:
    diagnosis = violation.diagnosis
    if diagnosis is None:
        return [("fix", violation.lesson.removeprefix("fix: "))] if violation.lesson else []
    rows = [
        ("sees ahead", diagnosis.reach),
        ("pattern", f"{diagnosis.pattern}: {diagnosis.evidence}"),
        ("made at", diagnosis.origin),
        ("fix", diagnosis.fix),
    ]
    return [(what, text) for what, text in rows if text]
