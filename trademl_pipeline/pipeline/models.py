"""The published models of a fold: loaded as they were published, and audited."""

import hashlib
from dataclasses import replace
from typing import Any, cast

import numpy as np
import polars as pl

from trademl_pipeline.lake.errors import LakeError
from trademl_pipeline.lake.view import LakeReader
from trademl_pipeline.leakage import AuditReport, audit_fit_ledger, audit_folds, audit_model
from trademl_pipeline.pipeline.artifacts import Artifacts
from trademl_pipeline.pipeline.fold import FoldRows, calendar_of, fold_rows, training_windows
from trademl_pipeline.pipeline.workspace import Workspace
from trademl_pipeline.sequences.windows import Windows
from trademl_pipeline.studies import StudySpec
from trademl_pipeline.training.fitted_study import FittedStudy, load_study
from trademl_pipeline.training.inner_split import FitError
from trademl_pipeline.training.ledger import FitLedger

LEDGER_FILE = "fit_ledger.parquet"
# Rows on which a network is tried with other padding and other neighbours.
ROWS_PROBED = 16


class ModelMissingError(LakeError):
    """The fold of a month has no model, or its files are not those that were published."""


def audit_fold(
    study: StudySpec,
    rows: FoldRows,
    ledger: FitLedger,
    fitted: FittedStudy,
    windows: Windows,
    calendar: str,
) -> AuditReport:
    """Audit L on the fold's split, F on everything that was fitted for it, M on every network.

    Args:
        study: the study.
        rows: training keys with their labels, and the decisions of the month.
        ledger: the fit ledger of the models.
        fitted: the models.
        windows: the training windows over the study's whole feature set.
        calendar: of the data set.
    """
    report = audit_folds(
        rows.train, rows.test, embargo=rows.fold.embargo, calendar=calendar_of(study, calendar)
    ) + audit_fit_ledger(ledger, rows.fold, train=rows.train, expected=fitted.recorded_fits)
    networks = [fitted.estimators[estimator.name] for estimator in study.networks]
    if not networks:
        # Trees have neither padding nor neighbours.
        return report + AuditReport((), {"model": {"rows": 0, "note": "no estimator is a network"}})
    import torch

    some = windows.take(np.array(probed(windows)))
    position = [study.feature_names.index(name) for name in fitted.names]
    x, mask = some.batch(np.arange(len(some)))
    tensor = cast(Any, torch).from_numpy  # which torch leaves untyped
    batch, real = tensor(x[:, :, position].copy()), tensor(mask)
    for estimator in networks:
        audited = audit_model(estimator.saved.model, batch, real, causal=False, seed=study.seed)
        violations = tuple(replace(v, column=f"{estimator.name}: {v.column}") for v in audited.violations)
        report = report + AuditReport(violations, audited.coverage)
    return report


def probed(windows: Windows) -> list[int]:
    """Return windows for the model probe: the shortest ones, which have padding, and others from all over."""
    order = windows.n_valid.argsort(kind="stable")
    spread = range(0, len(windows), max(1, len(windows) // ROWS_PROBED))
    return sorted({*order[: ROWS_PROBED // 2].tolist(), *list(spread)[: ROWS_PROBED // 2]})


def load_ledger(artifacts: Artifacts, record: pl.DataFrame) -> FitLedger:
    """Read the fit ledger of a published model, by its row in the model table.

    Raises:
        ModelMissingError: the file is gone.
    """
    path = artifacts.path(record["artifact"][0]).parent.parent / LEDGER_FILE
    if not path.exists():
        raise ModelMissingError(f"the fit ledger {path} is gone; materialize the model of that month again")
    return FitLedger.from_frame(pl.read_parquet(path))


def load_models(artifacts: Artifacts, study: StudySpec, record: pl.DataFrame, month: str) -> FittedStudy:
    """Load the published models of a fold, their files checked against the digests on record.

    Args:
        artifacts: the files of the data set.
        study: the study.
        record: the models' row of the model table; no row where there is none.
        month: month key, for messages.

    Raises:
        ModelMissingError: there is none, or its files are gone or are others.
    """
    again = f"materialize {study.models.name} for {month[:7]}"
    if record.is_empty():
        raise ModelMissingError(f"{study.name} {month[:7]}: there is no model of that month; {again} first")
    path = artifacts.path(record["artifact"][0])
    if not path.exists():
        raise ModelMissingError(f"the model {path} is gone; {again} again")
    if hashlib.sha256(path.read_bytes()).hexdigest() != record["artifact_sha256"][0]:
        raise ModelMissingError(
            f"the model {path} is not the one that was published for {month[:7]}; {again} again"
        )
    try:
        return load_study(path.parent)
    except (FileNotFoundError, FitError) as error:
        raise ModelMissingError(f"{error}; {again} again") from error


def recorded_rows(
    store: LakeReader, study: StudySpec, month: str, record: pl.DataFrame, calendar: str
) -> FoldRows:
    """Read the rows that a published model was trained on, at the snapshot it names.

    Args:
        store: the lake.
        study: the study.
        month: month key that the model is filed under.
        record: its row of the model table.
        calendar: of the data set.
    """
    only = frozenset(filter(None, (record["only_symbols"][0] or "").split(",")))
    snapshot = int(record["snapshot"][0])
    return fold_rows(store, study, month, calendar, snapshot, fitted=record["fitted"][0], symbols=only)


def audit_model_month(workspace: Workspace, study: StudySpec, month: str) -> AuditReport:
    """Audit the published models of a month as the lake and the files hold them."""
    store, calendar = workspace.lake, workspace.calendar
    record = store.read(study.models, months=(month, month))
    fitted = load_models(workspace.artifacts, study, record, month)
    rows = recorded_rows(store, study, month, record, calendar)
    windows = training_windows(store, study, rows, calendar, int(record["snapshot"][0]))
    ledger = load_ledger(workspace.artifacts, record)
    return audit_fold(study, rows, ledger, fitted, windows, calendar)
