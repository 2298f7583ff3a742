"""Take in bars of a range of months in this process, recorded in the Dagster instance like any other run.

`python -m trademl_pipeline.defs.ingest <first month> <last month>`; the CLI's `trademl ingest` starts it with the
environment of a data set. A vendor's bars are downloaded first, in pieces that a later call finds again; then the asset
of the time frame publishes month by month, each audited, and a table says what was done.
"""

import argparse
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import dagster as dg
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from trademl_pipeline.defs.bars import bars_resource
from trademl_pipeline.defs.gate import watching
from trademl_pipeline.defs.jobs import ingest_job_name
from trademl_pipeline.defs.launch import RANGE_END, RANGE_START, console
from trademl_pipeline.defs.market.raw_bars import FETCH_TAG, MISSING
from trademl_pipeline.defs.resources import LakeResource, home
from trademl_pipeline.defs.workers import QUIET, definitions, failures
from trademl_pipeline.lake.errors import MissingTableError
from trademl_pipeline.market.calendar import month_bounds, month_key, month_range
from trademl_pipeline.market.errors import (
    EmptyMonthError,
    MarketError,
    MissingKeyError,
    MissingPackageError,
    UnknownSymbolError,
    VendorRefusedError,
)
from trademl_pipeline.market.ingest.staging import Staged
from trademl_pipeline.market.sources import BarSource
from trademl_pipeline.tables.bar_tables import DAILY, TIMEFRAMES, bar_tables

DONE, FAILED, CANNOT_WORK, STOPPED = 0, 1, 2, 130
_COUNTS = ("new_rows", "restated_rows", "late_rows", "withdrawn_rows", "quarantined_rows")


@dataclass
class Tally:
    """What the months of a run came to."""

    months: dict[str, dict[str, Any] | None] = field(default_factory=dict)
    absent: list[str] = field(default_factory=list)

    def total(self, name: str) -> int:
        """Sum of a figure over the published months."""
        return sum(int(metadata.get(name, 0)) for metadata in self.months.values() if metadata)

    def published(self) -> list[str]:
        """Months that passed."""
        return [month for month, metadata in self.months.items() if metadata]


@contextmanager
def _progress(what: str) -> Iterator[tuple[Progress, Any]]:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        yield progress, progress.add_task(what, total=None)


def _download(source: BarSource, first: str, last: str, tally: Tally) -> tuple[str, str]:
    """Fetch what is not there yet of the range; returns the first and last month with a bar."""
    staged = Staged(source, home() / "staging", month_bounds(first)[0], month_bounds(last)[1])
    with staged.held(), _progress(f"Downloading from {source.name}") as (progress, task):

        def show(done: int, total: int, what: str) -> None:
            note = f"Downloading {what}" if what else f"Downloaded from {source.name}"
            progress.update(task, completed=done, total=total, description=note)

        fetched = staged.download(show)
        tally.absent = staged.absent()
        low, high = staged.span()
        if len(tally.absent) == len(staged.symbols()):
            staged.discard()
            raise EmptyMonthError(source.name, low, high, None, f", {len(tally.absent)} symbols")
    if not fetched:
        console.print("All of it had been downloaded before.")
    return max(first, month_key(low)), min(last, month_key(high))


def _publish(timeframe: str, first: str, last: str, only_missing: bool, tally: Tally) -> list[str]:
    """Run the asset over the months; returns what failed."""
    months = month_range(first, last)
    with dg.DagsterInstance.get() as instance, _progress("Publishing") as (progress, task):
        progress.update(task, total=len(months))

        def seen(_: str, month: str, metadata: dict[str, Any] | None) -> None:
            tally.months[month] = metadata
            progress.update(task, advance=1, description=f"Publishing {month[:7]}")

        with watching(seen):
            result = (
                definitions()
                .resolve_job_def(ingest_job_name(timeframe))
                .execute_in_process(
                    instance=instance,
                    tags={RANGE_START: first, RANGE_END: last}
                    | ({FETCH_TAG: MISSING} if only_missing else {}),
                    run_config=QUIET,
                    raise_on_error=False,
                )
            )
    if any(_interrupted(event.step_failure_data.error) for event in result.get_step_failure_events()):
        raise KeyboardInterrupt
    return failures(result)


def _interrupted(error: Any) -> bool:
    """Whether a step failed because of Ctrl-C."""
    while error is not None:
        if error.cls_name == dg.DagsterExecutionInterruptedError.__name__:
            return True
        error = error.cause
    return False


def _summary(tally: Tally, timeframe: str, source: BarSource, seconds: float) -> Table:
    published = tally.published()
    symbols = 0
    if published:
        try:
            held = (
                LakeResource()
                .open()
                .read(bar_tables(timeframe).bars, months=(min(published), max(published)), columns=["symbol"])
            )
            symbols = held["symbol"].n_unique()
        except MissingTableError:
            symbols = 0
    table = Table(
        title=f"{source.name}, {timeframe}: {bar_tables(timeframe).bars.name}",
        title_justify="left",
        show_header=False,
    )
    figures = {"symbols": symbols, "months": len(published), "rows": tally.total("dagster/row_count")}
    figures |= {name.removesuffix("_rows"): tally.total(name) for name in _COUNTS}
    for name, figure in figures.items():
        table.add_row(name, f"{figure:,}")
    table.add_row("seconds", f"{seconds:,.1f}")
    return table


def ingest(timeframe: str, first: str, last: str, only_missing: bool) -> int:
    """Take in the months `first` to `last`; returns the exit code."""
    began, tally = time.perf_counter(), Tally()
    try:
        source = bars_resource().process_config_and_initialize().open(timeframe)
        last = min(last, month_key(datetime.now(UTC).date()))
        if source.remote and not only_missing:
            first, last = _download(source, first, last, tally)
        problems = _publish(timeframe, first, last, only_missing, tally)
    except (
        MissingKeyError,
        MissingPackageError,
        UnknownSymbolError,
        VendorRefusedError,
        dg.Failure,
    ) as error:
        return _refuse(error.description or "" if isinstance(error, dg.Failure) else str(error), CANNOT_WORK)
    except MarketError as error:
        return _refuse(str(error), FAILED)
    except KeyboardInterrupt:
        return _refuse("stopped; the same command goes on where it was stopped", STOPPED)
    for problem in problems:
        console.print(f"[red]refused or failed:[/red] {problem}", highlight=False, soft_wrap=True)
    if tally.absent:
        named = ", ".join(tally.absent[:10]) + (
            f" and {len(tally.absent) - 10} more" if tally.absent[10:] else ""
        )
        console.print(f"[yellow]no bars at all of:[/yellow] {named}", highlight=False, soft_wrap=True)
    console.print(_summary(tally, timeframe, source, time.perf_counter() - began))
    return FAILED if problems else DONE


def _refuse(message: str, code: int) -> int:
    Console(stderr=True).print(f"[red]error:[/red] {message}", highlight=False, soft_wrap=True)
    return code


def main() -> int:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("first", help="first month, YYYY-MM-01")
    parser.add_argument("last", help="last month, YYYY-MM-01")
    parser.add_argument("--timeframe", choices=TIMEFRAMES, default=DAILY)
    parser.add_argument("--missing", action="store_true")
    arguments = parser.parse_args()
    return ingest(arguments.timeframe, arguments.first, arguments.last, arguments.missing)


if __name__ == "__main__":
    raise SystemExit(main())
