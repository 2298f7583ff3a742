"""Runs whose process is gone, runs that are terminated in the UI, and pools that runs share."""

import os
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.events import DagsterEvent, EngineEventData
from dagster._core.execution.plan.instance_concurrency_context import InstanceConcurrencyContext
from dagster._core.storage.tags import GRPC_INFO_TAG

from trademl_pipeline.defs import recorder as recorders
from trademl_pipeline.defs.recorder import HOST_TAG, PID_TAG, START_TAG, DagsterRecorder
from trademl_pipeline.pipeline.processes import this_process
from trademl_pipeline.pipeline.recording import RecordedRun
from trademl_pipeline.settings import ROOT
from trademl_pipeline_tests.defs.test_recorder import ASSET, JOB, YEAR, done, months_by_status

FOLD, MODEL = "fold_direction", "model_direction"
Status = dg.DagsterRunStatus
ONE_SLOT = {"concurrency": {"pools": {"granularity": "op", "default_limit": 1}}}
PATIENCE = 60.0

STARTS_AND_WAITS = """
import sys, time
import dagster as dg
from trademl_pipeline.defs.recorder import DagsterRecorder
from trademl_pipeline_tests.defs.test_recorder import ASSET, JOB, YEAR, done, refused
from trademl_pipeline_tests.defs.test_recorder_processes import ONE_SLOT, slot
with dg.DagsterInstance.local_temp(sys.argv[1], overrides=ONE_SLOT) as instance:
    recorder = DagsterRecorder(instance)
    run = recorder.begin(JOB, [ASSET], YEAR)
    run.told([done(YEAR[0]), refused(YEAR[1])])
    assert recorder.claim("gpu", run, ASSET)
    print(run.run_id, flush=True)
    time.sleep(600)
"""


@contextmanager
def slot(recorder: DagsterRecorder, run: RecordedRun, step: str) -> Iterator[None]:
    """Wait for a slot as the loop does, by asking again, and hold it."""
    while not recorder.claim("gpu", run, step):
        time.sleep(0.05)
    try:
        yield
    finally:
        recorder.release(run, step)


