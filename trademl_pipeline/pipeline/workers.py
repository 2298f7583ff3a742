"""Processes that work off groups of tasks side by side, and end when they are told to.

Workers are made once for a command, so each pays its imports once. They hold no lock and no queue in common: each has a
pipe of its own, so one that dies takes nothing with it but the task it worked on.
"""

import os
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from multiprocessing.connection import wait
from types import TracebackType
from typing import Any, Self

from trademl_pipeline.pipeline.outcomes import Outcome, Task, TaskCanceledError, WorkerDiedError, died
from trademl_pipeline.pipeline.stopping import Interruption, Stopped, end_anyway
from trademl_pipeline.pipeline.worker_process import (
    Initializer,
    WorkerProcess,
    attempt,
    emit,
    emit_to,
)

__all__ = ["Hooks", "Outcome", "Stopped", "Task", "TaskCanceledError", "WorkerDiedError", "Workers", "emit"]

# For a task to clean up after it was interrupted; what is left then is killed.
GRACE_SECONDS = 5.0
POLL_SECONDS = 0.2
# Calling off is asked for task by task, and may cost a look at a database.
CANCEL_POLL_SECONDS = 1.0


@dataclass(frozen=True)
class Hooks:
    """Callbacks by which the caller hears and decides while tasks run; all are called in the caller's own thread.

    A signal that comes within such a call waits until it has returned.

    Attributes:
        on_message: given a task and a message that it emitted.
        may_start: asked before a task is given to a worker, again and again until it may.
        is_canceled: asked about each running task every second; one that is called off is interrupted.
        on_start: given each task as it starts.
        on_outcome: given what became of each task, as soon as that is known.
        goes_on: asked after each outcome; once it says no, no other task begins, and those that run end.
    """

    on_message: Callable[[Task, Any], None] = lambda task, message: None
    may_start: Callable[[Task], bool] = lambda task: True
    is_canceled: Callable[[Task], bool] = lambda task: False
    on_start: Callable[[Task], None] = lambda task: None
    on_outcome: Callable[[Outcome], None] = lambda outcome: None
    goes_on: Callable[[], bool] = lambda: True


@dataclass
class _Group:
    tasks: list[Task]
    outcomes: list[Outcome] = field(default_factory=list[Outcome])
    running: bool = False


