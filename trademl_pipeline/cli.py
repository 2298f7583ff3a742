"""`trademl`: run a study from the shell, open the UI, and look at what the lake holds.

The CLI knows nothing of Dagster: it sets the environment of a data set and starts the processes that do.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from trademl_pipeline.lake.bar_tables import DAILY, TIMEFRAMES
from trademl_pipeline.leakage.upkeep import DAYS
from trademl_pipeline.market.bar_times import AROUND_THE_CLOCK
from trademl_pipeline.market.calendar import DEFAULT_CALENDAR, month_sessions, offset, offset_month
from trademl_pipeline.market.calendar import month_key as month_key_of
from trademl_pipeline.workspace import (
    ROOT,
    SIMULATED_START,
    SOURCES,
    VENDORS,
    DataSet,
    UsageError,
    month_key,
    month_range,
)

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__)
console = Console()

ALL_STUDIES, ALL_SYMBOLS, CRYPTO = "all", "ALL", "CRYPTO_8"
DEFAULT_FOLDS, DEFAULT_FOLDS_OF_ALL = 12, 3
# Months of the simulated market before its first fold: two years, or what all studies together can do with.
SIMULATED_HISTORY, SIMULATED_HISTORY_OF_ALL = 24, 21
HISTORY_MONTHS = 14
OURS_THEIRS = "ours=theirs, e.g. --column close=Close"
FEWEST_SYMBOLS = 3

DataOption = Annotated[
    Path | None,
    typer.Option("--data", help="Parquet or CSV bars, file or folder; default: the simulated market"),
]
SymbolsOption = Annotated[
    str, typer.Option("--symbols", help="Comma-separated symbols, or a number: that many symbols")
]
ColumnsOption = Annotated[
    list[str] | None,
    typer.Option("--column", help="Column mapping ours=theirs, e.g. --column close=Close; may be repeated"),
]
HomeOption = Annotated[
    Path | None, typer.Option("--home", help="State folder; default: data/<name of the data set>")
]
StartOption = Annotated[
    str, typer.Option("--start", help="First month of history, YYYY-MM; default: the data's own")
]
ReferenceOption = Annotated[
    Path | None,
    typer.Option(
        "--reference", help="Parquet or CSV bars of SPY, sector funds, ^VIX and ^VIX3M, file or folder"
    ),
]
SourceOption = Annotated[
    str,
    typer.Option("--source", help=f"Where bars come from: {', '.join(SOURCES)}; default: what --data says"),
]
UniverseOption = Annotated[
    str, typer.Option("--universe", help="Universe to take symbols from, e.g. TIER_1, MAG7, CRYPTO_8")
]


def _fail(message: str) -> typer.Exit:
    Console(stderr=True).print(f"[red]error:[/red] {message}", highlight=False)
    return typer.Exit(2)


def _data_set(
    data: Path | None,
    symbols: str,
    columns: list[str] | None,
    home: Path | None,
    start: str,
    reference: Path | None = None,
    source: str = "",
    universe: str = "",
) -> DataSet:
    if source and source not in SOURCES:
        raise UsageError(f"there is no source {source!r}; use one of {', '.join(SOURCES)}")
    if source == "files" and data is None:
        raise UsageError("source files needs --data: a Parquet or CSV file or folder")
    if data is not None and source not in ("", "files"):
        raise UsageError(f"--data is for source files, not for {source}: leave one of the two out")
    if universe:
        symbols = _members(universe, symbols)
    mapping = _pairs("--column", columns, OURS_THEIRS)
    if start:
        first = month_key(start)
    elif source in VENDORS:
        raise UsageError(f"say from when on to have bars of {source}: --start 2015-01")
    elif data is None:
        first = SIMULATED_START
    else:
        from trademl_pipeline.market import FileSource

        if not data.exists():
            raise UsageError(f"there is no file or folder {data}; --data takes Parquet or CSV bars")
        first = f"{FileSource(data, columns=mapping).span()[0]:%Y-%m}-01"
    return DataSet(
        data=data,
        symbols=symbols,
        columns=mapping,
        start=first,
        home=home,
        source=source if source in VENDORS else "",
        universe=universe,
        reference=reference,
    )


def _members(universe: str, symbols: str) -> str:
    """Everyone who ever belonged to a universe: what one fetches, and never what one trades."""
    from trademl_pipeline.market import MarketError
    from trademl_pipeline.market.universes import universe as members

    if symbols:
        raise UsageError("--universe and --symbols both say what to fetch: leave one of the two out")
    try:
        return ",".join(members(universe))
    except MarketError as error:
        raise UsageError(str(error)) from error


@app.command()
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
        chosen = _data_set(data, symbols, column, home, start, None, source, universe)
        environment = chosen.environment()
        last = month_key(end) if end else _last_month(chosen)
        if last < chosen.start:
            raise UsageError(
                f"{chosen.start[:7]} to {last[:7]} runs backwards: write the earlier month first"
            )
    except (UsageError, ValueError) as error:
        raise _fail(str(error)) from error
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


def _last_month(chosen: DataSet) -> str:
    """The last month there are bars of: of the file, of the simulated market, or this month."""
    from trademl_pipeline.market import FileSource, SimulatedMarket

    if chosen.source in VENDORS:
        return f"{datetime.now(UTC):%Y-%m}-01"
    held = FileSource(chosen.data, columns=chosen.columns) if chosen.data else SimulatedMarket()
    return f"{held.span()[1]:%Y-%m}-01"


@app.command()
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
            _require_study(study, STUDIES, ALL_STUDIES)
        if refit and refit not in REFIT_MONTHS:
            raise UsageError(f"--refit {refit!r} is not known; it may be {', '.join(REFIT_MONTHS)}")
        for name in names:
            if size and size not in STUDIES[name].sizes:
                raise UsageError(f"{name} has no size {size!r}; it has {', '.join(STUDIES[name].sizes)}")
        real = source in VENDORS or (data is not None and data.exists())
        if real and len(names) == 1 and not universe and not symbols:
            usual = DataSet(data, columns=_pairs("--column", column, OURS_THEIRS), home=home, source=source)
            universe = _usual_universe(STUDIES[study].universe, usual.calendar())
        named = universe
        if data is not None and universe:
            symbols, universe = _universe_symbols(data, column, universe), ""
        chosen = _data_set(data, symbols, column, home, start, reference, source, universe)
        # Whom one fetches is everyone who ever belonged; whom one decides on depends on the day.
        chosen = replace(chosen, universe=named)
        if study == ALL_STUDIES and not refit:
            refit = "quarter"
        chosen = _with_references(chosen, names)
        environment = chosen.environment() | {"TRADEML_REFIT": refit}
        first, last = month_range(months) if months else _default_months(chosen, study == ALL_STUDIES)
        if first <= chosen.start:
            raise UsageError(
                f"the first fold is {first[:7]}, but history begins in {chosen.start[:7]}: a fold needs at least "
                f"{STUDIES[names[0]].folds.min_train} sessions before it (about {HISTORY_MONTHS} months)"
            )
    except (UsageError, ValueError) as error:
        raise _fail(str(error)) from error
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


def _require_study(name: str, studies: Collection[str], *others: str) -> None:
    """Raise UsageError where there is no such study; `others` may be named instead."""
    if name not in studies:
        raise UsageError(f"there is no study {name!r}; studies: {', '.join([*others, *sorted(studies)])}")


def _with_references(chosen: DataSet, studies: Sequence[str]) -> DataSet:
    """The data set with index and sector funds and the VIX, as far as its vendor has them and a study reads any."""
    from trademl_pipeline.features.registry import reference_inputs
    from trademl_pipeline.market.symbols import REFERENCES_OF
    from trademl_pipeline.studies import STUDIES

    offered = REFERENCES_OF.get(chosen.source, ())
    told = chosen.reference or os.environ.get("TRADEML_REFERENCE")
    if not offered or told or chosen.calendar() != DEFAULT_CALENDAR:
        return chosen
    read = any(reference_inputs(STUDIES[name].feature_set) for name in studies)
    return replace(chosen, beside=offered) if read else chosen


def _environment(*options: Any) -> dict[str, str]:
    """The environment of a data set for all studies; takes the options of `_data_set` and its errors to the shell."""
    from trademl_pipeline.studies import STUDIES

    try:
        return _with_references(_data_set(*options), list(STUDIES)).environment()
    except (UsageError, ValueError) as error:
        raise _fail(str(error)) from error


def _usual_universe(of_study: str, calendar: str) -> str:
    """A study's universe, empty for all symbols; a study of chosen stocks has the chosen pairs on crypto."""
    if of_study == ALL_SYMBOLS:
        return ""
    return CRYPTO if calendar == AROUND_THE_CLOCK else of_study


