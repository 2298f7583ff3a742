"""The folds of a study as a loop over the steps: what `benchmarks.orchestration` compares other ways to run with.

`with_the_gate` gives what a run of `fold_<study>` gives, by the very steps: models, predictions and those of every
estimator in the lake, each month audited in the transaction that publishes it, certificates, ledgers, MLflow runs.

`bare` gives predictions alone: models stay in memory from month to month, nothing is audited or tracked, and the
predictions are Parquet files.
"""

import logging
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from trademl_pipeline.market.calendar import offset_month
from trademl_pipeline.pipeline.catalog import fold_assets, opened
from trademl_pipeline.pipeline.fold import fold_rows, windows_of_keys
from trademl_pipeline.pipeline.months import RunInfo
from trademl_pipeline.pipeline.predict import predicted
from trademl_pipeline.pipeline.site import Site
from trademl_pipeline.pipeline.train import training_context
from trademl_pipeline.studies import StudySpec
from trademl_pipeline.training.fitted_study import FittedStudy
from trademl_pipeline.training.ledger import FitLedger
from trademl_pipeline.training.study import fit_study
from trademl_pipeline.training.trials import TrialLedger


def with_the_gate(site: Site, study: StudySpec, months: Sequence[str]) -> None:
    """Train, predict, audit, certify and publish each month.

    Raises:
        GateRefusedError: the gate refused a month; the lake holds what it held before.
    """
    for month in months:
        run = RunInfo(str(uuid.uuid4()), datetime.now(UTC), logging.getLogger(__name__))
        for asset in fold_assets(study):
            with opened(asset, site, run, [month], site.train_options()) as body:
                body(month)


def bare(
    site: Site, study: StudySpec, months: Sequence[str], folder: Path, models: dict[str, FittedStudy]
) -> None:
    """Train and predict each month into a Parquet file of `folder`; `models` holds what is trained, by fold."""
    store, calendar, options = site.lake, site.calendar, site.train_options()
    trials = TrialLedger(folder / "trials.jsonl")
    for month in months:
        rows = fold_rows(store, study, month, calendar, refit=options.refit)
        fitted = models.get(rows.fold.month)
        if fitted is None:
            windows = windows_of_keys(store, study, rows.train, offset_month(rows.fold.month, -1), calendar)
            training = training_context(study, options.preset_of(study), options.epochs, options.threads)
            ledger = FitLedger(rows.fold.month)
            fitted = fit_study(study.training, windows, training, ledger=ledger, trials=trials)
            models[rows.fold.month] = fitted
        decisions = store.read(study.windows, months=(month, month))
        if decisions.height:
            windows = windows_of_keys(store, study, decisions, month, calendar)
            values, _ = predicted(study, fitted, windows, month)
            values.write_parquet(folder / f"{month}.parquet")
