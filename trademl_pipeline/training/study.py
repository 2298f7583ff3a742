"""All that a study fits in one fold: selection of features, members, their ensemble, calibration; saved as one folder.

Everything goes through the fold's ledger, on training rows alone. Weights and second levels are fitted on predictions
of inner folds that no estimator learned from.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import polars as pl

from trademl_pipeline.sequences.windows import Windows
from trademl_pipeline.tasks.protocol import Task
from trademl_pipeline.tasks.registry import TASKS
from trademl_pipeline.training.cross_validation import GappedSplits
from trademl_pipeline.training.ensemble.calibrate import Calibration, base_rates, fit_calibration
from trademl_pipeline.training.ensemble.weights import (
    OutOfFold,
    StackedEnsemble,
    WeightedEnsemble,
    fit_stacked,
    fit_weights,
    out_of_fold,
    weighted_by_horizon,
)
from trademl_pipeline.training.estimators import (
    EstimatorSpec,
    FittedEstimator,
    Progress,
    TrainingContext,
    fine_tuned,
    fit_estimator,
)
from trademl_pipeline.training.inner_split import FitError, inner_split
from trademl_pipeline.training.ledger import FitLedger
from trademl_pipeline.training.saved import NETWORK, load_model
from trademl_pipeline.training.selection import SelectionPlan, select_features
from trademl_pipeline.training.trials import TrialLedger

Ensemble = Literal["first", "mean", "weighted", "stacked", "horizon"]
CARD, TIMES, FINE_TUNED = "study.json", "seconds.json", "tuned"
# Fewer rows of a symbol teach its heads nothing that the shared ones do not know.
MIN_ROWS_TO_FINE_TUNE = 100
# How far weights that one inner fold tells are drawn towards equal ones.
EQUAL_SHARE = 0.5
# The same where the market's moves are taken out first: symbols of a session then count as so many outcomes.
EQUAL_SHARE_WITHIN = 0.1


@dataclass(frozen=True)
class TrainingConfig:
    """How a study's fold is fitted.

    Attributes:
        task: key of `TASKS`.
        estimators: those without `baseline` make the prediction.
        ensemble: `first`: the first estimator alone; `mean`: all base learners alike; `weighted`, `stacked`: as inner
            folds tell; `horizon`: weighted for each horizon, Mamba counting more on short ones.
        select: choose among the features in the fold.
        calibrate: fit the base learners' probabilities to frequencies on the inner validation rows, before they are
            combined: all base learners where inner folds predict them anyway, else the networks, which did not learn
                from those rows.
        inner_folds: of weights and second levels.
        fine_tune: symbols for which the heads of the first base learner, a network, are trained on with their own rows.
        cross_validate: how the first base learner is also tried on each symbol within the training rows; None: it is
            not.
    """

    task: str
    estimators: tuple[EstimatorSpec, ...]
    ensemble: Ensemble = "first"
    select: SelectionPlan | None = None
    calibrate: bool = False
    inner_folds: int = 1
    fine_tune: tuple[str, ...] = ()
    cross_validate: GappedSplits | None = None

    @property
    def base_learners(self) -> tuple[EstimatorSpec, ...]:
        """Estimators that make the prediction."""
        return tuple(m for m in self.estimators if not m.benchmark)


@dataclass(frozen=True)
class FittedStudy:
    """A fold's models.

    Attributes:
        task: key of `TASKS`.
        names: features that they read, in order.
        base learners: names of the estimators that make the prediction, in order.
        estimators: all estimators, benchmark models included.
        weights: by column ("" for all), then by estimator.
        stacked: the second level, if there is one.
        calibrators: by base learner, its calibration, if there is one.
        dropped: features left out by the selection, and why.
        fine_tuned: by symbol, the first base learner with heads of its own.
    """

    task: str
    names: tuple[str, ...]
    base_learners: tuple[str, ...]
    estimators: Mapping[str, FittedEstimator]
    weights: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    stacked: StackedEnsemble | None = None
    calibrators: Mapping[str, Calibration] = field(default_factory=dict)
    dropped: Mapping[str, str] = field(default_factory=dict)
    fine_tuned: Mapping[str, FittedEstimator] = field(default_factory=dict)

    def estimator_values(self, windows: Windows) -> dict[str, np.ndarray]:
        """Every estimator's own predictions, (rows, columns)."""
        task = TASKS[self.task]
        values = {name: estimator.predict(windows, task) for name, estimator in self.estimators.items()}
        for symbol, estimator in self.fine_tuned.items():
            rows = np.flatnonzero((windows.keys["symbol"] == symbol).to_numpy())
            if len(rows):
                values[self.base_learners[0]][rows] = estimator.predict(windows.take(rows), task)
        return values

    def combine(self, values: Mapping[str, np.ndarray]) -> np.ndarray:
        """The study's prediction out of its estimators', (rows, columns)."""
        task = TASKS[self.task]
        values = _calibrated(self.calibrators, values)
        if self.stacked is not None:
            return self.stacked.predict(values)
        if self.weights:
            return _weighted(self.weights, values, task)
        return np.asarray(values[self.base_learners[0]], dtype=np.float64)

    def predict(self, windows: Windows) -> dict[str, np.ndarray]:
        """The study's prediction by column of its task, (rows,) each."""
        values = self.combine(self.estimator_values(windows))
        return {column: values[:, i] for i, column in enumerate(TASKS[self.task].columns)}

    def save(self, folder: Path) -> str:
        """Write the folder; returns the SHA-256 of its card, which holds those of all other files.

        The same fold trained again gives the same digest, as far as the libraries are deterministic.
        """
        folder.mkdir(parents=True, exist_ok=True)
        for name, estimator in self._all().items():
            estimator.saved.save(folder / name)
        files = {
            str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest()
            for p in sorted(folder.rglob("*"))
            if p.is_file() and p.name not in (CARD, TIMES)
        }
        card = {
            "task": self.task,
            "features": list(self.names),
            "voters": list(self.base_learners),
            "weights": {c: dict(w) for c, w in self.weights.items()},
            "stacked": _plain(self.stacked),
            "calibrators": {name: asdict(c) for name, c in self.calibrators.items()},
            "dropped": dict(self.dropped),
            "members": {name: _estimator_card(m) for name, m in self.estimators.items()},
            "tuned": {symbol: _estimator_card(m) for symbol, m in self.fine_tuned.items()},
            "files": files,
        }
        data = json.dumps(card, indent=1).encode()
        (folder / CARD).write_bytes(data)
        # Seconds differ from run to run; the same fold must give the same digest.
        times = {name: estimator.seconds for name, estimator in self.estimators.items()}
        (folder / TIMES).write_text(json.dumps(times, indent=1))
        return hashlib.sha256(data).hexdigest()

    def _all(self) -> dict[str, FittedEstimator]:
        return {**self.estimators, **{f"{FINE_TUNED}/{symbol}": m for symbol, m in self.fine_tuned.items()}}


