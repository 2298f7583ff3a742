"""Months of an asset in a Dagster run, and the gate's probes as partitioned blocking asset checks.

A failed blocking check would leave the partition materialized, so the audit runs inside the publishing
transaction (see `pipeline.gate`): a refused month is rolled back, its check results are recorded, and the step fails
before any output. The checks of an asset are then there to be seen, and to be run again on what the lake holds.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC

import dagster as dg
import polars as pl
from dagster._core.definitions.asset_checks.asset_check_evaluation import AssetCheckEvaluation
from dagster._core.events import DagsterEvent, DagsterEventType

from trademl_pipeline.defs.metadata import to_dagster
from trademl_pipeline.defs.partitions import MONTHS
from trademl_pipeline.defs.resources import LakeResource
from trademl_pipeline.lake import Lake
from trademl_pipeline.leakage import AuditReport, Violation
from trademl_pipeline.pipeline.errors import StepError
from trademl_pipeline.pipeline.gate import PROBES, check_results
from trademl_pipeline.pipeline.months import Body, RunInfo, refusal, refusals_of, work_off
from trademl_pipeline.pipeline.recording import CheckResult, MonthDone, MonthRefused
from trademl_pipeline.tables import AUDITS


def run_info(context: dg.AssetExecutionContext | dg.AssetCheckExecutionContext) -> RunInfo:
    """Return the run of a step as the pipeline knows it."""
    record = context.instance.get_run_record_by_id(context.run.run_id)
    if record is None:
        raise dg.Failure(f"run {context.run.run_id} is unknown to the Dagster instance")
    return RunInfo(context.run.run_id, record.create_timestamp.astimezone(UTC), context.log)


@contextmanager
def failing() -> Iterator[None]:
    """Turn what a step says it cannot do into Dagster's failure, which no retry mends."""
    try:
        yield
    except StepError as error:
        raise dg.Failure(str(error), allow_retries=False) from error


def each_month(context: dg.AssetExecutionContext, body: Body) -> None:
    """Run `body` for every month of the run, publishing what passes.

    A refused month does not stop the others: they are recorded as materialized, and the step fails at the end
    with every refusal in its metadata.

    Raises:
        dg.Failure: a month was refused, or the step cannot work at all.
    """
    asset, months = context.asset_key.to_user_string(), list(context.partition_keys)
    alone = "dagster/partition" in context.run.tags

    def record(event: MonthDone | MonthRefused) -> None:
        # The check of a single month's run shows the audit itself; of a range, and of a refusal, nobody else would.
        if isinstance(event, MonthRefused) or not alone:
            _report_evaluations(context, event.month, event.checks)

    with failing():
        events = work_off(asset, months, body, context.log, record)
    refusals = refusals_of(events)
    for event in events:
        if isinstance(event, MonthRefused):
            continue
        metadata = to_dagster(event.metadata)
        if refusals:
            context.log_event(
                dg.AssetMaterialization(asset_key=context.asset_key, partition=event.month, metadata=metadata)
            )
        else:
            context.add_asset_metadata(metadata, partition_key=event.month)
    if refusals:
        raise dg.Failure(
            refusal(asset, refusals, len(months)),
            metadata=to_dagster(
                {"refused_months": [event.month[:7] for event in refusals]}
                | {name: value for event in refusals for name, value in event.metadata.items()}
            ),
            allow_retries=False,
        )


def _report_evaluations(context: dg.AssetExecutionContext, month: str, checks: Sequence[CheckResult]) -> None:
    """Store check results with their partition, which a range run or a refused step would otherwise lose.

    They are events of the run, so that a later run of the month adds results and does not collide with these.
    """
    for check in checks:
        evaluation = AssetCheckEvaluation(
            asset_key=context.asset_key,
            check_name=check.name,
            passed=check.passed,
            metadata=to_dagster(check.metadata),
            partition=month,
            blocking=True,
        )
        context.instance.report_dagster_event(
            DagsterEvent(
                event_type_value=DagsterEventType.ASSET_CHECK_EVALUATION.value,
                job_name=context.run.job_name,
                step_key=context.asset_key.to_python_identifier(),
                event_specific_data=evaluation,
                message=f"{check.name} {'passed' if check.passed else 'refused'} {month[:7]}",
            ),
            run_id=context.run.run_id,
        )


def gate_checks(
    asset: str, table: str, probes: Sequence[str], audit_month: Callable[[Lake, str], AuditReport]
) -> dg.AssetChecksDefinition:
    """Return the probes of one asset as partitioned blocking checks.

    In the run that published a month they show the audit that was made inside the transaction; run on their own
    they audit what the lake holds now.

    Args:
        asset: its name.
        table: of the lake.
        probes: names in `pipeline.gate.PROBES`.
        audit_month: (lake, month) -> the audit of what the lake holds.
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
        selected = {key.name for key in context.selected_asset_check_keys}
        recorded = store.read(AUDITS).filter(
            (pl.col("run_id") == context.run.run_id) & (pl.col("table_name") == table)
        )
        frames: list[pl.DataFrame] = []
        violations: list[Violation] = []
        for month in checked_months(context):
            rows = recorded.filter(pl.col("month") == month)
            if rows.is_empty():
                report = audit_month(store, month)
                rows, violations = report.to_frame(), [*violations, *report.violations]
            frames.append(rows)
        for result in check_results(pl.concat(frames, how="diagonal_relaxed"), violations):
            if result.name in selected:
                yield check_result(asset, result)

    return gate


def check_result(asset: str, result: CheckResult) -> dg.AssetCheckResult:
    """Return what a probe found as Dagster's check result."""
    return dg.AssetCheckResult(
        asset_key=dg.AssetKey(asset),
        check_name=result.name,
        passed=result.passed,
        severity=dg.AssetCheckSeverity[result.severity],
        description=result.description or None,
        metadata=to_dagster(result.metadata),
    )


def checked_months(context: dg.AssetCheckExecutionContext) -> list[str]:
    """Return the months that a run of partitioned checks is for, one or a range."""
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
