"""Publishing through the gate.

The audit of a month runs inside the publishing transaction: a month that is refused is rolled back, and what the
probes found stays in the ledger of audits.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

import polars as pl

from trademl_pipeline.lake import Lake, PublishResult
from trademl_pipeline.lake.frames import data_version
from trademl_pipeline.lake.schema import UTC_TIME, TableSchema
from trademl_pipeline.leakage import AuditReport, Violation
from trademl_pipeline.pipeline.figures import leak_figure
from trademl_pipeline.pipeline.recording import CheckResult
from trademl_pipeline.pipeline.shown import Json, Markdown, Metadata
from trademl_pipeline.tables import AUDITS

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
}

Audit = Callable[[pl.DataFrame], AuditReport]
Table = tuple[TableSchema, pl.DataFrame]


@dataclass(frozen=True)
class Sample:
    """How hard the gate looks: cut-offs per month, and the seed of their draw."""

    cutoffs: int
    seed: int


class Stamp(Protocol):
    """Which run records something, and when that run was created."""

    @property
    def run_id(self) -> str:
        """Identifies the run."""
        ...

    @property
    def recorded_at(self) -> datetime:
        """When the run was created (UTC)."""
        ...


class GateRefusedError(Exception):
    """The gate refused a month; nothing of it was committed."""

    def __init__(self, table: str, month: str, report: AuditReport) -> None:
        super().__init__(f"{table} {month[:7]}: refused by the leakage gate{_first(report)}")
        self.table = table
        self.month = month
        self.report = report


def _first(report: AuditReport) -> str:
    """The first violation in words, and how many others there are; of a report without any, what was not run."""
    if not report.violations:
        missing = sorted(set(report.coverage) - set(report.tested))
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
    schema: TableSchema,
    frame: pl.DataFrame,
    month: str,
    audit: Audit,
    *,
    beside: Sequence[Table] = (),
    append: Sequence[Table] = (),
) -> Published:
    """Publish one month if the audit of what was written, run inside the transaction, passes.

    Args:
        run: that publishes.
        lake: to publish to.
        schema: table of the rows.
        frame: the rows of the month.
        month: month key.
        audit: of the rows as they are read back.
        beside: further tables of the same month that land in the same transaction.
        append: ledgers with the rows they gain in it.

    Raises:
        GateRefusedError: when a probe found a violation; the lake holds what it held before.
    """
    reports: list[AuditReport] = []
    content: list[str] = []

    def gate(written: pl.DataFrame) -> AuditReport:
        content.append(data_version(schema, written))
        report = audit(written)
        reports.append(report)
        skipped = set(report.coverage) - set(report.tested)
        if not report.passed or skipped:
            raise GateRefusedError(schema.name, month, report)
        return report

    recorded: list[str] = []

    def evidence(verdicts: Mapping[str, Any]) -> Table:
        recorded.append(schema.name)
        return AUDITS, audit_rows(run, schema.name, month, verdicts[schema.name], content[-1])

    try:
        items = [(schema, frame, month), *((other, more, month) for other, more in beside)]
        result = lake.publish_many(items, audits={schema.name: gate}, evidence=evidence, append=append)[0]
    except GateRefusedError as refused:
        refusals = audit_rows(run, schema.name, month, refused.report, content[-1])
        # A probe that could not run has no row, and where none could there is nothing to keep.
        if refusals.height:
            lake.append(AUDITS, refusals)
        raise
    if not recorded:
        lake.append(AUDITS, audit_rows(run, schema.name, month, reports[-1], content[-1]))
    return Published(result, reports[-1])


def audit_rows(run: Stamp, table: str, month: str, report: AuditReport, content: str) -> pl.DataFrame:
    """Return a report as rows of the ledger of audits.

    Args:
        run: that audited.
        table: name of the audited table.
        month: month key.
        report: of the audit.
        content: content hash of the rows that were audited.
    """
    frame = report.to_frame().with_columns(
        pl.lit(table).alias("table_name"),
        pl.lit(month).alias("month"),
        pl.lit(run.run_id).alias("run_id"),
        pl.lit(run.recorded_at).cast(UTC_TIME).alias("recorded_at"),
        pl.lit(content).alias("content"),
    )
    return frame.select(list(AUDITS.columns))


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
        # A probe that could not run has shown nothing, whatever its row says.
        passed = bad.height == 0 and "skipped" not in coverage
        results.append(CheckResult(str(probe), passed, metadata))
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
