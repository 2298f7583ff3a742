"""Out-of-sample predictions of a study, one fold per month."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, NamedTuple, cast

import numpy as np
import polars as pl

from trademl_pipeline.lake.schema import TableSchema
from trademl_pipeline.leakage import AuditReport, audit_access, audit_fit_ledger, audit_folds, audit_knowledge
from trademl_pipeline.market.calendar import month_key, offset_month, sessions_before
from trademl_pipeline.pipeline.artifacts import Artifacts
from trademl_pipeline.pipeline.certify import Read, make_certificate
from trademl_pipeline.pipeline.fold import FROM_THE_FIRST, calendar_of, windows_of_keys
from trademl_pipeline.pipeline.gate import month_metadata, publish
from trademl_pipeline.pipeline.lookback import SAME_MONTH, Lookback, sessions_back
from trademl_pipeline.pipeline.models import load_ledger, load_models, recorded_rows
from trademl_pipeline.pipeline.months import Body, MonthResult, RunInfo, result_of
from trademl_pipeline.pipeline.shown import Metadata
from trademl_pipeline.pipeline.stage import Lineage
from trademl_pipeline.pipeline.workspace import Workspace
from trademl_pipeline.sequences.windows import Windows
from trademl_pipeline.studies import StudySpec
from trademl_pipeline.tables import RAW_BARS
from trademl_pipeline.training.fitted_study import FittedStudy
from trademl_pipeline.training.ledger import FitLedger

PROBES = ("knowledge", "folds", "fit_ledger")
# Windows a month whose attention is kept for the report.
EXAMPLES = 12
CLOCKS = ("symbol", "session", "decision_time", "knowledge_time")


def audit_predictions(
    workspace: Workspace,
    published: pl.DataFrame,
    study: StudySpec,
    record: pl.DataFrame,
    ledger: FitLedger,
    month: str,
) -> AuditReport:
    """Audit K on every row, L and F of the model against the decisions that were taken, R on the reading of them.

    Args:
        workspace: the data set.
        published: the month's predictions.
        study: the study.
        record: the models' row of the model table.
        ledger: their fit ledger, the reading of the month's rows included.
        month: month key.
    """
    rows = recorded_rows(workspace.lake, study, month, record, workspace.calendar)
    fits = audit_fit_ledger(ledger, rows.fold, train=rows.train) + audit_access(ledger)
    if published.is_empty():
        nothing = {"rows": 0, "note": "no decision was to be taken in this month"}
        return fits + AuditReport((), {"knowledge": nothing, "folds": nothing})
    decisions = published.select("symbol", "session")
    return (
        fits
        + audit_knowledge(published)
        + audit_folds(
            rows.train, decisions, embargo=rows.fold.embargo, calendar=calendar_of(study, workspace.calendar)
        )
    )


def predicted(
    study: StudySpec, fitted: FittedStudy, windows: Windows, month: str
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Predict the windows of a month by the ensemble and by every estimator.

    Args:
        study: the study.
        fitted: its models.
        windows: the month's decisions over the study's whole feature set.
        month: month key, filed with the estimators' rows.

    Returns:
        (predictions, estimators' predictions): the columns of the task's output, keyed by symbol and session.
    """
    task, context = study.task, context_of(study, windows)
    keys = windows.keys.select("symbol", "session")
    values = fitted.estimator_values(read_by(fitted, study, windows))

    def published(table: np.ndarray) -> pl.DataFrame:
        return keys.hstack(task.to_predictions(table, context).select(list(task.output_schema)))

    estimator_frames = [
        published(value).with_columns(pl.lit(month).alias("fold"), pl.lit(name).alias("member"))
        for name, value in values.items()
    ]
    estimator_predictions = (
        pl.concat(estimator_frames)
        .select(list(study.estimator_predictions.columns))
        .sort("symbol", "session", "member")
    )
    return published(fitted.combine(values)), estimator_predictions


