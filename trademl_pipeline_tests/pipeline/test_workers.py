"""Order, results and errors of tasks that run side by side, and what becomes of those whose process dies."""

import multiprocessing
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from trademl_pipeline.pipeline.outcomes import TaskError
from trademl_pipeline.pipeline.workers import (
    Hooks,
    Outcome,
    Task,
    TaskCanceledError,
    WorkerDiedError,
    Workers,
)
from trademl_pipeline_tests.pipeline import worker_tasks
from trademl_pipeline_tests.pipeline.worker_tasks import OwnError


def doubles(*values: int) -> list[Task]:
    return [Task(f"double {value}", worker_tasks.double, (value,)) for value in values]


@pytest.fixture(params=[1, 2])
def workers(request: pytest.FixtureRequest) -> Iterator[Workers]:
    """In this process, and in two others."""
    with Workers(request.param) as made:
        yield made


@pytest.fixture
def two() -> Iterator[Workers]:
    with Workers(2) as made:
        yield made


def test_results_come_back_in_the_order_of_the_tasks(workers: Workers):
    outcomes = workers.run([doubles(1, 2), doubles(3), [], doubles(4, 5)])
    assert [[o.value for o in group] for group in outcomes] == [[2, 4], [6], [], [8, 10]]


def test_a_group_ends_with_the_task_that_failed_and_the_others_go_on(workers: Workers):
    broken = [*doubles(1), Task("broken", worker_tasks.fail, ("no such column",)), *doubles(2)]
    heard: list[Outcome] = []
    first, second = workers.run([broken, doubles(3, 4)], Hooks(on_outcome=heard.append))
    assert [o.value for o in first] == [2, None]
    assert isinstance(first[1].error, OwnError)
    assert str(first[1].error) == "no such column"
    assert "in fail" in first[1].trace
    assert [o.value for o in second] == [6, 8]
    assert sorted(o.task.name for o in heard) == ["broken", "double 1", "double 3", "double 4"]


def test_a_group_goes_on_after_a_failure_where_that_is_asked(workers: Workers):
    broken = [Task("broken", worker_tasks.fail, ("no",)), *doubles(2)]
    ((failed, done),) = workers.run([broken], keep_going=True)
    assert isinstance(failed.error, OwnError)
    assert done.value == 4


def test_what_cannot_be_carried_is_told_in_words(two: Workers):
    tasks = [Task("odd", worker_tasks.fail_in_two_parts), Task("lambda", worker_tasks.unsendable)]
    ((odd, result),) = two.run([tasks], keep_going=True)
    assert isinstance(odd.error, TaskError)
    assert str(odd.error) == "TwoPartError: one two"
    assert isinstance(result.error, TaskError)
    assert "lambda: its result cannot be sent" in str(result.error)


def test_a_task_that_only_this_process_knows_is_told_as_such(two: Workers, monkeypatch: pytest.MonkeyPatch):
    def unknown() -> None: ...

    unknown.__module__, unknown.__qualname__ = worker_tasks.__name__, "unknown"
    monkeypatch.setattr(worker_tasks, "unknown", unknown, raising=False)
    ((failed, done),) = two.run([[Task("unknown", unknown), *doubles(1)]], keep_going=True)
    assert "does not arrive in its process" in str(failed.error)
    assert done.value == 2


def test_a_worker_that_died_between_two_tasks_is_replaced(two: Workers):
    ((first,),) = two.run([[Task("who", worker_tasks.who)]])
    os.kill(first.value[0], signal.SIGKILL)
    # While its threads end, a task can still be sent to it.
    while any(child.pid == first.value[0] for child in multiprocessing.active_children()):
        time.sleep(0.01)
    ((second,),) = two.run([[Task("who", worker_tasks.who)]])
    assert second.error is None
    assert second.value[0] != first.value[0]


def test_messages_come_with_their_task_and_in_order(workers: Workers):
    heard: list[tuple[str, str]] = []
    tasks = [Task("a", worker_tasks.tell, ("1", "2")), Task("b", worker_tasks.tell, ("3",))]
    workers.run([tasks], Hooks(on_message=lambda task, message: heard.append((task.name, message))))
    assert heard == [("a", "1"), ("a", "2"), ("b", "3")]


