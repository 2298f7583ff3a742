"""Jobs of a study: prepare history, train and predict one fold, report, and all of a closed month."""

from collections.abc import Sequence
from typing import Any

import dagster as dg
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

from trademl_pipeline.studies import StudySpec
from trademl_pipeline.tables.bar_tables import DAILY, TIMEFRAMES, bar_tables

QUICK_SYMBOLS = "3"


def prepare_job_name(study: str) -> str:
    """Bars, features, labels and windows, over a range of months in one run."""
    return f"prepare_{study}"


def fold_job_name(study: str) -> str:
    """One walk-forward fold: model and predictions of a month."""
    return f"fold_{study}"


def train_job_name(study: str) -> str:
    """The model of a month alone: what is trained before the month begins."""
    return f"train_{study}"


def report_job_name(study: str) -> str:
    """The validation report as of a month."""
    return f"write_report_{study}"


def quick_job_name(study: str) -> str:
    """One fold on three symbols, to see that all works."""
    return f"quick_{study}"


def production_job_name(study: str) -> str:
    """One fold at the study's full size."""
    return f"production_{study}"


def month_job_name(study: str) -> str:
    """Everything of one month, from bars to report."""
    return f"month_{study}"


def ingest_job_name(timeframe: str = DAILY) -> str:
    """Bars of one time frame alone."""
    return f"ingest_{bar_tables(timeframe).bars.name}"


def ingest_jobs() -> list[UnresolvedAssetJobDefinition]:
    """One job for each time frame's bars."""
    return [
        dg.define_asset_job(
            ingest_job_name(timeframe),
            selection=dg.AssetSelection.assets(bar_tables(timeframe).bars.name),
            description=f"Fetch, judge and publish bars of {timeframe}.",
        )
        for timeframe in TIMEFRAMES
    ]


def prepare_assets(study: StudySpec) -> list[str]:
    """The inputs of a study's models, each after what it reads."""
    patterns = ["patterns"] if study.decisions == "snapshots" else []
    return [
        "raw_bars",
        "bar_quality",
        "reference_bars",
        "universe_members",
        study.features.name,
        *patterns,
        study.labels.name,
        study.windows.name,
    ]


PREPARE_ALL = "prepare_all"


def prepare_all_job(studies: Sequence[StudySpec]) -> UnresolvedAssetJobDefinition:
    """The inputs of all studies, each shared one once."""
    assets = dict.fromkeys(asset for study in studies for asset in prepare_assets(study))
    return dg.define_asset_job(
        PREPARE_ALL,
        selection=dg.AssetSelection.assets(*assets),
        description="Ingest and compute the inputs of all studies over a range of months in one run.",
    )


NIGHTLY = "nightly_leakage_audit"


def nightly_job() -> UnresolvedAssetJobDefinition:
    """The exhaustive audit of everything published."""
    return dg.define_asset_job(
        NIGHTLY,
        selection=dg.AssetSelection.assets("leakage_audit"),
        description="Audit every published month with every session a cut-off.",
    )


def comparison_job() -> UnresolvedAssetJobDefinition:
    """The page that compares the studies."""
    return dg.define_asset_job(
        "compare_studies",
        selection=dg.AssetSelection.assets("validation_report"),
        description="Compare the studies that have a report of the month.",
    )


def study_jobs(study: StudySpec) -> list[UnresolvedAssetJobDefinition]:
    """The jobs of one study."""
    name = study.name
    inputs = prepare_assets(study)
    tried = [f"cross_validation_{name}"] if study.fit.cross_validate is not None else []
    fold = [f"model_{name}", f"predictions_{name}", *tried]
    report = [f"report_{name}"]
    described = {
        prepare_job_name(name): (inputs, "Ingest and compute the inputs of a range of months in one run."),
        fold_job_name(name): (fold, "Train one walk-forward fold and predict its month."),
        train_job_name(name): (fold[:1], "Train the model of one month on what was known before it."),
        report_job_name(name): (report, "Write the validation report as of one month."),
        month_job_name(name): (
            [*inputs, *fold, f"champion_{name}", *report],
            "Everything of one closed month.",
        ),
    }
    jobs = [
        dg.define_asset_job(job, selection=dg.AssetSelection.assets(*assets), description=text)
        for job, (assets, text) in described.items()
    ]
    full = study.sizes[-1]
    settings: dict[str, tuple[dict[str, Any], str]] = {
        quick_job_name(name): (
            {"size": study.sizes[0], "epochs": 1, "symbols": QUICK_SYMBOLS, "refit": "month"},
            f"A fold on {QUICK_SYMBOLS} symbols and one epoch, to see within a minute that all works. Its model "
            "and predictions are published like any others: run the fold again before they are used.",
        ),
        production_job_name(name): (
            {"size": full, "refit": "month"},
            f"A fold on all symbols at size {full}, trained anew whatever the study's rhythm is.",
        ),
    }
    jobs += [
        dg.define_asset_job(
            job,
            selection=dg.AssetSelection.assets(*fold),
            description=text,
            config={"ops": {f"model_{name}": {"config": config}}},
        )
        for job, (config, text) in settings.items()
    ]
    return jobs
