"""Commands that fill a lake: `ingest` and `run`."""

import json
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from trademl_pipeline.cli.data_sets import (
    data_set,
    last_month,
    require_study,
    universe_symbols,
    usual_universe,
    with_references,
)
from trademl_pipeline.cli.options import (
    OURS_THEIRS,
    ColumnsOption,
    DataOption,
    HomeOption,
    ReferenceOption,
    SourceOption,
    StartOption,
    SymbolsOption,
    UniverseOption,
    console,
    fail,
    pairs,
)
from trademl_pipeline.market.calendar import month_key as month_key_of
from trademl_pipeline.market.calendar import month_sessions, offset, offset_month
from trademl_pipeline.tables.bar_tables import DAILY, TIMEFRAMES
from trademl_pipeline.workspace import SOURCES, VENDORS, DataSet, UsageError, month_key, month_range

ALL_STUDIES = "all"
DEFAULT_FOLDS, DEFAULT_FOLDS_OF_ALL = 12, 3
# Months of the simulated market before its first fold: two years, or what all studies together can do with.
SIMULATED_HISTORY, SIMULATED_HISTORY_OF_ALL = 24, 21
HISTORY_MONTHS = 14


def ingest(
    source: Annotated[str, typer.Option("--source", help=f"One of {', '.join(SOURCES)}")] = "",
    universe: UniverseOption = "",
    symbols: SymbolsOption = "",
    start: Annotated[str, typer.Option("--start", help="First month, YYYY-MM")] = "",
    end: Annotated[str, typer.Option("--end", help="Last month, YYYY-MM; default: this month")] = "",
    timeframe: Annotated[str, typer.Option("--timeframe", help="1Day, 4h, 1h or 1min")] = DAILY,
    data: DataOption = None,
    column: ColumnsOption = None,
    home: HomeOption = None,
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
    try:
        if timeframe not in TIMEFRAMES:
            raise UsageError(f"there is no time frame {timeframe!r}; use one of {', '.join(TIMEFRAMES)}")
        if revisions not in ("", "first", "latest"):
            raise UsageError(f"--revisions is {revisions!r}; it may be first or latest")
        chosen = data_set(data, symbols, column, home, start, None, source, universe)
        environment = chosen.environment()
        last = month_key(end) if end else last_month(chosen)
        if last < chosen.start:
            raise UsageError(
                f"{chosen.start[:7]} to {last[:7]} runs backwards: write the earlier month first"
            )
    except (UsageError, ValueError) as error:
        raise fail(str(error)) from error
    environment |= {"TRADEML_ALPACA_FEED": feed} if feed else {}
    environment |= {"TRADEML_REVISIONS": revisions} if revisions else {}
    command = [
        sys.executable,
        "-m",
        "trademl_pipeline.defs.ingest",
        chosen.start,
        last,
        "--timeframe",
        timeframe,
    ]
    if missing:
        command.append("--missing")
    code = _wait(subprocess.Popen(command, env=environment))
    if code == 0:
        console.print(f"In the lake of {environment['TRADEML_HOME']}", soft_wrap=True, highlight=False)
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


def run(
    study: Annotated[str, typer.Argument(help="Study to run, or all of them")] = ALL_STUDIES,
    months: Annotated[
        str, typer.Option("--months", help="Folds to run, YYYY-MM:YYYY-MM; default: the last that fit")
    ] = "",
    data: DataOption = None,
    symbols: SymbolsOption = "",
    column: ColumnsOption = None,
    home: HomeOption = None,
    start: StartOption = "",
    reference: ReferenceOption = None,
    source: SourceOption = "",
    universe: UniverseOption = "",
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

    names = list(STUDIES) if study == ALL_STUDIES else [study]
    try:
        if study != ALL_STUDIES:
            require_study(study, STUDIES, ALL_STUDIES)
        if refit and refit not in REFIT_MONTHS:
            raise UsageError(f"--refit {refit!r} is not known; it may be {', '.join(REFIT_MONTHS)}")
        for name in names:
            if size and size not in STUDIES[name].sizes:
                raise UsageError(f"{name} has no size {size!r}; it has {', '.join(STUDIES[name].sizes)}")
        real = source in VENDORS or (data is not None and data.exists())
        if real and len(names) == 1 and not universe and not symbols:
            usual = DataSet(data, columns=pairs("--column", column, OURS_THEIRS), home=home, source=source)
            universe = usual_universe(STUDIES[study].universe, usual.calendar())
        named = universe
        if data is not None and universe:
            symbols, universe = universe_symbols(data, column, universe), ""
        chosen = data_set(data, symbols, column, home, start, reference, source, universe)
        # Whom one fetches is everyone who ever belonged; whom one decides on depends on the day.
        chosen = replace(chosen, universe=named)
        if study == ALL_STUDIES and not refit:
            refit = "quarter"
        chosen = with_references(chosen, names)
        environment = chosen.environment() | {"TRADEML_REFIT": refit}
        first, last = month_range(months) if months else _default_months(chosen, study == ALL_STUDIES)
        if first <= chosen.start:
            raise UsageError(
                f"the first fold is {first[:7]}, but history begins in {chosen.start[:7]}: a fold needs at least "
                f"{STUDIES[names[0]].folds.min_train} sessions before it (about {HISTORY_MONTHS} months)"
            )
    except (UsageError, ValueError) as error:
        raise fail(str(error)) from error
    if chosen.source in VENDORS:
        # What `trademl ingest` has fetched is not fetched again.
        environment.setdefault("TRADEML_FETCH", "missing")
    as_of = _settled(
        chosen, environment["TRADEML_CALENDAR"], last, max(STUDIES[name].settled_after for name in names)
    )
    command = [sys.executable, "-m", "trademl_pipeline.defs.launch", ",".join(names), first, last]
    command += ["--as-of", as_of]
    command += ["--size", size] if size else []
    command += ["--epochs", str(epochs)] if epochs else []
    command += ["--keep-going"] if keep_going else []
    code = subprocess.run(command, env=environment, check=False).returncode
    _print_results(chosen.folder() / "reports", names, as_of[:7])
    raise typer.Exit(code)


def _settled(chosen: DataSet, calendar: str, last: str, sessions: int) -> str:
    """The month by which every outcome of the last fold is known, or the last one that there are bars of."""
    decided = offset(month_sessions(last, calendar)[-1], sessions, calendar)
    return max(last, min(month_key_of(decided), last_month(chosen)))


def _default_months(chosen: DataSet, several: bool) -> tuple[str, str]:
    """The last full folds: of the file's span, or after two years of the simulated market."""
    folds = DEFAULT_FOLDS_OF_ALL if several else DEFAULT_FOLDS
    if chosen.source in VENDORS:
        last = offset_month(last_month(chosen), -1)
        return max(offset_month(last, 1 - folds), offset_month(chosen.start, HISTORY_MONTHS)), last
    if chosen.data is None:
        first = offset_month(chosen.start, SIMULATED_HISTORY_OF_ALL if several else SIMULATED_HISTORY)
        return first, offset_month(first, folds - 1)
    from trademl_pipeline.market import FileSource

    end = FileSource(chosen.data, columns=chosen.columns).span()[1]
    last = f"{end:%Y-%m}-01"
    return max(offset_month(last, 1 - folds), offset_month(chosen.start, HISTORY_MONTHS)), last


def _print_results(reports: Path, names: list[str], month: str) -> None:
    found = [reports / name / month / "summary.json" for name in names]
    summaries = [json.loads(path.read_text()) for path in found if path.exists()]
    if not summaries:
        return
    from trademl_pipeline.reports import print_comparison, print_summary

    if len(names) > 1:
        print_comparison(summaries, console)
    else:
        print_summary(summaries[0], console)
    for path in found:
        if path.exists():
            console.print(f"Report: {path.with_name('report.html')}", soft_wrap=True, highlight=False)
    comparison = reports / "comparison" / month / "report.html"
    if len(names) > 1 and comparison.exists():
        console.print(f"Comparison: {comparison}", soft_wrap=True, highlight=False)
