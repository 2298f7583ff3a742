"""Months of an asset in a Dagster run, and the gate's probes as partitioned blocking asset checks.

A failed blocking check would leave the partition materialized, so the audit runs inside the publishing
transaction (see `pipeline.gate`): a refused month is rolled back, its check results are recorded, and the step fails
before any output. The checks of an asset are then there to be seen, and to be run again on what the lake holds.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC

import dagster as dg
import polars as pl

from trademl_pipeline.defs.evaluations import check_result, checked_months, is_range, report_evaluations
from trademl_pipeline.defs.metadata import to_dagster
from trademl_pipeline.defs.partitions import MONTHS
from trademl_pipeline.defs.quality import QualityResource
from trademl_pipeline.defs.references import ReferenceResource
from trademl_pipeline.defs.resources import DataSetResource, GateResource, LakeResource
from trademl_pipeline.defs.universes import UniverseResource
from trademl_pipeline.defs.workspace import workspace_of
from trademl_pipeline.lake.schema import GatedTable
from trademl_pipeline.leakage import AuditReport, Violation
from trademl_pipeline.pipeline.errors import StepError
from trademl_pipeline.pipeline.gate import PROBES, WARNING_PROBES, Sample, check_results
from trademl_pipeline.pipeline.months import Body, RunInfo, refusal, refusals_of, work_off
from trademl_pipeline.pipeline.quality_settings import Quality
from trademl_pipeline.pipeline.recording import CheckResult, MonthDone
from trademl_pipeline.pipeline.references import References
from trademl_pipeline.pipeline.universe import Universe
from trademl_pipeline.pipeline.workspace import Workspace
from trademl_pipeline.tables import AUDITS

# What a step tells Dagster of its months.
MonthEvents = Iterator[dg.AssetMaterialization | dg.MaterializeResult]


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


def each_month(context: dg.AssetExecutionContext, body: Body, *, keep_going: bool = False) -> MonthEvents:
    """Run `body` for the months of the run, publishing what passes, up to the first that the gate refuses.

    What was published is recorded as materialized, and the step fails at the end with every refusal in its metadata;
    months that were not run are as they were. A month that failed for itself, such as by its bars, does not stop the
    others.

    Args:
        context: of the step.
        body: makes and publishes one month.
        keep_going: go on after a month that the gate refused.

    Yields:
        The materializations. Results of the checks are stored after them, since they name them: of a refusal and of a
        range of months, which nobody else would show; those of a single month's run are shown by its check.

    Raises:
        dg.Failure: a month was refused, or the step cannot work at all.
    """
    asset, months = context.asset_key.to_user_string(), list(context.partition_keys)
    with failing():
        events = work_off(asset, months, body, context.log, keep_going=keep_going)
    refusals = refusals_of(events)
    published = [event for event in events if isinstance(event, MonthDone)]
    for event in published:
        metadata = to_dagster(event.metadata)
        if refusals:
            yield dg.AssetMaterialization(context.asset_key, partition=event.month, metadata=metadata)
        else:
            context.add_asset_metadata(metadata, partition_key=event.month)
    if not refusals:
        yield dg.MaterializeResult()
    if refusals or is_range(context):
        # What a step finds of another asset, Dagster runs as that asset's own checks.
        checks = {event.month: [check for check in event.checks if not check.asset] for event in published}
        report_evaluations(context, context.asset_key, checks)
    if refusals:
        refused_checks = {event.month: event.checks for event in refusals}
        # What was refused is not there: its results name no materialization.
        report_evaluations(context, context.asset_key, refused_checks, of_materializations=False)
        raise dg.Failure(
            refusal(asset, events, months),
            metadata=to_dagster(
                {
                    "refused_months": [event.month[:7] for event in refusals],
                    "months_not_run": [month[:7] for month in months[len(events) :]],
                }
                | {name: value for event in refusals for name, value in event.metadata.items()}
            ),
            allow_retries=False,
        )


@dataclass(frozen=True)
class Published:
    """A data set whose published months are audited again, as a run has it.

    Attributes:
        workspace: the lake, the files, the calendar.
        sample: how hard the gate looks.
        references: what symbols are compared with.
        universe: whom one may decide on.
        quality: rules of the checks of bars.
    """

    workspace: Workspace
    sample: Sample
    references: References
    universe: Universe
    quality: Quality


def gate_checks(
    schema: GatedTable, audit_month: Callable[[Published, str], AuditReport]
) -> dg.AssetChecksDefinition:
    """Return the probes of one asset as partitioned checks, blocking but for those that warn.

    In the run that published a month they show the audit that was made inside the transaction; run on their own
    they audit what the lake holds now.

    Args:
        schema: of the table, whose name the asset has.
        audit_month: (data set, month) -> the audit of what the lake holds.
    """

    asset = schema.name

    @dg.multi_asset_check(
        name=f"gate_{asset}",
        description=f"Leakage gate of {asset}, by month.",
        specs=[
            dg.AssetCheckSpec(
                name=probe,
                asset=asset,
                blocking=probe not in WARNING_PROBES,
                partitions_def=MONTHS,
                description=PROBES[probe],
            )
            for probe in schema.probes
        ],
        can_subset=True,
    )
    def gate(
        context: dg.AssetCheckExecutionContext,
        lake: LakeResource,
        data_set: DataSetResource,
        gate: GateResource,
        references: ReferenceResource,
        universe: UniverseResource,
        quality: QualityResource,
    ) -> Iterator[dg.AssetCheckResult]:
        workspace = workspace_of(lake, data_set)
        published = Published(
            workspace,
            gate.plain(),
            references.plain(),
            universe.plain(),
            quality.plain(workspace.calendar),
        )
        selected = {key.name for key in context.selected_asset_check_keys}
        recorded = workspace.lake.read(AUDITS).filter(
            (pl.col("run_id") == context.run.run_id) & (pl.col("table_name") == asset)
        )
        frames: list[pl.DataFrame] = []
        violations: list[Violation] = []
        audited: dict[str, list[CheckResult]] = {}
        for month in checked_months(context):
            rows = recorded.filter(pl.col("month") == month)
            if rows.is_empty():
                report = audit_month(published, month)
                rows, violations = report.to_frame(), [*violations, *report.violations]
                audited[month] = [r for r in check_results(rows, report.violations) if r.name in selected]
            frames.append(rows)
        for result in check_results(pl.concat(frames, how="diagonal_relaxed"), violations):
            if result.name in selected:
                yield check_result(asset, result)
        if is_range(context):
            # The step that published a month of this run has told its results.
            report_evaluations(context, dg.AssetKey(asset), audited)

    return gate
