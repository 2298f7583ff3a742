"""Estimators of a study's ensemble: a network, trees or a linear baseline, fitted and asked in the same way."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from trademl_pipeline.evaluation.groups import numbered
from trademl_pipeline.sequences.index import flat
from trademl_pipeline.sequences.windows import Windows
from trademl_pipeline.tasks.protocol import Task
from trademl_pipeline.training.inner_split import FitError
from trademl_pipeline.training.ledger import FitLedger
from trademl_pipeline.training.networks.schedule import NetworkTrainingConfig
from trademl_pipeline.training.saved import LINEAR, NETWORK, TREES, VALUE_TREES, SavedModel
from trademl_pipeline.training.trials import TrialLedger

BOOSTED = ("lightgbm", "xgboost")
Progress = Callable[[str, dict[str, float]], None]
# Windows whose means are taken at once.
_BLOCK = 4096


@dataclass(frozen=True)
class TrainingPreset:
    """How much an estimator may cost at one preset of a study.

    Attributes:
        network_preset: preset of the network, see `models.registry.presets`; None: its defaults.
        epochs: most epochs of a network.
        max_rows: most training rows, drawn with the seed where the fold has more; None: all.
        trials: trials of the hyper-parameter search over `EstimatorSpec.space`; 0: none.
        training: fields of `training.schedule.NetworkTrainingConfig` that this preset sets otherwise than the
            estimator.
    """

    network_preset: str | None = None
    epochs: int = 20
    max_rows: int | None = None
    trials: int = 0
    training: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class EstimatorSpec:
    """One estimator.

    Attributes:
        name: in tables and reports.
        kind: `lightgbm`, `xgboost`, `linear`, or a network of `models.registry.NETWORKS`.
        efforts: by preset of the study.
        settings: fields of the tree config, or of the network's config.
        training: fields of `training.schedule.NetworkTrainingConfig`.
        lags: sessions back that trees and the linear model see.
        rolling_mean_windows: they also see the means of the window's last so many sessions, for each of these numbers.
        demean_within: trees learn what tells the symbols of a session apart, not what the market did: rows that share
            the session, the end of the label and the signs of these features are taken together, see
            `trees.fit_lightgbm` and `value_trees.fit_value_trees`; None: they are not.
        space: hyper-parameters to search in the fold (trees).
        benchmark: fitted and shown beside the study's prediction, never part of it.
    """

    name: str
    kind: str
    presets: Mapping[str, TrainingPreset]
    settings: Mapping[str, Any] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)
    lags: tuple[int, ...] = (0,)
    rolling_mean_windows: tuple[int, ...] = ()
    demean_within: tuple[str, ...] | None = None
    space: Mapping[str, Any] = field(default_factory=dict)
    benchmark: bool = False

    @property
    def is_network(self) -> bool:
        """Return whether it reads windows rather than rows."""
        return self.kind not in (*BOOSTED, "linear")


@dataclass(frozen=True)
class TrainingContext:
    """Settings that all estimators of a fold share.

    Attributes:
        names: features, in the order of the windows' matrix.
        preset: key of `EstimatorSpec.presets`.
        epochs: overrides every network's; None: the preset's.
        validation_sessions, embargo: of the inner split.
        seed: of everything drawn.
        threads: of each library.
        search_folds: inner folds of a hyper-parameter search.
    """

    names: tuple[str, ...]
    preset: str
    validation_sessions: int
    embargo: int
    seed: int
    epochs: int | None = None
    threads: int = 1
    search_folds: int = 2


@dataclass(frozen=True)
class FittedEstimator:
    """An estimator that can predict.

    Attributes:
        name, kind: of its spec.
        saved: the model with its pre-processing.
        lags, rolling_mean_windows: what trees and the linear model see, see `EstimatorSpec`.
        history: of a network's training, one entry an epoch.
        seconds: of the fit.
        parameters: trainable numbers of a network, leaves of trees, weights of a linear model.
        rows: training rows drawn.
        chosen: hyper-parameters that the search chose.
    """

    name: str
    kind: str
    saved: SavedModel
    lags: tuple[int, ...]
    rolling_mean_windows: tuple[int, ...] = ()
    history: tuple[dict[str, float], ...] = ()
    seconds: float = 0.0
    parameters: int = 0
    rows: int = 0
    chosen: Mapping[str, Any] = field(default_factory=dict)

    def predict(self, windows: Windows, task: Task) -> np.ndarray:
        """(rows, columns of the task)."""
        if self.saved.kind == NETWORK:
            from trademl_pipeline.training.networks.predict import predict

            return task.from_network(predict(self.saved.model, windows))
        x = rows_of(windows, self.lags, self.rolling_mean_windows)
        return self.saved.model.predict_proba(x) if self.saved.kind == TREES else self.saved.model.predict(x)

    @property
    def best_iteration(self) -> int:
        """Boosting rounds kept (of all columns), the epoch kept (from 0), or 0."""
        if self.saved.kind in (TREES, VALUE_TREES):
            return self.saved.model.rounds
        return int(self.saved.metadata.get("best_epoch", 0))

    @property
    def validation_loss(self) -> float | None:
        """Loss on the inner validation rows at `best_iteration`; None where nothing was chosen on them."""
        if self.saved.kind in (TREES, VALUE_TREES):
            return self.saved.model.validation_loss
        best = self.best_iteration
        return self.history[best]["validation_loss"] if 0 <= best < len(self.history) else None

    @property
    def saw_no_validation(self) -> bool:
        """Return whether the inner validation rows had no say in it.

        So it is for a network that keeps its last epoch, or had one only.
        """
        if self.saved.kind != NETWORK:
            return False
        return len(self.history) == 1 or self.saved.metadata.get("keep") == "last"

    @property
    def importance(self) -> Mapping[str, float]:
        """Share of the gain by feature; empty for what has none."""
        return self.saved.model.importance if self.saved.kind in (TREES, VALUE_TREES) else {}


def rows_of(
    windows: Windows, lags: tuple[int, ...], rolling_mean_windows: tuple[int, ...] = ()
) -> np.ndarray:
    """(rows, (lags + means) * features): the last steps of each window side by side, then means over it."""
    steps = flat(windows.matrix, windows.row, lags, windows.n_valid)
    return (
        np.concatenate([steps, _rolling_means(windows, rolling_mean_windows)], axis=1)
        if rolling_mean_windows
        else steps
    )


def _rolling_means(windows: Windows, rolling_mean_windows: tuple[int, ...]) -> np.ndarray:
    """Means of the window's last sessions over the values that are there; NaN where none is."""
    width = windows.features
    averages = np.full((len(windows), width * len(rolling_mean_windows)), np.nan)
    for start in range(0, len(windows), _BLOCK):
        rows = slice(start, min(start + _BLOCK, len(windows)))
        x, mask = windows.batch(np.arange(rows.start, rows.stop))
        there = mask[:, :, None] & ~np.isnan(x)
        known = np.where(there, x, 0.0)
        for i, span in enumerate(rolling_mean_windows):
            n = there[:, -span:].sum(axis=1)
            total = known[:, -span:].sum(axis=1, dtype=np.float64)
            np.divide(total, n, out=averages[rows, i * width : (i + 1) * width], where=n > 0)
    return averages


