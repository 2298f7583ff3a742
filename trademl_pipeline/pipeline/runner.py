"""Jobs: months of assets that are worked off in a few processes, each run of them written down as it goes.

The processes know no Dagster: what they do is told to a `Recorder`, which lies where the UI looks.
"""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol, cast

from trademl_pipeline.pipeline.catalog import opened
from trademl_pipeline.pipeline.errors import StepError
from trademl_pipeline.pipeline.months import RunInfo, refusal, refusals_of, work_off
from trademl_pipeline.pipeline.recording import LogLevel, MonthDone, MonthRefused, RecordedRun, Recorder
from trademl_pipeline.pipeline.site import Site
from trademl_pipeline.pipeline.train import TrainOptions
from trademl_pipeline.pipeline.workers import Hooks, Outcome, Stopped, Task, TaskCanceledError, Workers, emit
from trademl_pipeline.settings import Settings

# Months are written down some at a time: each writing costs the instance a transaction.
RECORD_SECONDS = 2.0


class Listener(Protocol):
    """Who is told how far the work is."""

    def began(self, title: str, total: int) -> None:
        """Hear that a part of the work begins, of so many pieces."""
        ...

    def advanced(self, what: str, pieces: int = 1) -> None:
        """Hear that pieces are done."""
        ...

    def ended(self) -> None:
        """Hear that the part is done with."""
        ...

    def broke_off(self) -> None:
        """Hear that the part will not be done."""
        ...

    def said(self, line: str) -> None:
        """Hear a line."""
        ...

    def problem(self, line: str) -> None:
        """Hear what was refused or failed."""
        ...


@dataclass(frozen=True)
class Job:
    """One run: months of assets that follow one another.

    Attributes:
        name: of the job that it is a run of.
        assets: made in this order; one with a refused month keeps those behind it from being made.
        months: month keys, in order.
        options: what it asks of training.
        study: that it is of; empty: shared.
        pool: that it takes a slot of; empty: none.
    """

    name: str
    assets: tuple[str, ...]
    months: tuple[str, ...]
    options: TrainOptions = field(default_factory=TrainOptions)
    study: str = ""
    pool: str = ""

    @property
    def title(self) -> str:
        """As messages name it."""
        return f"{self.name} {self.months[-1]}"


@dataclass
class Ticket:
    """Names the run that a job was begun as; filled when it starts."""

    run_id: str = ""
    recorded_at: datetime = datetime.min


@dataclass(frozen=True)
class LogLine:
    """A line that a job writes into its run."""

    level: LogLevel
    text: str


def work(settings: Settings, job: Job, ticket: Ticket, keep_going: bool) -> None:
    """Do a job in this process, telling each month as it is done.

    Args:
        settings: of the data set.
        job: what is done.
        ticket: names its run.
        keep_going: go on with an asset's other months after one that the gate refused.

    Raises:
        MonthsRefusedError: months of an asset were refused; those behind it are not made.
        StepError: an asset cannot be made at all.
    """
    site, log = Site(settings), logging.getLogger(f"trademl.run.{ticket.run_id}")
    log.setLevel(logging.INFO)
    log.propagate = False
    log.handlers = [_Emitter()]
    run = RunInfo(ticket.run_id, ticket.recorded_at, log)
    for asset in job.assets:
        with opened(asset, site, run, job.months, job.options) as body:
            events = work_off(asset, job.months, body, log, emit, keep_going=keep_going)
        if refusals_of(events):
            raise MonthsRefusedError(refusal(asset, events, job.months))


class MonthsRefusedError(Exception):
    """Months of an asset were refused; what becomes of each was told."""


class _Emitter(logging.Handler):
    """Sends lines to whoever started the work."""

    def emit(self, record: logging.LogRecord) -> None:
        """Send one line."""
        emit(LogLine(cast(LogLevel, record.levelname), record.getMessage()))


def warm_up() -> None:
    """Do nothing: a worker that is given this function imports this module, and all that steps of inputs need.

    Networks are imported by the first fold.
    """


