"""Commands on what the gate has shown: `audit`, `certificate`, `verify`, and `maintain`, which keeps it."""

import json
from pathlib import Path
from typing import Annotated

import typer

from trademl_pipeline.certificates.upkeep import DAYS
from trademl_pipeline.cli.options import (
    OURS_THEIRS,
    ColumnsOption,
    DataSetOptions,
    about_a_data_set,
    console,
    fail,
    pairs,
    require_study,
)
from trademl_pipeline.data_sets import UsageError, month_key
from trademl_pipeline.settings import Settings, SettingsError, apply


def audit(
    function: Annotated[
        str, typer.Argument(help="Your function of bars, file.py:function or module:function")
    ],
    bars: Annotated[
        Path, typer.Option("--bars", help="Parquet or CSV with symbol, session and what it reads")
    ],
    probes: Annotated[
        str,
        typer.Option(
            "--probes",
            help="Comma-separated: truncation, perturbation, adjustment, incremental, plausibility",
        ),
    ] = "",
    cutoffs: Annotated[
        str, typer.Option("--cutoffs", help="all sessions, or a number of sampled ones")
    ] = "all",
    warmup: Annotated[
        int | None, typer.Option("--warmup", help="Sessions of history a value needs; tested by incremental")
    ] = None,
    source: Annotated[
        list[str] | None, typer.Option("--source", help="A further frame, name=file; may be repeated")
    ] = None,
    column: ColumnsOption = None,
    allow: Annotated[
        list[str] | None,
        typer.Option(
            "--allow", help="Data you vouch for: by its name in the report, or a file; may be repeated"
        ),
    ] = None,
    pandas: Annotated[
        bool, typer.Option("--pandas", help="The function takes and returns pandas frames")
    ] = False,
    seed: Annotated[int, typer.Option(help="Seed of all draws")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print plain data")] = False,
    as_markdown: Annotated[bool, typer.Option("--markdown", help="Print Markdown")] = False,
) -> None:
    """Audit your own features for knowledge of the future, each call in a sealed process of its own.

    Exit code 0: clean, 1: leak, 2: nothing could be tested, 3: not audited, since data took part that nothing can cut,
    4: suspicious (no leak, and too good to be true).

    \f
    Args:
        function, bars, probes, cutoffs, warmup, source, column, allow, pandas, seed: as their help says.
        as_json, as_markdown: how the findings are printed.
    """
    from trademl_pipeline.leakage.feature_audit.audit import PROBES
    from trademl_pipeline.leakage.feature_audit.command import run_audit

    try:
        if cutoffs != "all" and not cutoffs.isdigit():
            raise UsageError(f"--cutoffs {cutoffs!r} is neither all nor a number")
        code = run_audit(
            function,
            bars,
            sources={
                name: Path(file)
                for name, file in pairs(
                    "--source", source, "name=file, e.g. --source vix=vix.parquet"
                ).items()
            },
            columns=pairs("--column", column, OURS_THEIRS),
            probes=[p.strip() for p in probes.split(",") if p.strip()] or PROBES,
            cutoffs=cutoffs if cutoffs == "all" else int(cutoffs),
            warmup=warmup,
            seed=seed,
            allow=allow or (),
            pandas=pandas,
            style="json" if as_json else "markdown" if as_markdown else "terminal",
            console=console,
        )
    except UsageError as error:
        raise fail(str(error)) from error
    raise typer.Exit(code)


StudyArgument = Annotated[str, typer.Argument(help="Study")]
MonthArgument = Annotated[str, typer.Argument(help="Month of the predictions, YYYY-MM")]


@about_a_data_set
def certificate(
    words: DataSetOptions,
    study: StudyArgument,
    month: MonthArgument,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the canonical text that the digest is of")
    ] = False,
    as_markdown: Annotated[bool, typer.Option("--markdown", help="Print Markdown")] = False,
    sheet: Annotated[
        bool, typer.Option("--info-sheet", help="Print a model info sheet (Kapoor & Narayanan) as Markdown")
    ] = False,
) -> None:
    """Print the evidence that a month of predictions carries. Exit code 0: it is of what the lake holds, 1: it is not.

    \f
    Args:
        words: the data set.
        study, month: of the predictions.
        as_json, as_markdown, sheet: how it is printed.
    """
    from trademl_pipeline.certificates.certificate import CertificateError
    from trademl_pipeline.certificates.info_sheet import info_sheet
    from trademl_pipeline.certificates.stored import certificate_in_force
    from trademl_pipeline.certificates.view import render, to_markdown
    from trademl_pipeline.lake import Lake
    from trademl_pipeline.lake.errors import LakeError
    from trademl_pipeline.pipeline.artifacts import Artifacts
    from trademl_pipeline.pipeline.stores import lake_config
    from trademl_pipeline.pipeline.tries import tries_on_record
    from trademl_pipeline.pipeline.verify import compare_shown
    from trademl_pipeline.reports.tries import tries_sentence
    from trademl_pipeline.studies import STUDIES

    try:
        require_study(study, STUDIES)
        key = month_key(month)
        with Lake(lake_config(words.named().settings())) as lake:
            evidence = certificate_in_force(lake, study, key)
            shown_for = compare_shown(lake, STUDIES[study], key, evidence)
            artifacts = Artifacts(words.named().settings().home)
            counted = tries_on_record(lake, artifacts, STUDIES[study], (key, key))
    except (UsageError, SettingsError, CertificateError, LakeError) as error:
        raise fail(str(error)) from error
    if as_json:
        typer.echo(evidence.to_json())
    elif as_markdown or sheet:
        page = info_sheet(evidence, claim=STUDIES[study].title) if sheet else to_markdown(evidence)
        typer.echo(f"{page}\n{tries_sentence(counted)}")
    else:
        console.print(render(evidence))
        console.print(tries_sentence(counted), highlight=False)
    differing = [c for c in shown_for if c.outcome == "differs"]
    for c in differing:
        typer.echo(f"NOT OF WHAT THE LAKE HOLDS  {c.what}: {c.finding}", err=True)
    if differing:
        raise typer.Exit(1)


