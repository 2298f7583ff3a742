"""The command `tries`: every look at the outcomes by which a study is judged."""

import json
from typing import Annotated

import polars as pl
import typer
from rich.table import Table
from rich.text import Text

from trademl_pipeline.cli.options import DataSetOptions, about_a_data_set, console, fail, require_study
from trademl_pipeline.data_sets import UsageError
from trademl_pipeline.settings import SettingsError


@about_a_data_set
def tries(
    words: DataSetOptions,
    study: Annotated[str, typer.Argument(help="Study")],
    as_json: Annotated[bool, typer.Option("--json", help="Print plain data")] = False,
) -> None:
    """List every look at the outcomes by which a study is judged, and what they count to.

    \f
    Args:
        words: the data set.
        study: the study; looks of others that are judged by the same outcomes are listed too.
        as_json: how they are printed.
    """
    from trademl_pipeline.lake import Lake
    from trademl_pipeline.lake.errors import LakeError, MissingTableError
    from trademl_pipeline.pipeline.artifacts import Artifacts
    from trademl_pipeline.pipeline.audited import EVER
    from trademl_pipeline.pipeline.stores import lake_config
    from trademl_pipeline.pipeline.tries import listed_on_record, tries_on_record
    from trademl_pipeline.reports.tries import tries_sentence
    from trademl_pipeline.studies import STUDIES

    try:
        require_study(study, STUDIES)
        settings = words.named().settings()
        with Lake(lake_config(settings)) as lake:
            scored_sets = listed_on_record(lake, STUDIES[study].labels.name)
            counted = tries_on_record(lake, Artifacts(settings.home), STUDIES[study], EVER)
    except MissingTableError as error:
        raise fail(
            f"{study} has predicted nothing yet, so that there is nothing to look at; {error}"
        ) from error
    except (UsageError, SettingsError, LakeError) as error:
        raise fail(str(error)) from error
    if as_json:
        plain = scored_sets.with_columns(pl.col("first", "last", "recorded_at").cast(pl.String))
        typer.echo(json.dumps({"tries": counted.to_plain(), "looks": plain.to_dicts()}, indent=1))
        return
    console.print(_table(scored_sets, STUDIES[study].labels.name))
    console.print(tries_sentence(counted), highlight=False)


def _table(scored_sets: pl.DataFrame, outcomes: str) -> Table:
    """The looks as something that rich can print."""
    table = Table(title=f"Looks at {outcomes}", title_justify="left", box=None, header_style="dim")
    for name in (
        "no.",
        "when (UTC)",
        "study",
        "purpose",
        "whose",
        "trained with",
        "sessions",
        "rows",
        "look",
    ):
        table.add_column(name, justify="right" if name in ("no.", "rows") else "left", overflow="fold")
    for row in scored_sets.iter_rows(named=True):
        cells = (
            str(row["number"]),
            f"{row['recorded_at']:%Y-%m-%d %H:%M}",
            row["study"],
            row["purpose"],
            row["model"],
            row["setup"],
            f"{row['first']} to {row['last']}",
            f"{row['rows']:,}",
            row["look"][:8],
        )
        table.add_row(*map(Text, cells))
    return table