def load_study(folder: Path) -> FittedStudy:
    """Read what `FittedStudy.save` wrote.

    Raises:
        FileNotFoundError: the folder, or a file of it, is gone.
        FitError: a file is not the one that was saved.
    """
    card = json.loads((folder / CARD).read_bytes())
    for name, digest in card["files"].items():
        if hashlib.sha256((folder / name).read_bytes()).hexdigest() != digest:
            raise FitError(f"{folder / name} is not the file that was saved; train the fold again")
    estimators = {name: _loaded(folder / name, name, saved) for name, saved in card["members"].items()}
    heads = {
        symbol: _loaded(folder / FINE_TUNED / symbol, symbol, saved)
        for symbol, saved in card["tuned"].items()
    }
    return FittedStudy(
        card["task"],
        tuple(card["features"]),
        tuple(card["voters"]),
        estimators,
        card["weights"],
        _stacked(card["stacked"]),
        {name: Calibration(c["temperature"], tuple(c["weights"])) for name, c in card["calibrators"].items()},
        card["dropped"],
        heads,
    )


def _loaded(folder: Path, name: str, card: dict[str, Any]) -> FittedEstimator:
    card = dict(card)
    lags, rolling_mean_windows, history = (tuple(card.pop(key)) for key in ("lags", "means", "history"))
    return FittedEstimator(
        name=name,
        saved=load_model(folder),
        lags=lags,
        rolling_mean_windows=rolling_mean_windows,
        history=history,
        **card,
    )


