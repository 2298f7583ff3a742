"""The models of one walk-forward fold: every member of the study, its ensemble and its calibration."""

import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import dagster as dg
import numpy as np
import polars as pl
from pydantic import Field

from trademl_pipeline.certificates.code_version import code_version
from trademl_pipeline.defs.calendars import calendar_of
from trademl_pipeline.defs.figures import bars_figure, lines_figure
from trademl_pipeline.defs.gate import each_month, gate_checks, publish
from trademl_pipeline.defs.metadata import OWNERS, month_metadata, table_metadata
from trademl_pipeline.defs.models.fold import FROM_THE_FIRST, FoldRows, fold_rows, plan_of, windows_of_keys
from trademl_pipeline.defs.partitions import MONTHS, RUN_PER_MONTH, earlier
from trademl_pipeline.defs.resources import (
    ArtifactsResource,
    LakeResource,
    TrackedRun,
    TrackingResource,
    home,
)
from trademl_pipeline.lake import Lake
from trademl_pipeline.lake.errors import LakeError, MissingTableError
from trademl_pipeline.leakage import AuditReport, audit_fit_ledger, audit_folds, audit_model
from trademl_pipeline.market.calendar import offset_month
from trademl_pipeline.sequences.windows import Windows
from trademl_pipeline.studies import StudySpec
from trademl_pipeline.tables.descriptions import MODELS
from trademl_pipeline.training.inner_split import FitError
from trademl_pipeline.training.ledger import FitLedger
from trademl_pipeline.training.members import Setting
from trademl_pipeline.training.study import CARD, FittedStudy, fit_study, load_study
from trademl_pipeline.training.trials import TrialLedger

LEDGER_FILE = "fit_ledger.parquet"
# Rows on which a network is tried with other padding and other neighbours.
ROWS_PROBED = 16


class ModelMissingError(LakeError):
    """The fold of a month has no model, or its files are not those that were published."""


class TrainSettings(dg.Config):
    """Overrides of one run; left empty, the study's own settings hold."""

    size: str = Field(default="", description="size of the study's members, e.g. small or base")
    epochs: int = Field(default=0, description="epochs of every network; 0: as the size says")
    symbols: str = Field(
        default="",
        description="comma-separated symbols to train on, or a number: so many, drawn by a hash of the name; "
        "empty: all",
    )
    refit: str = Field(default="", description="month: train this fold whatever the study's rhythm is")

    def size_of(self, study: StudySpec) -> str:
        """The size asked for.

        Raises:
            dg.Failure: the study has no such size.
        """
        size = self.size or os.environ.get("TRADEML_SIZE", "") or study.sizes[0]
        if size not in study.sizes:
            raise dg.Failure(f"{study.name} has no size {size!r}; it has {', '.join(study.sizes)}")
        return size


# One fold is one pod with one GPU where the run launcher is Kubernetes; elsewhere the tags are ignored and the pool
# bounds how many folds train at once.
GPU_TAGS = {
    "dagster-k8s/config": {
        "container_config": {"resources": {"limits": {"nvidia.com/gpu": "1"}}},
    }
}


def probes_of(study: StudySpec) -> tuple[str, ...]:
    """Probes of a study's models; trees have neither padding nor neighbours."""
    return ("folds", "fit_ledger", "model") if study.networks else ("folds", "fit_ledger")


def audit_fold(
    study: StudySpec, rows: FoldRows, ledger: FitLedger, fitted: FittedStudy, windows: Windows
) -> AuditReport:
    """L on the fold's split, F on everything that was fitted for it, M on every network."""
    report = audit_folds(
        rows.train, rows.test, embargo=rows.fold.embargo, calendar=calendar_of(study)
    ) + audit_fit_ledger(ledger, rows.fold, train=rows.train)
    networks = [fitted.members[member.name] for member in study.networks]
    if not networks:
        return report
    import torch

    some = windows.take(np.array(probed(windows)))
    position = [study.feature_names.index(name) for name in fitted.names]
    x, mask = some.batch(np.arange(len(some)))
    batch, real = torch.from_numpy(x[:, :, position].copy()), torch.from_numpy(mask)
    for member in networks:
        found = audit_model(member.saved.model, batch, real, causal=False, seed=study.seed)
        own = tuple(replace(v, column=f"{member.name}: {v.column}") for v in found.violations)
        report = report + AuditReport(own, found.coverage)
    return report