def _universe_symbols(data: Path, columns: list[str] | None, name: str) -> str:
    """The data's symbols that belong to a universe, comma-separated; empty where all of them do.

    Raises:
        UsageError: there is no such universe, or too few of its symbols are in the data.
    """
    if name == ALL_SYMBOLS or not data.exists():
        return ""
    from trademl_pipeline.market import FileSource, MarketError
    from trademl_pipeline.market.universes import universe

    has = set(FileSource(data, columns=_pairs("--column", columns, OURS_THEIRS)).symbols())
    try:
        found = [symbol for symbol in universe(name, known=sorted(has)) if symbol in has]
    except MarketError as error:
        raise UsageError(str(error)) from error
    if len(found) < FEWEST_SYMBOLS:
        raise UsageError(
            f"{data} has {len(found)} symbols of the universe {name}; name others with --symbols or --universe "
            "(--universe ALL takes every symbol)"
        )
    console.print(f"Universe {name}: {len(found)} of its symbols are in {data.name}", highlight=False)
    return ",".join(found)


def _settled(chosen: DataSet, calendar: str, last: str, sessions: int) -> str:
    """The month by which every outcome of the last fold is known, or the last one that there are bars of."""
    decided = offset(month_sessions(last, calendar)[-1], sessions, calendar)
    return max(last, min(month_key_of(decided), _last_month(chosen)))


