"""The gate on a user's own function, from the shell: load it and the bars, audit, print a verdict, exit with a code."""

import importlib.util
import json
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import polars as pl
from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from trademl_pipeline.leakage.errors import AuditError, AuditInputError
from trademl_pipeline.leakage.feature_audit.audit import PROBES, audit_features
from trademl_pipeline.leakage.report import VERDICT, AuditReport, Violation
from trademl_pipeline.market.errors import MarketError
from trademl_pipeline.market.files.tables import find_files, is_parquet

CLEAN, LEAK, WRONG_USE = 0, 1, 2

# Violations listed one by one; `--json` has all of them.
LISTED = 20
# Sessions on either side of a leak in the table of values.
BESIDE = 3


def load_extractor(target: str) -> Callable[..., Any]:
    """The function named by `path/to/file.py:function` (or `:object.method`).

    Raises:
        AuditInputError: no such file, it cannot be imported, or it has no such function.
    """
    path, _, name = target.rpartition(":")
    if not path or not name:
        raise AuditInputError(
            f"{target!r} names no function: write file.py:function, e.g. my_features.py:extract"
        )
    file = Path(path)
    if not file.is_file():
        raise AuditInputError(f"there is no file {file}")
    spec = importlib.util.spec_from_file_location(file.stem, file)
    if spec is None or spec.loader is None:
        raise AuditInputError(f"{file} is no Python file")
    module = importlib.util.module_from_spec(spec)
    # Its own imports are found beside it, and what it pickles is found again.
    sys.path.insert(0, str(file.resolve().parent))
    sys.modules[file.stem] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        raise AuditInputError(f"{file} cannot be imported: {type(error).__name__}: {error}") from error
    extractor: Any = module
    for part in name.split("."):
        if not hasattr(extractor, part):
            functions = [n for n, v in vars(module).items() if callable(v) and not n.startswith("_")]
            raise AuditInputError(
                f"{file} has no {name!r}; it has {', '.join(sorted(functions)) or 'no function'}"
            )
        extractor = getattr(extractor, part)
    if not callable(extractor):
        raise AuditInputError(
            f"{name!r} in {file} is {type(extractor).__name__}; give a function of the bars"
        )
    return extractor


def read_frame(path: Path, columns: Mapping[str, str] | None = None) -> pl.DataFrame:
    """A Parquet or CSV file, or a folder or pattern of them, as it is, with columns renamed ours -> theirs.

    Raises:
        AuditInputError: no such file, it cannot be read, or a column is not in it.
    """
    try:
        files = find_files(path)
        parts = [pl.read_parquet(f) if is_parquet(f) else pl.read_csv(f, try_parse_dates=True) for f in files]
        frame = pl.concat(parts, how="vertical_relaxed")
    except (MarketError, pl.exceptions.PolarsError, OSError) as error:
        raise AuditInputError(f"{path} cannot be read: {error}") from error
    absent = [theirs for theirs in (columns or {}).values() if theirs not in frame.columns]
    if absent:
        raise AuditInputError(f"{path} has no column {', '.join(absent)}; it has {', '.join(frame.columns)}")
    taken = [ours for ours, theirs in (columns or {}).items() if ours in frame.columns and ours != theirs]
    return frame.drop(taken).rename({theirs: ours for ours, theirs in (columns or {}).items()})


def taking_pandas(extract: Callable[..., Any]) -> Callable[..., pl.DataFrame]:
    """A function of pandas frames as one of Polars frames."""

    def converted(bars: pl.DataFrame, **sources: pl.DataFrame) -> pl.DataFrame:
        output: Any = extract(
            bars.to_pandas(), **{name: frame.to_pandas() for name, frame in sources.items()}
        )
        if isinstance(output, pl.DataFrame):
            return output
        frame = cast(pl.DataFrame, pl.from_pandas(output))
        return frame.with_columns(pl.col("session").cast(bars.schema["session"]))

    return converted


def run_audit(
    target: str,
    bars: Path,
    *,
    sources: Mapping[str, Path] | None = None,
    columns: Mapping[str, str] | None = None,
    probes: Sequence[str] = PROBES,
    cutoffs: str | int = "all",
    warmup: int | None = None,
    seed: int = 0,
    pandas: bool = False,
    style: str = "terminal",
    console: Console | None = None,
) -> int:
    """Audit a function and print the verdict; what was used wrongly goes to standard error.

    Args:
        target: `file.py:function`, called as in `audit_features`.
        bars: Parquet or CSV.
        sources: further files by name.
        columns: our column names -> the file's, for the bars.
        probes, cutoffs, warmup, seed: as in `audit_features`.
        pandas: the function takes and returns pandas frames.
        style: "terminal", "markdown" or "json".
        console: where to; standard output where None.

    Returns:
        0 where nothing was found, 1 for a leak, 2 where nothing could be concluded.
    """
    console = console or Console()
    try:
        extract = load_extractor(target)
        panel = read_frame(bars, columns)
        missing = [c for c in ("symbol", "session") if c not in panel.columns]
        if missing:
            raise AuditInputError(
                f"{bars} has no column {' and '.join(missing)}; it has {', '.join(panel.columns)}. Name yours: "
                + " ".join(f"--column {c}=<yours>" for c in missing)
            )
        extra = {name: read_frame(path) for name, path in (sources or {}).items()}
        with _bar(visible=style == "terminal") as progress:
            report = audit_features(
                taking_pandas(extract) if pandas else extract,
                panel,
                sources=extra or None,
                probes=probes,
                cutoffs=cutoffs,
                warmup=warmup,
                seed=seed,
                progress=progress,
            )
    except AuditError as error:
        message = Text.assemble(
            ("NOTHING TESTED  ", "bold yellow"), f"{type(error).__name__}: {error}{_raised_at(error)}"
        )
        Console(stderr=True).print(message, soft_wrap=True)
        return WRONG_USE
    except Exception:
        # An exit code of 1 would say that there is a leak.
        Console(stderr=True).print_exception()
        return WRONG_USE
    if style == "json":
        console.print_json(json.dumps(as_plain(report)))
    elif style == "markdown":
        console.print(report.to_markdown(), markup=False, highlight=False, soft_wrap=True)
    else:
        console.print(verdict(report, f"{target} on {bars}"))
    if report.passed:
        return CLEAN
    return LEAK if report.violations else WRONG_USE