def row_names(
    names: tuple[str, ...], lags: tuple[int, ...], rolling_mean_windows: tuple[int, ...] = ()
) -> tuple[str, ...]:
    """`<feature>` for the decision's session, `<feature>@<lag>` for earlier ones, `<feature>~<sessions>` for means."""
    steps = tuple(name if lag == 0 else f"{name}@{lag}" for lag in lags for name in names)
    return (*steps, *(f"{name}~{span}" for span in rolling_mean_windows for name in names))


def subsampled(windows: Windows, max_rows: int | None, seed: int) -> Windows:
    """At most so many windows, drawn without replacement and kept in order."""
    if max_rows is None or len(windows) <= max_rows:
        return windows
    chosen = np.random.default_rng(seed).choice(len(windows), max_rows, replace=False)
    return windows.take(np.sort(chosen))


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
        setting: what the fold's estimators share.
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
    saved = SavedModel(
        TREES,
        spec.kind,
        names,
        1,
        {},
        {"lags": list(spec.lags), "means": list(spec.rolling_mean_windows)},
        model,
    )
    leaves = model.rounds * len(task.columns) * int(getattr(config_of(**fixed), "num_leaves", 0) or 2**6)
    return FittedEstimator(
        spec.name, spec.kind, saved, spec.lags, spec.rolling_mean_windows, parameters=leaves, chosen=chosen
    )


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
    metadata = {"lags": list(spec.lags), "means": list(spec.rolling_mean_windows)}
    saved = SavedModel(VALUE_TREES, spec.kind, names, 1, {}, metadata, model)
    leaves = model.rounds * int(getattr(config, "num_leaves", 0) or 2 ** getattr(config, "max_depth", 6))
    return FittedEstimator(
        spec.name, spec.kind, saved, spec.lags, spec.rolling_mean_windows, parameters=leaves
    )


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
    saved = SavedModel(
        LINEAR,
        spec.kind,
        names,
        1,
        {},
        {"lags": list(spec.lags), "means": list(spec.rolling_mean_windows)},
        model,
    )
    return FittedEstimator(
        spec.name, spec.kind, saved, spec.lags, spec.rolling_mean_windows, parameters=int(model.weights.size)
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
        setting: what all estimators of the fold share.
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
