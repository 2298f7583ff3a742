"""The months of a run as events of Dagster, many in one transaction.

Dagster writes each event by itself, and SQLite waits for the disk each time: two to four waits a month and check. Here
one call is one transaction on the index of all runs and one on the run's own log.

What the UI makes of the events decides which ones are written:

- It shows a partitioned check as passed only where the evaluation names the materialization that it looked at, by its
  number in the index. So materializations are written first.
- It shows a partition as failed where a failed run had planned it and nothing was materialized since. So a month is
  planned only once it has been refused, and only if nothing good of it is there: a good month stays what it is.
- It shows the last evaluation of a check as the state of the month. A refused month that has a good predecessor leaves
  its findings in the run's log and as an observation of the month, and the checks of what is published stand.
"""

import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import dagster as dg
from dagster._core.definitions.asset_checks.asset_check_evaluation import (
    AssetCheckEvaluation,
    AssetCheckEvaluationTargetMaterializationData,
)
from dagster._core.events import (
    AssetMaterializationPlannedData,
    AssetObservationData,
    DagsterEvent,
    DagsterEventType,
    StepMaterializationData,
)
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecordStatus
from dagster._core.storage.event_log import (
    EventLogStorage,
    SqlEventLogStorage,
    SqlEventLogStorageTable,
)
from dagster._core.storage.event_log.schema import AssetCheckExecutionsTable

from trademl_pipeline.defs.metadata import to_dagster
from trademl_pipeline.defs.recorded_steps import StepChange, step_key
from trademl_pipeline.pipeline.recording import CheckResult, MonthDone, MonthRefused

MonthEvent = MonthDone | MonthRefused


def evaluation_of(
    asset: dg.AssetKey,
    month: str,
    check: CheckResult,
    target: AssetCheckEvaluationTargetMaterializationData | None,
) -> AssetCheckEvaluation:
    """Return what a check found as Dagster's evaluation.

    Args:
        asset: that was checked.
        month: month key; empty for an asset without partitions.
        check: its result.
        target: the materialization that was looked at; None: nothing was materialized.
    """
    return AssetCheckEvaluation(
        asset_key=asset,
        check_name=check.name,
        passed=check.passed,
        metadata=to_dagster(check.metadata),
        target_materialization_data=target,
        severity=dg.AssetCheckSeverity[check.severity],
        description=check.description or None,
        blocking=check.blocking,
        partition=month or None,
    )


def last_materializations(
    storage: EventLogStorage, asset: dg.AssetKey, months: set[str]
) -> dict[str, AssetCheckEvaluationTargetMaterializationData]:
    """Return the last materialization of each of some months that has one, by month key."""
    kind = DagsterEventType.ASSET_MATERIALIZATION
    numbers = storage.get_latest_storage_id_by_partition(asset, kind, months) if months else {}
    if not numbers:
        return {}
    wanted = dg.AssetRecordsFilter(asset_key=asset, storage_ids=list(numbers.values()))
    return {
        record.partition_key: AssetCheckEvaluationTargetMaterializationData(
            storage_id=record.storage_id, run_id=record.run_id, timestamp=record.timestamp
        )
        for record in storage.fetch_materializations(wanted, limit=len(numbers)).records
        if record.partition_key is not None
    }


