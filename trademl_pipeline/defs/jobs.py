"""Jobs: prepare history, train and predict one fold, report, all of a closed month, and upkeep."""

from collections.abc import Sequence
from typing import Any

import dagster as dg
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

from trademl_pipeline.pipeline.catalog import COMPARISON_ASSET, fold_assets, input_assets, month_assets
from trademl_pipeline.pipeline.job_names import (
    COLD_RUN,
    COMPARE,
    LEAKAGE_AUDIT,
    NIGHTLY,
    PREPARE_ALL,
    fold_job_name,
    ingest_job_name,
    month_job_name,
    prepare_job_name,
    production_job_name,
    quick_job_name,
    report_job_name,
    train_job_name,
)
from trademl_pipeline.pipeline.report import report_name
from trademl_pipeline.studies import StudySpec
from trademl_pipeline.tables.bar_tables import TIMEFRAMES, bar_tables

QUICK_SYMBOLS = "3"


Job = UnresolvedAssetJobDefinition


def _job(
    name: str,
    assets: Sequence[str],
    description: str,
    *,
    study: str = "",
    step: str,
    config: dict[str, Any] | None = None,
) -> Job:
    """Return a job over assets, tagged by what it is for, so that the UI can be filtered by it."""
    tags = {"step": step, **({"study": study} if study else {})}
    return dg.define_asset_job(
        name,
        selection=dg.AssetSelection.assets(*assets),
        description=description,
        tags=tags,
        config=config,
    )


def ingest_job(timeframe: str) -> Job:
    """Return the job that takes in one time frame's bars."""
    return _job(
        ingest_job_name(timeframe),
        [bar_tables(timeframe).bars.name],
        f"Fetch, judge and publish bars of {timeframe}.",
        step="ingest",
    )


def shared_jobs(studies: Sequence[StudySpec]) -> list[Job]:
    """Return the jobs that are no single study's: inputs of all, the comparison, the nightly audit."""
    inputs = dict.fromkeys(asset for study in studies for asset in input_assets(study))
    return [
        _job(
            PREPARE_ALL,
            list(inputs),
            "Ingest and compute the inputs of all studies over a range of months in one run.",
            step="prepare",
        ),
        _job(
            COMPARE, [COMPARISON_ASSET], "Compare the studies that have a report of the month.", step="report"
        ),
        nightly_job(),
    ]


def nightly_job() -> Job:
    """Return the exhaustive audit of everything published, and the cold run of a month of each study."""
    return _job(
        NIGHTLY,
        [LEAKAGE_AUDIT, COLD_RUN],
        "Audit every published month with every session a cut-off, and make a month of each study again by processes "
        "that had nothing of what came later.",
        step="audit",
    )


def month_job(study: StudySpec) -> Job:
    """Return the job of everything of one closed month."""
    return _job(
        month_job_name(study.name),
        month_assets(study),
        f"{study.title}: everything of one closed month, from bars to report.",
        study=study.name,
        step="month",
    )


def train_job(study: StudySpec) -> Job:
    """Return the job that trains one month's models alone."""
    return _job(
        train_job_name(study.name),
        [study.models.name],
        f"{study.title}: train the model of one month on what was known before it.",
        study=study.name,
        step="train",
    )


def study_jobs(study: StudySpec) -> list[Job]:
    """Return the jobs of one study."""
    name, fold, full = study.name, fold_assets(study), study.presets[-1]
    settings: dict[str, tuple[str, dict[str, Any], str]] = {
        quick_job_name(name): (
            "quick",
            {"size": study.presets[0], "epochs": 1, "symbols": QUICK_SYMBOLS, "refit": "month"},
            f"{study.title}: a fold on {QUICK_SYMBOLS} symbols and one epoch, to see within a minute that all works. "
            "Its model and predictions are published like any others: run the fold again before they are used.",
        ),
        production_job_name(name): (
            "production",
            {"size": full, "refit": "month"},
            f"{study.title}: a fold on all symbols at preset {full}, trained anew whatever the study's rhythm is.",
        ),
    }
    return [
        _job(
            prepare_job_name(name),
            input_assets(study),
            f"{study.title}: ingest and compute the inputs of a range of months in one run.",
            study=name,
            step="prepare",
        ),
        _job(
            fold_job_name(name),
            fold,
            f"{study.title}: train one walk-forward fold and predict its month.",
            study=name,
            step="fold",
        ),
        train_job(study),
        _job(
            report_job_name(name),
            [report_name(name)],
            f"{study.title}: write the validation report as of one month.",
            study=name,
            step="report",
        ),
        month_job(study),
        *(
            _job(
                job,
                fold,
                text,
                study=name,
                step=step,
                config={"ops": {study.models.name: {"config": config}}},
            )
            for job, (step, config, text) in settings.items()
        ),
    ]


def all_jobs(studies: Sequence[StudySpec]) -> dict[str, Job]:
    """Return every job over assets, by name."""
    jobs = [
        *(ingest_job(timeframe) for timeframe in TIMEFRAMES),
        *shared_jobs(studies),
        *(job for study in studies for job in study_jobs(study)),
    ]
    return {job.name: job for job in jobs}
