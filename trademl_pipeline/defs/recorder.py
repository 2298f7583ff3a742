"""Runs of the loop over the steps, written into the Dagster instance that the UI shows."""

import logging
import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import dagster as dg
from dagster._core.definitions.repository_definition.valid_definitions import SINGLETON_REPOSITORY_NAME
from dagster._core.events import DagsterEvent, DagsterEventType
from dagster._core.remote_origin import RemoteRepositoryOrigin
from dagster._core.storage.dagster_run import FINISHED_STATUSES
from dagster._core.storage.event_log import SqliteEventLogStorage
from dagster._core.storage.tags import (
    ASSET_PARTITION_RANGE_END_TAG,
    ASSET_PARTITION_RANGE_START_TAG,
    HIDDEN_TAG_PREFIX,
    PARTITION_NAME_TAG,
)
from dagster._core.workspace.load import location_origins_from_yaml_paths

from trademl_pipeline.defs.pools import claim_slot, free_slot, free_slots, runs_in_pools
from trademl_pipeline.defs.recorded_events import EventWriter, MonthEvent
from trademl_pipeline.defs.recorded_steps import Steps, plan_of
from trademl_pipeline.market.calendar import month_range
from trademl_pipeline.pipeline.processes import ProcessMark, this_process, works_since
from trademl_pipeline.pipeline.recording import LogLevel, RecordedRun
from trademl_pipeline.settings import ROOT

HOST_TAG, PID_TAG = "trademl/host", "trademl/pid"
# For us only: the UI shows no tags of this prefix.
START_TAG = f"{HIDDEN_TAG_PREFIX}trademl_process_start"
MONTHS_TAG = "trademl/months"
# How often the instance is asked whether somebody has terminated a run, and for a slot of a pool.
ASK_SECONDS = 1.0
UNFINISHED = (
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
)


def repository_origin() -> RemoteRepositoryOrigin:
    """Return where workspace.yaml has the definitions from: the UI files runs under it."""
    (origin,) = location_origins_from_yaml_paths([str(ROOT / "workspace.yaml")])
    return RemoteRepositoryOrigin(origin, SINGLETON_REPOSITORY_NAME)


def month_tags(months: Sequence[str]) -> dict[str, str]:
    """Return the tags by which Dagster knows which months a run is for.

    A range of Dagster means all months from the first to the last, and a run of it that is repeated in the UI makes all
    of them; so months with gaps between them are named in a tag of our own only.

    Args:
        months: month keys, in order.
    """
    if not months:
        return {}
    if len(months) == 1:
        return {PARTITION_NAME_TAG: months[0]}
    tags = {MONTHS_TAG: f"{months[0][:7]} to {months[-1][:7]}, {len(months)} months"}
    if list(months) == month_range(months[0], months[-1]):
        tags |= {ASSET_PARTITION_RANGE_START_TAG: months[0], ASSET_PARTITION_RANGE_END_TAG: months[-1]}
    return tags


