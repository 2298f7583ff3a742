"""Working off the months of an asset: one that is refused or fails does not stop the others."""

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
) -> list[MonthDone | MonthRefused]:
    """Run `body` for every month and return what became of each.

    A month that fails with one of `MONTH_ERRORS` is refused and does not stop the others.

    Args:
        asset: its name.
        months: month keys, in order.
        body: makes and publishes one month.
        log: where progress is written.
        on_event: called with each month as it is done.
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
        return MonthRefused(asset, month, str(error), refusal_metadata(month[:7], report), tuple(checks))
    return MonthRefused(asset, month, str(error), {f"error {month[:7]}": f"{type(error).__name__}: {error}"})


def refusal(asset: str, refusals: Sequence[MonthRefused], months: int) -> str:
    """Return one line on the months of an asset that were refused."""
    names = ", ".join(event.month[:7] for event in refusals)
    return (
        f"{asset}: {len(refusals)} of {months} months refused ({names}); the lake keeps what it held for them. "
        f"First: {refusals[0].reason}"
    )


def refusals_of(events: Iterable[MonthDone | MonthRefused]) -> list[MonthRefused]:
    """Return the refused months among events."""
    return [event for event in events if isinstance(event, MonthRefused)]
