"""Working off the months of an asset, up to the first that the gate refuses.

What the gate refuses in one month is in the code that makes every month, so that the others wait until it is mended. A
month that fails for itself, such as by its bars, does not stop the others.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from trademl_pipeline.folds import FoldError
from trademl_pipeline.lake.errors import LakeError
from trademl_pipeline.leakage import AuditError
from trademl_pipeline.market.errors import MarketError
from trademl_pipeline.pipeline.gate import GateRefusedError, Published, check_results, refusal_metadata
from trademl_pipeline.pipeline.recording import CheckResult, MonthDone, MonthRefused
from trademl_pipeline.pipeline.shown import Metadata
from trademl_pipeline.training.inner_split import FitError

# What one month of a range may fail with while the other months go on.
MONTH_ERRORS = (GateRefusedError, AuditError, LakeError, MarketError, FoldError, FitError)

# Those of them that say something about the code which makes the months, and not about a month.
GATE_ERRORS = (GateRefusedError, AuditError)

# Between two lines of progress in a run's log.
PROGRESS_SECONDS = 2.0


class Log(Protocol):
    """Takes the lines that a run writes; a `logging.Logger` is one."""

    def info(self, msg: str, /) -> None:
        """Write a line of progress."""
        ...

    def warning(self, msg: str, /) -> None:
        """Write what a person should know."""
        ...

    def error(self, msg: str, /) -> None:
        """Write what went wrong."""
        ...


@dataclass(frozen=True)
class RunInfo:
    """The run that a step is part of.

    Attributes:
        run_id: identifies it in ledgers, certificates and the tracker.
        recorded_at: when it was created: the time stamp of everything that it records (UTC).
        log: where it writes lines.
    """

    run_id: str
    recorded_at: datetime
    log: Log


@dataclass(frozen=True)
class MonthResult:
    """Figures of one month to show, and the findings of its probes."""

    metadata: Metadata
    checks: Sequence[CheckResult] = ()


Body = Callable[[str], MonthResult]


def result_of(published: Published, metadata: Metadata) -> MonthResult:
    """Return what is told of a month that passed the gate."""
    return MonthResult(metadata, check_results(published.report.to_frame(), published.report.violations))


def work_off(
    asset: str,
    months: Sequence[str],
    body: Body,
    log: Log,
    on_event: Callable[[MonthDone | MonthRefused], None] | None = None,
    *,
    keep_going: bool = False,
) -> list[MonthDone | MonthRefused]:
    """Run `body` month by month and return what became of each that was run.

    A month that fails with one of `MONTH_ERRORS` is refused. One that the gate refuses is the last, unless the others
    are asked for as well; what was published before stays.

    Args:
        asset: its name.
        months: month keys, in order.
        body: makes and publishes one month.
        log: where progress is written.
        on_event: called with each month as it is done.
        keep_going: go on after a month that the gate refused.
    """
    events: list[MonthDone | MonthRefused] = []
    rows = 0
    began = last_line = time.perf_counter()
    for number, month in enumerate(months, 1):
        try:
            result = body(month)
        except MONTH_ERRORS as error:
            log.error(f"{asset} {month[:7]}: {error}")
            event = refused(asset, month, error)
        else:
            event = MonthDone(asset, month, result.metadata, result.checks)
            rows += int(result.metadata.get("dagster/row_count", 0))
        events.append(event)
        if on_event is not None:
            on_event(event)
        if isinstance(event, MonthRefused) and event.by_gate and not keep_going:
            if number < len(months):
                log.error(f"{asset}: {_not_run(months[number:])}")
            break
        # Every line costs a write to Dagster's database, and quick months come by the dozen.
        done = isinstance(event, MonthDone)
        if done and (number == len(months) or time.perf_counter() - last_line >= PROGRESS_SECONDS):
            last_line = time.perf_counter()
            log.info(
                f"{asset} {month[:7]}: {number} of {len(months)} months, {rows} rows, "
                f"{number / (last_line - began):.1f} months/s"
            )
    return events


def refused(asset: str, month: str, error: Exception) -> MonthRefused:
    """Return what is told of a month that was not published."""
    if isinstance(error, GateRefusedError):
        report = error.report
        checks = check_results(report.to_frame(), report.violations)
        metadata = refusal_metadata(month[:7], report)
        return MonthRefused(asset, month, str(error), metadata, tuple(checks), by_gate=True)
    metadata = {f"error {month[:7]}": f"{type(error).__name__}: {error}"}
    return MonthRefused(asset, month, str(error), metadata, by_gate=isinstance(error, GATE_ERRORS))


def refusal(asset: str, events: Sequence[MonthDone | MonthRefused], months: Sequence[str]) -> str:
    """Return one line on the months of an asset that were refused, and on those that were not run after them.

    Args:
        asset: its name.
        events: what became of its months; one was refused.
        months: that were asked for, in order.
    """
    refusals = refusals_of(events)
    names = ", ".join(event.month[:7] for event in refusals)
    rest = months[len(events) :]
    waiting = f"{_not_run(rest)}. " if rest and refusals[-1].by_gate else ""
    return (
        f"{asset}: {len(refusals)} of {len(months)} months refused ({names}); the lake keeps what it held for them. "
        f"{waiting}First: {refusals[0].reason}"
    )


def _not_run(months: Sequence[str]) -> str:
    """Months that were left out after a refusal, in words."""
    span = months[0][:7] if len(months) == 1 else f"{months[0][:7]} to {months[-1][:7]}"
    return f"Not run after the refusal: {span} ({len(months)} of the months; --keep-going or gate.keep_going runs them)"


def refusals_of(events: Iterable[MonthDone | MonthRefused]) -> list[MonthRefused]:
    """Return the refused months among events."""
    return [event for event in events if isinstance(event, MonthRefused)]