def _raised_at(error: AuditError) -> str:
    """File and line where a function under audit raised; empty where it did not."""
    cause = error.__cause__
    frames: list[traceback.FrameSummary] = (
        traceback.extract_tb(cause.__traceback__) if cause is not None else []
    )
    return f" (at {Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""


def as_plain(report: AuditReport) -> dict[str, Any]:
    """A report as plain data."""
    rows = report.to_frame().filter(~pl.col("passed")).select(pl.exclude("passed", "coverage"))
    return {
        "passed": report.passed,
        "violations": json.loads(rows.write_json()),
        "coverage": json.loads(json.dumps(report.coverage, default=str)),
    }


def verdict(report: AuditReport, title: str) -> RenderableType:
    """Render what was tested and what was found, as something that rich can print."""
    leaks = len({v.column for v in report.violations})
    if report.violations:
        colour, headline = "red", f"LEAK  {leaks} column{'s' * (leaks != 1)} knew the future"
    elif report.passed:
        colour, headline = "green", f"CLEAN  {VERDICT}"
    else:
        colour, headline = "yellow", "NOTHING TESTED  so nothing passed"
    parts: list[RenderableType] = [Text(headline, style=f"bold {colour}"), Text(), _tested(report)]
    if report.violations:
        parts += [Text(), _violation_table(report.violations)]
        traced = next((v for v in report.violations if v.trace is not None), None)
        if traced is not None:
            parts += [Text(), _values(traced)]
    return Panel(Group(*parts), title=title, title_align="left", border_style=colour, expand=False)


def _tested(report: AuditReport) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for name in ("probe", "result", "tested"):
        table.add_column(name, no_wrap=name != "tested")
    for probe, coverage in report.coverage.items():
        count = sum(v.count for v in report.violations if v.probe == probe)
        if "skipped" in coverage:
            table.add_row(probe, "[yellow]not run[/]", str(coverage["skipped"]))
            continue
        remarks = (
            [f"{coverage['columns']} columns, {coverage['symbols']} symbols"] if "columns" in coverage else []
        )
        if "cutoffs" in coverage:
            remarks.append(
                f"{coverage['cutoffs']:,} cut-offs ({coverage['mode']}), {coverage['from']} to {coverage['to']}"
            )
        remarks += [f"{coverage['months']} months"] if "months" in coverage else []
        remarks += [f"{coverage[k]:,} {k.replace('_', ' ')}" for k in ("cells", "calls") if k in coverage]
        for key in ("empty_columns", "ignored_columns", "static_sources", "held_frames_without_time"):
            if coverage.get(key):
                remarks.append(f"{key.replace('_', ' ')}: {', '.join(coverage[key])}")
        table.add_row(probe, f"[red]{count:,} found[/]" if count else "[green]passed[/]", "; ".join(remarks))
    return table


def _violation_table(violations: Sequence[Violation]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for name in ("column", "symbol", "as of", "first leak", "size", "probe", "what happened"):
        table.add_column(name, no_wrap=name != "what happened", justify="right" if name == "size" else "left")
    for v in violations[:LISTED]:
        size = "" if v.max_delta is None else f"{v.max_delta:.4g}"
        cells = (v.column, v.symbol, v.cutoff, v.first_leak, size, v.probe, v.detail)
        table.add_row(*(Text("" if c is None else str(c)) for c in cells))
    if len(violations) > LISTED:
        table.add_row(Text(f"… and {len(violations) - LISTED} more"))
    return table


def _values(violation: Violation) -> Table:
    trace = violation.trace
    assert trace is not None
    title = f"{violation.column} of {violation.symbol} around {violation.first_leak}"
    table = Table(
        box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim", title=title, title_justify="left"
    )
    table.add_column("session")
    for name in ("published", "as could be known"):
        table.add_column(name, justify="right")
    at = trace.sessions.index(violation.first_leak) if violation.first_leak in trace.sessions else 0
    for i in range(max(at - BESIDE, 0), min(at + BESIDE + 1, len(trace.sessions))):
        after = violation.cutoff is not None and trace.sessions[i] > violation.cutoff
        cells = ["missing" if v is None else f"{v:.6g}" for v in (trace.published[i], trace.known[i])]
        if after:
            cells[1] = "after the cut-off"
        table.add_row(str(trace.sessions[i]), *cells, style="bold red" if i == at else "dim" if after else "")
    return table


@contextmanager
def _bar(visible: bool):
    """A progress bar on standard error, as a callback for `audit_features`."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    console = Console(stderr=True)
    with Progress(
        *columns, console=console, transient=True, disable=not (visible and console.is_terminal)
    ) as bar:
        tasks: dict[str, Any] = {}

        def step(probe: str, done: int, total: int) -> None:
            if probe not in tasks:
                tasks[probe] = bar.add_task(probe, total=total)
            bar.update(tasks[probe], completed=done, total=total)

        yield step