def _default_months(chosen: DataSet, several: bool) -> tuple[str, str]:
    """The last full folds: of the file's span, or after two years of the simulated market."""
    folds = DEFAULT_FOLDS_OF_ALL if several else DEFAULT_FOLDS
    if chosen.source in VENDORS:
        last = offset_month(_last_month(chosen), -1)
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


def prepare_instance(environment: dict[str, str]) -> None:
    """Make the Dagster instance's databases where there are none yet.

    Webserver, daemon and code server start together, and two that make the same new database get in each other's way.
    """
    if any(Path(environment["TRADEML_DAGSTER_STORAGE"]).iterdir()):
        return
    dagster = str(Path(sys.executable).parent / "dagster")
    subprocess.run(
        [dagster, "instance", "info"], env=environment, cwd=ROOT, check=True, stdout=subprocess.DEVNULL
    )


@app.command()
def ui(
    port: Annotated[int, typer.Option(help="Port of the Dagster UI")] = 3000,
    host: Annotated[str, typer.Option(help="Address to listen on")] = "127.0.0.1",
    data: DataOption = None,
    symbols: SymbolsOption = "",
    column: ColumnsOption = None,
    home: HomeOption = None,
    start: StartOption = "",
    reference: ReferenceOption = None,
    source: SourceOption = "",
    universe: UniverseOption = "",
) -> None:
    """Open the Dagster UI with its daemon on the state folder of a data set."""
    environment = _environment(data, symbols, column, home, start, reference, source, universe)
    console.print(f"Dagster UI: http://{host}:{port}   state: {environment['TRADEML_HOME']}", highlight=False)
    dagster = str(Path(sys.executable).parent / "dagster")
    os.chdir(ROOT)
    prepare_instance(environment)
    os.execve(dagster, [dagster, "dev", "-w", "workspace.yaml", "-h", host, "-p", str(port)], environment)