def test_a_worker_is_used_again_and_begins_once(tmp_path: Path):
    with Workers(2, initializer=worker_tasks.begin, arguments=(str(tmp_path),)) as workers:
        assert workers.threads == max(1, (os.cpu_count() or 1) // 2)
        groups = [[Task("who", worker_tasks.who)] * 2] * 2
        found = [o.value for _ in range(2) for group in workers.run(groups) for o in group]
    assert len(found) == 8
    assert all(begun == 1 for *_, begun in found)
    pids = {pid for pid, _ in found}
    assert len(pids) <= 2
    assert os.getpid() not in pids
    assert {int(line) for line in (tmp_path / "begun").read_text().split()} == pids


def test_one_worker_is_this_process():
    with Workers(1) as workers:
        ((outcome,),) = workers.run([[Task("who", worker_tasks.who)]])
    assert outcome.value[0] == os.getpid()


def test_an_initializer_that_fails_is_the_error_of_the_tasks():
    with Workers(2, initializer=worker_tasks.fail, arguments=("no package x",)) as workers:
        ((outcome,),) = workers.run([doubles(1)])
    assert isinstance(outcome.error, OwnError)
    assert str(outcome.error) == "no package x"


@pytest.mark.parametrize(
    ("number", "how"),
    [
        (signal.SIGKILL, "was ended by SIGKILL (the system does that when memory runs out)"),
        (signal.SIGTERM, "was ended by SIGTERM"),
    ],
)
def test_a_worker_that_dies_is_told_in_one_line_and_the_others_go_on(two: Workers, number: int, how: str):
    group = [Task("fold_direction 2014-02", worker_tasks.kill_self, (int(number),)), *doubles(1)]
    first, second = two.run([group, doubles(2, 3)], keep_going=True)
    assert [type(o.error) for o in first] == [WorkerDiedError]
    assert str(first[0].error) == (
        f"fold_direction 2014-02: the process that worked on it {how}; run the same command again"
    )
    assert [o.value for o in second] == [4, 6]
    # Another takes its place.
    assert [[o.value for o in group] for group in two.run([doubles(5), doubles(6)])] == [[10], [12]]


def test_a_task_waits_until_it_may_start(workers: Workers):
    asked: list[str] = []

    def may_start(task: Task) -> bool:
        asked.append(task.name)
        return asked.count(task.name) > 2

    ((outcome,),) = workers.run([doubles(1)], Hooks(may_start=may_start))
    assert outcome.value == 2
    assert asked == ["double 1"] * 3


@pytest.mark.parametrize("count", [1, 2])
def test_a_task_that_is_called_off_ends_its_group_and_cleans_up(tmp_path: Path, count: int):
    endless = Task("endless", worker_tasks.publish_on, (str(tmp_path), "t"))
    heard: list[str] = []
    with Workers(count) as workers:
        first, second = workers.run(
            [[endless, *doubles(1)], doubles(2)],
            Hooks(
                on_message=lambda task, message: heard.append(message),
                is_canceled=lambda task: task.name == "endless" and bool(heard),
            ),
        )
    assert [type(o.error) for o in first] == [TaskCanceledError]
    assert (tmp_path / "t.cleaned").exists()
    assert [o.value for o in second] == [4]


@pytest.mark.parametrize("count", [1, 2])
def test_an_error_of_a_hook_leaves_no_worker(tmp_path: Path, count: int):
    def on_message(task: Task, message: str) -> None:
        raise OSError("disk full")

    endless = Task("endless", worker_tasks.publish_on, (str(tmp_path), "t"))
    with Workers(count) as workers:
        if count == 1:
            ((outcome,),) = workers.run([[endless]], Hooks(on_message=on_message))
            assert isinstance(outcome.error, OSError)
        else:
            with pytest.raises(OSError, match="disk full"):
                workers.run([[endless]], Hooks(on_message=on_message))
            with pytest.raises(ProcessLookupError):
                os.kill(int((tmp_path / "t.pid").read_text()), 0)


def test_no_workers_are_refused():
    with pytest.raises(ValueError, match="0 were asked for"):
        Workers(0)


def test_once_it_shall_not_go_on_no_other_task_begins_and_those_that_run_end(workers: Workers):
    heard: list[str] = []
    hooks = Hooks(on_outcome=lambda o: heard.append(o.task.name), goes_on=lambda: not heard)
    groups = [doubles(1, 2), doubles(3, 4), doubles(5), doubles(6)]
    outcomes = workers.run(groups, hooks)
    assert 1 <= len(heard) <= workers.count
    assert sum(len(group) for group in outcomes) == len(heard)
