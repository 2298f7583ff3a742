"""The model of one walk-forward fold."""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl

from trademl_pipeline.defs.figures import bars_figure
from trademl_pipeline.defs.gate import each_month, gate_checks, publish
from trademl_pipeline.defs.history import require_months
from trademl_pipeline.defs.metadata import OWNERS, month_metadata, table_metadata
from trademl_pipeline.defs.partitions import MONTHS, RUN_PER_MONTH, earlier
from trademl_pipeline.defs.resources import ArtifactsResource, LakeResource, TrackingResource, home
from trademl_pipeline.features import FEATURE_SETS
from trademl_pipeline.folds import Fold, FoldError, WalkForward
from trademl_pipeline.lake import Lake
from trademl_pipeline.lake.errors import LakeError
from trademl_pipeline.lake.schemas import feature_table, label_table, model_table, sequence_table
from trademl_pipeline.leakage import AuditReport, audit_fit_ledger, audit_folds
from trademl_pipeline.market.calendar import offset_month
from trademl_pipeline.studies import StudySpec
from trademl_pipeline.training.dataset import flat_rows, training_rows
from trademl_pipeline.training.ledger import FitLedger
from trademl_pipeline.training.tree_config import LightGBMConfig

PROBES = ("folds", "fit_ledger")
MODEL_FILE, LEDGER_FILE = "model.json", "fit_ledger.parquet"


class ModelMissingError(LakeError):
    """The fold of a month has no model, or its files are not those that were published."""


# One fold is one pod with one GPU where the run launcher is Kubernetes; elsewhere the tags are ignored and the pool
# bounds how many folds train at once.
GPU_TAGS = {
    "dagster-k8s/config": {
        "container_config": {"resources": {"limits": {"nvidia.com/gpu": "1"}}},
    }
}


def plan_of(study: StudySpec) -> WalkForward:
    """The walk-forward plan of a study."""
    folds = study.folds
    return WalkForward(min_train=folds.min_train, window=folds.window, embargo=folds.embargo)


def fold_rows(
    store: Lake, study: StudySpec, month: str, snapshot: int | None = None
) -> tuple[Fold, pl.DataFrame, pl.DataFrame]:
    """The fold of a month with its training rows and the decisions it must not touch."""
    before = offset_month(month, -1)
    history = ("1900-01-01", before)
    # A fold that learned over a hole would not be the fold its month asks for.
    for table in (
        feature_table(study.feature_set, FEATURE_SETS[study.feature_set]),
        sequence_table(study.name),
        label_table(study.name),
    ):
        require_months(store, table, *history, reader=f"model_{study.name} {month[:7]}")
    sequences = store.read(sequence_table(study.name), months=history, snapshot=snapshot)
    labels = store.read(label_table(study.name), months=history, snapshot=snapshot)
    if sequences.is_empty() or labels.is_empty():
        raise FoldError(
            f"fold {month[:7]}: there are no windows or labels before it; materialize sequences_{study.name} and "
            f"{label_table(study.name).name} for the months before {month[:7]}"
        )
    plan = plan_of(study)
    fold = plan.fold(month, sequences["session"].min())  # pyright: ignore[reportArgumentType]
    return fold, *training_rows(sequences, labels, plan, fold)


def audit_fold(train: pl.DataFrame, test: pl.DataFrame, ledger: FitLedger, fold: Fold) -> AuditReport:
    """L on the fold's split, F on everything that was fitted for it."""
    return audit_folds(train, test, embargo=fold.embargo) + audit_fit_ledger(ledger, fold, train=train)


def load_ledger(record: pl.DataFrame) -> FitLedger:
    """The fit ledger of a published model, by its row in the model table."""
    path = (home() / record["artifact"][0]).with_name(LEDGER_FILE)
    if not path.exists():
        raise ModelMissingError(f"the fit ledger {path} is gone; materialize the model of that month again")
    return FitLedger.from_frame(pl.read_parquet(path))


