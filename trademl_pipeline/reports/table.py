"""The results as a table for the terminal, from `summary.json`."""

from collections.abc import Mapping
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

_COLOURS = {"edge": "green", "no edge": "yellow", "alarm": "red"}


def print_summary(summary: Mapping[str, Any], console: Console | None = None) -> None:
    """Print the verdict and the figures of a report.

    Args:
        summary: content of `summary.json`.
        console: where to; standard output where None.
    """
    (console or Console()).print(results(summary))


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
        table.add_row(line["name"], f"[bold]{cells[0]}[/]", *cells[1:], f"{line['n']:,}")
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
    said = f"{gate['passed']:,} partitions passed" + (
        f"; refused: {refused}" if refused else ", none refused"
    )
    parts += [Text() if not recovered else Text(""), Text(f"Gate: {said if gate['audited'] else 'no audit'}")]
    if summary["simulated"]:
        parts.append(Text("Simulated market with a planted signal: not a forecast of earnings.", style="dim"))
    return Panel(Group(*parts), title=summary["title"], title_align="left", border_style=colour, expand=False)
