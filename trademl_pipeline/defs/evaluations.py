"""Results of checks as Dagster's events, each under its month.

The UI shows the check of a month as passed only where its last evaluation names the month and the month's last
materialization. Dagster fills both in for a run of one month; for a run of a range of months this is done here.
"""

from collections.abc import Mapping, Sequence

import dagster as dg
from dagster._core.storage.tags import (
    ASSET_PARTITION_RANGE_END_TAG,
    ASSET_PARTITION_RANGE_START_TAG,
    PARTITION_NAME_TAG,
)

from trademl_pipeline.defs.metadata import to_dagster
from trademl_pipeline.defs.partitions import MONTHS
from trademl_pipeline.defs.recorded_events import EventWriter, evaluation_of, last_materializations
from trademl_pipeline.pipeline.recording import CheckResult

StepContext = dg.AssetExecutionContext | dg.AssetCheckExecutionContext

_RANGE_TAGS = (ASSET_PARTITION_RANGE_START_TAG, ASSET_PARTITION_RANGE_END_TAG)


def is_range(context: StepContext) -> bool:
    """Return True in a run of a range of months."""
    return PARTITION_NAME_TAG not in context.run.tags


def checked_months(context: dg.AssetCheckExecutionContext) -> list[str]:
    """Return the months that a run of partitioned checks is for, one or a range.

    Raises:
        dg.Failure: the run is for no months.
    """
    tags = context.run.tags
    if PARTITION_NAME_TAG in tags:
        return [tags[PARTITION_NAME_TAG]]
    first, last = (tags.get(name) for name in _RANGE_TAGS)
    if first is None or last is None:
        raise dg.Failure(
            "the checks are partitioned by month: run them for a partition, or for a range of them"
        )
    return list(MONTHS.get_partition_keys_in_range(dg.PartitionKeyRange(first, last)))


def check_result(asset: str, result: CheckResult) -> dg.AssetCheckResult:
    """Return what a check says as Dagster's result of the run's month."""
    return dg.AssetCheckResult(
        asset_key=dg.AssetKey(asset),
        check_name=result.name,
        passed=result.passed,
        severity=dg.AssetCheckSeverity[result.severity],
        description=result.description or None,
        metadata=to_dagster(result.metadata),
    )


def report_evaluations(
    context: StepContext,
    asset: dg.AssetKey,
    checks: Mapping[str, Sequence[CheckResult]],
    *,
    of_materializations: bool = True,
) -> None:
    """Store an evaluation for each result, all in one transaction: a range may have thousands.

    Args:
        context: of the step.
        asset: that was checked.
        checks: results by month key.
        of_materializations: name the last materialization of each month as what was looked at; it has to be stored.
    """
    storage = context.instance.event_log_storage
    targets = last_materializations(storage, asset, set(checks)) if of_materializations else {}
    made = [
        evaluation_of(asset, month, result, targets.get(month))
        for month, results in checks.items()
        for result in results
    ]
    if made:
        writer = EventWriter(context.instance, context.run.run_id, context.run.job_name)
        writer.evaluations(made, context.op_execution_context.get_step_execution_context().step.key)