def fit_study(
    plan: TrainingConfig,
    windows: Windows,
    context: TrainingContext,
    *,
    ledger: FitLedger,
    checkpoint: Path | None = None,
    progress: Progress | None = None,
    trials: TrialLedger | None = None,
) -> FittedStudy:
    """Fit a fold.

    Args:
        plan: what is fitted.
        windows: the training windows over all of `context.names`; keys hold symbol, session, label_end,
            knowledge_time and the task's label columns. Their targets are set here.
        setting: what the estimators share.
        ledger: records every fit.
        checkpoint, progress, trials: as for `estimators.fit_estimator`.

    Raises:
        FitError: there is no row, no estimator makes the prediction, or as an estimator's fit.
    """
    task = TASKS[plan.task]
    if not plan.base_learners:
        raise FitError(
            f"all estimators of task {plan.task} are benchmarks; one at least must make the prediction"
        )
    if not len(windows):
        raise FitError("the fold has no training rows; give more history, or check the labels and the purge")
    dropped: Mapping[str, str] = {}
    if plan.select is not None:
        windows, context, dropped = _selected(plan.select, task, windows, context, ledger)
    windows = replace(windows, targets=task.targets(windows.keys))

    def fit(
        spec: EstimatorSpec, rows: Windows, fit_ledger: FitLedger, folder: Path | None
    ) -> FittedEstimator:
        return fit_estimator(
            spec, task, rows, context, ledger=fit_ledger, checkpoint=folder, progress=progress, trials=trials
        )

    estimators = {spec.name: fit(spec, windows, ledger, checkpoint) for spec in plan.estimators}
    base_learners = tuple(spec.name for spec in plan.base_learners)
    fold = _Fold(plan, task, windows, context, ledger, fit, estimators)
    weights, stacked, calibrators = _combined(fold)
    heads = _fine_tuned_heads(plan, task, estimators[plan.base_learners[0].name], windows, context, ledger)
    return FittedStudy(
        plan.task, context.names, base_learners, estimators, weights, stacked, calibrators, dropped, heads
    )


class _Fold(NamedTuple):
    """A fold whose estimators are fitted, with `fit(spec, rows, ledger, folder of checkpoints)` to fit them again."""

    plan: TrainingConfig
    task: Task
    windows: Windows
    context: TrainingContext
    ledger: FitLedger
    fit: Callable[[EstimatorSpec, Windows, FitLedger, Path | None], FittedEstimator]
    estimators: Mapping[str, FittedEstimator]


def _combined(
    fold: _Fold,
) -> tuple[dict[str, dict[str, float]], StackedEnsemble | None, dict[str, Calibration]]:
    """How the base learners make one prediction: (weights by column, second level, calibrators), those that the plan
    asks."""
    plan, task, windows, context, ledger, _, estimators = fold
    base_learners = [spec.name for spec in plan.base_learners]
    alone = plan.ensemble == "first" or len(base_learners) == 1
    if alone or plan.ensemble == "mean":
        calibrated = [estimators[name] for name in (base_learners[:1] if alone else base_learners)]
        validation = _validation_predictions(calibrated, task, windows, context) if plan.calibrate else None
        calibrators = _calibrators(validation, task, windows, ledger) if validation else {}
        return {} if alone else {"": dict.fromkeys(base_learners, 1 / len(base_learners))}, None, calibrators
    oof, calibrators = _out_of_fold(fold), {}
    if plan.calibrate:
        calibrators = _calibrators(oof, task, windows, ledger)
        oof = replace(oof, predictions=_calibrated(calibrators, oof.predictions))
    if plan.ensemble == "stacked":
        target = _class_numbers(task, windows)
        return {}, fit_stacked(oof, target, windows.keys, kind="class", ledger=ledger), calibrators
    return _fit_weights(plan, task, oof, windows, ledger), None, calibrators