def probed(windows: Windows) -> list[int]:
    """Windows for the model probe: the shortest ones, which have padding, and others from all over."""
    order = windows.n_valid.argsort(kind="stable")
    spread = range(0, len(windows), max(1, len(windows) // ROWS_PROBED))
    return sorted({*order[: ROWS_PROBED // 2].tolist(), *list(spread)[: ROWS_PROBED // 2]})


def load_ledger(record: pl.DataFrame) -> FitLedger:
    """The fit ledger of a published model, by its row in the model table."""
    path = (home() / record["artifact"][0]).parent.parent / LEDGER_FILE
    if not path.exists():
        raise ModelMissingError(f"the fit ledger {path} is gone; materialize the model of that month again")
    return FitLedger.from_frame(pl.read_parquet(path))


def load_models(study: StudySpec, record: pl.DataFrame, month: str) -> FittedStudy:
    """The published models of a fold, their files checked against the digests on record.

    Raises:
        ModelMissingError: there is none, or its files are gone or are others.
    """
    again = f"materialize {study.models.name} for {month[:7]}"
    if record.is_empty():
        raise ModelMissingError(f"{study.name} {month[:7]}: there is no model of that month; {again} first")
    path = home() / Path(record["artifact"][0])
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


def model_assets(study: StudySpec) -> list[dg.AssetsDefinition | dg.AssetChecksDefinition]:
    """The asset and the gate checks of a study's models."""
    schema = study.models

    @dg.asset(
        name=schema.name,
        description=f"{study.title}: {', '.join(m.name for m in study.fit.members)}, trained for one month on what "
        f"was known before it.\n\nTraining labels end {study.folds.embargo} sessions before the month's first decision "
        f"(at least {study.folds.min_train} sessions of them); everything fitted goes through the fit ledger.",
        partitions_def=MONTHS,
        backfill_policy=RUN_PER_MONTH,
        deps=[
            dg.AssetDep(table.name, partition_mapping=earlier())
            for table in (study.features, study.labels, study.windows)
        ],
        group_name="models",
        kinds=kinds_of(study),
        owners=OWNERS,
        tags={"study": study.name},
        pool="gpu",
        op_tags=GPU_TAGS,
        metadata=table_metadata(schema, descriptions=MODELS),
    )
    def model(
        context: dg.AssetExecutionContext,
        config: TrainSettings,
        lake: LakeResource,
        tracking: TrackingResource,
        artifacts: ArtifactsResource,
    ) -> None:
        store = lake.open()

        def month_of(month: str) -> dict[str, Any]:
            return _train(context, config, store, tracking, artifacts, study, month)

        each_month(context, month_of)

    def audit_month(store: Lake, month: str) -> AuditReport:
        record = store.read(schema, months=(month, month))
        fitted = load_models(study, record, month)
        snapshot = int(record["snapshot"][0])
        rows = recorded_rows(store, study, month, record)
        windows = windows_of_keys(store, study, rows.train, offset_month(rows.fold.month, -1), snapshot)
        return audit_fold(study, rows, load_ledger(record), fitted, windows)

    return [model, gate_checks(schema.name, schema.name, probes_of(study), audit_month)]


def recorded_rows(store: Lake, study: StudySpec, month: str, record: pl.DataFrame) -> FoldRows:
    """The rows that a published model was trained on, read at the snapshot it names."""
    only = frozenset(filter(None, (record["only_symbols"][0] or "").split(",")))
    return fold_rows(
        store, study, month, int(record["snapshot"][0]), fitted=record["fitted"][0], symbols=only
    )


def symbols_of(store: Lake, study: StudySpec, asked: str, month: str, snapshot: int) -> frozenset[str]:
    """The symbols that a run asks to train on, by name or by number; empty: all."""
    named = frozenset(s.strip() for s in asked.split(",") if s.strip())
    if not asked.strip().isdigit():
        return named
    history = (FROM_THE_FIRST, offset_month(month, -1))
    known = store.read(study.windows, months=history, columns=["symbol"], snapshot=snapshot)[
        "symbol"
    ].unique()
    drawn = sorted(known, key=lambda name: hashlib.sha256(name.encode()).digest())
    return frozenset(drawn[: int(asked)])


def setting_of(study: StudySpec, size: str, epochs: int = 0) -> Setting:
    """What the members of a fold share; `epochs` 0 leaves them to the size."""
    return Setting(
        names=study.feature_names,
        size=size,
        validation_sessions=study.validation_sessions,
        embargo=study.folds.embargo,
        seed=study.seed,
        epochs=epochs or None,
        threads=int(os.environ.get("TRADEML_THREADS", "0")) or os.cpu_count() or 1,
    )


def _train(
    context: dg.AssetExecutionContext,
    config: TrainSettings,
    store: Lake,
    tracking: TrackingResource,
    artifacts: ArtifactsResource,
    study: StudySpec,
    month: str,
) -> dict[str, Any]:
    snapshot, size = store.snapshot(), config.size_of(study)
    only = symbols_of(store, study, config.symbols, month, snapshot)
    fitted_fold = month if config.refit == "month" else None
    rows = fold_rows(store, study, month, snapshot, fitted=fitted_fold, symbols=only)
    kept = None if only else kept_model(store, study, month, rows.fold.month, size, config.epochs, snapshot)
    if kept is not None:
        return _carried(context, store, study, month, kept)
    windows = windows_of_keys(store, study, rows.train, offset_month(rows.fold.month, -1), snapshot)
    setting = setting_of(study, size, config.epochs)
    ledger = FitLedger(rows.fold.month)
    context.log.info(
        f"fold {month[:7]}: {rows.train.height} rows, {rows.train['session'].n_unique()} sessions, labels up to "
        f"{rows.train['label_end'].max()}, size {size}"
    )
    code = code_version()
    tags = {
        "study": study.name,
        "dagster_run": context.run.run_id,
        "code": code.label,
        "code_source": code.source,
        "dataset_snapshot": str(snapshot),
    }
    with tracking.run(study.models.name, month, tags) as run:
        run.log_params(parameters_of(study, setting, rows, snapshot))
        # A refused model must not overwrite the files of the one that is published.
        folder = artifacts.models(study.name, month) / run.run_id
        saved = fit_and_save(study, windows, setting, ledger, run, folder, progress=_progress(context))
        fitted = saved.fitted
        run.log_metrics(metrics_of(fitted, rows))
        record = record_of(study, month, rows, saved, snapshot, size, only, config.epochs)
        published = publish(
            context,
            store,
            study.models,
            record,
            month,
            lambda _: audit_fold(study, rows, ledger, fitted, windows),
        )
        run.log_artifact(folder)
    return {
        **month_metadata(published, record),
        "mlflow_run": run.run_id,
        "size": size,
        "fitted_fold": rows.fold.month[:7],
        "train_rows": int(rows.train.height),
        "train_sessions": int(rows.train["session"].n_unique()),
        "last_label_end": str(rows.train["label_end"].max()),
        "dataset_snapshot": int(snapshot),
        "members": dg.MetadataValue.md(_members_table(fitted)),
        **({"features_dropped": dg.MetadataValue.json(dict(fitted.dropped))} if fitted.dropped else {}),
        **_figures(fitted, saved.importance),
    }


class SavedFold(NamedTuple):
    """A fitted fold and where it is kept.

    Attributes:
        fitted: the models.
        ledger: their fit ledger, frozen.
        run_id: of the tracker.
        folder: of the files, below the project's home.
        digest: SHA-256 of the models' card.
        importance: by feature.
    """

    fitted: FittedStudy
    ledger: FitLedger
    run_id: str
    folder: Path
    digest: str
    importance: dict[str, float]


def fit_and_save(
    study: StudySpec,
    windows: Windows,
    setting: Setting,
    ledger: FitLedger,
    run: TrackedRun,
    folder: Path,
    progress: Callable[[str, dict[str, float]], None] | None = None,
) -> SavedFold:
    """Fit a fold and write all that is kept of it: models, fit ledger, importance, training log.

    Args:
        study: the study.
        windows: the training windows.
        setting: what the members share.
        ledger: records every fit; frozen afterwards.
        run: of the tracker, which hears of trials and histories.
        folder: to write to.
        progress: as for `training.study.fit_study`.
    """
    # torch, which this loads, is not for the process that only reads the definitions
    from trademl_pipeline.training.interpret import study_importance

    trials = TrialLedger(home() / "trials.jsonl", told=run.log_trial)
    fitted = fit_study(study.fit, windows, setting, ledger=ledger, progress=progress, trials=trials)
    log = {name: member.history for name, member in fitted.members.items()}
    for name, history in log.items():
        run.log_history(name, history)
    ledger.freeze()
    digest = fitted.save(folder / "study")
    ledger.to_frame().write_parquet(folder / LEDGER_FILE)
    importance = study_importance(fitted, windows, setting)
    (folder / "importance.json").write_text(json.dumps(importance, indent=1))
    (folder / "training_log.json").write_text(json.dumps(log, indent=1))
    return SavedFold(fitted, ledger, run.run_id, folder, digest, importance)


def kept_model(
    store: Lake, study: StudySpec, month: str, fitted: str, size: str, epochs: int, snapshot: int
) -> pl.DataFrame | None:
    """The model of an earlier month, trained with these settings, that serves this one; None where there is none."""
    if fitted == month:
        return None
    try:
        record = store.read(study.models, months=(fitted, fitted), snapshot=snapshot)
    except MissingTableError:
        return None
    same = record.filter(
        pl.col("size") == size, pl.col("epochs").fill_null(0) == epochs, pl.col("only_symbols") == ""
    )
    return None if same.is_empty() else same


def _carried(
    context: dg.AssetExecutionContext,
    store: Lake,
    study: StudySpec,
    month: str,
    kept: pl.DataFrame,
) -> dict[str, Any]:
    """Publish an earlier month's model for this month, audited on the rows that it was trained on."""
    record, rows, ledger, fitted, windows = carried_fold(store, study, month, kept)
    context.log.info(f"fold {month[:7]}: goes on with the model of {rows.fold.month[:7]}")
    published = publish(
        context,
        store,
        study.models,
        record,
        month,
        lambda _: audit_fold(study, rows, ledger, fitted, windows),
    )
    return {
        **month_metadata(published, record),
        "mlflow_run": record["model_run"][0],
        "fitted_fold": rows.fold.month[:7],
        "members": dg.MetadataValue.md(_members_table(fitted)),
    }


class TrainedFold(NamedTuple):
    """A month's models: their row of the model table, and what they are audited with."""

    record: pl.DataFrame
    rows: FoldRows
    ledger: FitLedger
    fitted: FittedStudy
    windows: Windows


def carried_fold(store: Lake, study: StudySpec, month: str, kept: pl.DataFrame) -> TrainedFold:
    """The model of an earlier month, whose row of the model table is `kept`, filed for this month."""
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
    fitted = load_models(study, kept, rows.fold.month)
    return TrainedFold(record, rows, load_ledger(kept), fitted, windows)


def kinds_of(study: StudySpec) -> set[str]:
    """What the UI says a study's models are made with; Dagster shows three."""
    made = ["torch"] if study.networks else []
    made += [m.kind for m in study.fit.members if m.kind in ("lightgbm", "xgboost")]
    return {*made[:2], "mlflow"}


def _progress(context: dg.AssetExecutionContext) -> Callable[[str, dict[str, float]], None]:
    def told(member: str, epoch: dict[str, float]) -> None:
        said = ", ".join(f"{k} {v:.4g}" for k, v in epoch.items() if k != "epoch")
        context.log.info(f"{member} epoch {int(epoch['epoch'])}: {said}")

    return told


def parameters_of(study: StudySpec, setting: Setting, rows: FoldRows, snapshot: int) -> dict[str, Any]:
    """What a fold is trained with, for the tracker."""
    return {
        "size": setting.size,
        "epochs": setting.epochs or "by size",
        "seed": setting.seed,
        "feature_set": study.feature_set,
        "target": study.target,
        "window": study.window,
        "train_stride": study.train_stride,
        "ensemble": study.fit.ensemble,
        "members": ", ".join(f"{m.name} ({m.kind})" for m in study.fit.members),
        "dataset_snapshot": snapshot,
        "train_start": rows.fold.train_start,
        "train_end": rows.fold.train_end,
        "embargo": rows.fold.embargo,
        "fitted_fold": rows.fold.month,
    }


def record_of(
    study: StudySpec,
    month: str,
    rows: FoldRows,
    saved: SavedFold,
    snapshot: int,
    size: str,
    only: frozenset[str] = frozenset(),
    epochs: int = 0,
) -> pl.DataFrame:
    """The row of a trained fold in the model table.

    Args:
        study: the study.
        month: month key that it is filed under.
        rows: what it was trained on.
        saved: the models.
        snapshot: of the lake that the rows were read at.
        size: of the members.
        only: symbols trained on; empty: all.
        epochs: that the run asked for; 0: as the size says.
    """
    own = plan_of(study).fold(month, rows.fold.train_start)
    fitted = saved.fitted
    first = fitted.members[fitted.voters[0]]
    record = pl.DataFrame(
        {
            "fold": [month],
            "fitted": [rows.fold.month],
            "train_start": [rows.fold.train_start],
            "train_end": [rows.fold.train_end],
            "test_start": [own.test_start],
            "test_end": [own.test_end],
            "embargo": [rows.fold.embargo],
            "rows": [rows.train.height],
            "sessions": [rows.train["session"].n_unique()],
            "symbols": [rows.train["symbol"].n_unique()],
            "size": [size],
            "parameters": [sum(fitted.members[name].parameters for name in fitted.voters)],
            "train_seconds": [sum(m.seconds for m in fitted.members.values())],
            "best_iteration": [first.best_iteration],
            "validation_loss": [first.validation_loss],
            "snapshot": [snapshot],
            "model_run": [saved.run_id],
            "artifact": [str((saved.folder / "study" / CARD).relative_to(home()))],
            "artifact_sha256": [saved.digest],
            "ledger_digest": [saved.ledger.digest(rows.fold.month)],
            "only_symbols": [",".join(sorted(only))],
            "epochs": [epochs],
        }
    )
    return record.select(list(study.models.columns)).cast(study.models.polars_schema)  # pyright: ignore[reportArgumentType]


def metrics_of(fitted: FittedStudy, rows: FoldRows) -> dict[str, float]:
    """Figures of a trained fold for the tracker."""
    found: dict[str, float] = {"train_rows": float(rows.train.height)}
    for name, member in fitted.members.items():
        found[f"{name}_seconds"] = member.seconds
        found[f"{name}_iterations"] = float(member.best_iteration)
        if member.validation_loss is not None:
            found[f"{name}_validation_loss"] = member.validation_loss
    return found


def _members_table(fitted: FittedStudy) -> str:
    lines = [
        "| member | kind | part | parameters | rows | best | validation loss | seconds |",
        "|" + "---|" * 8,
    ]
    for name, m in fitted.members.items():
        part = "votes" if name in fitted.voters else "baseline"
        weight = fitted.weights.get("", {}).get(name)
        part = f"weight {weight:.2f}" if weight is not None else part
        loss = "" if m.validation_loss is None else f"{m.validation_loss:.4f}"
        lines.append(
            f"| {name} | {m.kind} | {part} | {m.parameters:,} | {m.rows:,} | {m.best_iteration} | {loss} | "
            f"{m.seconds:.1f} |"
        )
    return "\n".join(lines)


def _figures(fitted: FittedStudy, importance: dict[str, float]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if importance:
        found["importance"] = bars_figure(
            dict(list(importance.items())[:15]), "share of the importance", horizontal=True
        )
    curves = {
        f"{name} {side}": [epoch[f"{side}_loss"] for epoch in member.history]
        for name, member in fitted.members.items()
        for side in ("train", "validation")
        if member.history
    }
    if curves:
        found["loss_by_epoch"] = lines_figure(curves, "epoch", "loss")
    return found