class DagsterRecordedRun:
    """A run in the Dagster instance.

    Args:
        instance: that records it.
        run: as it was added there.
        steps: of the run, none of which has begun.
    """

    def __init__(self, instance: dg.DagsterInstance, run: dg.DagsterRun, steps: Steps) -> None:
        self._instance, self._run, self._steps = instance, run, steps
        self._writer = EventWriter(instance, run.run_id, run.job_name)
        self._writer.steps(steps.first())
        self._asked, self._canceled = time.monotonic(), False

    @property
    def run_id(self) -> str:
        """Dagster's identifier of the run."""
        return self._run.run_id

    def log(self, message: str, *, level: LogLevel = "INFO") -> None:
        """Write a line into the run's log."""
        self._writer.log(message, logging.getLevelNamesMapping()[level])

    def told(self, events: Sequence[MonthEvent]) -> None:
        """Write months with their checks, all in one transaction."""
        if events:
            self._writer.write(events, *self._steps.told(events))

    def cancel_requested(self) -> bool:
        """Return whether the run was terminated in the UI; asks the instance once a second at most."""
        if not self._canceled and time.monotonic() - self._asked >= ASK_SECONDS:
            self._asked = time.monotonic()
            status = self._status()
            self._canceled = status is dg.DagsterRunStatus.CANCELING or status in FINISHED_STATUSES
        return self._canceled

    def succeeded(self) -> None:
        """End the run as a success."""
        self._end(DagsterEventType.RUN_SUCCESS, f"{self._run.job_name}: all was published")

    def failed(self, message: str) -> None:
        """End the run as a failure."""
        self._end(DagsterEventType.RUN_FAILURE, message)

    def canceled(self, message: str) -> None:
        """End the run as canceled."""
        self._end(DagsterEventType.RUN_CANCELED, message)

    def _status(self) -> dg.DagsterRunStatus:
        run = self._instance.get_run_by_id(self.run_id)
        # Somebody may have deleted it.
        return run.status if run is not None else dg.DagsterRunStatus.CANCELED

    def _end(self, kind: DagsterEventType, message: str) -> None:
        """Free what the run holds, and end it unless somebody has done so in the UI already."""
        free_slots(self._instance, self.run_id)
        self._writer.steps(self._steps.last("" if kind is DagsterEventType.RUN_SUCCESS else message))
        if self._status() in FINISHED_STATUSES:
            self.log(message, level="WARNING")
        else:
            report(self._instance, self._run, kind, message)