class Workers:
    """Processes that work off groups of tasks; a context manager, to be entered in the main thread.

    Within it, SIGINT, SIGTERM and SIGHUP raise `Stopped` in the caller: at once where the caller computes itself, and
    from `run` after all workers have ended. If the caller's process is killed, its workers end as well.

    Args:
        count: how many at most; 1 works in the caller's own process.
        initializer: called once in each worker before its first task, such as to import what tasks need.
        arguments: of the initializer.
        grace: seconds that an interrupted task has for cleaning up before its process is killed.
    """

    def __init__(
        self,
        count: int,
        *,
        initializer: Initializer | None = None,
        arguments: tuple[Any, ...] = (),
        grace: float = GRACE_SECONDS,
    ) -> None:
        if count < 1:
            raise ValueError(f"there have to be workers, and {count} were asked for")
        self.count, self.grace = count, grace
        self.threads = max(1, (os.cpu_count() or 1) // count)
        self._initializer, self._arguments = initializer, arguments
        self._interruption = Interruption()
        self._workers: list[WorkerProcess] = []
        self._context = ExitStack()

    def __enter__(self) -> Self:
        self._context.enter_context(self._interruption.installed())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._context:
            self._end_all()
            if kind is None:
                self._interruption.raise_pending()

    def run(
        self, groups: Sequence[Sequence[Task]], hooks: Hooks | None = None, *, keep_going: bool = False
    ) -> list[list[Outcome]]:
        """Work off the groups side by side, each in order.

        Args:
            groups: tasks that follow one another; the groups are independent.
            hooks: what to hear and decide meanwhile.
            keep_going: go on with a group after a task that raised. After one whose process died, or that was called
                off, its group ends in any case.

        Returns:
            For each group what became of its tasks, in order; tasks that were not begun are missing.

        Raises:
            Stopped: a signal came; what had been done was told to the hooks, and no worker is left.
        """
        hooks, work = hooks or Hooks(), [_Group(list(group)) for group in groups]
        if self.count == 1:
            with end_anyway(self.grace):
                self._run_here(work, hooks, keep_going)
        else:
            try:
                with self._interruption.held():
                    self._run_in_workers(work, hooks, keep_going)
            except BaseException:
                self._end_all()
                raise
        return [group.outcomes for group in work]

    def _run_here(self, work: Sequence[_Group], hooks: Hooks, keep_going: bool) -> None:
        if self._initializer is not None:
            self._initializer(*self._arguments)
            self._initializer = None
        for group in work:
            while group.tasks:
                task = group.tasks[0]
                while not self._ask(hooks.may_start, task):
                    time.sleep(POLL_SECONDS)
                self._ask(hooks.on_start, task)
                emit_to(lambda message, task=task: self._heed(hooks, task, message))
                try:
                    outcome = attempt(task)
                finally:
                    emit_to(None)
                if outcome.error is not None:
                    # A library may have turned what the signal raised into an error of its own.
                    self._interruption.raise_pending()
                with self._interruption.held():
                    self._settle(work, group, outcome, hooks, keep_going)

    def _ask(self, hook: Callable[[Task], Any], task: Task) -> Any:
        with self._interruption.held():
            return hook(task)

    def _heed(self, hooks: Hooks, task: Task, message: Any) -> None:
        self._interruption.raise_pending()
        with self._interruption.held():
            hooks.on_message(task, message)
            canceled = hooks.is_canceled(task)
        if canceled:
            raise TaskCanceledError(f"{task.name}: called off")

    def _run_in_workers(self, work: Sequence[_Group], hooks: Hooks, keep_going: bool) -> None:
        last_asked = time.monotonic()
        while self._interruption.number is None:
            self._hand_out(work, hooks)
            busy = [worker for worker in self._workers if worker.task is not None]
            if not busy and not any(group.tasks for group in work):
                return
            self._hear(busy, work, hooks, keep_going)
            if time.monotonic() - last_asked >= CANCEL_POLL_SECONDS:
                last_asked = time.monotonic()
                for worker in busy:
                    if worker.task is not None and hooks.is_canceled(worker.task):
                        worker.ask_to_end(self.grace)
        self._stop(work, hooks)

    def _hand_out(self, work: Sequence[_Group], hooks: Hooks) -> None:
        """Give the next task of each waiting group to a worker, as far as there are workers."""
        for number, group in enumerate(work):
            if group.running or not group.tasks:
                continue
            if sum(worker.task is not None for worker in self._workers) >= self.count:
                return
            task = group.tasks[0]
            if hooks.may_start(task):
                hooks.on_start(task)
                self._give(task, number)
                group.running = True

    def _give(self, task: Task, group: int) -> None:
        for worker in [worker for worker in self._workers if worker.task is None]:
            if worker.process.is_alive() and worker.give(task, group):
                return
            self._let_go(worker)
        self._workers.append(WorkerProcess(self._initializer, self._arguments))
        # One that dies at once is noticed where all are listened to.
        self._workers[-1].give(task, group)

    def _hear(
        self, busy: Sequence[WorkerProcess], work: Sequence[_Group], hooks: Hooks, keep_going: bool
    ) -> None:
        """Wait a moment for what workers send, and for those that die."""
        by_connection: dict[Any, WorkerProcess] = {worker.connection: worker for worker in busy}
        if not by_connection:
            time.sleep(POLL_SECONDS)
            return
        for ready in wait(list(by_connection), POLL_SECONDS):
            worker = by_connection[ready]
            task, frame = worker.task, worker.receive()
            assert task is not None
            if frame is not None and frame[0] == "message":
                hooks.on_message(task, frame[1])
                continue
            if frame is None:
                called_off, code = worker.kill_at is not None, self._let_go(worker)
                error = TaskCanceledError(f"{task.name}: called off") if called_off else died(task, code)
                outcome = Outcome(task, error=error)
            else:
                outcome = (
                    Outcome(task, frame[1])
                    if frame[0] == "value"
                    else Outcome(task, error=frame[1], trace=frame[2])
                )
                worker.task = None
                if worker.kill_at is not None:
                    # It was done just before it was told to end.
                    self._let_go(worker)
            self._settle(work, work[worker.group], outcome, hooks, keep_going)
        for worker in busy:
            if worker in self._workers:
                worker.kill_if_late()

    def _settle(
        self, work: Sequence[_Group], group: _Group, outcome: Outcome, hooks: Hooks, keep_going: bool
    ) -> None:
        group.running = False
        group.tasks.pop(0)
        group.outcomes.append(outcome)
        if outcome.error is not None and (
            not keep_going or isinstance(outcome.error, WorkerDiedError | TaskCanceledError)
        ):
            group.tasks.clear()
        hooks.on_outcome(outcome)
        if not hooks.goes_on():
            self._begin_no_other(work)

    def _begin_no_other(self, work: Sequence[_Group]) -> None:
        for group in work:
            group.tasks = group.tasks[:1] if group.running else []

    def _stop(self, work: Sequence[_Group], hooks: Hooks) -> None:
        """End all workers: each has a while to clean up, unless a second signal comes."""
        self._begin_no_other(work)
        busy = [worker for worker in self._workers if worker.task is not None]
        for worker in busy:
            worker.ask_to_end(self.grace)
        finished = Hooks(
            on_message=hooks.on_message,
            on_outcome=lambda outcome: (
                None if isinstance(outcome.error, TaskCanceledError) else hooks.on_outcome(outcome)
            ),
        )
        while busy and self._interruption.times < 2:
            self._hear(busy, work, finished, keep_going=False)
            busy = [worker for worker in busy if worker in self._workers]
        self._end_all()

    def _let_go(self, worker: WorkerProcess) -> int | None:
        self._workers.remove(worker)
        return worker.end(self.grace)

    def _end_all(self) -> None:
        """End what workers are left; a second signal leaves them no time to clean up."""
        with self._interruption.kept():
            for worker in self._workers:
                if worker.task is not None:
                    worker.ask_to_end(self.grace)
            deadline = time.monotonic() + (self.grace if self._interruption.times < 2 else 0.0)
            while self._workers:
                self._workers.pop().end(max(0.0, deadline - time.monotonic()))
