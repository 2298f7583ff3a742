"""Fit an estimator of a study's ensemble: a network, trees or a linear baseline, each called in the same way."""

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from trademl_pipeline.evaluation.groups import numbered
from trademl_pipeline.sequences.windows import Windows
from trademl_pipeline.tasks.protocol import Task
from trademl_pipeline.training.estimators import (
    BOOSTED,
    EstimatorSpec,
    FittedEstimator,
    TrainingContext,
    TrainingPreset,
    row_names,
    rows_of,
    subsampled,
)
from trademl_pipeline.training.inner_split import FitError
from trademl_pipeline.training.ledger import FitLedger
from trademl_pipeline.training.networks.schedule import NetworkTrainingConfig
from trademl_pipeline.training.saved import LINEAR, NETWORK, TREES, VALUE_TREES, SavedModel
from trademl_pipeline.training.trials import TrialLedger

Progress = Callable[[str, dict[str, float]], None]


def fit_estimator(
    spec: EstimatorSpec,
    task: Task,
    windows: Windows,
    context: TrainingContext,
    *,
    ledger: FitLedger,
    checkpoint: Path | None = None,
    progress: Progress | None = None,
    trials: TrialLedger | None = None,
) -> FittedEstimator:
    """Fit one estimator on a fold's training windows.

    Args:
        spec: the estimator.
        task: what it learns; `windows.targets` are its targets.
        windows: the fold's training rows; keys hold symbol, session, label_end, knowledge_time and the labels.
        context: what the fold's estimators share.
        ledger: records every fit.
        checkpoint: folder for a network's state after each epoch, taken up after a kill.
        progress: called with the estimator's name and figures as it learns.
        trials: every trial of a search is written there.

    Raises:
        FitError: as the estimator's own fit; or the kind does not do the task.
    """
    preset = spec.presets.get(context.preset)
    if preset is None:
        raise FitError(
            f"estimator {spec.name} has no preset {context.preset!r}; it has {', '.join(spec.presets)}"
        )
    windows = subsampled(windows, preset.max_rows, context.seed)
    start = time.perf_counter()
    if spec.kind in BOOSTED:
        fitted = _fit_trees(spec, preset, task, windows, context, ledger, trials)
    elif spec.kind == "linear":
        fitted = _fit_linear(spec, task, windows, context, ledger)
    else:
        fitted = _fit_network(spec, preset, task, windows, context, ledger, checkpoint, progress)
    return replace(fitted, seconds=time.perf_counter() - start, rows=len(windows))


def _fit_trees(
    spec: EstimatorSpec,
    preset: TrainingPreset,
    task: Task,
    windows: Windows,
    context: TrainingContext,
    ledger: FitLedger,
    trials: TrialLedger | None,
) -> FittedEstimator:
    from trademl_pipeline.training.trees.classes import fit_lightgbm, fit_xgboost
    from trademl_pipeline.training.trees.config import LightGBMConfig, XGBoostConfig

    if task.class_label is None:
        return _fit_value_trees(spec, preset, task, windows, context, ledger)
    fit, config_of = {"lightgbm": (fit_lightgbm, LightGBMConfig), "xgboost": (fit_xgboost, XGBoostConfig)}[
        spec.kind
    ]
    x = rows_of(windows, spec.lags, spec.rolling_mean_windows)
    names = row_names(context.names, spec.lags, spec.rolling_mean_windows)
    keys = windows.keys.with_columns(pl.Series("target", windows.targets[task.class_label]))
    groups = None if spec.demean_within is None else groups_of(windows, context.names, spec.demean_within)
    fixed = {
        "n_classes": len(task.columns),
        "validation_sessions": context.validation_sessions,
        "embargo": context.embargo,
        **spec.settings,
    }

    def fitted(params: Mapping[str, Any], rows: np.ndarray, fit_ledger: FitLedger) -> Any:
        config = config_of(**(fixed | dict(params)))
        return fit(
            keys[rows],
            x[rows],
            names,
            config,
            seed=context.seed,
            threads=context.threads,
            ledger=fit_ledger,
            groups=None if groups is None else groups[rows],
        )

    chosen: dict[str, Any] = {}
    if preset.trials and spec.space:
        chosen = _searched(spec, preset, task, keys, context, ledger, trials, fitted, x)
    model = fitted(chosen, np.arange(len(keys)), ledger)
    leaves = model.rounds * len(task.columns) * int(getattr(config_of(**fixed), "num_leaves", 0) or 2**6)
    return _learned_from_rows(spec, TREES, names, model, leaves, chosen)