def _fine_tuned_heads(
    plan: TrainingConfig,
    task: Task,
    base: FittedEstimator,
    windows: Windows,
    context: TrainingContext,
    ledger: FitLedger,
) -> dict[str, FittedEstimator]:
    """The base with heads of each symbol's own, where the symbol has rows enough; else the base serves it too."""
    by_symbol: dict[str, FittedEstimator] = {}
    spec = next(m for m in plan.estimators if m.name == base.name)
    for symbol in plan.fine_tune:
        rows = windows.take((windows.keys["symbol"] == symbol).to_numpy())
        if len(rows) < MIN_ROWS_TO_FINE_TUNE:
            continue
        by_symbol[symbol] = fine_tuned(spec, task, base, rows, context, ledger=ledger)
    return by_symbol


def _selected(
    plan: SelectionPlan, task: Task, windows: Windows, context: TrainingContext, ledger: FitLedger
) -> tuple[Windows, TrainingContext, Mapping[str, str]]:
    """Windows over the chosen features only; the choice looks at the decisions' own sessions."""
    if task.selection_label is None:
        raise FitError(f"task {task.name} has no label of classes to select features by; leave `select` out")
    target = windows.keys[task.selection_label].cast(pl.Int64).alias("_target")
    rows = pl.DataFrame(windows.matrix[windows.row], schema=list(context.names)).with_columns(target)
    rows = windows.keys.select("symbol", "session", "label_end", "knowledge_time").hstack(rows)
    chosen = select_features(rows, context.names, "_target", ledger=ledger, plan=plan)
    if not chosen.names:
        raise FitError(
            f"none of {len(context.names)} features varies over {len(windows)} rows; nothing to learn"
        )
    position = [context.names.index(name) for name in chosen.names]
    matrix = np.ascontiguousarray(windows.matrix[:, position])
    return (
        replace(windows, matrix=matrix),
        replace(context, names=chosen.names),
        {**chosen.dropped},
    )


def _out_of_fold(fold: _Fold) -> OutOfFold:
    plan, task, windows, context, ledger, fit, estimators = fold

    def predictor_of(spec: EstimatorSpec) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
        if plan.inner_folds == 1 and estimators[spec.name].saw_no_validation:
            # The one inner fold is the split that the estimator was trained by: it is out of fold there as it is.
            return lambda _, held: estimators[spec.name].predict(windows.take(held), task)
        # The search's choice is the outer fit's; here each estimator is fitted with its plain settings.
        plain = replace(spec, space={})

        def fit_predict(train: np.ndarray, validation: np.ndarray) -> np.ndarray:
            estimator = fit(plain, windows.take(train), FitLedger(ledger.fold), None)
            return estimator.predict(windows.take(validation), task)

        return fit_predict

    return out_of_fold(
        windows.keys,
        {spec.name: predictor_of(spec) for spec in plan.base_learners},
        folds=plan.inner_folds,
        validation_sessions=context.validation_sessions,
        embargo=context.embargo,
        ledger=ledger,
    )


def _fit_weights(
    plan: TrainingConfig, task: Task, oof: OutOfFold, windows: Windows, ledger: FitLedger
) -> dict[str, dict[str, float]]:
    if task.class_label is not None:
        target = windows.targets[task.class_label]
        fitted = fit_weights(oof, target, windows.keys, kind="class", ledger=ledger, equal_share=EQUAL_SHARE)
        return {"": dict(fitted.weights)}
    values = task.values
    if values is None:
        raise FitError(f"estimators of task {task.name} cannot be weighted; use ensemble 'first'")
    outcome = values.y_true(windows.keys)
    by_column: dict[str, dict[str, float]] = {}
    for i, column in enumerate(task.columns):
        known = ~np.isnan(outcome[oof.rows, i])
        known_rows = OutOfFold(oof.rows[known], {m: p[known, i] for m, p in oof.predictions.items()})
        # A level, such as a volatility, is to be right for all symbols of a session together.
        level = column in values.log_scale
        fitted = fit_weights(
            known_rows,
            outcome[:, i],
            windows.keys,
            kind="value",
            ledger=ledger,
            equal_share=EQUAL_SHARE if level else EQUAL_SHARE_WITHIN,
            within_sessions=not level,
        )
        weights = dict(fitted.weights)
        if plan.ensemble == "horizon" and column in values.horizons:
            weights = dict(weighted_by_horizon(weights, values.horizons[column]).weights)
        by_column[column] = weights
    return by_column


