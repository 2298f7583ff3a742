"""Tables that a fold leaves: models, predictions, certificates, champions."""

from collections.abc import Mapping
from typing import Any

import polars as pl

from trademl_pipeline.lake.schema import UTC_TIME, GatedTable, UngatedTable
from trademl_pipeline.tables.audits import AUDITS
from trademl_pipeline.tables.keys import PANEL_KEY

_DIRECTION: dict[str, Any] = dict.fromkeys(("p_sell", "p_hold", "p_buy", "score"), pl.Float64)


def prediction_table(
    study: str, values: Mapping[str, Any] | None = None, *, may_be_empty: bool = False
) -> GatedTable:
    """Table `predictions_<study>`: what is predicted for each decision and the evidence it carries.

    fold is the month key, model_run the MLflow run id, snapshot the lake snapshot that the model was trained on,
    certificate the digest of its row in `certificates_<study>`.

    Args:
        study: name of the study.
        values: columns that its task publishes, with their types; None takes those of a direction: p_sell, p_hold,
            p_buy and score = p_buy - p_sell.
        may_be_empty: whether a month may hold no decision, as one without an active pattern.
    """
    return GatedTable(
        name=f"predictions_{study}",
        columns={
            "symbol": pl.String,
            "session": pl.Date,
            "decision_time": UTC_TIME,
            "knowledge_time": UTC_TIME,
            **(values or _DIRECTION),
            "fold": pl.String,
            "model_run": pl.String,
            "snapshot": pl.Int64,
            "certificate": pl.String,
        },
        key=PANEL_KEY,
        month_column="session",
        may_be_empty=may_be_empty,
        probes=("knowledge", "folds", "fit_ledger", "rerun", "content"),
        ledger=AUDITS,
        description=f"Out-of-sample predictions of the study {study!r}, one walk-forward fold per month.",
    )


def estimator_prediction_table(study: str, values: Mapping[str, Any]) -> GatedTable:
    """Table `members_<study>`: what each estimator of the ensemble predicted by itself, benchmark models included."""
    return GatedTable(
        name=f"members_{study}",
        columns={
            "symbol": pl.String,
            "session": pl.Date,
            "fold": pl.String,
            "member": pl.String,
            **values,
        },
        key=(*PANEL_KEY, "member"),
        month_column="session",
        may_be_empty=True,
        probes=("rerun",),
        ledger=AUDITS,
        description=f"Out-of-sample predictions of every estimator of the study {study!r}.",
    )


def model_table(study: str) -> GatedTable:
    """Table `model_<study>`: one row per fold, saying what its model saw and where the files lie.

    fitted is the fold that was trained, an earlier one where models are not refitted every month; artifact is a path
    relative to the data set's state folder, artifact_sha256 the digest of that file, snapshot the lake snapshot the
    training set was read at, ledger_digest the digest of the fold's fit ledger. best_iteration and validation_loss are
    the first estimator's. only_symbols names those it was trained on, where the run asked for some only. threads and
    scan, the backend of the state-space scan, are what the models were fitted with: others add up in another order.
    """
    return GatedTable(
        name=f"model_{study}",
        columns={
            "fold": pl.String,
            "fitted": pl.String,
            "train_start": pl.Date,
            "train_end": pl.Date,
            "test_start": pl.Date,
            "test_end": pl.Date,
            "embargo": pl.Int32,
            "rows": pl.Int64,
            "sessions": pl.Int64,
            "symbols": pl.Int64,
            "size": pl.String,
            "parameters": pl.Int64,
            "train_seconds": pl.Float64,
            "best_iteration": pl.Int64,
            "validation_loss": pl.Float64,
            "snapshot": pl.Int64,
            "model_run": pl.String,
            "artifact": pl.String,
            "artifact_sha256": pl.String,
            "ledger_digest": pl.String,
            "only_symbols": pl.String,
            "epochs": pl.Int64,
            "threads": pl.Int32,
            "scan": pl.String,
        },
        key=("fold",),
        nullable=frozenset({"validation_loss", "threads", "scan"}),
        unversioned=frozenset({"train_seconds"}),
        probes=("folds", "fit_ledger", "model"),
        ledger=AUDITS,
        description=f"Trained folds of the study {study!r}.",
    )


CROSS_VALIDATION_COLUMNS: Mapping[str, Any] = {
    "symbol": pl.String,
    "split": pl.Int32,
    "train_rows": pl.Int64,
    "last_label_end": pl.Date,
    "test_start": pl.Date,
    "test_end": pl.Date,
    "rows": pl.Int64,
    "auc": pl.Float64,
    "accuracy": pl.Float64,
    "majority": pl.Float64,
    "correlation": pl.Float64,
}


def cross_validation_table(study: str) -> GatedTable:
    """Table `cross_validation_<study>`: how each symbol did in gapped cross-validation within a fold's training rows.

    split counts from 0, the earliest; last_label_end is the last session that a label reads from which the split's
    model learned, before test_start. Empty in months that go on with an earlier fold's models.
    """
    return GatedTable(
        name=f"cross_validation_{study}",
        columns={"fold": pl.String, **CROSS_VALIDATION_COLUMNS},
        key=("fold", "symbol", "split"),
        nullable=frozenset({"auc", "accuracy", "majority", "correlation"}),
        may_be_empty=True,
        probes=("folds",),
        ledger=AUDITS,
        description=f"Gapped cross-validation by symbol of the study {study!r}, within training rows.",
    )


def champion_table(study: str) -> GatedTable:
    """Return the schema of table `champion_<study>`: as of each month, the fold whose model serves.

    Its rows also tell how the last champion/challenger evaluation ended.
    """
    return GatedTable(
        name=f"champion_{study}",
        columns={
            "fold": pl.String,
            "champion": pl.String,
            "before": pl.String,
            "challenger": pl.String,
            "promoted": pl.Boolean,
            "metric": pl.String,
            "gain": pl.Float64,
            "low": pl.Float64,
            "high": pl.Float64,
            "sessions": pl.Int64,
            "rows": pl.Int64,
            "reason": pl.String,
        },
        key=("fold",),
        nullable=frozenset({"gain", "low", "high"}),
        probes=("rerun", "content"),
        ledger=AUDITS,
        description=f"Champions of the study {study!r}.",
    )


def certificate_table(study: str) -> UngatedTable:
    """Table `certificates_<study>`: the evidence of each month of predictions, by digest.

    A month keeps the certificates of what was published for it before; `predictions_<study>.certificate` names the
    one in force. certificate is the canonical text that the digest is of, passed whether all audits on it passed.
    """
    return UngatedTable(
        name=f"certificates_{study}",
        columns={
            "fold": pl.String,
            "digest": pl.String,
            "passed": pl.Boolean,
            "data_snapshot": pl.Int64,
            "training_snapshot": pl.Int64,
            "certificate": pl.String,
            "run_id": pl.String,
            "recorded_at": UTC_TIME,
        },
        key=("fold", "digest"),
        order=("fold", "recorded_at", "digest"),
        description=f"Certificates of the predictions of the study {study!r}.",
    )
