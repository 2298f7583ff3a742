"""The models of a fold fitted again, as they were fitted first."""

import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import polars as pl

from trademl_pipeline.lake.view import LakeReader
from trademl_pipeline.pipeline.fold import training_windows
from trademl_pipeline.pipeline.models import recorded_rows
from trademl_pipeline.pipeline.train import training_context
from trademl_pipeline.studies import StudySpec
from trademl_pipeline.training.fitted_study import FittedStudy
from trademl_pipeline.training.ledger import FitLedger
from trademl_pipeline.training.study import fit_study
from trademl_pipeline.training.trials import TrialLedger


def refit(
    store: LakeReader, study: StudySpec, month: str, record: pl.DataFrame, calendar: str, folder: Path
) -> tuple[FittedStudy, FitLedger, str]:
    """Fit the models of a fold again on the training set as it was, by as many threads, or one a core if none are told.

    Args:
        store: the lake.
        study: the study.
        month: month key.
        record: the published models' row of the model table.
        calendar: of the data set.
        folder: to save the models to.

    Returns:
        (models, their fit ledger, digest of their files). Trials of parameters are counted in a ledger of their own:
        a fit that is made again looks at nothing new.
    """
    rows = recorded_rows(store, study, month, record, calendar)
    windows = training_windows(store, study, rows, calendar, int(record["snapshot"][0]))
    ledger = FitLedger(rows.fold.month)
    size, epochs, threads = (record[name][0] for name in ("size", "epochs", "threads"))
    training = training_context(study, size, epochs or 0, threads or 0)
    with tempfile.TemporaryDirectory() as trials, _scan_of(record):
        counted = TrialLedger(Path(trials) / "trials.jsonl")
        fitted = fit_study(study.training, windows, training, ledger=ledger, trials=counted)
    ledger.freeze()
    return fitted, ledger, fitted.save(folder)


@contextmanager
def _scan_of(record: pl.DataFrame) -> Generator[None]:
    """Scan by the backend that the models were fitted with; by this machine's own where it has another."""
    recorded = record["scan"][0]
    # Fits of a GPU can be made again here, by another order of additions.
    if recorded is None or recorded == "cuda":
        yield
        return
    from trademl_pipeline.models.ssm import use_backend

    with use_backend(recorded):
        yield
