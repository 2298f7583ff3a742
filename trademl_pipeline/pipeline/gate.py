"""Publishing through the gate.

The audit of a month runs inside the publishing transaction: a month that is refused is rolled back, and what the
probes found stays in the ledger of audits. The lake itself takes no gated table without such an audit.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from trademl_pipeline.lake import Lake, PublishResult
from trademl_pipeline.lake.frames import data_version
from trademl_pipeline.lake.gated import Gate, GatedMonth, Stamp, failing, unrun
from trademl_pipeline.lake.schema import GatedTable, Ledger, UngatedTable
from trademl_pipeline.leakage import AuditReport, Violation
from trademl_pipeline.leakage.probes.plausibility import PLAUSIBILITY
from trademl_pipeline.leakage.suspicion import suspicions_in
from trademl_pipeline.pipeline.figures import leak_figure
from trademl_pipeline.pipeline.recording import CheckResult
from trademl_pipeline.pipeline.shown import Json, Markdown, Metadata

PROBES = {
    "truncation": "Values must not move when everything after an as-of session is deleted.",
    "perturbation": "Values must not move when everything after an as-of session is corrupted.",
    "universe": "Members must be those of the day, and all of them that have prices.",
    "knowledge": "No input may become known after the decision that uses it.",
    "folds": "Training labels must end, with the embargo, before the first decision of the fold.",
    "fit_ledger": "Every fitted object must have seen rows of the fold's training set only.",
    "adjustment": "Values must not move when a later split rescales all history.",
    "model": "A network's outputs must not move with padding or with its neighbours in the batch.",
    "content": "All that the month is made of must have passed the gate as it lies in the lake.",
    "rerun": "The step, run again with what was known at earlier decisions, must decide the same.",
    "incremental": "The month must equal itself computed alone with the declared warm-up.",
    "plausibility": "No column should know more of the next return than honest features do; a warning.",
}

# They warn: what they see keeps no month from being published.
WARNING_PROBES = frozenset((PLAUSIBILITY,))

Audit = Callable[[pl.DataFrame], AuditReport]


@dataclass(frozen=True)
class Audited:
    """A month of a gated table, and its audit."""

    schema: GatedTable
    frame: pl.DataFrame
    audit: Audit


Beside = tuple[UngatedTable, pl.DataFrame] | Audited


@dataclass(frozen=True)
class Sample:
    """How hard the gate looks: cut-offs per month, and the seed of their draw."""

    cutoffs: int
    seed: int

    def seed_of(self, table: str, month: str) -> int:
        """Return the seed of one month of a table, so that months are not all cut at the same places.

        Args:
            table: name of the table.
            month: month key.
        """
        return int.from_bytes(hashlib.sha256(f"{self.seed} {table} {month}".encode()).digest()[:6])


class GateRefusedError(Exception):
    """The gate refused a month; nothing of it was committed."""

    def __init__(self, table: str, month: str, report: AuditReport, unrun: Sequence[str] = ()) -> None:
        super().__init__(f"{table} {month[:7]}: refused by the leakage gate{_first(report, unrun)}")
        self.table = table
        self.month = month
        self.report = report


def _first(report: AuditReport, unrun: Sequence[str]) -> str:
    """The first violation in words, and how many others there are; of a report without any, what was not audited."""
    if report.unaudited and not report.violations:
        return f": not audited, since nothing can cut {'; '.join(report.unaudited)}"
    if not report.violations:
        missing = sorted((set(report.coverage) - set(report.tested)) | set(unrun))
        return (
            f": not audited, since {', '.join(missing)} could not be run"
            if missing
            else ": nothing was tested"
        )
    return f": {report.first_violation()}"


@dataclass(frozen=True)
class Published:
    """A month that passed."""

    result: PublishResult
    report: AuditReport


def publish(
    run: Stamp,
    lake: Lake,
    schema: GatedTable,
    frame: pl.DataFrame,
    month: str,
    audit: Audit,
    *,
    beside: Sequence[Beside] = (),
    append: Sequence[tuple[Ledger, pl.DataFrame]] = (),
) -> Published:
    """Publish one month if the audit of what was written, run inside the transaction, passes.

    Args:
        run: that publishes.
        lake: to publish to.
        schema: table of the rows.
        frame: the rows of the month.
        month: month key.
        audit: of the rows as they are read back.
        beside: further tables of the same month that land in the same transaction; those that are gated bring an audit.
        append: ledgers with the rows they gain in it.

    Raises:
        GateRefusedError: when a probe found a violation, or did not run; the lake holds what it held before.
    """
    refused: list[tuple[GatedTable, AuditReport, str]] = []

    def gated(one: Audited) -> GatedMonth:
        def gate(written: pl.DataFrame) -> AuditReport:
            report = one.audit(written)
            skipped = set(report.coverage) - set(report.tested)
            if failing(one.schema, report) or skipped:
                refused.append((one.schema, report, data_version(one.schema, written)))
                raise GateRefusedError(one.schema.name, month, report, unrun(one.schema, report))
            return report

        return GatedMonth(one.schema, one.frame, month, Gate(gate, run))

    items = [
        gated(one) if isinstance(one, Audited) else (*one, month)
        for one in (Audited(schema, frame, audit), *beside)
    ]
    try:
        result = lake.publish_many(items, append=append)[0]
    except GateRefusedError:
        for table, report, content in refused:
            lake.record_refusal(table, month, report, run, content)
        raise
    return Published(result, result.audited)


def month_metadata(published: Published, frame: pl.DataFrame) -> Metadata:
    """Return the figures of one published month."""
    result, report = published.result, published.report
    metadata: Metadata = {
        "dagster/row_count": int(result.rows),
        "rows_replaced": int(result.replaced),
        "unchanged": bool(result.unchanged),
        "snapshot": int(result.snapshot),
        "data_version": result.data_version,
        "attempts": int(result.attempts),
        "gate": Markdown(report.to_markdown()),
    }
    for name in ("symbol", "session"):
        if name in frame.columns:
            metadata[f"{name}s"] = int(frame[name].n_unique())
    return metadata


def check_results(audits: pl.DataFrame, violations: Sequence[Violation] = ()) -> list[CheckResult]:
    """Return one result per probe of rows of the ledger of audits.

    Args:
        audits: rows of the ledger, of one month or several.
        violations: of the same audits; where they bring values, the result shows a figure of them.
    """
    results: list[CheckResult] = []
    for (probe,), rows in audits.group_by("probe", maintain_order=True):
        bad = rows.filter(~pl.col("passed"))
        coverage = json.loads(rows["coverage"][0] or "{}")
        metadata: Metadata = {"coverage": Json(coverage)}
        if bad.height:
            metadata["violations"] = Markdown(violations_table(bad))
            metadata["violation_rows"] = int(bad.height)
            figure = leak_figure([v for v in violations if v.probe == probe])
            if figure is not None:
                metadata["figure"] = figure
        suspicions = [
            s.words
            for c in rows["coverage"].unique(maintain_order=True)
            for s in suspicions_in(json.loads(c))
        ]
        if suspicions:
            metadata["suspicious"] = Markdown("\n".join(f"- {words}" for words in suspicions))
        # A probe that could not run has shown nothing, whatever its row says.
        passed = bad.height == 0 and "skipped" not in coverage and not suspicions
        warns = probe in WARNING_PROBES
        results.append(
            CheckResult(
                str(probe),
                passed,
                metadata,
                blocking=not warns,
                severity="WARN" if warns else "ERROR",
                description="; ".join(suspicions),
            )
        )
    return results


def refusal_metadata(name: str, report: AuditReport) -> Metadata:
    """Return what is shown of a refused month, under its name: the violations, and values around the leak."""
    bad = report.to_frame().filter(~pl.col("passed"))
    metadata: Metadata = {f"refusal {name}": Markdown(violations_table(bad))}
    figure = leak_figure(report.violations)
    if figure is not None:
        metadata[f"figure {name}"] = figure
    return metadata


def violations_table(bad: pl.DataFrame) -> str:
    """Return refusals as a Markdown table: which column, which symbol, from which session, by how much."""
    lines = [
        "| probe | column | symbol | as of | first leak | max change | detail |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in bad.head(20).iter_rows(named=True):
        delta = "" if row["max_delta"] is None else f"{row['max_delta']:.3g}"
        cells: Iterable[Any] = (
            row["probe"],
            row["column"],
            row["symbol"],
            row["cutoff"],
            row["first_leak"],
            delta,
            row["detail"],
        )
        lines.append("| " + " | ".join("" if c is None else str(c).replace("|", "\\|") for c in cells) + " |")
    return "\n".join(lines)
