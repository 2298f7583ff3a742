"""Runs of jobs in this process or in several, each recorded in the Dagster instance like any other run."""

import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from queue import Empty
from typing import Any

import dagster as dg

from trademl_pipeline import settings
from trademl_pipeline.defs.gate import watching

QUIET: dict[str, Any] = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
POLL_SECONDS = 0.2

_told: Any = None


@dataclass(frozen=True)
class Task:
    """One run of a job.

    Attributes:
        job: its name.
        partition: month key; None where `tags` name a range.
        tags: of the run.
        assets: the part of the job to run; empty: all of it.
        config: run config beside the loggers'.
    """

    job: str
    partition: str | None = None
    tags: dict[str, str] = field(default_factory=dict)
    assets: tuple[str, ...] = ()
    config: dict[str, Any] = field(default_factory=dict)


@cache
def definitions() -> dg.Definitions:
    """The definitions of the code location, built once a process."""
    from trademl_pipeline.defs import build_definitions

    return build_definitions()


def failures(result: dg.ExecuteInProcessResult) -> list[str]:
    """One line for each failed step: what the step itself said; where none said anything, where to look."""
    lines = []
    for event in result.get_step_failure_events():
        data = event.step_failure_data
        if data.user_failure_data and data.user_failure_data.description:
            lines.append(data.user_failure_data.description)
        elif data.error:
            cause = data.error
            while cause.cause is not None:
                cause = cause.cause
            lines.append(f"{event.step_key}: {cause.message.strip()}")
    if not result.success and not lines:
        lines.append(f"run {result.run_id} failed; open it in the UI (`make ui`)")
    return lines


def execute(task: Task, instance: dg.DagsterInstance) -> list[str]:
    """Run one task in this process; returns what failed, empty when nothing did."""
    result = (
        definitions()
        .resolve_job_def(task.job)
        .execute_in_process(
            instance=instance,
            partition_key=task.partition,
            tags=task.tags,
            run_config=QUIET | task.config,
            raise_on_error=False,
            asset_selection=[dg.AssetKey(asset) for asset in task.assets] or None,
        )
    )
    return failures(result)


class Workers:
    """Processes that work off chains of tasks.

    Args:
        instance: of this process; workers open their own.
        count: how many; 1 works in this process.
    """

    def __init__(self, instance: dg.DagsterInstance, count: int) -> None:
        self.instance = instance
        self.count = count
        self._context = multiprocessing.get_context("spawn")
        self._queue = self._context.Queue() if count > 1 else None
        self._pool = (
            ProcessPoolExecutor(count, self._context, initializer=_begin, initargs=(self._queue, count))
            if count > 1
            else None
        )

    def run(
        self,
        chains: Sequence[Sequence[Task]],
        *,
        keep_going: bool,
        on_month: Callable[[str], None] | None = None,
        on_task: Callable[[Task, list[str]], None] | None = None,
    ) -> list[str]:
        """Work off the chains, each in order; returns what failed.

        Args:
            chains: tasks that follow one another; chains are independent.
            keep_going: go on with a chain after a task that failed.
            on_month: called with the asset, for each month that an asset has worked off.
            on_task: called after each task, with what failed.
        """

        def tell(kind: str, what: Any) -> None:
            if kind == "month" and on_month is not None:
                on_month(what)
            elif kind == "task" and on_task is not None:
                on_task(*what)

        if self._pool is None or self._queue is None:
            return [p for chain in chains for p in _work(chain, keep_going, self.instance, tell)]
        futures = [self._pool.submit(_work_apart, tuple(chain), keep_going) for chain in chains]
        for kind, what in self._messages(futures):
            tell(kind, what)
        return [p for future in futures for p in future.result()]

    def _messages(self, futures: Sequence[Future]) -> Iterator[tuple[str, Any]]:
        assert self._queue is not None
        while True:
            done = not wait(futures, timeout=0).not_done
            try:
                yield self._queue.get(timeout=POLL_SECONDS)
            except Empty:
                if done:
                    return

    def close(self) -> None:
        """End the processes."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)


@contextmanager
def workers(instance: dg.DagsterInstance, count: int) -> Iterator[Workers]:
    """Workers that end with the block."""
    made = Workers(instance, count)
    try:
        yield made
    finally:
        made.close()


def _begin(queue: Any, count: int) -> None:
    """Once in each process: share the cores among the processes, and learn where to tell."""
    global _told
    _told = queue
    settings.limit_threads(max(1, (os.cpu_count() or 1) // count))


def _work_apart(chain: Sequence[Task], keep_going: bool) -> list[str]:
    with dg.DagsterInstance.get() as instance:
        return _work(chain, keep_going, instance, lambda kind, what: _told.put((kind, what)))


def _work(
    chain: Sequence[Task],
    keep_going: bool,
    instance: dg.DagsterInstance,
    tell: Callable[[str, Any], None],
) -> list[str]:
    problems: list[str] = []
    for task in chain:
        with watching(lambda asset, month, metadata: tell("month", asset)):
            failed = execute(task, instance)
        problems += failed
        tell("task", (task, failed))
        if failed and not keep_going:
            break
    return problems
