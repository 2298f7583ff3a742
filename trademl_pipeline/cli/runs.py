"""Commands that fill a lake: `ingest` and `run`."""

import json
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from trademl_pipeline.cli.options import DataSetOptions, about_a_data_set, console, fail, require_study
from trademl_pipeline.cli.progress import TerminalListener
from trademl_pipeline.data_sets import (
    ALL_SYMBOLS,
    UsageError,
    last_month,
    month_key,
    month_range,
    move_end,
)
from trademl_pipeline.market.calendar import month_key as month_key_of
from trademl_pipeline.market.calendar import month_sessions, offset, offset_month
from trademl_pipeline.pipeline.sources import BarsFrom
from trademl_pipeline.settings import VENDORS, Settings, SettingsError, apply
from trademl_pipeline.tables.bar_tables import DAILY, TIMEFRAMES, bar_tables

if TYPE_CHECKING:
    from trademl_pipeline.pipeline.run import Result

ALL_STUDIES = "all"
# Exit codes.
DONE, FAILED, CANNOT_WORK = 0, 1, 2
# What a worker gains beyond this many is lost in waiting for the turn to commit.
MAX_WORKERS = 4
MIN_SYMBOLS = 3
DEFAULT_FOLDS, DEFAULT_FOLDS_OF_ALL = 12, 3
# Months of the simulated market before its first fold: two years, or what all studies together can do with.
SIMULATED_HISTORY, SIMULATED_HISTORY_OF_ALL = 24, 21
HISTORY_MONTHS = 14
STOPPED = "stopped; the same command goes on where it was stopped"


@about_a_data_set
def ingest(
    words: DataSetOptions,
    end: Annotated[str, typer.Option("--end", help="Last month, YYYY-MM; default: this month")] = "",
    timeframe: Annotated[str, typer.Option("--timeframe", help="1Day, 4h, 1h or 1min")] = DAILY,
    feed: Annotated[
        str, typer.Option("--feed", help="Alpaca's feed: iex (free), sip, delayed_sip, otc")
    ] = "",
    revisions: Annotated[
        str,
        typer.Option(
            "--revisions", help="What becomes of changed values: first (keep what was known first) or latest"
        ),
    ] = "",
    missing: Annotated[
        bool, typer.Option("--missing", help="Fetch only what the lake lacks, not the whole range")
    ] = False,
) -> None:
    """Fetch bars into the lake, every month judged and audited; the same command goes on where it broke off.

    Exits with 0 when all is published, 1 when the source failed or a month was refused, 2 when something is to be set
    first, 130 when it was stopped.

    \f
    Args:
        words: the data set.
        end: last month.
        timeframe, feed, revisions, missing: which bars are fetched, see their help.
    """
    flags: dict[str, str | int | None] = {
        "vendors.alpaca_feed": feed or None,
        "ingest.revisions": revisions or None,
    }
    try:
        if timeframe not in TIMEFRAMES:
            raise UsageError(f"there is no time frame {timeframe!r}; use one of {', '.join(TIMEFRAMES)}")
        if revisions not in ("", "first", "latest"):
            raise UsageError(f"--revisions is {revisions!r}; it may be first or latest")
        named = words.named()
        if named.start and end and month_key(end) < named.start:
            raise UsageError(f"{named.start[:7]} to {end} runs backwards: write the earlier month first")
        settings = named.planned(flags)
        first, last = settings.data.start, month_key(end) if end else last_month(settings)
        if last < first:
            raise UsageError(f"{first[:7]} to {last[:7]} runs backwards: write the earlier month first")
        settings = named.make(flags)
        move_end(settings, last_month(settings) if settings.data.source == "files" else last)
    except (UsageError, SettingsError, ValueError) as error:
        raise fail(str(error)) from error
    raise typer.Exit(_ingest(settings, timeframe, first, last, only_missing=missing))


