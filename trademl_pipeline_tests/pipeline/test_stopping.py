"""Signals to a command that loops over tasks, and the end of it: real processes, real signals."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from trademl_pipeline.pipeline.processes import start_of, this_process, works_since
from trademl_pipeline.pipeline.stopping import Interruption, Stopped
from trademl_pipeline.settings import ROOT

# A busy machine may take this long for anything; what is measured is told apart from it.
PATIENCE = 120.0


def wait_for(true: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < deadline, f"waited {PATIENCE} s in vain: {what}"
        time.sleep(0.05)


class Command:
    """A loop over endless tasks in a process group of its own, as a shell starts it."""

    def __init__(self, folder: Path, count: int, kind: str) -> None:
        self.folder, self.count = folder, count
        module = "trademl_pipeline_tests.pipeline.worker_tasks"
        self.process = subprocess.Popen(
            [sys.executable, "-m", module, str(folder), str(count), kind],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def names(self) -> list[str]:
        return [f"t{n}" for n in range(self.count)]

    def at_work(self) -> None:
        """Wait until every task has begun, and the parent has heard of it where it is told."""
        wait_for(lambda: all((self.folder / name).exists() for name in self.names()), "tasks begin")

    def heard_all(self) -> None:
        heard = self.folder / "heard"
        wait_for(
            lambda: heard.exists() and heard.read_text().split() == self.names(), "messages of all tasks"
        )

    def workers(self) -> list[int]:
        return [int((self.folder / f"{name}.pid").read_text()) for name in self.names()]

    def end(self) -> tuple[int, str]:
        said, _ = self.process.communicate(timeout=PATIENCE)
        return self.process.returncode, said


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Command]]:
    started: list[Command] = []

    def make(count: int, kind: str = "publish") -> Command:
        started.append(Command(tmp_path, count, kind))
        started[-1].at_work()
        if kind == "publish":
            started[-1].heard_all()
        return started[-1]

    yield make
    for command in started:
        with suppress(ProcessLookupError):
            os.killpg(command.process.pid, signal.SIGKILL)
        command.process.wait()


def gone(pids: list[int]) -> bool:
    return not any(start_of(pid) for pid in pids)


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_to_the_parent_ends_all_and_tasks_clean_up(
    start: Callable[..., Command], count: int, number: signal.Signals
):
    command = start(count)
    workers = command.workers()
    command.process.send_signal(number)
    code, said = command.end()
    assert code == 128 + number
    assert said.strip() == f"stopped by {number.name}"
    assert gone(workers)
    assert all((command.folder / f"{name}.cleaned").exists() for name in command.names())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_the_whole_group_says_nothing_but_the_one_line(
    start: Callable[..., Command], number: signal.Signals
):
    command = start(2)
    workers = command.workers()
    os.killpg(command.process.pid, number)
    code, said = command.end()
    assert code == 128 + number
    assert said.strip() == f"stopped by {number.name}"
    assert gone(workers)


@pytest.mark.parametrize("count", [1, 2])
def test_an_error_that_a_library_makes_of_a_signal_is_none_of_the_task(
    start: Callable[..., Command], count: int
):
    command = start(count, "convert")
    command.process.send_signal(signal.SIGTERM)
    code, said = command.end()
    assert code == 128 + signal.SIGTERM, said
    assert not (command.folder / "heard").exists(), "no month is refused for it"
    assert not (command.folder / "ended").exists(), "no run has failed"


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, 2])
def test_tasks_that_heed_nothing_are_killed_after_their_time(start: Callable[..., Command], count: int):
    command = start(count, "deaf")
    workers = command.workers()
    command.process.send_signal(signal.SIGTERM)
    code, _ = command.end()
    assert code == 128 + signal.SIGTERM
    assert gone(workers)


def test_workers_of_a_killed_parent_end_themselves(start: Callable[..., Command]):
    command = start(2)
    workers = command.workers()
    command.process.kill()
    command.process.wait(PATIENCE)
    wait_for(lambda: gone(workers), "workers end")
    written = [(command.folder / name).read_text() for name in command.names()]
    time.sleep(0.5)
    assert [(command.folder / name).read_text() for name in command.names()] == written


def test_a_signal_waits_until_what_must_not_be_torn_apart_is_done():
    interruption, steps = Interruption(), []

    def work() -> None:
        with interruption.held():
            with interruption.held():
                os.kill(os.getpid(), signal.SIGTERM)
                steps.append("inner")
            steps.append("outer")

    with interruption.installed(), pytest.raises(Stopped) as stopped:
        work()
    assert steps == ["inner", "outer"]
    assert stopped.value.exit_code == 143


def test_a_signal_that_was_ignored_stays_so():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with Interruption().installed():
            os.kill(os.getpid(), signal.SIGHUP)
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_process_is_known_by_when_it_began():
    own = this_process()
    assert own.alive() is True
    other = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        assert start_of(other.pid) not in ("", own.start)
        assert works_since(other.pid, time.time())
        assert not works_since(other.pid, time.time() - 1_000_000)
        other.kill()
        wait_for(
            lambda: start_of(other.pid) == "", "the killed process ends, though nobody has waited for it"
        )
    finally:
        other.kill()
        other.communicate()
    assert start_of(other.pid) == ""