def predict_month(
    workspace: Workspace,
    study: StudySpec,
    month: str,
    record: pl.DataFrame,
    fitted: FittedStudy,
    ledger: FitLedger,
    snapshot: int,
    on_windows: Callable[[Windows], None] | None = None,
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Predict a month: its predictions, still without their certificate, and those of every estimator.

    Args:
        workspace: the data set.
        study: the study.
        month: month key.
        record: the models' row of the model table.
        fitted: the models.
        ledger: their fit ledger, which records the reading of the month's rows.
        snapshot: of the lake to read the month at.
        on_windows: called with the decisions' windows, if there are any.
    """
    store = workspace.lake
    decisions = store.read(study.windows, months=(month, month), snapshot=snapshot)
    frame, by_estimator = study.predictions.empty().drop("certificate"), study.estimator_predictions.empty()
    if decisions.height:

        def predict(keys: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
            windows = windows_of_keys(store, study, keys, month, workspace.calendar, snapshot)
            if on_windows is not None:
                on_windows(windows)
            return predicted(study, fitted, windows, month)

        values, by_estimator = ledger.read_test(decisions, predict, fold=record["fitted"][0])
        frame = decisions.select(CLOCKS).hstack(values.drop("symbol", "session"))
    frame = frame.with_columns(
        pl.lit(month).alias("fold"),
        pl.lit(record["model_run"][0]).alias("model_run"),
        pl.lit(int(record["snapshot"][0]), pl.Int64).alias("snapshot"),
    )
    return frame, by_estimator


class CertifiedMonth(NamedTuple):
    """A month of predictions, audited and ready to be published.

    Attributes:
        frame: the predictions, each row with its certificate.
        beside: tables to publish in the same transaction: certificates, and the estimators' predictions.
        report: audit of the predictions.
        record: the models' row of the model table.
        certificate: digest of the certificate.
        attention: where a network looked, see `attention_of`.
    """

    frame: pl.DataFrame
    beside: list[tuple[TableSchema, pl.DataFrame]]
    report: AuditReport
    record: pl.DataFrame
    certificate: str
    attention: list[pl.DataFrame]


def certified_month(
    workspace: Workspace, study: StudySpec, month: str, *, run_id: str, recorded_at: datetime
) -> CertifiedMonth:
    """Predict a month by its published models, audit it and certify it; nothing is written.

    Args:
        workspace: the data set.
        study: the study.
        month: month key.
        run_id, recorded_at: the run that does it and the time of that run.

    Raises:
        ModelMissingError: the month has no model, or its files are not those that were published.
    """
    store, artifacts = workspace.lake, workspace.artifacts
    now, schema = store.snapshot(), study.predictions
    record = store.read(study.models, months=(month, month), snapshot=now)
    fitted, ledger = load_models(artifacts, study, record, month), load_ledger(artifacts, record)
    looked: list[pl.DataFrame] = []
    frame, by_estimator = predict_month(
        workspace,
        study,
        month,
        record,
        fitted,
        ledger,
        now,
        on_windows=lambda windows: looked.extend(attention_of(study, fitted, windows)),
    )
    report = audit_predictions(workspace, frame, study, record, ledger, month)
    certified = make_certificate(
        store,
        schema,
        study.name,
        month,
        frame,
        record=record,
        ledger=ledger,
        report=report,
        snapshot=now,
        read=reads_of(study, month, workspace.calendar),
        learned_from=learned_from(study, record["fitted"][0]),
        run_id=run_id,
        recorded_at=recorded_at,
    )
    frame = frame.with_columns(pl.lit(certified.digest).alias("certificate"))
    frame = frame.select(list(schema.columns)).cast(cast(Any, schema.polars_schema))
    beside = [certified.beside, (study.estimator_predictions, by_estimator)]
    return CertifiedMonth(frame, beside, report, record, certified.digest, looked)


def reads_of(study: StudySpec, month: str, calendar: str) -> list[Read]:
    """Return the tables and months that the predictions of a month are made of."""
    start = month_key(sessions_before(month, study.window - 1, calendar))
    if study.decisions == "pattern_observations":
        history = (FROM_THE_FIRST, month)
        return [(study.windows, (month, month)), (study.features, history), (RAW_BARS, history)]
    return [(study.windows, (month, month)), (study.features, (start, month))]


def learned_from(study: StudySpec, fitted: str) -> list[Read]:
    """Return the tables and months that the models of a fold learn from."""
    history = (FROM_THE_FIRST, offset_month(fitted, -1))
    tables = [study.features, study.windows, study.labels]
    tables += [RAW_BARS] if study.decisions == "pattern_observations" else []
    return [(table, history) for table in tables]


def attention_of(study: StudySpec, fitted: FittedStudy, windows: Windows) -> list[pl.DataFrame]:
    """Return the attention of the first network that has it, for windows spread over the month; [] where none has."""
    for estimator in study.networks:
        network = fitted.estimators[estimator.name].saved.model
        if hasattr(network.network, "attention_weights"):
            from trademl_pipeline.training.interpret import attention_by_window

            some = windows.take(np.linspace(0, len(windows) - 1, min(len(windows), EXAMPLES)).astype(int))
            return [attention_by_window(network, read_by(fitted, study, some))]
    return []


def write_attention(artifacts: Artifacts, study: str, month: str, looked: Sequence[pl.DataFrame]) -> None:
    """Write what `attention_of` returned for a month.

    Args:
        artifacts: the files of the data set.
        study: name of the study.
        month: month key.
        looked: as `attention_of` returns it; nothing is written where it is empty.
    """
    for attention in looked:
        path = artifacts.attention(study, month)
        path.parent.mkdir(parents=True, exist_ok=True)
        attention.write_parquet(path)


def context_of(study: StudySpec, windows: Windows) -> pl.DataFrame:
    """Return the features of the decisions' own sessions that the study's task makes predictions with."""
    position = {name: study.feature_names.index(name) for name in study.task.context}
    return pl.DataFrame(
        {name: windows.matrix[windows.row, i].astype(np.float64) for name, i in position.items()}
    )


def read_by(fitted: FittedStudy, study: StudySpec, windows: Windows) -> Windows:
    """Return the windows over the features that the models read, out of those over the study's whole set."""
    if fitted.names == study.feature_names:
        return windows
    columns = [study.feature_names.index(name) for name in fitted.names]
    return replace(windows, matrix=np.ascontiguousarray(windows.matrix[:, columns]))


def prediction_months(workspace: Workspace, study: StudySpec, run: RunInfo) -> Body:
    """Return what predicts, audits, certifies and publishes one month by its published models."""

    def month_of(month: str) -> MonthResult:
        made = certified_month(workspace, study, month, run_id=run.run_id, recorded_at=run.recorded_at)
        # What was written is compared with what was audited when it is read back.
        published = publish(
            run,
            workspace.lake,
            study.predictions,
            made.frame,
            month,
            lambda _: made.report,
            beside=made.beside,
        )
        write_attention(workspace.artifacts, study.name, month, made.attention)
        mean = made.frame["score"].mean()
        shown: Metadata = {
            **month_metadata(published, made.frame),
            "mlflow_run": made.record["model_run"][0],
            "fitted_fold": made.record["fitted"][0][:7],
            "mean_score": None if mean is None else float(cast(float, mean)),
            "certificate": made.certificate,
        }
        return result_of(published, shown)

    return month_of


def audit_prediction_month(workspace: Workspace, study: StudySpec, month: str) -> AuditReport:
    """Audit a month of predictions as the lake holds it."""
    store, artifacts = workspace.lake, workspace.artifacts
    record = store.read(study.models, months=(month, month))
    load_models(artifacts, study, record, month)
    ledger = load_ledger(artifacts, record)
    written = store.read(study.predictions, months=(month, month))
    return audit_predictions(workspace, written, study, record, ledger, month)


def prediction_reads(study: StudySpec) -> dict[str, Lookback]:
    """Return which months of which assets a month of predictions reads."""
    return {
        study.models.name: SAME_MONTH,
        study.windows.name: SAME_MONTH,
        study.features.name: sessions_back(study.window - 1),
    }


def prediction_lineage(study: StudySpec) -> Lineage:
    """Return what each column of a study's predictions is made of."""
    inputs = [(study.features.name, name) for name in study.feature_names]
    return {
        **{c: [(study.windows.name, c)] for c in CLOCKS},
        **{c: [*inputs, (study.models.name, "artifact")] for c in study.task.output_schema},
        **{c: [(study.models.name, c)] for c in ("fold", "model_run", "snapshot")},
    }
