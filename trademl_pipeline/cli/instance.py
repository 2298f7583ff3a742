"""Commands around the Dagster instance of a data set: `ui`, `check` and `env`."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from trademl_pipeline.cli.options import DataSetOptions, about_a_data_set, console, fail
from trademl_pipeline.data_sets import UsageError, last_month, move_end, write_instance
from trademl_pipeline.settings import ROOT, Settings, SettingsError, environment, is_secret


def prepare_instance(environment: dict[str, str]) -> None:
    """Make the Dagster instance's databases where there are none yet.

    Webserver, daemon and code server start together, and two that make the same new database get in each other's way.
    """
    folder = Path(environment["DAGSTER_HOME"])
    if (folder / "history").exists():
        return
    subprocess.run(
        [_dagster(), "instance", "info"], env=environment, cwd=folder, check=True, stdout=subprocess.DEVNULL
    )


def _dagster() -> str:
    return str(Path(sys.executable).parent / "dagster")


@about_a_data_set
def ui(
    words: DataSetOptions,
    port: Annotated[int, typer.Option(help="Port of the Dagster UI")] = 3000,
    host: Annotated[str, typer.Option(help="Address to listen on")] = "127.0.0.1",
) -> None:
    """Open the Dagster UI with its daemon on a data set that has been run."""
    try:
        settings = words.named().settings()
        if settings.data.source == "files":
            move_end(settings, last_month(settings))
    except (UsageError, SettingsError, ValueError) as error:
        raise fail(str(error)) from error
    variables = environment(settings)
    settings.dagster_home.mkdir(parents=True, exist_ok=True)
    write_instance(settings.dagster_home)
    console.print(f"Dagster UI: http://{host}:{port}   state: {settings.home}", highlight=False)
    # Dagster warns of a dagster.yaml in the working directory that is not the instance's.
    os.chdir(settings.dagster_home)
    prepare_instance(variables)
    command = [_dagster(), "dev", "-w", str(ROOT / "workspace.yaml"), "-h", host, "-p", str(port)]
    os.execve(command[0], command, variables)


@about_a_data_set
def check(
    words: DataSetOptions,
    lake: Annotated[
        bool, typer.Option("--lake", help="Read and hash every month instead: is it what the gate audited?")
    ] = False,
) -> None:
    """Validate the definitions as Dagster loads them on a data set; with no words, on the demo's, run or not."""
    try:
        named = words.named()
        if lake:
            raise typer.Exit(_check_lake(named.settings()))
        variables = environment(named.settings()) if named.made() or named.words() or named.home else None
    except (UsageError, SettingsError, ValueError) as error:
        raise fail(str(error)) from error
    command = [_dagster(), "definitions", "validate", "-w", str(ROOT / "workspace.yaml")]
    raise typer.Exit(subprocess.run(command, env=variables, cwd=ROOT, check=False).returncode)


def _check_lake(settings: Settings) -> int:
    """Check every month of a data set and print what was found; returns the exit code."""
    from rich.console import Console
    from rich.markup import escape

    from trademl_pipeline.lake.errors import LakeError
    from trademl_pipeline.pipeline.audited import check_lake, gated_tables
    from trademl_pipeline.pipeline.site import Site
    from trademl_pipeline.studies import STUDIES

    try:
        with Console(stderr=True).status("Reading the lake") as status:
            result = check_lake(
                Site(settings).lake,
                gated_tables(STUDIES.values()),
                lambda table: status.update(f"Reading and hashing {table}"),
            )
    except LakeError as error:
        raise UsageError(str(error)) from error
    if not result.months:
        raise UsageError(f"nothing is published at {settings.home}: run `trademl run` on it first")
    for verdict, months in (("NOT AUDITED", result.unaudited), ("REFUSED", result.refused)):
        for row in months.iter_rows(named=True):
            said = f"{row['table_name']} {row['month'][:7]}: {row['detail']}"
            console.print(f"[red]{verdict}[/red]  {escape(said)}", highlight=False)
    audited = result.months - result.unaudited.height
    console.print(
        f"{audited:,} of {result.months:,} months of {result.tables} tables are what the gate audited",
        highlight=False,
    )
    return 1 if result.unaudited.height or result.refused.height else 0


@about_a_data_set
def env(words: DataSetOptions) -> None:
    """Print the environment of a data set as shell exports, for use with Dagster's own commands."""
    import shlex

    try:
        variables = words.named().environment()
    except (UsageError, SettingsError, ValueError) as error:
        raise fail(str(error)) from error
    for name, value in sorted(variables.items()):
        # A secret is exported already, where there is one, and is not for a screen.
        if name.startswith(("TRADEML_", "DAGSTER_")) and not is_secret(name, value):
            typer.echo(f"export {name}={shlex.quote(value)}")
