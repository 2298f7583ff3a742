"""The gate on a user's own function, from the shell: load it and the bars, audit, print a verdict, exit with a code."""

import json
from collections.abc import Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

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

from trademl_pipeline.leakage.errors import AuditError, AuditInputError, OutsideDataError
from trademl_pipeline.leakage.feature_audit.audit import PROBES, audit_features
from trademl_pipeline.leakage.feature_audit.lessons import lessons_table, plain_lesson
from trademl_pipeline.leakage.feature_audit.loading import parts_of
from trademl_pipeline.leakage.report import UNAUDITED_FIX, VERDICT, AuditReport, Violation
from trademl_pipeline.leakage.suspicion import suspicions_in
from trademl_pipeline.market.errors import MarketError
from trademl_pipeline.market.files.tables import find_files, is_parquet

CLEAN, LEAK, WRONG_USE, NOT_AUDITED, SUSPICIOUS = 0, 1, 2, 3, 4

# Violations listed one by one; `--json` has all of them.
LISTED = 20
# Sessions on either side of a leak in the table of values.
BESIDE = 3


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
    allow: Sequence[str] = (),
    pandas: bool = False,
    style: str = "terminal",
    console: Console | None = None,
) -> int:
    """Audit a function and print the verdict; what was used wrongly goes to standard error.

    Args:
        target: `file.py:function` or `package.module:function`, called as in `audit_features`.
        bars: Parquet or CSV.
        sources: further files by name.
        columns: our column names -> the file's, for the bars.
        probes, cutoffs, warmup, seed, allow, pandas: as in `audit_features`.
        style: "terminal", "markdown" or "json".
        console: where to; standard output where None.

    Returns:
        0 where nothing was found, 1 for a leak, 2 where nothing could be concluded, 3 where data took part that nothing
        can cut, 4 where no leak was found and a column knows more of the next return than is plausible.
    """
    console = console or Console()
    try:
        parts_of(target)
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
                target,
                panel,
                sources=extra or None,
                probes=probes,
                cutoffs=cutoffs,
                warmup=warmup,
                seed=seed,
                allow=allow,
                pandas=pandas,
                progress=progress,
            )
    except OutsideDataError as error:
        Console(stderr=True).print(
            Text.assemble(("NOT AUDITED  ", "bold yellow"), str(error)), soft_wrap=True
        )
        return NOT_AUDITED
    except AuditError as error:
        message = Text.assemble(("NOTHING TESTED  ", "bold yellow"), f"{type(error).__name__}: {error}")
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
        return SUSPICIOUS if report.suspicions else CLEAN
    if report.violations:
        return LEAK
    return NOT_AUDITED if report.unaudited else WRONG_USE


def as_plain(report: AuditReport) -> dict[str, Any]:
    """A report as plain data."""
    rows = report.to_frame().filter(~pl.col("passed")).select(pl.exclude("passed", "coverage"))
    # The frame goes probe by probe, and so do the violations of each.
    probes = {v.probe: [w for w in report.violations if w.probe == v.probe] for v in report.violations}
    order = [v for probe in dict.fromkeys([*report.coverage, *probes]) for v in probes.get(probe, [])]
    violations = [
        row | {"detail": v.detail} | plain_lesson(v)
        for row, v in zip(json.loads(rows.write_json()), order, strict=True)
    ]
    return {
        "passed": report.passed,
        "unaudited": list(report.unaudited),
        "suspicions": [suspicion.to_plain() for suspicion in report.suspicions],
        "violations": violations,
        "coverage": json.loads(json.dumps(report.coverage, default=str)),
    }


def verdict(report: AuditReport, title: str) -> RenderableType:
    """Render what was tested and what was found, as something that rich can print."""
    leaks, suspects = len({v.column for v in report.violations}), len(report.suspicions)
    if report.violations:
        colour, headline = "red", f"LEAK  {leaks} column{'s' * (leaks != 1)} knew the future"
    elif report.passed and suspects:
        colour = "yellow"
        headline = f"SUSPICIOUS  {suspects} column{'s' * (suspects != 1)} too good to be true; else {VERDICT}"
    elif report.passed:
        colour, headline = "green", f"CLEAN  {VERDICT}"
    elif report.unaudited:
        colour, headline = "yellow", "NOT AUDITED  data took part that nothing can cut"
    else:
        colour, headline = "yellow", "NOTHING TESTED  so nothing passed"
    parts: list[RenderableType] = [Text(headline, style=f"bold {colour}"), Text(), _tested(report)]
    if report.unaudited:
        parts += [Text(), *(Text(f"- {name}") for name in report.unaudited), Text(f"{UNAUDITED_FIX}.")]
    for suspicion in report.suspicions:
        parts += [Text(), Text(suspicion.words)]
    if report.violations:
        parts += [Text(), _violation_table(report.violations), Text(), lessons_table(report)]
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
            [f"{coverage['columns']} columns, {coverage['symbols']} symbols"] if "symbols" in coverage else []
        )
        if "cutoffs" in coverage:
            remarks.append(
                f"{coverage['cutoffs']:,} cut-offs ({coverage['mode']}), {coverage['from']} to {coverage['to']}"
            )
        remarks += (
            [f"{coverage['columns']} columns, {coverage['sessions']} sessions"]
            if "sessions" in coverage
            else []
        )
        remarks += [f"{coverage['months']} months"] if "months" in coverage else []
        remarks += [f"{coverage[k]:,} {k.replace('_', ' ')}" for k in ("cells", "calls") if k in coverage]
        for key in ("empty_columns", "ignored_columns", "static_sources", "vouched_for", "not_restated"):
            if coverage.get(key):
                remarks.append(f"{key.replace('_', ' ')}: {', '.join(coverage[key])}")
        suspicious = any(suspicions_in(coverage))
        good = "[yellow]suspicious[/]" if suspicious else "[green]passed[/]"
        result = "[yellow]nothing seen[/]" if report.unaudited and not suspicious else good
        table.add_row(probe, f"[red]{count:,} found[/]" if count else result, "; ".join(remarks))
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