class EventWriter:
    """Writes events of one run.

    Args:
        instance: where to; its event log has to be a SQL database, as those of Dagster itself are.
        run_id: of the run.
        job: its name.

    Raises:
        TypeError: the instance stores events elsewhere.
    """

    def __init__(self, instance: dg.DagsterInstance, run_id: str, job: str) -> None:
        storage = instance.event_log_storage
        if not isinstance(storage, SqlEventLogStorage):
            raise TypeError(
                f"runs are recorded in SQL event logs only, and this one is a {type(storage).__name__}"
            )
        self._storage, self._run_id, self._job = storage, run_id, job
        self._told_checks: set[tuple[Any, ...]] = set()

    def log(self, message: str, level: int) -> None:
        """Write one line of the run's log."""
        self._write_log([self._storage._event_to_row(self._line(message, level))])

    def steps(self, changes: Sequence[StepChange]) -> None:
        """Write which steps began and ended."""
        self._write_log([self._storage._event_to_row(self._changed(change)) for change in changes])

    def write(
        self,
        events: Sequence[MonthEvent],
        before: Sequence[StepChange] = (),
        after: Sequence[StepChange] = (),
    ) -> None:
        """Write months that were published or refused, in one transaction, between changes of steps."""
        published, others = self._published(events), self._checked_elsewhere(events)
        with self._storage.index_transaction() as connection:
            batch = _Batch(self._storage, connection, self._told_checks)
            for change in before:
                batch.log(self._changed(change))
            for event in events:
                month = (event.asset, event.month)
                if isinstance(event, MonthDone):
                    published.add(month)
                    self._write_done(batch, event, others)
                elif month in published:
                    batch.index(self._observed(event))
                    for check in event.checks:
                        batch.log(self._evaluated(event, check))
                else:
                    batch.index(self._planned(event))
                    for check in event.checks:
                        batch.index_check(self._evaluated(event, check))
                if isinstance(event, MonthRefused):
                    batch.log(self._line(f"{event.asset} {event.month[:7]}: {event.reason}", logging.ERROR))
            for change in after:
                batch.log(self._changed(change))
            batch.index_assets()
        self._write_log(batch.of_the_run if self._storage.is_run_sharded else batch.unindexed)

    def evaluations(self, evaluations: Sequence[AssetCheckEvaluation], step: str) -> None:
        """Write results of checks that Dagster itself has planned, all in one transaction.

        Args:
            evaluations: each of another check or month.
            step: key of the step that tells them.
        """
        with self._storage.index_transaction() as connection:
            batch = _Batch(self._storage, connection, self._told_checks)
            for data in evaluations:
                message = f"{data.check_name} {'passed' if data.passed else 'refused'} {data.partition or ''}"
                event = DagsterEvent(
                    event_type_value=DagsterEventType.ASSET_CHECK_EVALUATION.value,
                    job_name=self._job,
                    step_key=step,
                    event_specific_data=data,
                    message=message,
                )
                batch.index_check(self._line(message, logging.INFO, event), planned=True)
        self._write_log(batch.of_the_run if self._storage.is_run_sharded else batch.unindexed)

    def _write_done(
        self,
        batch: "_Batch",
        event: MonthDone,
        others: Mapping[tuple[str, str], AssetCheckEvaluationTargetMaterializationData],
    ) -> None:
        entry = self._materialized(event)
        target = AssetCheckEvaluationTargetMaterializationData(
            storage_id=batch.index(entry), run_id=self._run_id, timestamp=entry.timestamp
        )
        for check in event.checks:
            if not check.asset:
                batch.index_check(self._evaluated(event, check, target))
            elif (check.asset, event.month) in others:
                batch.index_check(self._evaluated(event, check, others[check.asset, event.month]))

    def _checked_elsewhere(
        self, events: Iterable[MonthEvent]
    ) -> dict[tuple[str, str], AssetCheckEvaluationTargetMaterializationData]:
        """By asset and month, what stands of the other assets that some months were told to have checked."""
        wanted: dict[str, set[str]] = {}
        for event in events:
            for check in event.checks:
                if check.asset:
                    wanted.setdefault(check.asset, set()).add(event.month)
        return {
            (asset, month): target
            for asset, months in wanted.items()
            for month, target in last_materializations(self._storage, dg.AssetKey(asset), months).items()
        }

    def _write_log(self, rows: Sequence[dict[str, Any]]) -> None:
        if rows:
            with self._storage.run_connection(self._run_id) as connection:
                connection.execute(SqlEventLogStorageTable.insert(), rows)

    def _published(self, events: Iterable[MonthEvent]) -> set[tuple[str, str]]:
        """Of the assets and months that are refused, those that have been materialized before."""
        refused: dict[str, set[str]] = {}
        for event in events:
            if isinstance(event, MonthRefused):
                refused.setdefault(event.asset, set()).add(event.month)
        published: set[tuple[str, str]] = set()
        for asset, months in refused.items():
            key = dg.AssetKey(asset)
            if "" in months and self._storage.get_latest_materialization_events([key])[key] is not None:
                published.add((asset, ""))
            numbers = self._storage.get_latest_storage_id_by_partition(
                key, DagsterEventType.ASSET_MATERIALIZATION, months - {""}
            )
            published |= {(asset, month) for month in numbers}
        return published

    def _materialized(self, event: MonthDone) -> dg.EventLogEntry:
        data = StepMaterializationData(
            dg.AssetMaterialization(
                event.asset, partition=event.month or None, metadata=to_dagster(event.metadata)
            )
        )
        return self._entry(DagsterEventType.ASSET_MATERIALIZATION, event, data, "published")

    def _planned(self, event: MonthRefused) -> dg.EventLogEntry:
        data = AssetMaterializationPlannedData(dg.AssetKey(event.asset), partition=event.month or None)
        return self._entry(DagsterEventType.ASSET_MATERIALIZATION_PLANNED, event, data, "was to be published")

    def _observed(self, event: MonthRefused) -> dg.EventLogEntry:
        metadata = {"refused": f"{event.reason}; what was published before stands"}
        data = AssetObservationData(
            dg.AssetObservation(
                event.asset,
                description=event.reason,
                partition=event.month or None,
                metadata=metadata | to_dagster(event.metadata),
            )
        )
        return self._entry(DagsterEventType.ASSET_OBSERVATION, event, data, "refused")

    def _evaluated(
        self,
        event: MonthEvent,
        check: CheckResult,
        target: AssetCheckEvaluationTargetMaterializationData | None = None,
    ) -> dg.EventLogEntry:
        data = evaluation_of(dg.AssetKey(check.asset or event.asset), event.month, check, target)
        what = f"{check.name} {'passed' if check.passed else 'refused'}"
        return self._entry(DagsterEventType.ASSET_CHECK_EVALUATION, event, data, what)

    def _entry(self, kind: DagsterEventType, event: MonthEvent, data: Any, what: str) -> dg.EventLogEntry:
        return self._changed(StepChange(kind, event.asset, f"{event.asset} {event.month[:7]}: {what}", data))

    def _changed(self, change: StepChange) -> dg.EventLogEntry:
        dagster_event = DagsterEvent(
            event_type_value=change.kind.value,
            job_name=self._job,
            step_key=step_key(change.asset),
            event_specific_data=change.data,
            message=change.message,
        )
        return self._line(change.message, logging.INFO, dagster_event)

    def _line(self, message: str, level: int, event: DagsterEvent | None = None) -> dg.EventLogEntry:
        return dg.EventLogEntry(
            error_info=None,
            level=level,
            user_message=message,
            run_id=self._run_id,
            timestamp=time.time(),
            step_key=event.step_key if event is not None else None,
            job_name=self._job,
            dagster_event=event,
        )