def _ingest(settings: Settings, timeframe: str, first: str, last: str, *, only_missing: bool) -> int:
    """Take in bars of a range of months; returns the exit code."""
    from rich.table import Table

    from trademl_pipeline.market.errors import (
        MarketError,
        MissingKeyError,
        MissingPackageError,
        UnknownSymbolError,
        VendorRefusedError,
    )
    from trademl_pipeline.pipeline.errors import StepError
    from trademl_pipeline.pipeline.ingest import Tally, download, publish_bars
    from trademl_pipeline.pipeline.site import Site
    from trademl_pipeline.pipeline.workers import Stopped

    began, tally, listener = time.perf_counter(), Tally(), TerminalListener(console)
    cannot_work = (MissingKeyError, MissingPackageError, UnknownSymbolError, VendorRefusedError)
    try:
        with _runner(settings, listener, processes=1) as runner:
            site = Site(settings)
            source, last = site.source(timeframe), min(last, month_key_of(datetime.now(UTC).date()))
            if source.remote and not only_missing:
                listener.began(f"Downloading from {source.name}", 0)

                def show(done: int, total: int, what: str) -> None:
                    note = f"Downloading {what}" if what else f"Downloaded from {source.name}"
                    listener.at(note, done, total)

                first, last, fetched = download(source, site.artifacts, first, last, tally, show)
                listener.ended()
                if not fetched:
                    listener.said("All of it had been downloaded before.")
            problems = publish_bars(runner, timeframe, first, last, tally)
    except (*cannot_work, StepError, SettingsError) as error:
        return _stopped(listener, str(error), CANNOT_WORK)
    except MarketError as error:
        return _stopped(listener, str(error), FAILED)
    except Stopped as stopped:
        return _stopped(listener, STOPPED, 128 + stopped.number)
    for problem in problems:
        listener.problem(problem)
    if tally.absent:
        more = f" and {len(tally.absent) - 10} more" if tally.absent[10:] else ""
        named = ", ".join(tally.absent[:10]) + more
        console.print(f"[yellow]no bars at all of:[/yellow] {named}", highlight=False, soft_wrap=True)
    table = Table(
        title=f"{source.name}, {timeframe}: {bar_tables(timeframe).bars.name}",
        title_justify="left",
        show_header=False,
    )
    for name, figure in tally.figures(site.lake, timeframe).items():
        table.add_row(name, f"{figure:,}")
    table.add_row("seconds", f"{time.perf_counter() - began:,.1f}")
    console.print(table)
    if problems:
        return FAILED
    console.print(f"In the lake of {settings.home}", soft_wrap=True, highlight=False)
    return DONE


def _stopped(listener: TerminalListener, message: str, code: int) -> int:
    """Say what ended a command; returns the exit code."""
    listener.broke_off()
    fail(message)
    return code


@contextmanager
def _runner(
    settings: Settings, listener: TerminalListener, *, processes: int, keep_going: bool = False
) -> Iterator[Any]:
    """Open what does jobs on a data set: its workers, and the record that the UI shows."""
    from trademl_pipeline.data_sets import write_instance
    from trademl_pipeline.defs.instance import opened_recorder
    from trademl_pipeline.pipeline.runner import Runner, warm_up
    from trademl_pipeline.pipeline.workers import Workers

    apply(settings)
    write_instance(settings.dagster_home)
    with (
        opened_recorder(settings.dagster_home) as recorder,
        Workers(processes, initializer=warm_up) as workers,
    ):
        yield Runner(settings, recorder, listener, workers, keep_going=keep_going or settings.gate.keep_going)


@about_a_data_set
def run(
    words: DataSetOptions,
    study: Annotated[str, typer.Argument(help="Study to run, or all of them")] = ALL_STUDIES,
    months: Annotated[
        str, typer.Option("--months", help="Folds to run, YYYY-MM:YYYY-MM; default: the last that fit")
    ] = "",
    size: Annotated[
        str,
        typer.Option("--preset", "--size", help="Preset of the study, its training budget: small or base"),
    ] = "",
    epochs: Annotated[int, typer.Option("--epochs", min=0, help="Epochs of every network; 0: by preset")] = 0,
    refit: Annotated[
        str,
        typer.Option(
            "--refit",
            help="month or quarter: how often models are trained; default: the study's, for all: quarter",
        ),
    ] = "",
    keep_going: Annotated[
        bool, typer.Option("--keep-going", help="Go on with the other months and studies after a refusal")
    ] = False,
) -> None:
    """Ingest, compute, train every fold, predict and report; ends with the table of results.

    \f
    Args:
        words: the data set.
        study, months: which folds are run.
        size, epochs, refit: how they are trained.
        keep_going: go on with the other months and studies after a refusal.
    """
    from trademl_pipeline.studies import STUDIES
    from trademl_pipeline.studies.spec import REFIT_MONTHS

    names, several = list(STUDIES) if study == ALL_STUDIES else [study], study == ALL_STUDIES
    try:
        if not several:
            require_study(study, STUDIES, ALL_STUDIES)
        if refit and refit not in REFIT_MONTHS:
            raise UsageError(f"--refit {refit!r} is not known; it may be {', '.join(REFIT_MONTHS)}")
        asked = month_range(months) if months else None
        flags: dict[str, str | int | None] = {
            "training.size": size or None,
            "training.epochs": epochs or None,
            "training.refit": refit or None,
        }
        named, universe = words.named(), "" if several else STUDIES[study].universe
        settings = named.planned(flags, universe=universe)
        for name in names:
            if settings.training.size and settings.training.size not in STUDIES[name].presets:
                raise UsageError(
                    f"{name} has no preset {settings.training.size!r}; it has {', '.join(STUDIES[name].presets)}"
                )
        first, last = asked or _default_months(settings, several)
        if first <= settings.data.start:
            raise UsageError(
                f"the first fold is {first[:7]}, but history begins in {settings.data.start[:7]}: a fold needs at "
                "least "
                f"{STUDIES[names[0]].folds.min_train} sessions before it (about {HISTORY_MONTHS} months)"
            )
        if several and not settings.training.refit:
            flags["training.refit"] = "quarter"
        if settings.data.source in VENDORS and not settings.ingest.fetch:
            # What `trademl ingest` has fetched is not fetched again.
            flags["ingest.fetch"] = "missing"
        as_of = _matured_until(settings, last, max(STUDIES[name].label_horizon for name in names))
        _say_universe(settings)
        settings = named.make(flags, universe=universe)
        move_end(settings, last_month(settings) if settings.data.source == "files" else as_of)
    except (UsageError, SettingsError, ValueError) as error:
        raise fail(str(error)) from error
    code, result = _run(settings, names, first, last, as_of, keep_going=keep_going)
    _print_results(settings.home / "reports", names, result, as_of[:7], several=several)
    raise typer.Exit(code)


