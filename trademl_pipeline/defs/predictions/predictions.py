"""Out-of-sample predictions of a study, one fold per month."""

import hashlib
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import polars as pl

from trademl_pipeline.defs.certificates import make_certificate
from trademl_pipeline.defs.gate import each_month, gate_checks, publish
from trademl_pipeline.defs.metadata import OWNERS, column_lineage, month_metadata, table_metadata
from trademl_pipeline.defs.models.model import ModelMissingError, fold_rows, load_ledger
from trademl_pipeline.defs.partitions import MONTHS, RUN_PER_MONTH, months_back, same_month, trailing
from trademl_pipeline.defs.resources import LakeResource, home
from trademl_pipeline.features import FEATURE_SETS
from trademl_pipeline.lake import Lake
from trademl_pipeline.lake.schemas import (
    feature_table,
    label_table,
    model_table,
    prediction_table,
    sequence_table,
)
from trademl_pipeline.leakage import AuditReport, audit_access, audit_fit_ledger, audit_folds, audit_knowledge
from trademl_pipeline.market.calendar import month_key, month_sessions, offset, offset_month
from trademl_pipeline.studies import StudySpec
from trademl_pipeline.training.dataset import flat_rows
from trademl_pipeline.training.ledger import FitLedger

PROBES = ("knowledge", "folds", "fit_ledger")
FROM_THE_FIRST = "1900-01-01"
CLASSES = ("p_sell", "p_hold", "p_buy")


def load_model(study: StudySpec, record: pl.DataFrame, month: str) -> Any:
    """The published model of a fold, its file checked against the digest on record."""
    from trademl_pipeline.training.trees import TreeModel

    if record.is_empty():
        raise ModelMissingError(
            f"predictions_{study.name} {month[:7]}: there is no model of that month; materialize model_{study.name} "
            f"for {month[:7]} first"
        )
    path = home() / Path(record["artifact"][0])
    if not path.exists():
        raise ModelMissingError(
            f"the model file {path} is gone; materialize model_{study.name} {month[:7]} again"
        )
    data = path.read_bytes()
    if hashlib.sha256(data).hexdigest() != record["artifact_sha256"][0]:
        raise ModelMissingError(
            f"the model file {path} is not the one that was published for {month[:7]}; materialize "
            f"model_{study.name} {month[:7]} again"
        )
    return TreeModel.from_text(data.decode())


def audit_predictions(
    store: Lake,
    published: pl.DataFrame,
    study: StudySpec,
    record: pl.DataFrame,
    ledger: FitLedger,
    month: str,
) -> AuditReport:
    """K on every row; L and F of the model against the decisions that were really taken; R on the reading of them."""
    fold, train, _ = fold_rows(store, study, month, int(record["snapshot"][0]))
    decisions = published.select("symbol", "session")
    return (
        audit_knowledge(published)
        + audit_folds(train, decisions, embargo=fold.embargo)
        + audit_fit_ledger(ledger, fold, train=train)
        + audit_access(ledger)
    )


def prediction_assets(study: StudySpec) -> list[dg.AssetsDefinition | dg.AssetChecksDefinition]:
    """The asset and the gate checks of a study's predictions."""
    schema = prediction_table(study.name)
    models, windows = model_table(study.name), sequence_table(study.name)
    features = feature_table(study.feature_set, FEATURE_SETS[study.feature_set])
    inputs = [(features.name, name) for name in FEATURE_SETS[study.feature_set]]
    lineage = column_lineage(
        {
            **{c: [(windows.name, c)] for c in ("symbol", "session", "decision_time", "knowledge_time")},
            **{c: [*inputs, (models.name, "artifact")] for c in (*CLASSES, "score")},
            **{c: [(models.name, c)] for c in ("fold", "model_run", "snapshot")},
        }
    )
    back = max(study.lags)
    learned = (features, windows, label_table(study.name))

    @dg.asset(
        name=schema.name,
        description=f"{study.title}: class probabilities for every decision of the month, by the model that was "
        "trained before it.\n\nScore is P(buy) - P(sell). Each row names the fold, the MLflow run, the lake snapshot "
        "the model learned from and its certificate, kept in `certificates_<study>`.",
        partitions_def=MONTHS,
        backfill_policy=RUN_PER_MONTH,
        deps=[
            dg.AssetDep(models.name, partition_mapping=same_month()),
            dg.AssetDep(windows.name, partition_mapping=same_month()),
            dg.AssetDep(features.name, partition_mapping=trailing(months_back(back))),
        ],
        group_name="predictions",
        kinds={"lightgbm", "duckdb", "parquet"},
        owners=OWNERS,
        tags={"study": study.name},
        metadata=table_metadata(schema, lineage),
    )
    def predictions(context: dg.AssetExecutionContext, lake: LakeResource) -> None:
        store = lake.open()

        def month_of(month: str) -> dict[str, Any]:
            now = store.snapshot()
            record = store.read(models, months=(month, month), snapshot=now)
            model = load_model(study, record, month)
            ledger = load_ledger(record)
            start = offset(month_sessions(month)[0], -back)
            reads = [(windows, (month, month)), (features, (month_key(start), month))]
            window, known = (store.read(table, months=months, snapshot=now) for table, months in reads)

            def predict(keys: pl.DataFrame) -> np.ndarray:
                return model.predict_proba(
                    flat_rows(keys, known, FEATURE_SETS[study.feature_set], study.lags).x
                )

            proba = ledger.read_test(window, predict, fold=month)
            frame = window.select("symbol", "session", "decision_time", "knowledge_time").with_columns(
                *(pl.Series(name, proba[:, i]) for i, name in enumerate(CLASSES)),
                pl.Series("score", proba[:, 2] - proba[:, 0]),
                pl.lit(month).alias("fold"),
                pl.lit(record["model_run"][0]).alias("model_run"),
                pl.lit(int(record["snapshot"][0]), pl.Int64).alias("snapshot"),
            )
            report = audit_predictions(store, frame, study, record, ledger, month)
            certified = make_certificate(
                context,
                store,
                study.name,
                month,
                frame,
                record=record,
                ledger=ledger,
                report=report,
                snapshot=now,
                read=reads,
                learned_from=[(table, (FROM_THE_FIRST, offset_month(month, -1))) for table in learned],
            )
            frame = frame.with_columns(pl.lit(certified.digest).alias("certificate"))
            # What was written is compared with what was audited when it is read back.
            published = publish(
                context, store, schema, frame, month, lambda _: report, beside=[certified.beside]
            )
            return {
                **month_metadata(published, frame),
                "mlflow_run": record["model_run"][0],
                "mean_score": float(np.mean(proba[:, 2] - proba[:, 0])),
                "certificate": certified.digest,
            }

        each_month(context, month_of)

    def audit_month(store: Lake, month: str) -> AuditReport:
        record = store.read(models, months=(month, month))
        load_model(study, record, month)
        ledger = load_ledger(record)
        written = store.read(schema, months=(month, month))
        return audit_predictions(store, written, study, record, ledger, month)

    return [predictions, gate_checks(schema.name, schema.name, PROBES, audit_month)]
