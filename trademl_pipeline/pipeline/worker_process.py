"""One worker: its process, the pipe to it, and what it does with the tasks that come through."""

import multiprocessing
import pickle
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any, Literal

from trademl_pipeline.pipeline.outcomes import Outcome, Task, TaskError
from trademl_pipeline.pipeline.stopping import (
    Interruption,
    Stopped,
    leave_ending_to_parent,
    signals_wait,
)

Initializer = Callable[..., None]
# What comes from a worker: a message of a task, what it returned, or its error and where that came from.
Frame = tuple[Literal["message", "value", "error"], Any, str]
# Compiled code with threads that were started does not survive a fork.
_CONTEXT = multiprocessing.get_context("spawn")

_send: Callable[[Any], None] | None = None


def emit(message: Any) -> None:
    """Send a message from within a task to where the loop runs; without a loop it goes nowhere.

    Args:
        message: anything picklable.
    """
    if _send is not None:
        _send(message)


def emit_to(receiver: Callable[[Any], None] | None) -> None:
    """Choose who is given what tasks of this process emit; None: nobody."""
    global _send
    _send = receiver


def attempt(task: Task) -> Outcome:
    """Run a task in this process; returns its value or error, and lets a signal through.

    Raises:
        Stopped: a signal came.
    """
    try:
        return Outcome(task, task.work(*task.arguments))
    except Stopped:
        raise
    except BaseException as error:
        return Outcome(task, error=error, trace=traceback.format_exc())


class WorkerProcess:
    """A process that works off tasks, one at a time.

    It ends when the thread that made it does, whatever way that is; so make it in the main thread.

    Args:
        initializer: called once in the process, before its first task; its errors are the task's.
        arguments: of the initializer.
    """

    def __init__(self, initializer: Initializer | None, arguments: tuple[Any, ...]) -> None:
        self.connection, theirs = _CONTEXT.Pipe()
        self.process = _CONTEXT.Process(target=_serve, args=(theirs, initializer, arguments))
        # A Ctrl-C while it starts would reach it before it has said that it heeds none.
        with signals_wait():
            self.process.start()
        theirs.close()
        self.task: Task | None = None
        self.group = -1
        self.kill_at: float | None = None

    def give(self, task: Task, group: int) -> bool:
        """Hand over a task; returns False where the process has died meanwhile."""
        self.task, self.group = task, group
        try:
            self.connection.send(task)
        except (BrokenPipeError, ConnectionResetError):
            return False
        return True

    def receive(self) -> Frame | None:
        """Return what it sent; None where it is gone."""
        try:
            return self.connection.recv()
        except (EOFError, ConnectionResetError):
            return None

    def ask_to_end(self, grace: float) -> None:
        """Interrupt its task, and let it clean up for some seconds."""
        if self.kill_at is None:
            self.kill_at = time.monotonic() + grace
            self.process.terminate()

    def kill_if_late(self) -> None:
        """Kill it where it was asked to end and has not."""
        if self.kill_at is not None and time.monotonic() >= self.kill_at:
            self.process.kill()

    def end(self, grace: float) -> int | None:
        """Let it go: a process without a task ends by itself, any other is killed after some seconds.

        Returns:
            The exit code.
        """
        self.connection.close()
        self.process.join(grace)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()
        code = self.process.exitcode
        self.process.close()
        return code


def _serve(connection: Connection, initializer: Initializer | None, arguments: tuple[Any, ...]) -> None:
    interruption, one_at_a_time = Interruption(), threading.Lock()

    def send(frame: Frame) -> None:
        with interruption.held(), one_at_a_time:
            connection.send(frame)

    def message(one: Any) -> None:
        # A library may have turned what a signal raised into an error of its own, for which a month would be refused.
        interruption.raise_pending()
        send(("message", one, ""))

    def begin_and_work(task: Task) -> Any:
        nonlocal initializer
        if initializer is not None:
            initializer(*arguments)
            initializer = None
        return task.work(*task.arguments)

    try:
        leave_ending_to_parent(interruption)
        emit_to(message)
        while True:
            try:
                task = connection.recv()
            except (AttributeError, ImportError, pickle.UnpicklingError) as error:
                send(("error", TaskError(f"a task does not arrive in its process: {error}"), ""))
                continue
            outcome = attempt(Task(task.name, begin_and_work, (task,)))
            if outcome.error is not None:
                interruption.raise_pending()
            _answer(outcome, send)
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return
    except Stopped as stopped:
        raise SystemExit(stopped.exit_code) from None


def _answer(outcome: Outcome, send: Callable[[Frame], None]) -> None:
    error, trace = outcome.error, outcome.trace
    if error is None:
        try:
            return send(("value", outcome.value, ""))
        except (pickle.PicklingError, TypeError, AttributeError) as unsendable:
            error = TaskError(
                f"{outcome.task.name}: its result cannot be sent to another process: {unsendable}"
            )
    send(("error", _portable(error), trace))


def _portable(error: BaseException) -> BaseException:
    """The error itself if another process can be given it; its words otherwise."""
    with suppress(Exception):
        if type(pickle.loads(pickle.dumps(error))) is type(error):
            return error
    return TaskError(f"{type(error).__name__}: {error}")