class _Batch:
    """Events of one transaction on the index.

    Args:
        storage: of the events.
        connection: to the index, in a transaction.
        evaluated: what the run has told of before: asset, check and month.

    Attributes:
        of_the_run: rows of all events in order, for the log of the run.
        unindexed: rows of those that only the log of the run shows.
    """

    def __init__(self, storage: SqlEventLogStorage, connection: Any, evaluated: set[tuple[Any, ...]]) -> None:
        self._storage, self._connection, self._evaluated = storage, connection, evaluated
        self.of_the_run: list[dict[str, Any]] = []
        self.unindexed: list[dict[str, Any]] = []
        self._last: dict[tuple[str, str], tuple[dg.EventLogEntry, int]] = {}

    def log(self, entry: dg.EventLogEntry) -> None:
        """Keep an event for the run's own log."""
        row = self._storage._event_to_row(entry)
        self.of_the_run.append(row)
        self.unindexed.append(row)

    def index(self, entry: dg.EventLogEntry) -> int:
        """Store an event of an asset in the index; returns its number there."""
        row, number = self._store(entry)
        self._last[row["asset_key"], row["dagster_event_type"]] = entry, number
        return number

    def index_check(self, entry: dg.EventLogEntry, *, planned: bool = False) -> None:
        """Store an evaluation in the index, and in the table of checks.

        Args:
            entry: the evaluation.
            planned: the table may have the check as one that the run has planned.
        """
        evaluation, status = (
            entry.get_dagster_event().asset_check_evaluation_data,
            AssetCheckExecutionRecordStatus,
        )
        target = evaluation.target_materialization_data
        row, number = self._store(entry)
        key = {
            "asset_key": evaluation.asset_key.to_string(),
            "check_name": evaluation.check_name,
            "run_id": entry.run_id,
            "partition": evaluation.partition,
        }
        values = {
            "execution_status": (status.SUCCEEDED if evaluation.passed else status.FAILED).value,
            "evaluation_event": row["event"],
            "evaluation_event_timestamp": row["timestamp"],
            "evaluation_event_storage_id": number,
            "materialization_event_storage_id": target.storage_id if target is not None else None,
        }
        same = tuple(key.values())
        if planned or same in self._evaluated:
            # The later one counts.
            told_before = [AssetCheckExecutionsTable.c[name].is_not_distinct_from(key[name]) for name in key]
            update = AssetCheckExecutionsTable.update().where(*told_before)
            if self._connection.execute(update, values).rowcount:
                return
        self._evaluated.add(same)
        self._connection.execute(AssetCheckExecutionsTable.insert(), key | values)

    def index_assets(self) -> None:
        """Note the last event of each kind in the table of assets, which keeps no others."""
        for entry, number in self._last.values():
            self._storage._store_asset_event(self._connection, entry, number)

    def _store(self, entry: dg.EventLogEntry) -> tuple[dict[str, Any], int]:
        row = self._storage._event_to_row(entry)
        self.of_the_run.append(row)
        return row, self._connection.execute(SqlEventLogStorageTable.insert(), row).inserted_primary_key[0]
