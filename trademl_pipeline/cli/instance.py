"""Commands around the Dagster instance of a data set: `ui`, `check` and `env`."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from trademl_pipeline.cli.data_sets import environment_of
from trademl_pipeline.cli.options import (
    ColumnsOption,
    DataOption,
    HomeOption,
    ReferenceOption,
    SourceOption,
    StartOption,
    SymbolsOption,
    UniverseOption,
    console,
)
from trademl_pipeline.workspace import ROOT, DataSet


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
    environment = environment_of(data, symbols, column, home, start, reference, source, universe)
    console.print(f"Dagster UI: http://{host}:{port}   state: {environment['TRADEML_HOME']}", highlight=False)
    dagster = str(Path(sys.executable).parent / "dagster")
    os.chdir(ROOT)
    prepare_instance(environment)
    os.execve(dagster, [dagster, "dev", "-w", "workspace.yaml", "-h", host, "-p", str(port)], environment)


def check(home: HomeOption = None) -> None:
    """Validate the definitions as Dagster loads them."""
    environment = DataSet(home=home).environment()
    dagster = str(Path(sys.executable).parent / "dagster")
    command = [dagster, "definitions", "validate", "-w", "workspace.yaml"]
    raise typer.Exit(subprocess.run(command, env=environment, cwd=ROOT, check=False).returncode)


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

    environment = environment_of(data, symbols, column, home, start, reference, source, universe)
    for name, value in sorted(environment.items()):
        if name.startswith(("TRADEML_", "DAGSTER_")):
            typer.echo(f"export {name}={shlex.quote(value)}")
