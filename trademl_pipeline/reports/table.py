"""The results as a table for the terminal, from `summary.json`; of one study, or of several in one table."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from trademl_pipeline.reports.comparison import build_comparison
from trademl_pipeline.reports.comparison_parts import row_of
from trademl_pipeline.reports.tries import tries_line

_WIDE = 130
_COLOURS = {"edge": "green", "no edge": "yellow", "alarm": "red"}


def print_summary(summary: Mapping[str, Any], console: Console | None = None) -> None:
    """Print the verdict and the figures of a report.

    Args:
        summary: content of `summary.json`.
        console: where to; standard output where None.
    """
    (console or Console()).print(results(summary))


def print_comparison(summaries: Sequence[Mapping[str, Any]], console: Console | None = None) -> None:
    """Print one table over all studies.

    Args:
        summaries: contents of their `summary.json`, in the order to be shown.
        console: where to; standard output where None.

    Raises:
        ReportError: as `build_comparison` does.
    """
    console = console or Console()
    console.print(comparison(summaries, folded=console.width < _WIDE))


def comparison(summaries: Sequence[Mapping[str, Any]], *, folded: bool = False) -> RenderableType:
    """All studies in one table as something that rich can print; `folded` puts intervals below their figures."""
    compared = build_comparison(summaries)
    rows = [row_of(s) for s in summaries]
    oracle = any(s["recovered"] for s in summaries)
    table = Table(box=None, pad_edge=False, padding=(0, 1 if folded else 2, 0, 0), header_style="dim")
    table.add_column("study", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    names = ["accuracy", "without skill", "rank IC", "n", *(["of the oracle"] if oracle else []), "gate"]
    if folded:
        names = [{"without skill": "no skill", "of the oracle": "oracle"}.get(n, n) for n in names[:-1]]
    for name in names:
        table.add_column(name, justify="right", no_wrap=folded)
    for row in rows:
        verdict = Text(row.kind.upper(), style=f"bold {_COLOURS[row.kind]}")
        cells = [row.accuracy, row.baseline, row.ic, row.n, *([row.recovered] if oracle else [])]
        if folded:
            cells = [_folded(cell) for cell in cells]
        else:
            cells.append(row.gate)
        texts = [Text(cell, style="red" if "refused" in cell else "") for cell in cells]
        table.add_row(Text(row.study, style="bold"), verdict, *texts)
    colour = _COLOURS[compared.kind]
    notes = [Text("Ranges are 95 % intervals.", style="dim")]
    if folded:
        refused = [f"{row.study}: {row.gate}" for row in rows if not row.gate.endswith("passed")]
        sentence = "; ".join(refused) if refused else "every partition behind these studies passed"
        notes.insert(0, Text(f"Gate: {sentence}", style="red" if refused else ""))
    if any("*" in row.ic for row in rows):
        notes.append(
            Text(
                "* Its outcome ends at a barrier and can be ranked without skill; judged by mean returns.",
                style="dim",
            )
        )
    if any(s["simulated"] for s in summaries):
        notes.append(Text("Simulated market with planted signals: not a forecast of earnings.", style="dim"))
    body = Group(Text(compared.headline, style=f"bold {colour}"), Text(), table, Text(), *notes)
    return Panel(body, title="Studies", title_align="left", border_style=colour, expand=False)


def _folded(cell: str) -> str:
    """The figure, and below it its interval in few characters and, where that is said, how many rows it is of."""
    figure, _, interval = cell.partition(" (")
    if not interval:
        return cell.replace(" % ", " %\n")
    figure, of, n = figure.partition(" of ")
    low, _, high = interval.rstrip(")").removesuffix(" %").partition(" to ")
    return f"{figure}\n{low}…{high}" + (f"\nof {n}" if of else "")


def results(summary: Mapping[str, Any]) -> RenderableType:
    """The verdict and the figures as something that rich can print."""
    verdict = summary["verdict"]
    colour = _COLOURS[verdict["kind"]]
    period = summary["period"]
    head = Text.assemble((f"{verdict['kind'].upper()}  ", f"bold {colour}"), (verdict["headline"], "bold"))
    lines = summary["lines"]
    oracle = any(line["oracle"] for line in lines)
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("")
    for name in ("figure", "95 % interval", "without skill", *(["oracle"] if oracle else []), "n"):
        table.add_column(name, justify="right", no_wrap=name != "without skill")
    for line in lines:
        cells = [line["value"], line["interval"], line["baselines"], *([line["oracle"]] if oracle else [])]
        # As Text, since rich takes brackets in a plain string for markup.
        value, *others = (Text(cell) for cell in cells)
        value.stylize("bold")
        table.add_row(Text(line["name"]), value, *others, f"{line['n']:,}")
    scope = (
        f"{period['sessions']:,} sessions, {period['first']} to {period['last']}; "
        f"{summary['symbols']:,} symbols; {summary['scored']:,} scored predictions of "
        f"{summary['predictions']:,}; {len(summary['folds'])} folds"
    )
    parts: list[RenderableType] = [head, Text(scope, style="dim"), Text(), table]
    recovered = summary["recovered"]
    if recovered:
        shares = ", ".join(f"{share:.0%} of its {name}" for name, share in recovered.items())
        parts += [Text(), Text(f"Recovered of the oracle: {shares}")]
    gate = summary["gate"]
    refused = ", ".join(f"{r['table']} {r['month'][:7]}" for r in gate["refused"])
    sentence = f"{gate['passed']:,} partitions passed" + (
        f"; refused: {refused}" if refused else ", none refused"
    )
    parts += [
        Text() if not recovered else Text(""),
        Text(f"Gate: {sentence if gate['audited'] else 'no audit'}"),
    ]
    tries = summary.get("tries")
    if tries:
        parts.append(Text(f"Tries: {tries_line(tries)}"))
    printed = summary.get("sections", {}).get("prediction_summary")
    if printed:
        parts += [Text(), Text(printed["code"])]
    if summary["simulated"]:
        parts.append(Text("Simulated market with a planted signal: not a forecast of earnings.", style="dim"))
    return Panel(
        Group(*parts), title=Text(summary["title"]), title_align="left", border_style=colour, expand=False
    )
