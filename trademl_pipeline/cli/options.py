"""The console of commands, and the options that say which data set a command is about, declared once for all."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from trademl_pipeline.data_sets import DataSet, UsageError, month_key
from trademl_pipeline.settings import SOURCES

console = Console()
OURS_THEIRS = "ours=theirs, e.g. --column close=Close"
ColumnsOption = Annotated[
    list[str] | None,
    typer.Option("--column", help="Column mapping ours=theirs, e.g. --column close=Close; may be repeated"),
]


@dataclass(frozen=True)
class DataSetOptions:
    """The options of a command that name a data set; `named` turns them into one.

    Each field is an option of every command that is decorated with `about_a_data_set`.
    """

    data: Annotated[
        Path | None,
        typer.Option("--data", help="Parquet or CSV bars, file or folder; default: the simulated market"),
    ] = None
    symbols: Annotated[
        str, typer.Option("--symbols", help="Comma-separated symbols, or a number: that many symbols")
    ] = ""
    column: ColumnsOption = None
    universe: Annotated[
        str,
        typer.Option(
            "--universe", help="Universe to read and decide on, e.g. TIER_1, MAG7, CRYPTO_8, or ALL"
        ),
    ] = ""
    source: Annotated[
        str,
        typer.Option(
            "--source", help=f"Where bars come from: {', '.join(SOURCES)}; default: what --data says"
        ),
    ] = ""
    reference: Annotated[
        Path | None,
        typer.Option(
            "--reference", help="Parquet or CSV bars of SPY, sector funds, ^VIX and ^VIX3M, file or folder"
        ),
    ] = None
    start: Annotated[
        str, typer.Option("--start", help="First month of history, YYYY-MM; default: the data's own")
    ] = ""
    home: Annotated[
        Path | None,
        typer.Option(
            "--home", help="Folder of the data set, which says the rest; default: data/<name of the data set>"
        ),
    ] = None

    def named(self) -> DataSet:
        """Return the data set that the options name.

        Raises:
            UsageError: options that do not go together, or name what there is not.
        """
        return DataSet(
            data=self.data,
            symbols=self.symbols,
            columns=pairs("--column", self.column, OURS_THEIRS),
            start=month_key(self.start) if self.start else "",
            home=self.home,
            reference=self.reference,
            source=self.source,
            universe=self.universe,
        )


def about_a_data_set(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command, whose first parameter is the data set's options, those options."""
    of_command = list(inspect.signature(command, eval_str=True).parameters.values())[1:]
    shared = inspect.get_annotations(DataSetOptions, eval_str=True)
    options = fields(DataSetOptions)
    keyword = inspect.Parameter.KEYWORD_ONLY

    def with_options(**given: Any) -> None:
        words = DataSetOptions(**{one.name: given.pop(one.name) for one in options})
        command(words, **given)

    parameters = [parameter.replace(kind=keyword) for parameter in of_command]
    parameters += [
        inspect.Parameter(one.name, keyword, default=one.default, annotation=shared[one.name])
        for one in options
    ]
    with_options.__name__, with_options.__doc__ = command.__name__, command.__doc__
    with_options.__module__ = command.__module__
    with_options.__signature__ = inspect.Signature(parameters)  # pyright: ignore[reportFunctionMemberAccess]
    with_options.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return with_options


def fail(message: str) -> typer.Exit:
    """Say what a user can mend; returns the exit to raise."""
    Console(stderr=True).print(f"[red]error:[/red] {message}", highlight=False, soft_wrap=True)
    return typer.Exit(2)


def pairs(option: str, given: list[str] | None, what: str) -> dict[str, str]:
    """Return options of the form a=b as a mapping."""
    mapping: dict[str, str] = {}
    for pair in given or []:
        name, sep, value = pair.partition("=")
        if not sep or not name or not value:
            raise UsageError(f"{option} {pair!r} is not {what}")
        mapping[name] = value
    return mapping


def require_study(name: str, studies: Any, *others: str) -> None:
    """Raise UsageError where there is no such study; `others` may be named instead."""
    if name not in studies:
        raise UsageError(f"there is no study {name!r}; studies: {', '.join([*others, *sorted(studies)])}")
