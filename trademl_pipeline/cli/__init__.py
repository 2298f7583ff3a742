"""`trademl`: run a study from the shell, open the UI, and look at what the lake holds.

`run` and `ingest` do the steps themselves, in processes that know no Dagster, and write their runs into the data set's
Dagster instance; `ui` and `check` start Dagster on it.
"""

import sys
import warnings

import typer

from trademl_pipeline.cli.configuration import config
from trademl_pipeline.cli.evidence import audit, certificate, maintain, verify
from trademl_pipeline.cli.instance import check, env, prepare_instance, ui
from trademl_pipeline.cli.runs import ingest, run
from trademl_pipeline.cli.tries import tries

__all__ = ["app", "prepare_instance"]

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


@app.callback(help=__doc__)
def command_line() -> None:
    """Before every command: warnings are for whoever types it, on one line."""
    warnings.showwarning = lambda message, *_, **__: print(f"warning: {message}", file=sys.stderr)


for command in (ingest, run, ui, check, env, config, audit, certificate, verify, tries, maintain):
    app.command()(command)
