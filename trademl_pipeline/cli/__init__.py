"""`trademl`: run a study from the shell, open the UI, and look at what the lake holds.

The CLI knows nothing of Dagster: it sets the environment of a data set and starts the processes that do.
"""

import typer

from trademl_pipeline.cli.evidence import audit, certificate, maintain, verify
from trademl_pipeline.cli.instance import check, env, prepare_instance, ui
from trademl_pipeline.cli.runs import ingest, run

__all__ = ["app", "prepare_instance"]

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__)
for command in (ingest, run, ui, check, env, audit, certificate, verify, maintain):
    app.command()(command)
