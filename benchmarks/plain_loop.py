"""The folds of a study without Dagster: what `benchmarks.orchestration` compares Dagster with.

`with_the_gate` gives what a run of `fold_<study>` gives, by the same functions: models, predictions and those of every
member in the lake, each month audited in the transaction that publishes it, the ledger of audits, certificates, the fit
ledger, importance, the training log, MLflow runs. A month reads all that it needs from the lake and from disk, so that
it can be run by itself as a partition can.

`bare` gives predictions alone: models stay in memory from month to month, nothing is audited or tracked, and the
predictions are Parquet files.
"""

import json
import uuid
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import polars as pl

from trademl_pipeline.defs.certificates import contents, values_version
from trademl_pipeline.defs.models.cross_validation import cross_validated
from trademl_pipeline.defs.models.fold import FoldRows, fold_rows, plan_of, windows_of_keys
from trademl_pipeline.defs.models.model import (
    LEDGER_FILE,
    audit_fold,
    kept_model,
    load_ledger,
    load_models,
    metrics_of,
    parameters_of,
    record_of,
    recorded_rows,
    setting_of,
)
from trademl_pipeline.defs.predictions.predictions import (
    attention_file,
    attention_of,
    audit_predictions,
    learned_from,
    predict_month,
    predicted,
    reads_of,
)
from trademl_pipeline.defs.resources import ArtifactsResource, TrackingResource, home
from trademl_pipeline.lake import Lake
from trademl_pipeline.lake.schemas import (
    AUDITS,
    RAW_BARS,
    REFERENCE_BARS,
    UNIVERSE_MEMBERS,
    UTC_TIME,
    TableSchema,
    certificate_table,
)
from trademl_pipeline.leakage import AuditReport
from trademl_pipeline.leakage.certificate import Certificate, make_certificate
from trademl_pipeline.leakage.certified import certificates
from trademl_pipeline.leakage.code_version import code_version
from trademl_pipeline.market.calendar import offset_month
from trademl_pipeline.studies import StudySpec
from trademl_pipeline.training.interpret import study_importance
from trademl_pipeline.training.ledger import FitLedger
from trademl_pipeline.training.study import CARD, FittedStudy, fit_study
from trademl_pipeline.training.trials import TrialLedger
from trademl_pipeline.training.windows import Windows

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
        publish_predictions(store, study, month, run_id, began)
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
        record, rows, ledger, fitted, windows = carried(store, study, month, kept)
    publish(
        store,
        study.models,
        record,
        month,
        lambda _: audit_fold(study, rows, ledger, fitted, windows),
        run_id,
        began,
    )


Trained = tuple[pl.DataFrame, FoldRows, FitLedger, FittedStudy, Windows]


def fitted_anew(
    store: Lake, study: StudySpec, month: str, rows: FoldRows, size: str, snapshot: int, run_id: str
) -> Trained:
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
        trials = TrialLedger(home() / "trials.jsonl", told=run.log_trial)
        fitted = fit_study(study.fit, windows, setting, ledger=ledger, trials=trials)
        for name, member in fitted.members.items():
            run.log_history(name, member.history)
        ledger.freeze()
        digest = fitted.save(folder / "study")
        ledger.to_frame().write_parquet(folder / LEDGER_FILE)
        importance = study_importance(fitted, windows, setting)
        (folder / "importance.json").write_text(json.dumps(importance, indent=1))
        (folder / "training_log.json").write_text(
            json.dumps({name: list(m.history) for name, m in fitted.members.items()}, indent=1)
        )
        run.log_metrics(metrics_of(fitted, rows))
        run.log_artifact(folder)
    record = record_of(study, month, rows, fitted, snapshot, size).with_columns(
        pl.lit(run.run_id).alias("model_run"),
        pl.lit(str((folder / "study" / CARD).relative_to(home()))).alias("artifact"),
        pl.lit(digest).alias("artifact_sha256"),
        pl.lit(ledger.digest(rows.fold.month)).alias("ledger_digest"),
        pl.lit("").alias("only_symbols"),
        pl.lit(0).alias("epochs"),
    )
    record = record.select(list(study.models.columns)).cast(study.models.polars_schema)  # pyright: ignore
    return record, rows, ledger, fitted, windows


