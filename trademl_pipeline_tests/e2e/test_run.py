"""`trademl run` in real processes: to its end, stopped in the middle, killed, and refused by the gate."""

import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import pytest

from trademl_pipeline.lake import Lake, LakeConfig
from trademl_pipeline.lake.frames import data_version
from trademl_pipeline.lake.schema import TableSchema
from trademl_pipeline.settings import ROOT
from trademl_pipeline.studies import DIRECTION

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.slow,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(sys.platform != "linux", reason="looks processes up in /proc"),
]

# Two folds of two quarters, so that they train side by side.
WORDS = ("run", "direction", "--symbols", "6", "--start", "2013-07", "--months", "2014-03:2014-04")
AS_OF, REFUSED = "2014-05", "2014-01-01"
# What is promised after a signal; and how long a busy machine may take for everything else.
END_SECONDS, PATIENCE = 10.0, 600.0
Status = dg.DagsterRunStatus
OPEN = (Status.NOT_STARTED, Status.STARTING, Status.STARTED, Status.CANCELING)


@dataclass
class Command:
    """`trademl run` on a folder."""

    home: Path

    def start(self, *flags: str) -> subprocess.Popen[str]:
        """Start it as the leader of a process group of its own."""
        known = {k: v for k, v in os.environ.items() if not k.startswith(("TRADEML_", "DAGSTER_"))}
        return subprocess.Popen(
            [
                sys.executable,
                "-m",
                "trademl_pipeline_tests.e2e.command",
                *WORDS,
                *flags,
                "--home",
                str(self.home),
            ],
            env={**known, "TRADEML_HOME": str(self.home), "PYTHONPATH": str(ROOT), "COLUMNS": "200"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def run(self, *flags: str) -> tuple[int, str, str]:
        """Run it to its end; returns the exit code and what it said."""
        process = self.start(*flags)
        try:
            out, err = process.communicate(timeout=PATIENCE)
        finally:
            kill_all(process.pid)
        return process.returncode, out, err

    def start_until(self, job: str) -> subprocess.Popen[str]:
        """Start it, and wait until a new run of a job has begun and has a worker."""
        before = self.started(job)
        process, deadline = self.start(), time.monotonic() + PATIENCE
        while not (self.started(job) - before and len(group_of(process.pid)) > 1):
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline, "no such run has begun with a worker"
            time.sleep(0.2)
        return process

    def started(self, job: str) -> set[str]:
        """Return runs of a job that go on, as the database has them: an instance would make one that lacks."""
        file = self.home / "dagster" / "history" / "runs.db"
        asked = "SELECT run_id FROM runs WHERE pipeline_name = ? AND status = 'STARTED'"
        try:
            with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as database:
                return {run_id for (run_id,) in database.execute(asked, (job,))}
        except sqlite3.OperationalError:
            # It has not been made yet, or is being made.
            return set()

    def runs(self, *statuses: dg.DagsterRunStatus) -> list[dg.DagsterRun]:
        """Runs as the UI shows them, with one of the statuses or any."""
        with dg.DagsterInstance.from_config(str(self.home / "dagster")) as instance:
            return list(instance.get_runs(dg.RunsFilter(statuses=list(statuses)) if statuses else None))

    def predictions(self) -> str:
        """Content hash of what was predicted."""
        table = DIRECTION.predictions
        names = ["symbol", "session", *DIRECTION.task.output_schema]
        schema = TableSchema("values", {name: table.columns[name] for name in names}, ("symbol", "session"))
        with Lake(LakeConfig.of(self.home)) as lake:
            values = lake.read(table, columns=names)
        assert values.height > 0
        return data_version(schema, values.select(names))


def group_of(leader: int) -> list[int]:
    """Processes of a group that have not ended."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(fields[2]) == leader and fields[0] not in ("Z", "X"):
            found.append(int(stat.parent.name))
    return found


def ended_within(leader: int, seconds: float) -> list[int]:
    """Wait for a group to end; returns who has not."""
    deadline = time.monotonic() + seconds
    while (left := group_of(leader)) and time.monotonic() < deadline:
        time.sleep(0.05)
    return left


def kill_all(leader: int) -> None:
    for pid in group_of(leader):
        os.kill(pid, signal.SIGKILL)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Command, str]:
    """A data set on which the command has run to its end, and what it said."""
    command = Command(tmp_path_factory.mktemp("finished"))
    code, out, err = command.run()
    assert code == 0, out + err
    return command, out


def test_a_run_ends_with_its_report_and_every_run_of_it_a_success(finished: tuple[Command, str]):
    command, said = finished
    report = command.home / "reports" / "direction" / AS_OF / "report.html"
    assert report.stat().st_size > 10_000
    assert f"Report: {report}" in said
    assert re.search(r"Done in [\d.]+ s", said)
    jobs = Counter((run.job_name, run.status) for run in command.runs())
    assert {status for _, status in jobs} == {Status.SUCCESS}
    assert jobs["fold_direction", Status.SUCCESS] == 2
    assert jobs["write_report_direction", Status.SUCCESS] == 1


Start = Callable[[Command, str], subprocess.Popen[str]]


@pytest.fixture
def start(request: pytest.FixtureRequest) -> Start:
    """Start the command until a run of a job has begun; whatever is left of it ends with the test."""

    def started(command: Command, job: str) -> subprocess.Popen[str]:
        process = command.start_until(job)
        request.addfinalizer(lambda: (kill_all(process.pid), process.communicate()))
        return process

    return started


def test_after_sigterm_all_processes_end_and_the_same_command_goes_on_to_the_same_predictions(
    finished: tuple[Command, str], start: Start, tmp_path: Path
):
    command = Command(tmp_path)
    for job in ("prepare_all", "fold_direction"):
        process = start(command, job)
        os.kill(process.pid, signal.SIGTERM)
        left = ended_within(process.pid, END_SECONDS)
        assert left == []
        out, err = process.communicate(timeout=END_SECONDS)
        assert process.returncode == 128 + signal.SIGTERM, out + err
        assert "what was published before stays" in err
        assert "Report:" not in out
        assert not command.runs(*OPEN), "nothing is left that seems to run"
        assert {run.job_name for run in command.runs(Status.CANCELED)} >= {job}
    assert not command.runs(Status.FAILURE)
    code, out, err = command.run()
    assert code == 0, out + err
    assert command.predictions() == finished[0].predictions()


def test_after_sigkill_no_worker_is_left_and_the_next_start_closes_the_runs(
    finished: tuple[Command, str], start: Start
):
    command, before = finished[0], finished[0].predictions()
    process = start(command, "fold_direction")
    os.kill(process.pid, signal.SIGKILL)
    assert ended_within(process.pid, END_SECONDS) == []
    left = {run.run_id for run in command.runs(*OPEN)}
    assert left, "nobody was there to close them"
    code, out, err = command.run()
    assert code == 0, out + err
    assert {run.run_id for run in command.runs(Status.FAILURE)} == left
    assert not command.runs(*OPEN)
    assert command.predictions() == before


def test_after_a_refusal_nothing_of_an_earlier_run_is_printed(finished: tuple[Command, str]):
    command, said = finished
    heading = "Report:"
    assert heading in said
    poison = command.home / "poison"
    poison.symlink_to(REFUSED)
    try:
        code, out, err = command.run()
    finally:
        poison.unlink()
    assert code == 1, out + err
    assert "refused or failed: features_indicators: 1 of 10 months refused (2014-01)" in out
    assert "Not run after the refusal: 2014-02 to 2014-04 (3 of the months" in out
    # By which probe, which column, from which session on.
    assert re.search(r"refused by the leakage gate: (truncation|perturbation), gap, \w+, .*2014-01-\d\d", out)
    # How far ahead it sees, by which pattern, where it is made, and what to do.
    assert "sees 1 session ahead; likely pattern: shift" in out
    assert "made at trademl_pipeline/features/common.py:" in out
    assert "Fix: let each row read its own session and earlier ones" in out
    assert heading not in out
    report = command.home / "reports" / "direction" / AS_OF / "report.html"
    _, earlier = out.partition("refused or failed:")[2].strip().splitlines()
    assert "none refused" not in out
    assert re.fullmatch(rf"Not reported: direction; of an earlier run \(.* UTC\) is {report}", earlier)
    assert report.exists()


def test_what_goes_on_after_a_refusal_says_what_is_of_an_earlier_run(finished: tuple[Command, str]):
    command, _ = finished
    poison = command.home / "poison"
    poison.symlink_to(REFUSED)
    try:
        code, out, err = command.run("--keep-going")
    finally:
        poison.unlink()
    assert code == 1, out + err
    assert "refused or failed: features_indicators: 1 of 10 months refused (2014-01)" in out
    assert "Not run" not in out
    assert re.search(r"Gate: \d+ partitions passed; refused: features_indicators 2014-01", out)
    assert "none refused" not in out
    assert "Not of this run: features_indicators 2014-01" in out


@pytest.mark.parametrize(
    ("source", "why"),
    [("lake", "opens the lake by another way than its view"), ("file", "alternative_data.parquet")],
)
def test_predictions_that_know_what_came_of_them_are_refused_and_not_reported(
    finished: tuple[Command, str], source: str, why: str
):
    command, before = finished[0], finished[0].predictions()
    peek, labels = command.home / "peek", command.home / "alternative_data.parquet"
    if source == "file":
        with Lake(LakeConfig.local(command.home / "lake")) as lake:
            lake.read(DIRECTION.labels).write_parquet(labels)
    peek.touch()
    try:
        code, out, err = command.run()
    finally:
        peek.unlink()
        labels.unlink(missing_ok=True)
    assert code == 1, out + err
    assert "predictions_direction" in out
    assert why in out
    assert "Report:" not in out
    assert command.predictions() == before
