"""Fitting the models of a fold, and what is kept and told of them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, cast

import polars as pl

from trademl_pipeline.pipeline.figures import bars_figure, lines_figure
from trademl_pipeline.pipeline.fold import FoldRows, plan_of
from trademl_pipeline.pipeline.models import LEDGER_FILE
from trademl_pipeline.pipeline.shown import Metadata
from trademl_pipeline.pipeline.workspace import Workspace
from trademl_pipeline.registry.tracking import TrackedRun
from trademl_pipeline.sequences.windows import Windows
from trademl_pipeline.studies import StudySpec
from trademl_pipeline.training.estimators import TrainingContext
from trademl_pipeline.training.fitted_study import CARD, FittedStudy
from trademl_pipeline.training.ledger import FitLedger
from trademl_pipeline.training.study import fit_study
from trademl_pipeline.training.trials import TrialLedger


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
    training: TrainingContext,
    ledger: FitLedger,
    run: TrackedRun,
    folder: Path,
    trial_ledger: Path,
    progress: Callable[[str, dict[str, float]], None] | None = None,
) -> SavedFold:
    """Fit a fold and write all that is kept of it: models, fit ledger, importance, training log.

    Args:
        study: the study.
        windows: the training windows.
        training: what the estimators share.
        ledger: records every fit; frozen afterwards.
        run: of the tracker, which hears of trials and histories.
        folder: to write to.
        trial_ledger: file of the ledger of trials.
        progress: as for `training.study.fit_study`.
    """
    # torch, which this loads, is not for the process that only reads the definitions
    from trademl_pipeline.training.interpret import study_importance

    trials = TrialLedger(trial_ledger, on_trial=run.log_trial)
    fitted = fit_study(study.training, windows, training, ledger=ledger, progress=progress, trials=trials)
    log = {name: estimator.history for name, estimator in fitted.estimators.items()}
    for name, history in log.items():
        run.log_history(name, history)
    ledger.freeze()
    digest = fitted.save(folder / "study")
    ledger.to_frame().write_parquet(folder / LEDGER_FILE)
    importance = study_importance(fitted, windows, training)
    (folder / "importance.json").write_text(json.dumps(importance, indent=1))
    (folder / "training_log.json").write_text(json.dumps(log, indent=1))
    return SavedFold(fitted, ledger, run.run_id, folder, digest, importance)


def parameters_of(
    study: StudySpec, training: TrainingContext, rows: FoldRows, snapshot: int
) -> dict[str, Any]:
    """Return the parameters that a fold is trained with, for the tracker.

    Args:
        study: the study.
        training: what the estimators share.
        rows: what it is trained on.
        snapshot: of the lake that the rows were read at.
    """
    return {
        "size": training.preset,
        "epochs": training.epochs or "by preset",
        "seed": training.seed,
        "feature_set": study.feature_set,
        "target": study.target,
        "window": study.window,
        "train_stride": study.train_stride,
        "ensemble": study.training.ensemble,
        "members": ", ".join(f"{m.name} ({m.kind})" for m in study.training.estimators),
        "dataset_snapshot": snapshot,
        "train_start": rows.fold.train_start,
        "train_end": rows.fold.train_end,
        "embargo": rows.fold.embargo,
        "fitted_fold": rows.fold.month,
    }


def record_of(
    workspace: Workspace,
    study: StudySpec,
    month: str,
    rows: FoldRows,
    saved: SavedFold,
    snapshot: int,
    training: TrainingContext,
    only: frozenset[str] = frozenset(),
    epochs: int = 0,
) -> pl.DataFrame:
    """Return the row of a trained fold in the model table.

    Args:
        workspace: the data set.
        study: the study.
        month: month key that it is filed under.
        rows: what it was trained on.
        saved: the models.
        snapshot: of the lake that the rows were read at.
        training: what the estimators share.
        only: symbols trained on; empty: all.
        epochs: that the run asked for; 0: as the preset says.
    """
    month_fold = plan_of(study, workspace.calendar).fold(month, rows.fold.train_start)
    fitted = saved.fitted
    first = fitted.estimators[fitted.base_learners[0]]
    record = pl.DataFrame(
        {
            "fold": [month],
            "fitted": [rows.fold.month],
            "train_start": [rows.fold.train_start],
            "train_end": [rows.fold.train_end],
            "test_start": [month_fold.test_start],
            "test_end": [month_fold.test_end],
            "embargo": [rows.fold.embargo],
            "rows": [rows.train.height],
            "sessions": [rows.train["session"].n_unique()],
            "symbols": [rows.train["symbol"].n_unique()],
            "size": [training.preset],
            "parameters": [sum(fitted.estimators[name].parameters for name in fitted.base_learners)],
            "train_seconds": [sum(m.seconds for m in fitted.estimators.values())],
            "best_iteration": [first.best_iteration],
            "validation_loss": [first.validation_loss],
            "snapshot": [snapshot],
            "model_run": [saved.run_id],
            "artifact": [workspace.artifacts.name(saved.folder / "study" / CARD)],
            "artifact_sha256": [saved.digest],
            "ledger_digest": [saved.ledger.digest(rows.fold.month)],
            "only_symbols": [",".join(sorted(only))],
            "epochs": [epochs],
            "threads": [training.threads],
            "scan": [_scan_backend() if study.networks else None],
        }
    )
    return record.select(list(study.models.columns)).cast(cast(Any, study.models.polars_schema))


def _scan_backend() -> str:
    """The backend of the state-space scan here, on a tensor such as the networks are trained on."""
    import torch

    from trademl_pipeline.models.ssm import choose_backend

    return choose_backend(torch.zeros(1))


def metrics_of(fitted: FittedStudy, rows: FoldRows) -> dict[str, float]:
    """Return figures of a trained fold for the tracker."""
    metrics: dict[str, float] = {"train_rows": float(rows.train.height)}
    for name, estimator in fitted.estimators.items():
        metrics[f"{name}_seconds"] = estimator.seconds
        metrics[f"{name}_iterations"] = float(estimator.best_iteration)
        if estimator.validation_loss is not None:
            metrics[f"{name}_validation_loss"] = estimator.validation_loss
    return metrics


def estimators_table(fitted: FittedStudy) -> str:
    """Return the estimators of a fold as a Markdown table."""
    lines = [
        "| estimator | kind | part | parameters | rows | best | validation loss | seconds |",
        "|" + "---|" * 8,
    ]
    for name, m in fitted.estimators.items():
        part = "base learner" if name in fitted.base_learners else "benchmark"
        weight = fitted.weights.get("", {}).get(name)
        part = f"weight {weight:.2f}" if weight is not None else part
        loss = "" if m.validation_loss is None else f"{m.validation_loss:.4f}"
        lines.append(
            f"| {name} | {m.kind} | {part} | {m.parameters:,} | {m.rows:,} | {m.best_iteration} | {loss} | "
            f"{m.seconds:.1f} |"
        )
    return "\n".join(lines)


def fit_figures(fitted: FittedStudy, importance: dict[str, float]) -> Metadata:
    """Return figures of importances and of losses by epoch, where there are any."""
    figures: Metadata = {}
    if importance:
        figures["importance"] = bars_figure(
            dict(list(importance.items())[:15]), "share of the importance", horizontal=True
        )
    curves = {
        f"{name} {side}": [epoch[f"{side}_loss"] for epoch in estimator.history]
        for name, estimator in fitted.estimators.items()
        for side in ("train", "validation")
        if estimator.history
    }
    if curves:
        figures["loss_by_epoch"] = lines_figure(curves, "epoch", "loss")
    return figures
