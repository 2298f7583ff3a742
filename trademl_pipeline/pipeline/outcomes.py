"""Pieces of work for the workers, and what became of them."""

import signal
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Task:
    """One piece of work.

    Attributes:
        name: as messages name it, such as `fold_direction 2014-02`.
        work: a function that other processes can import.
        arguments: of it, which have to be picklable, like what it returns.
    """

    name: str
    work: Callable[..., Any]
    arguments: tuple[Any, ...] = ()


@dataclass(frozen=True)
class Outcome:
    """The value or the error of a task.

    Attributes:
        task: as it was given.
        value: what its function returned.
        error: what it raised, or why it was not finished; None where it returned.
        trace: where the error came from, in many lines; empty where no code of the task raised it.
    """

    task: Task
    value: Any = None
    error: BaseException | None = None
    trace: str = ""


class TaskError(Exception):
    """A task failed with an error that cannot be carried from process to process; the message tells it."""


class WorkerDiedError(Exception):
    """The process that worked on a task is gone."""


class TaskCanceledError(Exception):
    """Somebody called a task off while it ran."""


def died(task: Task, exit_code: int | None) -> WorkerDiedError:
    """Return the error of a task whose process ended before it answered.

    Args:
        task: that was worked on.
        exit_code: of the process; negative: the signal that killed it.
    """
    code = exit_code or 0
    number = -code if code < 0 else code - 128
    known = {known.value: known.name for known in signal.Signals}
    how = f"was ended by {known[number]}" if number in known else f"ended with exit code {code}"
    hint = " (the system does that when memory runs out)" if known.get(number) == "SIGKILL" else ""
    return WorkerDiedError(
        f"{task.name}: the process that worked on it {how}{hint}; run the same command again"
    )