@pytest.fixture
def instance(
    tmp_path: Path, empty_storage: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[dg.DagsterInstance]:
    monkeypatch.setattr(recorders, "ASK_SECONDS", 0.05)
    shutil.copytree(empty_storage, tmp_path, dirs_exist_ok=True)
    with dg.DagsterInstance.local_temp(str(tmp_path), overrides=ONE_SLOT) as made:
        yield made


@pytest.fixture
def recorder(instance: dg.DagsterInstance) -> DagsterRecorder:
    return DagsterRecorder(instance)


def status(instance: dg.DagsterInstance, run_id: str) -> dg.DagsterRunStatus:
    run = instance.get_run_by_id(run_id)
    assert run is not None
    return run.status


def add(instance: dg.DagsterInstance, status: dg.DagsterRunStatus, **more: object) -> str:
    """Add a run as somebody else has left it."""
    run = dg.DagsterRun(job_name=JOB, run_id=str(uuid.uuid4()), status=status, **more)  # type: ignore[arg-type]
    instance.add_run(run)
    return run.run_id


def owned(**changes: str) -> dict[str, str]:
    mark = this_process()
    return {HOST_TAG: mark.host, PID_TAG: str(mark.pid), START_TAG: mark.start, **changes}


def dead_pid() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


@pytest.mark.slow
def test_a_run_whose_process_was_killed_is_closed_and_its_slot_freed(
    instance: dg.DagsterInstance, recorder: DagsterRecorder, tmp_path: Path
):
    first = recorder.begin(JOB, [ASSET], YEAR)
    first.told([done(month) for month in YEAR])
    first.succeeded()
    other = subprocess.Popen(
        [sys.executable, "-c", STARTS_AND_WAITS, str(tmp_path)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert other.stdout is not None
        run_id = other.stdout.readline().strip()
        assert status(instance, run_id) is Status.STARTED
        assert recorder.close_dead() == []
        assert instance.event_log_storage.get_concurrency_info("gpu").active_run_ids == {run_id}
        other.send_signal(signal.SIGKILL)
    finally:
        other.kill()
        other.communicate()
    assert recorder.close_dead() == [run_id]
    assert status(instance, run_id) is Status.FAILURE
    (ended,) = instance.all_logs(run_id, of_type=dg.DagsterEventType.RUN_FAILURE)
    assert f"Process {other.pid} that worked on it is gone" in ended.message
    assert instance.event_log_storage.get_concurrency_info("gpu").active_run_ids == set()
    assert months_by_status(instance) == {"materialized": set(YEAR)}
    assert recorder.close_dead() == []


@pytest.mark.parametrize("left", [Status.NOT_STARTED, Status.STARTING, Status.STARTED, Status.CANCELING])
def test_whatever_status_a_dead_process_left_is_closed(
    instance: dg.DagsterInstance, recorder: DagsterRecorder, left: dg.DagsterRunStatus
):
    gone = add(instance, left, tags=owned(**{PID_TAG: str(dead_pid())}))
    # The number is in use again, by a process that began at another time.
    again = add(instance, left, tags=owned(**{START_TAG: "before"}))
    assert set(recorder.close_dead()) == {gone, again}
    assert status(instance, gone) is status(instance, again) is Status.FAILURE


def test_what_may_live_is_left_alone(instance: dg.DagsterInstance, recorder: DagsterRecorder):
    origin = recorders.repository_origin().get_job_origin(JOB)
    alone = [
        add(instance, Status.STARTED, tags=owned()),
        add(instance, Status.STARTED, tags=owned(**{HOST_TAG: "elsewhere", PID_TAG: str(dead_pid())})),
        add(instance, Status.STARTED, remote_job_origin=origin, tags={GRPC_INFO_TAG: "{}"}),
        add(instance, Status.QUEUED, remote_job_origin=origin),
        add(instance, Status.NOT_STARTED),
        add(instance, Status.SUCCESS, tags=owned(**{PID_TAG: str(dead_pid())})),
    ]
    before = [status(instance, run_id) for run_id in alone]
    assert recorder.close_dead() == []
    assert [status(instance, run_id) for run_id in alone] == before


def event_of(pid: int) -> DagsterEvent:
    return DagsterEvent(
        event_type_value=dg.DagsterEventType.ENGINE_EVENT.value,
        job_name=JOB,
        message="Started",
        event_specific_data=EngineEventData(),
        pid=pid,
    )


def test_a_run_without_an_origin_is_closed_once_its_process_is_gone(
    instance: dg.DagsterInstance, recorder: DagsterRecorder
):
    gone, alive = add(instance, Status.STARTED), add(instance, Status.STARTED)
    instance.report_dagster_event(event_of(dead_pid()), run_id=gone)
    instance.report_dagster_event(event_of(os.getpid()), run_id=alive)
    assert recorder.close_dead() == [gone]
    assert (status(instance, gone), status(instance, alive)) == (Status.CANCELED, Status.STARTED)


def test_a_run_executed_in_this_process_tells_its_process(
    instance: dg.DagsterInstance, recorder: DagsterRecorder, monkeypatch: pytest.MonkeyPatch
):
    asked: list[int] = []
    monkeypatch.setattr(recorders, "works_since", lambda pid, time_stamp: asked.append(pid) or True)

    @dg.op
    def look() -> None:
        assert recorder.close_dead() == []

    @dg.job
    def looking() -> None:
        look()

    assert looking.execute_in_process(instance=instance).success
    assert asked == [os.getpid()]


def test_a_run_that_never_told_anything_is_given_time_to_start(
    instance: dg.DagsterInstance, recorder: DagsterRecorder, monkeypatch: pytest.MonkeyPatch
):
    silent = add(instance, Status.NOT_STARTED)
    assert recorder.close_dead() == []
    later = time.time() + instance.run_monitoring_start_timeout_seconds + 1
    monkeypatch.setattr(recorders.time, "time", lambda: later)
    assert recorder.close_dead() == [silent]


def test_a_run_terminated_in_the_ui_learns_of_it_and_ends(
    instance: dg.DagsterInstance, recorder: DagsterRecorder
):
    run = recorder.begin(FOLD, [MODEL], YEAR[:1])
    time.sleep(0.1)
    assert not run.cancel_requested()
    # What "Terminate" does where no launcher of Dagster has started the run.
    assert instance.run_launcher.terminate(run.run_id) is False
    assert status(instance, run.run_id) is Status.CANCELING
    time.sleep(0.1)
    assert run.cancel_requested()
    run.canceled("terminated in the UI")
    assert status(instance, run.run_id) is Status.CANCELED


@pytest.mark.parametrize("end", ["failed", "canceled"])
def test_a_run_that_was_marked_as_canceled_stays_so(
    instance: dg.DagsterInstance, recorder: DagsterRecorder, end: str
):
    run = recorder.begin(FOLD, [MODEL], YEAR[:1])
    instance.report_run_canceled(instance.get_run_by_id(run.run_id))
    time.sleep(0.1)
    assert run.cancel_requested()
    getattr(run, end)("over")
    assert status(instance, run.run_id) is Status.CANCELED
    assert instance.all_logs(run.run_id)[-1].user_message == "over"


def test_a_deleted_run_is_one_that_is_not_wanted(instance: dg.DagsterInstance, recorder: DagsterRecorder):
    run = recorder.begin(FOLD, [MODEL], YEAR[:1])
    instance.delete_run(run.run_id)
    time.sleep(0.1)
    assert run.cancel_requested()


def test_a_pool_is_shared_with_the_steps_of_dagster(instance: dg.DagsterInstance, recorder: DagsterRecorder):
    run = recorder.begin(FOLD, [MODEL], YEAR[:1])
    launched = instance.get_run_by_id(add(instance, Status.STARTED))
    assert launched is not None
    with InstanceConcurrencyContext(instance, launched) as theirs:
        assert recorder.claim("gpu", run, MODEL)
        assert not theirs.claim("gpu", MODEL)
        recorder.release(run, MODEL)
        theirs._pending_timeouts.clear()
        assert theirs.claim("gpu", MODEL)
        assert not recorder.claim("gpu", run, MODEL)
        recorder.release(run, MODEL)
        theirs.free_step(MODEL)
    assert recorder.claim("gpu", run, MODEL)
    run.failed("a run that ends holds nothing")
    assert instance.event_log_storage.get_concurrency_info("gpu").active_run_ids == set()


def test_a_step_waits_for_its_slot(instance: dg.DagsterInstance, recorder: DagsterRecorder):
    first, second = (recorder.begin(FOLD, [MODEL], [month]) for month in YEAR[:2])
    assert recorder.claim("gpu", first, MODEL)
    assert not recorder.claim("gpu", second, MODEL)
    assert instance.event_log_storage.get_concurrency_info("gpu").pending_run_ids == {second.run_id}
    recorder.release(first, MODEL)
    deadline = time.monotonic() + PATIENCE
    while not recorder.claim("gpu", second, MODEL):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert instance.event_log_storage.get_concurrency_info("gpu").active_run_ids == {second.run_id}


def test_who_asks_for_a_slot_again_at_once_costs_nothing(
    instance: dg.DagsterInstance, recorder: DagsterRecorder, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(recorders, "ASK_SECONDS", 3600)
    first, second = (recorder.begin(FOLD, [MODEL], [month]) for month in YEAR[:2])
    assert recorder.claim("gpu", first, MODEL)
    assert not recorder.claim("gpu", second, MODEL)
    monkeypatch.setattr(instance.event_log_storage, "claim_concurrency_slot", None)
    assert not recorder.claim("gpu", second, MODEL)


def test_who_stops_waiting_leaves_the_queue(instance: dg.DagsterInstance, recorder: DagsterRecorder):
    first, second = (recorder.begin(FOLD, [MODEL], [month]) for month in YEAR[:2])
    assert recorder.claim("gpu", first, MODEL)
    assert not recorder.claim("gpu", second, MODEL)
    instance.run_launcher.terminate(second.run_id)
    time.sleep(0.1)
    assert second.cancel_requested()
    recorder.release(second, MODEL)
    recorder.release(first, MODEL)
    info = instance.event_log_storage.get_concurrency_info("gpu")
    assert (info.active_run_ids, info.pending_run_ids) == (set(), set())


def test_a_slot_of_a_run_that_was_ended_from_outside_is_freed(
    instance: dg.DagsterInstance, recorder: DagsterRecorder
):
    run = recorder.begin(FOLD, [MODEL], YEAR[:1])
    assert recorder.claim("gpu", run, MODEL)
    instance.report_run_canceled(instance.get_run_by_id(run.run_id))
    assert recorder.close_dead() == []
    assert instance.event_log_storage.get_concurrency_info("gpu").active_run_ids == set()
