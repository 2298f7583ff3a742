"""Publishing through the gate, and the same probes as partitioned blocking asset checks.

A failed blocking check would leave the partition materialized, so the audit runs inside the publishing
transaction: a refused month is rolled back, its check results are recorded, and the step fails before any
output. The checks of an asset are then there to be seen, and to be run again on what the lake holds.
"""

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import dagster as dg
import polars as pl
from dagster._core.definitions.asset_checks.asset_check_evaluation import AssetCheckEvaluation
from dagster._core.events import DagsterEvent, DagsterEventType

from trademl_pipeline.defs.figures import leak_figure
from trademl_pipeline.defs.partitions import MONTHS
from trademl_pipeline.defs.resources import LakeResource
from trademl_pipeline.folds import FoldError
from trademl_pipeline.lake import Lake, PublishResult
from trademl_pipeline.lake.errors import LakeError
from trademl_pipeline.lake.schema import UTC_TIME, TableSchema
from trademl_pipeline.leakage import AuditError, AuditReport, Violation
from trademl_pipeline.market import MarketError
from trademl_pipeline.tables import AUDITS
from trademl_pipeline.training.inner_split import FitError

PROBES = {
    "truncation": "Values must not move when everything after an as-of session is deleted.",
    "perturbation": "Values must not move when everything after an as-of session is corrupted.",
    "universe": "Members must be those of the day, and all of them that have prices.",
    "knowledge": "No input may become known after the decision that uses it.",
    "folds": "Training labels must end, with the embargo, before the first decision of the fold.",
    "fit_ledger": "Every fitted object must have seen rows of the fold's training set only.",
    "adjustment": "Values must not move when a later split rescales all history.",
    "model": "A network's outputs must not move with padding or with its neighbours in the batch.",
    "incremental": "The month must equal itself computed alone with the declared warm-up.",
}

# Between two lines of progress in a run's log.
PROGRESS_SECONDS = 2.0

Audit = Callable[[pl.DataFrame], AuditReport]


# Called with each month of an in-process run and its metadata (None: refused), so that a shell can show progress.
Watcher = Callable[[str, str, dict[str, Any] | None], None]
_watcher: ContextVar[Watcher | None] = ContextVar("watcher", default=None)


@contextmanager
def watching(watcher: Watcher) -> Iterator[None]:
    """Tell `watcher` of each month as it is done, in the runs that are executed in this process within.

    It is called with the asset, the month and the month's metadata, None where the month was refused.
    """
    token = _watcher.set(watcher)
    try:
        yield
    finally:
        _watcher.reset(token)


class GateRefusedError(Exception):
    """The gate refused a month; nothing of it was committed."""

    def __init__(self, table: str, month: str, report: AuditReport) -> None:
        super().__init__(f"{table} {month[:7]}: refused by the leakage gate")
        self.table = table
        self.month = month
        self.report = report


# What one month of a range may fail with while the other months go on.
MONTH_ERRORS = (GateRefusedError, AuditError, LakeError, MarketError, FoldError, FitError)


@dataclass(frozen=True)
class Published:
    """A month that passed."""

    result: PublishResult
    report: AuditReport


def run_time(context: dg.AssetExecutionContext | dg.AssetCheckExecutionContext) -> datetime:
    """When Dagster created the run: the time stamp of everything the run records."""
    record = context.instance.get_run_record_by_id(context.run.run_id)
    if record is None:
        raise dg.Failure(f"run {context.run.run_id} is unknown to the Dagster instance")
    return record.create_timestamp.astimezone(UTC)


