"""The folds of a study without Dagster: what `benchmarks.orchestration` compares Dagster with.

`with_the_gate` gives what a run of `fold_<study>` gives, by the same functions: models, predictions and those of every
member in the lake, each month audited in the transaction that publishes it, the ledger of audits, certificates, the fit
ledger, importance, the training log, MLflow runs. A month reads all that it needs from the lake and from disk, so that
it can be run by itself as a partition can.

`bare` gives predictions alone: models stay in memory from month to month, nothing is audited or tracked, and the
predictions are Parquet files.
"""

import uuid
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import polars as pl

from trademl_pipeline.certificates.code_version import code_version
from trademl_pipeline.defs.models.cross_validation import cross_validated
from trademl_pipeline.defs.models.fold import FoldRows, fold_rows, windows_of_keys
from trademl_pipeline.defs.models.model import (
    TrainedFold,
    audit_fold,
    carried_fold,
    fit_and_save,
    kept_model,
    metrics_of,
    parameters_of,
    record_of,
    setting_of,
)
from trademl_pipeline.defs.predictions.predictions import certified_month, predicted, write_attention
from trademl_pipeline.defs.resources import ArtifactsResource, TrackingResource
from trademl_pipeline.lake import Lake
from trademl_pipeline.lake.schema import UTC_TIME, TableSchema
from trademl_pipeline.leakage import AuditReport
from trademl_pipeline.market.calendar import offset_month
from trademl_pipeline.studies import StudySpec
from trademl_pipeline.tables import AUDITS
from trademl_pipeline.training.ledger import FitLedger
from trademl_pipeline.training.study import FittedStudy, fit_study
from trademl_pipeline.training.trials import TrialLedger

Table = tuple[TableSchema, pl.DataFrame]


def with_the_gate(store: Lake, study: StudySpec, months: Sequence[str], size: str) -> None:
    """Train, predict, audit, certify and publish each month.

    Raises:
        RuntimeError: the gate refused a month; the lake holds what it held before.
    """
    for month in months:
        run_id = str(uuid.uuid4())
        began = datetime.now(UTC)
        train_month(store, study, month, size, run_id, began)
        made = certified_month(store, study, month, run_id=run_id, recorded_at=began)
        publish(
            store,
            study.predictions,
            made.frame,
            month,
            lambda _, r=made.report: r,
            run_id,
            began,
            made.beside,
        )
        write_attention(study, month, made.attention)
        if study.fit.cross_validate is not None:
            frame, report = cross_validated(store, study, month)
            publish(store, study.cross_validation, frame, month, lambda _, r=report: r, run_id, began)


def bare(
    store: Lake,
    study: StudySpec,
    months: Sequence[str],
    size: str,
    folder: Path,
    models: dict[str, FittedStudy],
) -> None:
    """Train and predict each month into a Parquet file of `folder`; `models` holds what is trained, by fold."""
    trials = TrialLedger(folder / "trials.jsonl")
    for month in months:
        rows = fold_rows(store, study, month)
        fitted = models.get(rows.fold.month)
        if fitted is None:
            windows = windows_of_keys(store, study, rows.train, offset_month(rows.fold.month, -1))
            ledger = FitLedger(rows.fold.month)
            fitted = fit_study(study.fit, windows, setting_of(study, size), ledger=ledger, trials=trials)
            models[rows.fold.month] = fitted
        decisions = store.read(study.windows, months=(month, month))
        if decisions.height:
            values, _ = predicted(study, fitted, windows_of_keys(store, study, decisions, month), month)
            values.write_parquet(folder / f"{month}.parquet")


def publish(
    store: Lake,
    schema: TableSchema,
    frame: pl.DataFrame,
    month: str,
    audit: Callable[[pl.DataFrame], AuditReport],
    run_id: str,
    began: datetime,
    beside: Sequence[Table] = (),
) -> None:
    """Publish a month if its audit, made inside the transaction, passes; with its rows of the ledger of audits."""

    def gate(written: pl.DataFrame) -> AuditReport:
        report = audit(written)
        if not report.passed or set(report.coverage) - set(report.tested):
            raise RuntimeError(f"{schema.name} {month[:7]} is refused:\n{report.to_markdown()}")
        return report

    def evidence(verdicts) -> Table:
        rows = (
            verdicts[schema.name]
            .to_frame()
            .with_columns(
                pl.lit(schema.name).alias("table_name"),
                pl.lit(month).alias("month"),
                pl.lit(run_id).alias("run_id"),
                pl.lit(began).cast(UTC_TIME).alias("recorded_at"),
            )
        )
        return AUDITS, rows.select(list(AUDITS.columns))

    items = [(schema, frame, month), *((other, more, month) for other, more in beside)]
    store.publish_many(items, audits={schema.name: gate}, evidence=evidence)


def train_month(store: Lake, study: StudySpec, month: str, size: str, run_id: str, began: datetime) -> None:
    """Publish the model of a month: its own, or that of its quarter."""
    snapshot = store.snapshot()
    rows = fold_rows(store, study, month, snapshot)
    kept = kept_model(store, study, month, rows.fold.month, size, 0, snapshot)
    if kept is None:
        record, rows, ledger, fitted, windows = fitted_anew(store, study, month, rows, size, snapshot, run_id)
    else:
        record, rows, ledger, fitted, windows = carried_fold(store, study, month, kept)
    publish(
        store,
        study.models,
        record,
        month,
        lambda _: audit_fold(study, rows, ledger, fitted, windows),
        run_id,
        began,
    )


def fitted_anew(
    store: Lake, study: StudySpec, month: str, rows: FoldRows, size: str, snapshot: int, run_id: str
) -> TrainedFold:
    windows = windows_of_keys(store, study, rows.train, offset_month(rows.fold.month, -1), snapshot)
    setting, ledger, code = setting_of(study, size), FitLedger(rows.fold.month), code_version()
    tags = {
        "study": study.name,
        "loop_run": run_id,
        "code": code.label,
        "code_source": code.source,
        "dataset_snapshot": str(snapshot),
    }
    with TrackingResource().run(study.models.name, month, tags) as run:
        run.log_params(parameters_of(study, setting, rows, snapshot))
        folder = ArtifactsResource().models(study.name, month) / run.run_id
        saved = fit_and_save(study, windows, setting, ledger, run, folder)
        run.log_metrics(metrics_of(saved.fitted, rows))
        run.log_artifact(folder)
    record = record_of(study, month, rows, saved, snapshot, size)
    return TrainedFold(record, rows, ledger, saved.fitted, windows)
