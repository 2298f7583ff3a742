"""Results of checks as Dagster's events, each under its month.

The UI shows the check of a month as passed only where its last evaluation names the month and the month's last
materialization. Dagster fills both in for a run of one month; for a run of a range of months this is done here.
"""

from collections.abc import Mapping, Sequence

import dagster as dg
from dagster._core.definitions.asset_checks.asset_check_evaluation import (
    AssetCheckEvaluation,
    AssetCheckEvaluationTargetMaterializationData,
)

from trademl_pipeline.defs.metadata import to_dagster
from trademl_pipeline.defs.partitions import MONTHS
from trademl_pipeline.defs.recorded_events import EventWriter
from trademl_pipeline.pipeline.recording import CheckResult

StepContext = dg.AssetExecutionContext | dg.AssetCheckExecutionContext

_MONTH_TAG = "dagster/partition"
_RANGE_TAGS = ("dagster/asset_partition_range_start", "dagster/asset_partition_range_end")


def is_range(context: StepContext) -> bool:
    """Return True in a run of a range of months."""
    return _MONTH_TAG not in context.run.tags


def checked_months(context: dg.AssetCheckExecutionContext) -> list[str]:
    """Return the months that a run of partitioned checks is for, one or a range.

    Raises:
        dg.Failure: the run is for no months.
    """
    tags = context.run.tags
    if _MONTH_TAG in tags:
        return [tags[_MONTH_TAG]]
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
    targets = _last_materializations(context.instance, asset, list(checks)) if of_materializations else {}
    made = [
        AssetCheckEvaluation(
            asset_key=asset,
            check_name=result.name,
            passed=result.passed,
            metadata=to_dagster(result.metadata),
            target_materialization_data=targets.get(month),
            severity=dg.AssetCheckSeverity[result.severity],
            description=result.description or None,
            blocking=result.blocking,
            partition=month,
        )
        for month, results in checks.items()
        for result in results
    ]
    if made:
        writer = EventWriter(context.instance, context.run.run_id, context.run.job_name)
        writer.evaluations(made, context.op_execution_context.get_step_execution_context().step.key)


def _last_materializations(
    instance: dg.DagsterInstance, asset: dg.AssetKey, months: list[str]
) -> dict[str, AssetCheckEvaluationTargetMaterializationData]:
    """The last materialization of each month that has one."""
    storage, kind = instance.event_log_storage, dg.DagsterEventType.ASSET_MATERIALIZATION
    numbers = storage.get_latest_storage_id_by_partition(asset, kind, set(months)) if months else {}
    filled: dict[str, AssetCheckEvaluationTargetMaterializationData] = {}
    if numbers:
        wanted = dg.AssetRecordsFilter(asset_key=asset, storage_ids=list(numbers.values()))
        for record in instance.fetch_materializations(wanted, limit=len(numbers)).records:
            if record.partition_key is not None:
                filled[record.partition_key] = AssetCheckEvaluationTargetMaterializationData(
                    storage_id=record.storage_id, run_id=record.run_id, timestamp=record.timestamp
                )
    return filled