def _weighted(
    weights: Mapping[str, Mapping[str, float]], values: Mapping[str, np.ndarray], task: Task
) -> np.ndarray:
    if "" in weights:
        return WeightedEnsemble(weights[""]).predict(values)
    mixed = np.column_stack(
        [
            WeightedEnsemble(weights[column]).predict({m: v[:, i] for m, v in values.items()})
            for i, column in enumerate(task.columns)
        ]
    )
    for group in task.values.simplexes if task.values is not None else ():
        # Weights of their own for each class do not keep their sum.
        positions = [task.columns.index(column) for column in group]
        mixed[:, positions] /= mixed[:, positions].sum(axis=1, keepdims=True)
    return mixed


def _validation_predictions(
    estimators: Sequence[FittedEstimator], task: Task, windows: Windows, context: TrainingContext
) -> OutOfFold:
    """Networks' predictions of the rows that chose their epochs, and that they learned nothing else from.

    Trees are left out: they were fitted once more on all rows, and by their log loss say frequencies as they are.

    Raises:
        FitError: none of them is a network.
    """
    networks = [estimator for estimator in estimators if estimator.saved.kind == NETWORK]
    if not networks:
        raise FitError(
            f"{', '.join(m.name for m in estimators)}: no network is among them, and nothing else is calibrated on "
            f"rows "
            "that chose an epoch; use ensemble 'weighted' or no calibration"
        )
    split = inner_split(
        windows.keys, validation_sessions=context.validation_sessions, embargo=context.embargo
    )
    validation = windows.take(split.validation)
    predicted = {estimator.name: estimator.predict(validation, task) for estimator in networks}
    return OutOfFold(np.flatnonzero(split.validation), predicted)


def _class_numbers(task: Task, windows: Windows) -> np.ndarray:
    if task.class_label is None:
        raise FitError(
            f"task {task.name} has no class_label; leave `calibrate` and the ensemble 'stacked' out"
        )
    return windows.targets[task.class_label]


def _calibrators(oof: OutOfFold, task: Task, windows: Windows, ledger: FitLedger) -> dict[str, Calibration]:
    """One for each of the base learners at hand, fitted out of fold; base rates are those of all training rows."""
    target = _class_numbers(task, windows)
    base = base_rates(target, len(task.columns))

    def fit(_: pl.DataFrame) -> dict[str, Calibration]:
        return {name: fit_calibration(p, target[oof.rows], base) for name, p in oof.predictions.items()}

    return ledger.fit("calibration", windows.keys, fit, kind="calibration")


def _calibrated(
    calibrators: Mapping[str, Calibration], values: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    return {name: calibrators[name].apply(p) if name in calibrators else p for name, p in values.items()}


def _estimator_card(estimator: FittedEstimator) -> dict[str, Any]:
    return {
        "kind": estimator.kind,
        "lags": list(estimator.lags),
        "means": list(estimator.rolling_mean_windows),
        "history": [
            {k: v for k, v in epoch.items() if k != "rows_per_second"} for epoch in estimator.history
        ],
        "parameters": estimator.parameters,
        "rows": estimator.rows,
        "chosen": dict(estimator.chosen),
    }


def _plain(model: StackedEnsemble | None) -> dict[str, Any] | None:
    if model is None:
        return None
    return {
        "kind": model.kind,
        "members": list(model.estimators),
        "classes": list(model.classes),
        "n_classes": model.n_classes,
        "coefficients": model.coefficients.tolist(),
        "intercept": model.intercept.tolist(),
    }


def _stacked(card: dict[str, Any] | None) -> StackedEnsemble | None:
    if card is None:
        return None
    return StackedEnsemble(
        card["kind"],
        tuple(card["members"]),
        tuple(card["classes"]),
        card["n_classes"],
        np.array(card["coefficients"]),
        np.array(card["intercept"]),
    )