class DagsterRecorder:
    """Writes runs into a Dagster instance.

    Args:
        instance: that the UI shows.
    """

    def __init__(self, instance: dg.DagsterInstance) -> None:
        self._instance = instance
        self._repository = repository_origin()
        self._process = this_process()
        # With the graph of the assets Dagster would plan all months, and a failed run would turn good ones red.
        self._no_assets = dg.Definitions().resolve_asset_graph()
        self._empty_log = b""
        # When a step was last told to wait for a slot.
        self._refused: dict[tuple[str, str], float] = {}

    def begin(
        self,
        job: str,
        assets: Sequence[str],
        months: Sequence[str],
        *,
        tags: Mapping[str, str] | None = None,
    ) -> DagsterRecordedRun:
        """Add a run that this process works on, and start it.

        Args:
            job: name of a job of the definitions.
            assets: names of those that it may materialize.
            months: month keys, in order; none for assets without partitions.
            tags: shown with it, such as the study.
        """
        job_snapshot, plan = plan_of(job, tuple(assets))
        run = self._instance.create_run(
            job_name=job,
            run_id=None,
            run_config=None,
            status=dg.DagsterRunStatus.NOT_STARTED,
            tags={
                **(tags or {}),
                **month_tags(months),
                HOST_TAG: self._process.host,
                PID_TAG: str(self._process.pid),
                START_TAG: self._process.start,
            },
            root_run_id=None,
            parent_run_id=None,
            step_keys_to_execute=None,
            execution_plan_snapshot=plan,
            job_snapshot=job_snapshot,
            parent_job_snapshot=None,
            asset_selection={dg.AssetKey(asset) for asset in assets},
            asset_check_selection=None,
            resolved_op_selection=None,
            op_selection=None,
            remote_job_origin=self._repository.get_job_origin(job),
            job_code_origin=None,
            asset_graph=self._no_assets,
        )
        self._make_log(run.run_id)
        report(self._instance, run, DagsterEventType.RUN_START, f"Started by process {self._process.pid}")
        return DagsterRecordedRun(self._instance, run, Steps(assets, len(months)))

    def _make_log(self, run_id: str) -> None:
        """Make the log of a run where each run has a database of its own, as in SQLite.

        Creating its tables costs more than all that a short run writes into them, so all but the first are copied.
        """
        storage = self._instance.event_log_storage
        if not isinstance(storage, SqliteEventLogStorage):
            return
        file = Path(storage.path_for_shard(run_id))
        if self._empty_log:
            file.write_bytes(self._empty_log)
            storage._initialized_dbs.add(run_id)
        else:
            with storage.run_connection(run_id):
                pass
            self._empty_log = file.read_bytes()

    def claim(self, pool: str, run: RecordedRun, step: str) -> bool:
        """Take a slot of a pool as Dagster's own steps do, if this step's turn has come.

        Who asks again and again is told the last answer, unless that is a second old.

        Args:
            pool: its name; the instance's default limit holds where none was set.
            run: of this recorder.
            step: that works in it.
        """
        waits = (run.run_id, step)
        if time.monotonic() - self._refused.get(waits, -math.inf) < ASK_SECONDS:
            return False
        claimed = claim_slot(self._instance, pool, run.run_id, step)
        if claimed:
            self._refused.pop(waits, None)
        else:
            self._refused[waits] = time.monotonic()
        return claimed

    def release(self, run: RecordedRun, step: str) -> None:
        """Give a slot back, or the place in the queue for it."""
        self._refused.pop((run.run_id, step), None)
        free_slot(self._instance, run.run_id, step)

    def close_dead(self) -> list[str]:
        """End what processes of this machine have left that are gone, and free their slots; returns the run ids.

        Runs of other machines, of processes that live, and those that a launcher of Dagster owns are left alone.
        """
        closed = []
        for record in self._instance.get_run_records(dg.RunsFilter(statuses=list(UNFINISHED))):
            run = record.dagster_run
            if PID_TAG in run.tags:
                if owner(run).alive() is False:
                    report(
                        self._instance,
                        run,
                        DagsterEventType.RUN_FAILURE,
                        f"Process {run.tags[PID_TAG]} that worked on it is gone; run the same command again",
                    )
                    closed.append(run.run_id)
            elif run.remote_job_origin is None and self._orphaned(record):
                # Such a run has planned all its months; as a failure it would turn the good ones among them red.
                report(
                    self._instance,
                    run,
                    DagsterEventType.RUN_CANCELED,
                    "The process that worked on it is gone; run the same command again",
                )
                closed.append(run.run_id)
        for run_id in {*closed, *self._holders_that_ended()}:
            free_slots(self._instance, run_id)
        return closed

    def _orphaned(self, record: dg.RunRecord) -> bool:
        """True where no process works any more on a run that was executed in some process of this machine.

        Its events tell the process. One without any is given as long as Dagster gives runs to start.
        """
        for entry in self._instance.all_logs(record.dagster_run.run_id):
            pid = entry.dagster_event.pid if entry.dagster_event is not None else None
            if pid is not None:
                return not works_since(pid, entry.timestamp)
        age = time.time() - record.create_timestamp.timestamp()
        return age > self._instance.run_monitoring_start_timeout_seconds

    def _holders_that_ended(self) -> set[str]:
        """Runs of ours that have ended and hold slots still, or wait for them."""
        ids = runs_in_pools(self._instance)
        if not ids:
            return set()
        runs = self._instance.get_runs(dg.RunsFilter(run_ids=list(ids), statuses=list(FINISHED_STATUSES)))
        return {run.run_id for run in runs if PID_TAG in run.tags}


def owner(run: dg.DagsterRun) -> ProcessMark:
    """Return the process that a recorded run belongs to."""
    return ProcessMark(run.tags[HOST_TAG], int(run.tags[PID_TAG]), run.tags[START_TAG])


def report(instance: dg.DagsterInstance, run: dg.DagsterRun, kind: DagsterEventType, message: str) -> None:
    """Change the status of a run.

    Args:
        instance: that records it.
        run: as it was added there.
        kind: the event that changes the status.
        message: one line, for a person.
    """
    level = logging.ERROR if kind is DagsterEventType.RUN_FAILURE else logging.INFO
    event = DagsterEvent(event_type_value=kind.value, job_name=run.job_name, message=message)
    instance.report_dagster_event(event, run_id=run.run_id, log_level=level)