@app.command()
def check(home: HomeOption = None) -> None:
    """Validate the definitions as Dagster loads them."""
    environment = DataSet(home=home).environment()
    dagster = str(Path(sys.executable).parent / "dagster")
    command = [dagster, "definitions", "validate", "-w", "workspace.yaml"]
    raise typer.Exit(subprocess.run(command, env=environment, cwd=ROOT, check=False).returncode)


@app.command()
def env(
    data: DataOption = None,
    symbols: SymbolsOption = "",
    column: ColumnsOption = None,
    home: HomeOption = None,
    start: StartOption = "",
    reference: ReferenceOption = None,
    source: SourceOption = "",
    universe: UniverseOption = "",
) -> None:
    """Print the environment of a data set as shell exports, for use with Dagster's own commands."""
    import shlex

    environment = _environment(data, symbols, column, home, start, reference, source, universe)
    for name, value in sorted(environment.items()):
        if name.startswith(("TRADEML_", "DAGSTER_")):
            typer.echo(f"export {name}={shlex.quote(value)}")


def _pairs(option: str, given: list[str] | None, what: str) -> dict[str, str]:
    """Options of the form a=b as a mapping."""
    found: dict[str, str] = {}
    for pair in given or []:
        name, sep, value = pair.partition("=")
        if not sep or not name or not value:
            raise UsageError(f"{option} {pair!r} is not {what}")
        found[name] = value
    return found


@app.command()
def audit(
    function: Annotated[str, typer.Argument(help="Your function from bars to features, file.py:function")],
    bars: Annotated[
        Path, typer.Option("--bars", help="Parquet or CSV with symbol, session and what it reads")
    ],
    probes: Annotated[
        str,
        typer.Option("--probes", help="Comma-separated: truncation, perturbation, adjustment, incremental"),
    ] = "",
    cutoffs: Annotated[
        str, typer.Option("--cutoffs", help="all sessions, or a number of sampled ones")
    ] = "all",
    warmup: Annotated[
        int | None, typer.Option("--warmup", help="Sessions of history a value needs; tested by incremental")
    ] = None,
    source: Annotated[
        list[str] | None, typer.Option("--source", help="A further frame, name=file; may be repeated")
    ] = None,
    column: ColumnsOption = None,
    pandas: Annotated[
        bool, typer.Option("--pandas", help="The function takes and returns pandas frames")
    ] = False,
    seed: Annotated[int, typer.Option(help="Seed of all draws")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print plain data")] = False,
    as_markdown: Annotated[bool, typer.Option("--markdown", help="Print Markdown")] = False,
) -> None:
    """Audit your own features for knowledge of the future. Exit code 0: clean, 1: leak, 2: nothing could be tested."""
    from trademl_pipeline.leakage.command import run_audit
    from trademl_pipeline.leakage.features import PROBES

    try:
        if cutoffs != "all" and not cutoffs.isdigit():
            raise UsageError(f"--cutoffs {cutoffs!r} is neither all nor a number")
        code = run_audit(
            function,
            bars,
            sources={
                name: Path(file)
                for name, file in _pairs(
                    "--source", source, "name=file, e.g. --source vix=vix.parquet"
                ).items()
            },
            columns=_pairs("--column", column, OURS_THEIRS),
            probes=[p.strip() for p in probes.split(",") if p.strip()] or PROBES,
            cutoffs=cutoffs if cutoffs == "all" else int(cutoffs),
            warmup=warmup,
            seed=seed,
            pandas=pandas,
            style="json" if as_json else "markdown" if as_markdown else "terminal",
            console=console,
        )
    except UsageError as error:
        raise _fail(str(error)) from error
    raise typer.Exit(code)


StudyArgument = Annotated[str, typer.Argument(help="Study")]
MonthArgument = Annotated[str, typer.Argument(help="Month of the predictions, YYYY-MM")]


@app.command()
def certificate(
    study: StudyArgument,
    month: MonthArgument,
    data: DataOption = None,
    symbols: SymbolsOption = "",
    column: ColumnsOption = None,
    home: HomeOption = None,
    reference: ReferenceOption = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the canonical text that the digest is of")
    ] = False,
    as_markdown: Annotated[bool, typer.Option("--markdown", help="Print Markdown")] = False,
    sheet: Annotated[
        bool, typer.Option("--info-sheet", help="Print a model info sheet (Kapoor & Narayanan) as Markdown")
    ] = False,
) -> None:
    """Print the evidence that a month of predictions carries."""
    from trademl_pipeline.lake import Lake, LakeConfig
    from trademl_pipeline.lake.errors import LakeError
    from trademl_pipeline.leakage.certificate import CertificateError
    from trademl_pipeline.leakage.certificate_view import render, to_markdown
    from trademl_pipeline.leakage.certified import certificate_in_force
    from trademl_pipeline.leakage.info_sheet import info_sheet
    from trademl_pipeline.studies import STUDIES

    try:
        _require_study(study, STUDIES)
        key = month_key(month)
        folder = _made(_data_set(data, symbols, column, home, SIMULATED_START[:7], reference))
        with Lake(LakeConfig.from_env(folder, os.environ)) as lake:
            found = certificate_in_force(lake, study, key)
    except (UsageError, CertificateError, LakeError) as error:
        raise _fail(str(error)) from error
    if as_json:
        typer.echo(found.to_json())
    elif as_markdown or sheet:
        typer.echo(info_sheet(found, claim=STUDIES[study].title) if sheet else to_markdown(found))
    else:
        console.print(render(found))