def carried(store: Lake, study: StudySpec, month: str, kept: pl.DataFrame) -> Trained:
    rows = recorded_rows(store, study, month, kept)
    last = offset_month(rows.fold.month, -1)
    windows = windows_of_keys(store, study, rows.train, last, int(kept["snapshot"][0]))
    own = plan_of(study).fold(month, rows.fold.train_start)
    record = kept.with_columns(
        pl.lit(month).alias("fold"),
        pl.lit(own.test_start).alias("test_start"),
        pl.lit(own.test_end).alias("test_end"),
        pl.lit(0.0).alias("train_seconds"),
    )
    return record, rows, load_ledger(kept), load_models(study, kept, rows.fold.month), windows


def publish_predictions(store: Lake, study: StudySpec, month: str, run_id: str, began: datetime) -> None:
    """Publish the predictions of a month, those of every member and their certificate."""
    now, schema = store.snapshot(), study.predictions
    record = store.read(study.models, months=(month, month), snapshot=now)
    fitted, ledger = load_models(study, record, month), load_ledger(record)
    looked: list[pl.DataFrame] = []
    frame, members = predict_month(
        store,
        study,
        month,
        record,
        fitted,
        ledger,
        now,
        on_windows=lambda windows: looked.extend(attention_of(study, fitted, windows)),
    )
    report = audit_predictions(store, frame, study, record, ledger, month)
    made = certificate_of(store, study, month, frame, record, ledger, report, now)
    kept = certificates(store, study.name, month)
    made = made.settled(Certificate.from_json(text) for text in kept["certificate"])
    if made.digest not in kept["digest"]:
        row = {
            "fold": month,
            "digest": made.digest,
            "passed": made.passed,
            "data_snapshot": made.data_snapshot,
            "training_snapshot": made.training_snapshot,
            "certificate": made.to_json(),
            "run_id": run_id,
            "recorded_at": began,
        }
        kept = pl.concat([kept, pl.DataFrame([row], schema=kept.schema)])
    frame = frame.with_columns(pl.lit(made.digest).alias("certificate"))
    frame = frame.select(list(schema.columns)).cast(schema.polars_schema)  # pyright: ignore[reportArgumentType]
    beside = [(certificate_table(study.name), kept), (study.members, members)]
    publish(store, schema, frame, month, lambda _: report, run_id, began, beside)
    for attention in looked:
        path = attention_file(study, month)
        path.parent.mkdir(parents=True, exist_ok=True)
        attention.write_parquet(path)


def certificate_of(
    store: Lake,
    study: StudySpec,
    month: str,
    frame: pl.DataFrame,
    record: pl.DataFrame,
    ledger: FitLedger,
    report: AuditReport,
    now: int,
) -> Certificate:
    read, training = reads_of(study, month), learned_from(study, record["fitted"][0])
    market = {RAW_BARS.name, REFERENCE_BARS.name, UNIVERSE_MEMBERS.name}
    behind = {*market, study.models.name, *(table.name for table, _ in (*read, *training))}
    audits = store.read(AUDITS).filter(pl.col("table_name").is_in(list(behind)) & (pl.col("month") <= month))
    return make_certificate(
        study.name,
        month,
        frame,
        values=values_version(study.predictions, frame),
        model=record.row(0, named=True),
        ledger=ledger,
        report=report,
        table=study.predictions.name,
        audits=audits,
        code=code_version(),
        data_snapshot=now,
        data=contents(store, read, now),
        training=contents(store, training, int(record["snapshot"][0])),
    )