def _fit_value_trees(
    spec: EstimatorSpec,
    preset: TrainingPreset,
    task: Task,
    windows: Windows,
    context: TrainingContext,
    ledger: FitLedger,
) -> FittedEstimator:
    from trademl_pipeline.training.trees.config import LightGBMConfig, XGBoostConfig
    from trademl_pipeline.training.trees.values import Columns, fit_value_trees

    values = task.values
    if values is None:
        raise FitError(f"{spec.kind} needs classes or values to learn, and task {task.name} has neither")
    if preset.trials and spec.space:
        raise FitError(
            f"estimator {spec.name} searches hyper-parameters, which only tasks of classes score; leave `space` empty"
        )
    config_of = {"lightgbm": LightGBMConfig, "xgboost": XGBoostConfig}[spec.kind]
    config = config_of(
        **{
            "validation_sessions": context.validation_sessions,
            "embargo": context.embargo,
            **spec.settings,
        }
    )
    columns = Columns(
        task.columns,
        frozenset(values.log_scale),
        frozenset(values.probabilities),
        values.simplexes,
    )
    names = row_names(context.names, spec.lags, spec.rolling_mean_windows)
    model = fit_value_trees(
        spec.kind,  # pyright: ignore[reportArgumentType]
        windows.keys,
        rows_of(windows, spec.lags, spec.rolling_mean_windows),
        values.y(windows.targets),
        names,
        columns,
        config,
        seed=context.seed,
        threads=context.threads,
        ledger=ledger,
        groups=None if spec.demean_within is None else groups_of(windows, context.names, spec.demean_within),
    )
    leaves = model.rounds * int(getattr(config, "num_leaves", 0) or 2 ** getattr(config, "max_depth", 6))
    return _learned_from_rows(spec, VALUE_TREES, names, model, leaves)


def groups_of(windows: Windows, names: tuple[str, ...], signs: tuple[str, ...]) -> np.ndarray:
    """(rows,) number of each row's group: session, end of the label and signs of some features, NaN being 0."""
    columns = {name: np.sign(np.nan_to_num(windows.matrix[windows.row, names.index(name)])) for name in signs}
    groups = windows.keys.select("session", "label_end").with_columns(
        pl.Series(name, values) for name, values in columns.items()
    )
    return numbered(groups)


def _searched(
    spec: EstimatorSpec,
    preset: TrainingPreset,
    task: Task,
    keys: pl.DataFrame,
    context: TrainingContext,
    ledger: FitLedger,
    trials: TrialLedger | None,
    fitted: Callable[[Mapping[str, Any], np.ndarray, FitLedger], Any],
    x: np.ndarray,
) -> dict[str, Any]:
    from trademl_pipeline.training.tuning import TuneConfig, tune

    target = keys["target"].to_numpy()

    def score(params: Mapping[str, Any], train: np.ndarray, validation: np.ndarray) -> float:
        # Each trial fits on inner rows of its own; the search as a whole is what the fold's ledger records. The model
        # that stopped early tells as much as one fitted again on a few more rows, at half the cost.
        model = fitted({**params, "refit": False}, train, FitLedger(ledger.fold))
        p = model.predict_proba(x[validation], threads=context.threads)
        return float(np.log(np.clip(p[np.arange(len(validation)), target[validation]], 1e-12, None)).mean())

    config = TuneConfig(
        trials=preset.trials,
        folds=context.search_folds,
        validation_sessions=context.validation_sessions,
        embargo=context.embargo,
        seed=context.seed,
    )
    if trials is None:
        raise FitError(
            f"estimator {spec.name} searches hyper-parameters; give the ledger that counts its trials"
        )
    name = f"{task.name}/{spec.name}"
    return tune(name, keys, score, spec.space, config, ledger=ledger, trials=trials).params


def _fit_linear(
    spec: EstimatorSpec, task: Task, windows: Windows, context: TrainingContext, ledger: FitLedger
) -> FittedEstimator:
    from trademl_pipeline.training.linear import fit_linear

    if task.class_label is not None:
        y = np.eye(len(task.columns))[windows.targets[task.class_label]]
        declared = {"shares": True, **spec.settings}
    elif task.values is None or task.values.probabilities:
        raise FitError(
            f"the linear baseline regresses on values, and task {task.name} has none or has probabilities beside them; "
            "use trees or a network"
        )
    else:
        y = task.values.y_true(windows.keys)
        declared = {
            "log_scale": task.values.log_scale,
            "volatility_scaled": task.values.volatility_scaled,
            **spec.settings,
        }
    x = rows_of(windows, spec.lags, spec.rolling_mean_windows)
    names = row_names(context.names, spec.lags, spec.rolling_mean_windows)
    sessions = windows.keys["session"].to_numpy()
    model = ledger.fit("model", windows.keys, lambda _: fit_linear(x, y, task.columns, sessions, **declared))
    return _learned_from_rows(spec, LINEAR, names, model, int(model.weights.size))