def publish(
    context: dg.AssetExecutionContext,
    lake: Lake,
    schema: TableSchema,
    frame: pl.DataFrame,
    month: str,
    audit: Audit,
    *,
    beside: Sequence[tuple[TableSchema, pl.DataFrame]] = (),
    append: Sequence[tuple[TableSchema, pl.DataFrame]] = (),
) -> Published:
    """Publish one month if the audit of what was written, run inside the transaction, passes.

    `beside` are further tables of the same month, and `append` ledgers with the rows they gain, that land in the same
    transaction.

    Raises:
        GateRefusedError: when a probe found a violation; the lake holds what it held before.
    """
    reports: list[AuditReport] = []

    def gate(written: pl.DataFrame) -> AuditReport:
        report = audit(written)
        reports.append(report)
        skipped = set(report.coverage) - set(report.tested)
        if not report.passed or skipped:
            raise GateRefusedError(schema.name, month, report)
        return report

    recorded: list[str] = []

    def evidence(verdicts: Mapping[str, Any]) -> tuple[TableSchema, pl.DataFrame]:
        recorded.append(schema.name)
        return AUDITS, audit_rows(context, schema.name, month, verdicts[schema.name])

    try:
        items = [(schema, frame, month), *((other, more, month) for other, more in beside)]
        result = lake.publish_many(items, audits={schema.name: gate}, evidence=evidence, append=append)[0]
    except GateRefusedError as refused:
        lake.append(AUDITS, audit_rows(context, schema.name, month, refused.report))
        _report_evaluations(context, month, refused.report)
        raise
    if not recorded:
        lake.append(AUDITS, audit_rows(context, schema.name, month, reports[-1]))
    if "dagster/partition" not in context.run.tags:
        _report_evaluations(context, month, reports[-1])
    return Published(result, reports[-1])


def audit_rows(
    context: dg.AssetExecutionContext, table: str, month: str, report: AuditReport
) -> pl.DataFrame:
    """A report as rows of the audit ledger."""
    frame = report.to_frame().with_columns(
        pl.lit(table).alias("table_name"),
        pl.lit(month).alias("month"),
        pl.lit(context.run.run_id).alias("run_id"),
        pl.lit(run_time(context)).cast(UTC_TIME).alias("recorded_at"),
    )
    return frame.select(list(AUDITS.columns))


def _report_evaluations(context: dg.AssetExecutionContext, month: str, report: AuditReport) -> None:
    """Store check results with their partition, which a range run or a refused step would otherwise lose.

    They are events of the run, so that a later run of the month adds results and does not collide with these.
    """
    for probe, passed, metadata in _by_probe(report.to_frame(), report.violations):
        evaluation = AssetCheckEvaluation(
            asset_key=context.asset_key,
            check_name=probe,
            passed=passed,
            metadata=metadata,
            partition=month,
            blocking=True,
        )
        context.instance.report_dagster_event(
            DagsterEvent(
                event_type_value=DagsterEventType.ASSET_CHECK_EVALUATION.value,
                job_name=context.run.job_name,
                step_key=context.asset_key.to_python_identifier(),
                event_specific_data=evaluation,
                message=f"{probe} {'passed' if passed else 'refused'} {month[:7]}",
            ),
            run_id=context.run.run_id,
        )


def _by_probe(
    audits: pl.DataFrame, violations: Sequence[Violation] = ()
) -> Iterable[tuple[str, bool, dict[str, Any]]]:
    """Rows of the audit ledger, folded to one result per probe; with a figure where violations bring values."""
    for (probe,), rows in audits.group_by("probe", maintain_order=True):
        bad = rows.filter(~pl.col("passed"))
        coverage = json.loads(rows["coverage"][0] or "{}")
        metadata: dict[str, Any] = {"coverage": dg.MetadataValue.json(coverage)}
        if bad.height:
            metadata["violations"] = dg.MetadataValue.md(violations_table(bad))
            metadata["violation_rows"] = int(bad.height)
            figure = leak_figure([v for v in violations if v.probe == probe])
            if figure is not None:
                metadata["figure"] = figure
        # A probe that could not run has shown nothing, whatever its row says.
        yield str(probe), bool(bad.height == 0 and "skipped" not in coverage), metadata


