"""Commands that fill a lake: `ingest` and `run`."""

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from trademl_pipeline.cli.options import DataSetOptions, about_a_data_set, console, fail, require_study
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
from trademl_pipeline.settings import VENDORS, Settings, SettingsError, environment
from trademl_pipeline.tables.bar_tables import DAILY, TIMEFRAMES

ALL_STUDIES = "all"
FEWEST_SYMBOLS = 3
DEFAULT_FOLDS, DEFAULT_FOLDS_OF_ALL = 12, 3
# Months of the simulated market before its first fold: two years, or what all studies together can do with.
SIMULATED_HISTORY, SIMULATED_HISTORY_OF_ALL = 24, 21
HISTORY_MONTHS = 14


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
    command = [sys.executable, "-m", "trademl_pipeline.defs.ingest", first, last, "--timeframe", timeframe]
    if missing:
        command.append("--missing")
    code = _wait(subprocess.Popen(command, env=environment(settings)))
    if code == 0:
        console.print(f"In the lake of {settings.home}", soft_wrap=True, highlight=False)
    raise typer.Exit(code)


def _wait(process: subprocess.Popen) -> int:
    """The exit code of a process that Ctrl-C reaches as well, and that ends in its own time."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        code = process.wait()
    finally:
        signal.signal(signal.SIGINT, before)
    # A process that a signal ended, as shells tell it.
    return 128 - code if code < 0 else code


@about_a_data_set
def run(
    words: DataSetOptions,
    study: Annotated[str, typer.Argument(help="Study to run, or all of them")] = ALL_STUDIES,
    months: Annotated[
        str, typer.Option("--months", help="Folds to run, YYYY-MM:YYYY-MM; default: the last that fit")
    ] = "",
    size: Annotated[str, typer.Option("--size", help="Size of the models, e.g. small or base")] = "",
    epochs: Annotated[int, typer.Option("--epochs", min=0, help="Epochs of every network; 0: by size")] = 0,
    refit: Annotated[
        str,
        typer.Option(
            "--refit",
            help="month or quarter: how often models are trained; default: the study's, for all: quarter",
        ),
    ] = "",
    keep_going: Annotated[
        bool, typer.Option("--keep-going", help="Go on with the other months when the gate refuses one")
    ] = False,
) -> None:
    """Ingest, compute, train every fold, predict and report; ends with the table of results."""
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
            if settings.training.size and settings.training.size not in STUDIES[name].sizes:
                raise UsageError(
                    f"{name} has no size {settings.training.size!r}; it has {', '.join(STUDIES[name].sizes)}"
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
        as_of = _settled(settings, last, max(STUDIES[name].settled_after for name in names))
        _say_universe(settings)
        settings = named.make(flags, universe=universe)
        move_end(settings, last_month(settings) if settings.data.source == "files" else as_of)
    except (UsageError, SettingsError, ValueError) as error:
        raise fail(str(error)) from error
    command = [sys.executable, "-m", "trademl_pipeline.defs.launch", ",".join(names), first, last]
    command += ["--as-of", as_of]
    command += ["--size", settings.training.size] if settings.training.size else []
    command += ["--epochs", str(settings.training.epochs)] if settings.training.epochs else []
    command += ["--keep-going"] if keep_going else []
    code = subprocess.run(command, env=environment(settings), check=False).returncode
    _print_results(settings.home / "reports", names, as_of[:7])
    raise typer.Exit(code)


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
    if len(members) < FEWEST_SYMBOLS:
        raise UsageError(
            f"{settings.data.path} has {len(members)} symbols of the universe {name}; name others with --symbols or "
            "--universe (--universe ALL takes every symbol)"
        )
    console.print(
        f"Universe {name}: {len(members)} of its symbols are in {Path(settings.data.path).name}",
        highlight=False,
    )


def _settled(settings: Settings, last: str, sessions: int) -> str:
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


def _print_results(reports: Path, names: list[str], month: str) -> None:
    files = [reports / name / month / "summary.json" for name in names]
    summaries = [json.loads(path.read_text()) for path in files if path.exists()]
    if not summaries:
        return
    from trademl_pipeline.reports import print_comparison, print_summary

    if len(names) > 1:
        print_comparison(summaries, console)
    else:
        print_summary(summaries[0], console)
    for path in files:
        if path.exists():
            console.print(f"Report: {path.with_name('report.html')}", soft_wrap=True, highlight=False)
    comparison = reports / "comparison" / month / "report.html"
    if len(names) > 1 and comparison.exists():
        console.print(f"Comparison: {comparison}", soft_wrap=True, highlight=False)