@about_a_data_set
def verify(
    words: DataSetOptions,
    study: StudyArgument,
    month: MonthArgument,
    quick: Annotated[
        bool, typer.Option("--quick", help="Predict with the stored model instead of fitting it again")
    ] = False,
    cold: Annotated[
        bool,
        typer.Option(
            "--cold",
            help="Fit and predict in fresh processes that the kernel keeps from all that was not known then",
        ),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print plain data")] = False,
) -> None:
    """Make a month again from the recorded snapshots and compare. Exit code 0: holds, 1: differs, 2: cannot be made.

    \f
    Args:
        words: the data set.
        study, month: of the predictions.
        quick: predict with the stored model.
        cold: by processes without what came later.
        as_json: how the outcome is printed.
    """
    from trademl_pipeline.studies import STUDIES

    try:
        require_study(study, STUDIES)
        key = month_key(month)
        settings = words.named().settings()
        if quick and cold:
            raise UsageError(
                "--quick predicts with the stored models and --cold fits them again: give one of them"
            )
    except (UsageError, SettingsError) as error:
        raise fail(str(error)) from error
    raise typer.Exit(_verified(settings, study, key, quick=quick, cold=cold, as_json=as_json))


def _verified(settings: Settings, study: str, month: str, *, quick: bool, cold: bool, as_json: bool) -> int:
    """Verify a month and print the outcome; returns the exit code."""
    from rich.console import Console

    from trademl_pipeline.certificates.verification import IMPOSSIBLE
    from trademl_pipeline.pipeline.site import Site
    from trademl_pipeline.pipeline.verify import verify_month
    from trademl_pipeline.studies import STUDIES

    apply(settings)
    errors = Console(stderr=True)
    doing = "Predicting again" if quick else "Fitting and predicting again"
    try:
        site = Site(settings)
        with errors.status(f"{doing}: {study}, {month[:7]}"):
            result = verify_month(site.workspace, STUDIES[study], month, site.sample, quick=quick, cold=cold)
    except Exception as error:
        # Whatever kept the month from being made again, an exit code of 1 would say that it differs.
        errors.print(f"[yellow]cannot be verified:[/yellow] {type(error).__name__}: {error}", highlight=False)
        return IMPOSSIBLE
    if as_json:
        typer.echo(json.dumps(result.to_plain(), indent=1))
    else:
        console.print(result.render())
    return result.exit_code


@about_a_data_set
def maintain(
    words: DataSetOptions,
    days: Annotated[int, typer.Option("--days", help="Age from which on a snapshot is let go")] = DAYS,
    reclaim_now: Annotated[
        bool,
        typer.Option("--reclaim-now", help="Free the disk at once; nothing else may be reading the lake"),
    ] = False,
) -> None:
    """Merge the lake's small files and let go of old snapshots; what certificates or models name stays."""
    from trademl_pipeline.certificates.upkeep import maintain as maintain_lake
    from trademl_pipeline.lake import Lake
    from trademl_pipeline.lake.errors import LakeError
    from trademl_pipeline.pipeline.stores import lake_config
    from trademl_pipeline.studies import STUDIES

    try:
        with Lake(lake_config(words.named().settings())) as lake:
            done = maintain_lake(lake, STUDIES, days=days, reclaim_now=reclaim_now)
    except (UsageError, LakeError, ValueError) as error:
        raise fail(str(error)) from error
    for what, count in done.counts().items():
        console.print(f"{what.replace('_', ' ')}: {count:,}", highlight=False)