def violations_table(bad: pl.DataFrame) -> str:
    """Refusals as a Markdown table: which column, which symbol, from which session, by how much."""
    lines = [
        "| probe | column | symbol | as of | first leak | max change | detail |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in bad.head(20).iter_rows(named=True):
        delta = "" if row["max_delta"] is None else f"{row['max_delta']:.3g}"
        cells = (
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


def each_month(context: dg.AssetExecutionContext, body: Callable[[str], dict[str, Any]]) -> None:
    """Run `body` for every month of the run, publishing what passes.

    A refused month does not stop the others: they are recorded as materialized, and the step fails at the end
    with every refusal in its metadata.
    """
    done: dict[str, dict[str, Any]] = {}
    refused: dict[str, Exception] = {}
    watcher, asset = _watcher.get(), context.asset_key.to_user_string()
    months, rows = list(context.partition_keys), 0
    began = told = time.perf_counter()
    for number, month in enumerate(months, 1):
        try:
            done[month] = body(month)
        except MONTH_ERRORS as error:
            refused[month] = error
            context.log.error(f"{asset} {month[:7]}: {error}")
            if watcher is not None:
                watcher(asset, month, None)
            continue
        if watcher is not None:
            watcher(asset, month, done[month])
        rows += done[month].get("dagster/row_count", 0)
        # Every line costs a write to Dagster's database, and quick months come by the dozen.
        if number == len(months) or time.perf_counter() - told >= PROGRESS_SECONDS:
            told = time.perf_counter()
            context.log.info(
                f"{asset} {month[:7]}: {number} of {len(months)} months, {rows} rows, "
                f"{number / (told - began):.1f} months/s"
            )
    if not refused:
        for month, metadata in done.items():
            context.add_asset_metadata(metadata, partition_key=month)
        return
    for month, metadata in done.items():
        context.log_event(
            dg.AssetMaterialization(asset_key=context.asset_key, partition=month, metadata=metadata)
        )
    raise _failure(context, refused, len(months))


def _failure(context: dg.AssetExecutionContext, refused: dict[str, Exception], months: int) -> dg.Failure:
    names = ", ".join(month[:7] for month in refused)
    metadata: dict[str, Any] = {"refused_months": dg.MetadataValue.json([m[:7] for m in refused])}
    for month, error in refused.items():
        if isinstance(error, GateRefusedError):
            bad = error.report.to_frame().filter(~pl.col("passed"))
            metadata[f"refusal {month[:7]}"] = dg.MetadataValue.md(violations_table(bad))
            figure = leak_figure(error.report.violations)
            if figure is not None:
                metadata[f"figure {month[:7]}"] = figure
        else:
            metadata[f"error {month[:7]}"] = dg.MetadataValue.text(f"{type(error).__name__}: {error}")
    first = next(iter(refused.values()))
    return dg.Failure(
        f"{context.asset_key.to_user_string()}: {len(refused)} of {months} months refused ({names}); "
        f"the lake keeps what it held for them. First: {first}",
        metadata=metadata,
        allow_retries=False,
    )


def gate_checks(
    asset: str, table: str, probes: Sequence[str], audit_month: Callable[[Lake, str], AuditReport]
) -> dg.AssetChecksDefinition:
    """The probes of one asset as partitioned blocking checks.

    In the run that published a month they show the audit that was made inside the transaction; run on their own
    they audit what the lake holds now.
    """

    @dg.multi_asset_check(
        name=f"gate_{asset}",
        description=f"Leakage gate of {asset}, by month.",
        specs=[
            dg.AssetCheckSpec(
                name=probe, asset=asset, blocking=True, partitions_def=MONTHS, description=PROBES[probe]
            )
            for probe in probes
        ],
        can_subset=True,
    )
    def gate(context: dg.AssetCheckExecutionContext, lake: LakeResource) -> Iterable[dg.AssetCheckResult]:
        store = lake.open()
        wanted = {key.name for key in context.selected_asset_check_keys}
        own = store.read(AUDITS).filter(
            (pl.col("run_id") == context.run.run_id) & (pl.col("table_name") == table)
        )
        frames: list[pl.DataFrame] = []
        violations: list[Violation] = []
        for month in checked_months(context):
            made = own.filter(pl.col("month") == month)
            if made.is_empty():
                report = audit_month(store, month)
                made, violations = report.to_frame(), [*violations, *report.violations]
            frames.append(made)
        for probe, passed, metadata in _by_probe(pl.concat(frames, how="diagonal_relaxed"), violations):
            if probe in wanted:
                yield dg.AssetCheckResult(
                    asset_key=dg.AssetKey(asset), check_name=probe, passed=passed, metadata=metadata
                )

    return gate


def checked_months(context: dg.AssetCheckExecutionContext) -> list[str]:
    """The months that a run of partitioned checks is for, one or a range."""
    tags = context.run.tags
    if "dagster/partition" in tags:
        return [tags["dagster/partition"]]
    first, last = (
        tags.get("dagster/asset_partition_range_start"),
        tags.get("dagster/asset_partition_range_end"),
    )
    if first is None or last is None:
        raise dg.Failure(
            "the checks are partitioned by month: run them for a partition, or for a range of them"
        )
    return list(MONTHS.get_partition_keys_in_range(dg.PartitionKeyRange(first, last)))
