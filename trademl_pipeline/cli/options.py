"""Where commands print, and the options that several of them have."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from trademl_pipeline.workspace import SOURCES, UsageError

console = Console()
OURS_THEIRS = "ours=theirs, e.g. --column close=Close"
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


def fail(message: str) -> typer.Exit:
    """Say what a user can mend; the exit to raise."""
    Console(stderr=True).print(f"[red]error:[/red] {message}", highlight=False)
    return typer.Exit(2)


def pairs(option: str, given: list[str] | None, what: str) -> dict[str, str]:
    """Options of the form a=b as a mapping."""
    found: dict[str, str] = {}
    for pair in given or []:
        name, sep, value = pair.partition("=")
        if not sep or not name or not value:
            raise UsageError(f"{option} {pair!r} is not {what}")
        found[name] = value
    return found
