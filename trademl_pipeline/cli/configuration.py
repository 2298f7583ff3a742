"""`config`: every value in force, and where it was said."""

import json
from typing import Annotated

import typer
from rich.table import Table

from trademl_pipeline.cli.options import DataSetOptions, about_a_data_set, console, fail
from trademl_pipeline.data_sets import UsageError
from trademl_pipeline.settings import Settings, SettingsError, keys, origin


@about_a_data_set
def config(
    words: DataSetOptions,
    as_json: Annotated[bool, typer.Option("--json", help="Print plain data")] = False,
) -> None:
    """Print every setting in force with its origin: a flag, a variable, a line of trademl.yaml, or its default."""
    try:
        settings = words.named().settings()
    except (UsageError, SettingsError, ValueError) as error:
        raise fail(str(error)) from error
    if as_json:
        values = {key: {"value": settings.shown(key), **_origin(settings, key)} for key in keys()}
        typer.echo(json.dumps({"home": str(settings.home), "settings": values}, indent=1))
        return
    table = Table(box=None, pad_edge=False, title=f"Data set {settings.home}", title_justify="left")
    for heading in ("setting", "value", "from"):
        table.add_column(heading, overflow="fold")
    for key in keys():
        value = settings.shown(key)
        table.add_row(key, value if isinstance(value, str) else json.dumps(value), str(origin(key, settings)))
    console.print(table, highlight=False, markup=False)


def _origin(settings: Settings, key: str) -> dict[str, str]:
    where = origin(key, settings)
    return {"origin": where.kind, "where": where.where}
