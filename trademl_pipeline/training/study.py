"""All that a study fits in one fold: selection of features, estimators, their ensemble, calibration.

Everything goes through the fold's ledger, on training rows alone. Weights and second levels are fitted on predictions
of inner folds that no estimator learned from.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, NamedTuple

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
    fit_stacked,
    fit_weights,
    out_of_fold,
    weighted_by_horizon,
)
from trademl_pipeline.training.estimators import EstimatorSpec, FittedEstimator, TrainingContext
from trademl_pipeline.training.fitted_study import FittedStudy, calibrated
from trademl_pipeline.training.fitting import Progress, fine_tuned, fit_estimator
from trademl_pipeline.training.inner_split import FitError, inner_split
from trademl_pipeline.training.ledger import FitLedger
from trademl_pipeline.training.saved import NETWORK
from trademl_pipeline.training.selection import SelectionPlan, select_features
from trademl_pipeline.training.trials import TrialLedger

Ensemble = Literal["first", "mean", "weighted", "stacked", "horizon"]
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
        estimators: those without `benchmark` make the prediction.
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


def fit_study(
    config: TrainingConfig,
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
        config: what is fitted.
        windows: the training windows over all of `context.names`; keys hold symbol, session, label_end,
            knowledge_time and the task's label columns. Their targets are set here.
        context: what the estimators share.
        ledger: records every fit.
        checkpoint, progress, trials: as for `fitting.fit_estimator`.

    Raises:
        FitError: there is no row, no estimator makes the prediction, or as an estimator's fit.
    """
    task = TASKS[config.task]
    if not config.base_learners:
        raise FitError(
            f"all estimators of task {config.task} are benchmarks; one at least must make the prediction"
        )
    if not len(windows):
        raise FitError("the fold has no training rows; give more history, or check the labels and the purge")
    dropped: Mapping[str, str] = {}
    if config.select is not None:
        windows, context, dropped = _selected(config.select, task, windows, context, ledger)
    windows = replace(windows, targets=task.targets(windows.keys))

    def fit(
        spec: EstimatorSpec, rows: Windows, fit_ledger: FitLedger, folder: Path | None
    ) -> FittedEstimator:
        return fit_estimator(
            spec, task, rows, context, ledger=fit_ledger, checkpoint=folder, progress=progress, trials=trials
        )

    estimators = {spec.name: fit(spec, windows, ledger, checkpoint) for spec in config.estimators}
    base_learners = tuple(spec.name for spec in config.base_learners)
    fold = _Fold(config, task, windows, context, ledger, fit, estimators)
    weights, stacked, calibrators = _combined(fold)
    heads = _fine_tuned_heads(
        config, task, estimators[config.base_learners[0].name], windows, context, ledger
    )
    return FittedStudy(
        config.task, context.names, base_learners, estimators, weights, stacked, calibrators, dropped, heads
    )


class _Fold(NamedTuple):
    """A fold whose estimators are fitted, with `fit(spec, rows, ledger, folder of checkpoints)` to fit them again."""

    config: TrainingConfig
    task: Task
    windows: Windows
    context: TrainingContext
    ledger: FitLedger
    fit: Callable[[EstimatorSpec, Windows, FitLedger, Path | None], FittedEstimator]
    estimators: Mapping[str, FittedEstimator]


def _combined(
    fold: _Fold,
) -> tuple[dict[str, dict[str, float]], StackedEnsemble | None, dict[str, Calibration]]:
    """Return how the base learners make one prediction, as the config says.

    Returns:
        Weights by column; the second level, if any; calibrators.
    """
    config, task, windows, context, ledger, _, estimators = fold
    base_learners = [spec.name for spec in config.base_learners]
    alone = config.ensemble == "first" or len(base_learners) == 1
    if alone or config.ensemble == "mean":
        first_or_all = [estimators[name] for name in (base_learners[:1] if alone else base_learners)]
        validation = (
            _validation_predictions(first_or_all, task, windows, context) if config.calibrate else None
        )
        calibrators = _calibrators(validation, task, windows, ledger) if validation else {}
        return {} if alone else {"": dict.fromkeys(base_learners, 1 / len(base_learners))}, None, calibrators
    oof, calibrators = _out_of_fold(fold), {}
    if config.calibrate:
        calibrators = _calibrators(oof, task, windows, ledger)
        oof = replace(oof, predictions=calibrated(calibrators, oof.predictions))
    if config.ensemble == "stacked":
        target = _class_numbers(task, windows)
        return {}, fit_stacked(oof, target, windows.keys, kind="class", ledger=ledger), calibrators
    return _fit_weights(config, task, oof, windows, ledger), None, calibrators


def _fine_tuned_heads(
    config: TrainingConfig,
    task: Task,
    base: FittedEstimator,
    windows: Windows,
    context: TrainingContext,
    ledger: FitLedger,
) -> dict[str, FittedEstimator]:
    """The base with heads of each symbol's own, where the symbol has rows enough; else the base serves it too."""
    by_symbol: dict[str, FittedEstimator] = {}
    spec = next(m for m in config.estimators if m.name == base.name)
    for symbol in config.fine_tune:
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
    config, task, windows, context, ledger, fit, estimators = fold

    def predictor_of(spec: EstimatorSpec) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
        if config.inner_folds == 1 and estimators[spec.name].saw_no_validation:
            # The one inner fold is the split that the estimator was trained by: it is out of fold there as it is.
            return lambda _, validation: estimators[spec.name].predict(windows.take(validation), task)
        # The search's choice is the outer fit's; here each estimator is fitted with its plain settings.
        plain = replace(spec, space={})

        def fit_predict(train: np.ndarray, validation: np.ndarray) -> np.ndarray:
            estimator = fit(plain, windows.take(train), FitLedger(ledger.fold), None)
            return estimator.predict(windows.take(validation), task)

        return fit_predict

    return out_of_fold(
        windows.keys,
        {spec.name: predictor_of(spec) for spec in config.base_learners},
        folds=config.inner_folds,
        validation_sessions=context.validation_sessions,
        embargo=context.embargo,
        ledger=ledger,
    )


def _fit_weights(
    config: TrainingConfig, task: Task, oof: OutOfFold, windows: Windows, ledger: FitLedger
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
        if config.ensemble == "horizon" and column in values.horizons:
            weights = dict(weighted_by_horizon(weights, values.horizons[column]).weights)
        by_column[column] = weights
    return by_column


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
            "rows that chose an epoch; use ensemble 'weighted' or no calibration"
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