class Runner:
    """Does jobs in workers and writes them down.

    Args:
        settings: of the data set.
        recorder: where runs are written down.
        listener: who is told.
        workers: that do the work.
        keep_going: go on with other months and studies where one is refused.

    Attributes:
        halted: the gate has refused a month, and what had not begun by then was not run.
        refused: asset and month of what was refused or failed, so that the lake holds what it held before.
    """

    def __init__(
        self,
        settings: Settings,
        recorder: Recorder,
        listener: Listener,
        workers: Workers,
        *,
        keep_going: bool = False,
    ) -> None:
        self.settings, self.recorder, self.listener = settings, recorder, listener
        self.workers, self.keep_going = workers, keep_going
        self.halted = False
        self.refused: list[str] = []
        self._runs: dict[int, _Running] = {}

    def run(
        self,
        groups: Sequence[Sequence[Job]],
        on_event: Callable[[Job, MonthDone | MonthRefused], None] = lambda job, event: None,
        on_job: Callable[[Job, list[str]], None] = lambda job, problems: None,
    ) -> list[str]:
        """Do groups of jobs side by side, each group in order; returns a line for each that failed.

        After a month that the gate refuses no other job begins; those that run end by themselves.

        Args:
            groups: jobs that follow one another; the groups are independent.
            on_event: given each month as it is done.
            on_job: given each job when it has ended, with a line for what failed.

        Raises:
            Stopped: a signal came; the runs are closed as canceled.
        """
        problems: list[str] = []
        # Tasks are told apart by themselves: their arguments cannot be compared.
        jobs: dict[int, tuple[Job, Ticket]] = {}
        tasks: list[list[Task]] = []
        for group in groups:
            tasks.append([])
            for job in group:
                ticket = Ticket()
                task = Task(job.title, work, (self.settings, job, ticket, self.keep_going))
                jobs[id(task)] = (job, ticket)
                tasks[-1].append(task)

        def running_of(task: Task) -> _Running:
            if id(task) not in self._runs:
                self._runs[id(task)] = self._begin(jobs[id(task)][0])
            return self._runs[id(task)]

        def on_start(task: Task) -> None:
            running, ticket = running_of(task), jobs[id(task)][1]
            ticket.run_id, ticket.recorded_at = running.run.run_id, running.began

        def may_start(task: Task) -> bool:
            job, _ = jobs[id(task)]
            return not job.pool or self.recorder.claim(job.pool, running_of(task).run, job.assets[0])

        def on_message(task: Task, message: Any) -> None:
            running = self._runs[id(task)]
            if isinstance(message, LogLine):
                running.run.log(message.text, level=message.level)
                return
            running.tell(message)
            on_event(jobs[id(task)][0], message)

        def on_outcome(outcome: Outcome) -> None:
            job, _ = jobs.pop(id(outcome.task))
            running = self._runs.pop(id(outcome.task))
            failed = self._end(running, job, outcome)
            problems.extend(failed)
            refusals = refusals_of(running.events)
            self.refused += [f"{event.asset} {event.month[:7]}".strip() for event in refusals]
            self.halted |= not self.keep_going and any(event.by_gate for event in refusals)
            on_job(job, failed)

        def is_canceled(task: Task) -> bool:
            return id(task) in self._runs and self._runs[id(task)].run.cancel_requested()

        hooks = Hooks(
            on_message=on_message,
            may_start=may_start,
            is_canceled=is_canceled,
            on_start=on_start,
            on_outcome=on_outcome,
            goes_on=lambda: not self.halted,
        )
        try:
            self.workers.run(tasks, hooks, keep_going=self.keep_going)
        except Stopped as stopped:
            for key, running in self._runs.items():
                running.flush()
                running.run.canceled(f"{stopped}; what was published before stays")
                self._release(running, jobs[key][0])
            self._runs.clear()
            raise
        if self.halted:
            self._say_not_run([(job, self._runs.pop(key, None)) for key, (job, _) in jobs.items()])
        return problems

    def _say_not_run(self, jobs: Sequence[tuple[Job, "_Running | None"]]) -> None:
        """Say what was not begun after a refusal, and close the runs that were waiting for a slot."""
        for job, running in jobs:
            if running is not None:
                running.run.canceled("not run: the gate refused a month of another job")
                self._release(running, job)
        if jobs:
            names = ", ".join(job.title for job, _ in jobs)
            self.listener.said(f"Not run after the refusal: {names} (--keep-going runs them too)")

    def _begin(self, job: Job) -> "_Running":
        tags = {"study": job.study} if job.study else {}
        if len(job.assets) == 1:
            tags["asset"] = job.assets[0]
        run = self.recorder.begin(job.name, job.assets, job.months, tags=tags)
        return _Running(run, datetime.now(UTC))

    def _end(self, running: "_Running", job: Job, outcome: Outcome) -> list[str]:
        running.flush()
        failed = _problems(job, running.events, outcome)
        if isinstance(outcome.error, TaskCanceledError):
            running.run.canceled("; ".join(failed))
        elif failed:
            running.run.failed("; ".join(failed))
        else:
            running.run.succeeded()
        self._release(running, job)
        return failed

    def _release(self, running: "_Running", job: Job) -> None:
        if job.pool:
            self.recorder.release(running.run, job.assets[0])


@dataclass
class _Running:
    """A run, with the months that it has not been told yet."""

    run: RecordedRun
    began: datetime
    events: list[MonthDone | MonthRefused] = field(default_factory=list[MonthDone | MonthRefused])
    _waiting: list[MonthDone | MonthRefused] = field(default_factory=list[MonthDone | MonthRefused])
    _flushed_at: float = field(default_factory=time.monotonic)

    def tell(self, event: MonthDone | MonthRefused) -> None:
        self.events.append(event)
        self._waiting.append(event)
        if time.monotonic() - self._flushed_at >= RECORD_SECONDS:
            self.flush()

    def flush(self) -> None:
        if self._waiting:
            self.run.told(self._waiting)
            self._waiting = []
        self._flushed_at = time.monotonic()


def _problems(job: Job, events: Sequence[MonthDone | MonthRefused], outcome: Outcome) -> list[str]:
    """Lines on what of a job was refused or failed."""
    lines: list[str] = []
    for asset in job.assets:
        mine = [event for event in events if event.asset == asset]
        if refusals_of(mine):
            lines.append(refusal(asset, mine, job.months))
    if outcome.error is not None and not isinstance(outcome.error, MonthsRefusedError):
        reason = str(outcome.error) or type(outcome.error).__name__
        expected = isinstance(outcome.error, StepError | TaskCanceledError) or not outcome.trace
        lines.append(reason if expected else f"{job.title}: {type(outcome.error).__name__}: {reason}")
    return lines