def _run(
    settings: Settings, names: list[str], first: str, last: str, as_of: str, *, keep_going: bool
) -> "tuple[int, Result]":
    """Run studies; returns the exit code and what came of it."""
    from trademl_pipeline.pipeline.run import Result, run_studies
    from trademl_pipeline.pipeline.workers import Stopped

    began, listener = time.perf_counter(), TerminalListener(console)
    count = min(os.cpu_count() or 1, MAX_WORKERS)
    try:
        with _runner(settings, listener, processes=count, keep_going=keep_going) as runner:
            result = run_studies(runner, names, first, last, as_of=as_of, start=settings.data.start)
    except Stopped as stopped:
        return _stopped(listener, "stopped; what was published before stays", 128 + stopped.number), Result(0)
    if not result.problems:
        listener.said(f"Done in {time.perf_counter() - began:.1f} s")
    return FAILED if result.problems else DONE, result


def _say_universe(settings: Settings) -> None:
    """Say how much of the universe a file has.

    Raises:
        UsageError: too little to rank.
    """
    name = settings.universe.name
    if settings.data.source != "files" or settings.data.symbols or name in ("", ALL_SYMBOLS):
        return
    from trademl_pipeline.market import MarketError

    try:
        members = BarsFrom.of(settings).wanted().split(",")
    except MarketError:
        members = []
    if len(members) < MIN_SYMBOLS:
        raise UsageError(
            f"{settings.data.path} has {len(members)} symbols of the universe {name}; name others with --symbols or "
            "--universe (--universe ALL takes every symbol)"
        )
    console.print(
        f"Universe {name}: {len(members)} of its symbols are in {Path(settings.data.path).name}",
        highlight=False,
    )


def _matured_until(settings: Settings, last: str, sessions: int) -> str:
    """The month by which every outcome of the last fold is known, or the last one that there are bars of."""
    decided = offset(month_sessions(last, settings.calendar)[-1], sessions, settings.calendar)
    return max(last, min(month_key_of(decided), last_month(settings)))


def _default_months(settings: Settings, several: bool) -> tuple[str, str]:
    """The last full folds: of the file's span, or after two years of the simulated market."""
    folds, start = DEFAULT_FOLDS_OF_ALL if several else DEFAULT_FOLDS, settings.data.start
    if settings.data.source == "simulated":
        first = offset_month(start, SIMULATED_HISTORY_OF_ALL if several else SIMULATED_HISTORY)
        return first, offset_month(first, folds - 1)
    last = last_month(settings)
    if settings.data.source in VENDORS:
        last = offset_month(last, -1)
    return max(offset_month(last, 1 - folds), offset_month(start, HISTORY_MONTHS)), last


def _print_results(
    reports: Path, names: Sequence[str], result: "Result", month: str, *, several: bool
) -> None:
    """Print what this run has reported, and name what is of an earlier one.

    Args:
        reports: folder of all reports.
        names: studies that were asked for.
        result: of the run.
        month: of the reports.
        several: print the studies beside one another.
    """
    files = [reports / name / month / "summary.json" for name in result.reported]
    summaries = [json.loads(path.read_text()) for path in files if path.exists()]
    if summaries:
        from trademl_pipeline.reports import print_comparison, print_summary

        if several:
            print_comparison(summaries, console)
        else:
            print_summary(summaries[0], console)
    for path in files:
        if path.exists():
            _say(f"Report: {path.with_name('report.html')}")
    if result.compared:
        _say(f"Comparison: {reports / 'comparison' / month / 'report.html'}")
    if summaries and result.refused:
        months = ", ".join(result.refused)
        _say(f"Not of this run: {months}; the reports take what an earlier run published of it, if any")
    for name in (name for name in names if name not in result.reported):
        report = reports / name / month / "report.html"
        if report.exists():
            written = datetime.fromtimestamp(report.stat().st_mtime, UTC)
            _say(f"Not reported: {name}; of an earlier run ({written:%Y-%m-%d %H:%M} UTC) is {report}")


def _say(line: str) -> None:
    console.print(line, soft_wrap=True, highlight=False, markup=False)