def _learned_from_rows(
    spec: EstimatorSpec,
    kind: str,
    names: tuple[str, ...],
    model: Any,
    parameters: int,
    chosen: dict[str, Any] | None = None,
) -> FittedEstimator:
    """An estimator of rows, not windows: what it was given beside the current values is kept with it."""
    metadata = {"lags": list(spec.lags), "means": list(spec.rolling_mean_windows)}
    saved = SavedModel(kind, spec.kind, names, 1, {}, metadata, model)
    return FittedEstimator(
        spec.name,
        spec.kind,
        saved,
        spec.lags,
        spec.rolling_mean_windows,
        parameters=parameters,
        chosen=chosen or {},
    )


def _network_config(
    spec: EstimatorSpec, preset: TrainingPreset, context: TrainingContext
) -> NetworkTrainingConfig:
    return NetworkTrainingConfig(
        **{
            "validation_sessions": context.validation_sessions,
            "embargo": context.embargo,
            "seed": context.seed,
            "threads": context.threads,
            **spec.training,
            **preset.training,
            "epochs": context.epochs or preset.epochs,
        }
    )


def _fit_network(
    spec: EstimatorSpec,
    preset: TrainingPreset,
    task: Task,
    windows: Windows,
    context: TrainingContext,
    ledger: FitLedger,
    checkpoint: Path | None,
    progress: Progress | None,
) -> FittedEstimator:
    from trademl_pipeline.models.registry import build, count_parameters
    from trademl_pipeline.training.networks.loop import fit_network
    from trademl_pipeline.training.saved import saved_network

    config = _network_config(spec, preset, context)
    network = build(spec.kind, windows.features, preset.network_preset, seed=context.seed, **spec.settings)
    parameters = count_parameters(network)
    fitted = fit_network(
        network,
        windows,
        task.loss,
        config,
        ledger=ledger,
        metric=task.metric,
        checkpoint=None if checkpoint is None else checkpoint / f"{spec.name}.pt",
        progress=None if progress is None else lambda record: progress(spec.name, record),
    )
    metadata = {
        "best_epoch": fitted.best_epoch,
        "preset": preset.network_preset or "default",
        "keep": config.keep,
    }
    saved = saved_network(spec.kind, fitted, context.names, windows.length, metadata)
    return FittedEstimator(
        spec.name, spec.kind, saved, spec.lags, history=fitted.history, parameters=parameters
    )


def fine_tuned(
    spec: EstimatorSpec,
    task: Task,
    base: FittedEstimator,
    rows: Windows,
    context: TrainingContext,
    *,
    ledger: FitLedger,
) -> FittedEstimator:
    """Return a copy of a network estimator whose heads are trained on these rows, such as one symbol's.

    The base competes with every epoch, so that rows that teach nothing change nothing.

    Args:
        spec: the estimator's declaration; its training settings are used again.
        task: whose loss and metric the heads are trained by.
        base: the fitted estimator; left as it is.
        rows: windows with targets, of the fold's training rows.
        context: what all estimators of the fold share.
        ledger: records the fit.

    Raises:
        FitError: the estimator is no network, or as `fit_network`.
    """
    if base.saved.kind != NETWORK:
        raise FitError(f"estimator {base.name} is no network; only the heads of networks are tuned by symbol")
    from trademl_pipeline.training.networks.fine_tune import fine_tune
    from trademl_pipeline.training.networks.loop import FittedNetwork
    from trademl_pipeline.training.saved import saved_network
    from trademl_pipeline.training.scaling import RobustScaling

    model = base.saved.model
    scaling = RobustScaling(model.centre.numpy(), model.scale.numpy(), ())
    start = FittedNetwork(model, base.history, base.best_iteration, scaling, base.rows)
    config = _network_config(spec, spec.presets[context.preset], context)
    network = fine_tune(start, rows, task.loss, config, ledger=ledger, metric=task.metric)
    metadata = {"best_epoch": network.best_epoch, "tuned": True}
    saved = saved_network(spec.kind, network, context.names, rows.length, metadata)
    return replace(base, saved=saved, history=network.history, rows=len(rows))