@app.command()
def verify(
    study: StudyArgument,
    month: MonthArgument,
    data: DataOption = None,
    symbols: SymbolsOption = "",
    column: ColumnsOption = None,
    home: HomeOption = None,
    reference: ReferenceOption = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Predict with the stored model instead of fitting it again")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print plain data")] = False,
) -> None:
    """Make a month again from the recorded snapshots and compare. Exit code 0: holds, 1: differs, 2: cannot be made."""
    from trademl_pipeline.studies import STUDIES

    try:
        _require_study(study, STUDIES)
        key = month_key(month)
        chosen = _data_set(data, symbols, column, home, SIMULATED_START[:7], reference)
        _made(chosen)
        environment = chosen.environment()
    except UsageError as error:
        raise _fail(str(error)) from error
    options = [name for name, given in (("--quick", quick), ("--json", as_json)) if given]
    command = [sys.executable, "-m", "trademl_pipeline.defs.verify", study, key, *options]
    raise typer.Exit(subprocess.run(command, env=environment, check=False).returncode)


@app.command()
def maintain(
    data: DataOption = None,
    symbols: SymbolsOption = "",
    column: ColumnsOption = None,
    home: HomeOption = None,
    reference: ReferenceOption = None,
    days: Annotated[int, typer.Option("--days", help="Age from which on a snapshot is let go")] = DAYS,
    reclaim_now: Annotated[
        bool,
        typer.Option("--reclaim-now", help="Free the disk at once; nothing else may be reading the lake"),
    ] = False,
) -> None:
    """Merge the lake's small files and let go of old snapshots; what certificates or models name stays."""
    from trademl_pipeline.lake import Lake, LakeConfig
    from trademl_pipeline.lake.errors import LakeError
    from trademl_pipeline.leakage.upkeep import maintain as maintain_lake
    from trademl_pipeline.studies import STUDIES

    try:
        folder = _made(_data_set(data, symbols, column, home, SIMULATED_START[:7], reference))
        with Lake(LakeConfig.from_env(folder, os.environ)) as lake:
            done = maintain_lake(lake, STUDIES, days=days, reclaim_now=reclaim_now)
    except (UsageError, LakeError, ValueError) as error:
        raise _fail(str(error)) from error
    for what, count in done.said().items():
        console.print(f"{what.replace('_', ' ')}: {count:,}", highlight=False)


def _made(chosen: DataSet) -> Path:
    """The state folder of a data set that has been run.

    Raises:
        UsageError: it has not.
    """
    folder = chosen.folder()
    if not (folder / "lake").exists():
        raise UsageError(f"{folder} holds nothing yet: run the study on this data set first (trademl run)")
    return folder


if __name__ == "__main__":
    app()