def _write(folder: Path, name: str, data: bytes) -> Path:
    """Write a file whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / f".{name}.{os.getpid()}"
    partial.write_bytes(data)
    os.replace(partial, folder / name)
    return folder / name


def model_assets(study: StudySpec) -> list[dg.AssetsDefinition | dg.AssetChecksDefinition]:
    """The asset and the gate checks of a study's models."""
    schema = model_table(study.name)
    features_name = f"features_{study.feature_set}"

    @dg.asset(
        name=schema.name,
        description=f"{study.title}: LightGBM trained for one month on what was known before it.\n\nTraining labels "
        f"end {study.folds.embargo} sessions before the month's first decision (at least "
        f"{study.folds.min_train} sessions of them); everything fitted goes through the fit ledger. A fold of 60 "
        "symbols takes a few seconds.",
        partitions_def=MONTHS,
        backfill_policy=RUN_PER_MONTH,
        deps=[
            dg.AssetDep(features_name, partition_mapping=earlier()),
            dg.AssetDep(label_table(study.name).name, partition_mapping=earlier()),
            dg.AssetDep(sequence_table(study.name).name, partition_mapping=earlier()),
        ],
        group_name="models",
        kinds={"lightgbm", "mlflow"},
        owners=OWNERS,
        tags={"study": study.name},
        pool="gpu",
        op_tags=GPU_TAGS,
        metadata=table_metadata(schema),
    )
    def model(
        context: dg.AssetExecutionContext,
        lake: LakeResource,
        tracking: TrackingResource,
        artifacts: ArtifactsResource,
    ) -> None:
        from trademl_pipeline.training.trees import fit_lightgbm

        store = lake.open()

        def month_of(month: str) -> dict[str, Any]:
            snapshot = store.snapshot()
            fold, train, test = fold_rows(store, study, month, snapshot)
            table = feature_table(study.feature_set, FEATURE_SETS[study.feature_set])
            features = store.read(table, months=("1900-01-01", offset_month(month, -1)), snapshot=snapshot)
            rows = flat_rows(train, features, FEATURE_SETS[study.feature_set], study.lags)
            config = LightGBMConfig(
                n_classes=3,
                validation_sessions=study.validation_sessions,
                embargo=study.folds.embargo,
                **study.model,
            )
            ledger = FitLedger(month)
            context.log.info(
                f"fold {month[:7]}: {train.height} rows, {train['session'].n_unique()} sessions, "
                f"labels up to {train['label_end'].max()}"
            )
            with tracking.run(
                schema.name, month, {"study": study.name, "dagster_run": context.run.run_id}
            ) as run:
                run.log_params(
                    {
                        **vars(config),
                        "seed": study.seed,
                        "lags": study.lags,
                        "horizon": study.horizon,
                        "k": study.k,
                        "feature_set": study.feature_set,
                        "dataset_snapshot": snapshot,
                        "train_start": fold.train_start,
                        "train_end": fold.train_end,
                        "embargo": fold.embargo,
                    }
                )
                fitted = fit_lightgbm(
                    rows.keys,
                    rows.x,
                    rows.names,
                    config,
                    seed=study.seed,
                    threads=os.cpu_count() or 1,
                    ledger=ledger,
                )
                ledger.freeze()
                # A refused model must not overwrite the files of the one that is published.
                folder = artifacts.models(study.name, month) / run.run_id
                text = fitted.to_text().encode()
                path = _write(folder, MODEL_FILE, text)
                ledger.to_frame().write_parquet(folder / LEDGER_FILE)
                importance = dict(sorted(fitted.importance.items(), key=lambda item: -item[1]))
                _write(folder, "importance.json", json.dumps(importance, indent=1).encode())
                record = pl.DataFrame(
                    {
                        "fold": [month],
                        "train_start": [fold.train_start],
                        "train_end": [fold.train_end],
                        "test_start": [fold.test_start],
                        "test_end": [fold.test_end],
                        "embargo": [fold.embargo],
                        "rows": [train.height],
                        "sessions": [train["session"].n_unique()],
                        "symbols": [train["symbol"].n_unique()],
                        "best_iteration": [fitted.rounds],
                        "validation_loss": [fitted.validation_loss],
                        "snapshot": [snapshot],
                        "model_run": [run.run_id],
                        "artifact": [str(path.relative_to(home()))],
                        "artifact_sha256": [hashlib.sha256(text).hexdigest()],
                        "ledger_digest": [ledger.digest(month)],
                    },
                    schema=schema.polars_schema,
                )
                metrics = {"rounds": float(fitted.rounds), "train_rows": float(train.height)}
                if fitted.validation_loss is not None:
                    metrics["validation_loss"] = fitted.validation_loss
                run.log_metrics(metrics)
                published = publish(
                    context, store, schema, record, month, lambda _: audit_fold(train, test, ledger, fold)
                )
                run.log_artifact(folder)
            top = list(importance.items())[:15]
            return {
                **month_metadata(published, record),
                "mlflow_run": run.run_id,
                "train_rows": int(train.height),
                "train_sessions": int(train["session"].n_unique()),
                "last_label_end": str(train["label_end"].max()),
                "rounds": int(fitted.rounds),
                "validation_loss": fitted.validation_loss,
                "dataset_snapshot": int(snapshot),
                "importance": bars_figure(dict(top), "share of gain", horizontal=True),
            }

        each_month(context, month_of)

    def audit_month(store: Lake, month: str) -> AuditReport:
        record = store.read(schema, months=(month, month))
        if record.is_empty():
            raise ModelMissingError(f"{schema.name} has no model of {month[:7]}; materialize it first")
        fold, train, test = fold_rows(store, study, month, int(record["snapshot"][0]))
        return audit_fold(train, test, load_ledger(record), fold)

    return [model, gate_checks(schema.name, schema.name, PROBES, audit_month)]
