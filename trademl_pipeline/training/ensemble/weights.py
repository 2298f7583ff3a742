"""Ensembles of models: weights fixed, by horizon or fitted out of fold, and models stacked on such predictions.

Predictions of estimators are arrays of one shape, (n,) or (n, classes), by estimator name. Whatever is fitted here
is fitted on inner folds of the training rows and through the ledger.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import polars as pl

from trademl_pipeline.evaluation.groups import demean_within
from trademl_pipeline.training.inner_folds import InnerFold, inner_folds
from trademl_pipeline.training.inner_split import FitError
from trademl_pipeline.training.ledger import FitLedger

Predictions = Mapping[str, np.ndarray]
FitPredict = Callable[[np.ndarray, np.ndarray], np.ndarray]
INTRADAY, SHORT_TERM, LONG_TERM = "intraday", "short_term", "long_term"
HORIZON_BOOSTS: Mapping[str, Mapping[str, float]] = {"mamba_forecast": {INTRADAY: 2.5, SHORT_TERM: 1.2}}
SHORT_TERM_SESSIONS = 5


@dataclass(frozen=True)
class WeightedEnsemble:
    """Weighted mean of its estimators.

    Attributes:
        weights: by estimator, none negative, not all 0; scaled to sum to 1 over the estimators at hand.
    """

    weights: Mapping[str, float]

    def __post_init__(self) -> None:
        if not self.weights or min(self.weights.values()) < 0 or sum(self.weights.values()) <= 0:
            raise ValueError(f"ensemble weights must be >= 0 and not all 0, got {dict(self.weights)}")

    def predict(self, estimators: Predictions) -> np.ndarray:
        """Weighted mean, in the estimators' shape.

        Raises:
            FitError: an estimator of weight above 0 is missing, or shapes differ.
        """
        used = {name: w for name, w in self.weights.items() if w > 0}
        _check_estimators(estimators, used)
        total = sum(used.values())
        return sum(w / total * np.asarray(estimators[name], dtype=np.float64) for name, w in used.items())  # pyright: ignore


def horizon_class(sessions: float) -> str:
    """``intraday`` below one session, ``short_term`` up to five, else ``long_term``."""
    return INTRADAY if sessions < 1 else SHORT_TERM if sessions <= SHORT_TERM_SESSIONS else LONG_TERM


def weighted_by_horizon(
    weights: Mapping[str, float],
    sessions: float,
    boosts: Mapping[str, Mapping[str, float]] = HORIZON_BOOSTS,
) -> WeightedEnsemble:
    """An ensemble whose estimators count more where they are at home: Mamba x 2.5 intraday, x 1.2 short-term.

    Args:
        weights: by estimator, before the boost.
        sessions: horizon of the forecast.
        boosts: by estimator and horizon class.
    """
    kind = horizon_class(sessions)
    boosted = {name: w * boosts.get(name, {}).get(kind, 1.0) for name, w in weights.items()}
    total = sum(boosted.values())
    return WeightedEnsemble({name: w / total for name, w in boosted.items()} if total > 0 else boosted)


@dataclass(frozen=True)
class OutOfFold:
    """Predictions of rows by estimators that had not seen them.

    Attributes:
        rows: positions in the training keys, in time order of the inner folds.
        predictions: by estimator, aligned with ``rows``.
    """

    rows: np.ndarray
    predictions: dict[str, np.ndarray]


def out_of_fold(
    keys: pl.DataFrame,
    estimators: Mapping[str, FitPredict],
    *,
    folds: int,
    validation_sessions: int,
    embargo: int,
    ledger: FitLedger,
) -> OutOfFold:
    """Fit every estimator on each inner fold and predict its validation rows.

    Args:
        keys: symbol, session, label_end of the training rows.
        estimators: by name, a function of (training positions, validation positions) that fits a fresh model on
            the former and returns predictions for the latter.
        folds, validation_sessions, embargo: of :func:`inner_folds`.
        ledger: records each estimator's fit on each inner fold.
    """
    splits = inner_folds(keys, folds=folds, validation_sessions=validation_sessions, embargo=embargo)

    def fitted(name: str, fold: InnerFold) -> np.ndarray:
        fit_predict = estimators[name]
        label = f"{name}/inner {fold.number}"
        return ledger.fit(
            label, keys[fold.train], lambda _: fit_predict(fold.train, fold.validation), kind="stacking"
        )

    predictions = {name: np.concatenate([fitted(name, fold) for fold in splits]) for name in estimators}
    return OutOfFold(np.concatenate([fold.validation for fold in splits]), predictions)


def fit_weights(
    oof: OutOfFold,
    target: np.ndarray,
    keys: pl.DataFrame,
    *,
    kind: Literal["class", "value"],
    ledger: FitLedger,
    equal_share: float = 0.0,
    within_sessions: bool = False,
) -> WeightedEnsemble:
    """Weights on the simplex that minimise the log loss (class) or the squared error (value) out of fold.

    Args:
        oof: predictions that no estimator fitted.
        target: of the training rows: classes, or values.
        keys: keys of the training rows.
        kind: what the predictions are.
        ledger: records the fit.
        equal_share: how far the weights are drawn towards equal ones, from 0 to 1. A few months of outcomes, most of
            whose spread is the market's, can hardly tell good estimators from lucky ones.
        within_sessions: values are judged by what is left of them and of the predictions when the mean of their session
            is taken out. What moves all symbols of a session alike is most of the error and comes once a session only:
            with it, the estimator wins that happened to lean the way the market went.
    """
    names, stack, y = _stack(oof, target)
    if within_sessions:
        sessions = keys["session"].to_numpy()[oof.rows]
        stack, y = demean_within(stack.T, sessions).T, demean_within(y, sessions)
    # The optimiser stops at steps of 1e-6; squared returns are smaller than that.
    unit = max(float(np.var(y)), 1e-300) if kind == "value" else 1.0

    def loss(w: np.ndarray) -> float:
        mixed = np.tensordot(w, stack, axes=1)
        if kind == "value":
            return float(((mixed - y) ** 2).mean() / unit)
        return float(-np.log(np.clip(mixed[np.arange(len(y)), y.astype(int)], 1e-12, None)).mean())

    def fit(_: pl.DataFrame) -> WeightedEnsemble:
        from scipy.optimize import minimize

        optimum = minimize(
            loss,
            np.full(len(names), 1 / len(names)),
            method="SLSQP",
            bounds=[(0, 1)] * len(names),
            constraints={"type": "eq", "fun": lambda w: w.sum() - 1},
        )
        weights = (1 - equal_share) * np.clip(optimum.x, 0, 1) + equal_share / len(names)
        return WeightedEnsemble(dict(zip(names, weights.tolist(), strict=True)))

    return ledger.fit("ensemble weights", keys[oof.rows], fit, kind="ensemble_weights")


@dataclass(frozen=True)
class StackedEnsemble:
    """A linear model of the estimators' predictions; multinomial logistic for classes, ridge for values.

    Attributes:
        kind: ``class`` or ``value``.
        estimators: order of the inputs.
        classes: classes that the training rows had; others get probability 0.
        n_classes: width of the prediction; 0 for values.
        coefficients, intercept: of the linear model.
    """

    kind: Literal["class", "value"]
    estimators: tuple[str, ...]
    classes: tuple[int, ...]
    n_classes: int
    coefficients: np.ndarray
    intercept: np.ndarray

    def predict(self, estimators: Predictions) -> np.ndarray:
        """(n, n_classes) probabilities or (n,) values."""
        _check_estimators(estimators, dict.fromkeys(self.estimators, 1.0))
        x = _inputs(self.kind, [np.asarray(estimators[name], dtype=np.float64) for name in self.estimators])
        z = x @ self.coefficients.T + self.intercept
        if self.kind == "value":
            return z[:, 0]
        e = np.exp(z - z.max(axis=1, keepdims=True))
        out = np.zeros((len(x), self.n_classes))
        out[:, list(self.classes)] = e / e.sum(axis=1, keepdims=True)
        return out


def fit_stacked(
    oof: OutOfFold,
    target: np.ndarray,
    keys: pl.DataFrame,
    *,
    kind: Literal["class", "value"],
    ledger: FitLedger,
    penalty: float = 1.0,
) -> StackedEnsemble:
    """Fit the second level on out-of-fold predictions only.

    Args:
        oof, target, keys, kind, ledger: as for :func:`fit_weights`.
        penalty: L2 penalty of the coefficients.

    Raises:
        FitError: fewer than two classes out of fold.
    """
    names, stack, y = _stack(oof, target)
    x = _inputs(kind, list(stack))

    def fit(_: pl.DataFrame) -> StackedEnsemble:
        if kind == "value":
            from sklearn.linear_model import Ridge

            ridge = Ridge(alpha=penalty).fit(x, y)
            return StackedEnsemble(kind, names, (), 0, ridge.coef_[None], np.array([ridge.intercept_]))
        from sklearn.linear_model import LogisticRegression

        classes = np.unique(y.astype(int))
        if len(classes) < 2:
            raise FitError(f"all {len(y)} out-of-fold rows are of class {classes[0]}; nothing to stack on")
        model = LogisticRegression(C=1 / penalty, max_iter=1000).fit(x, y.astype(int))
        coefficients, intercept = model.coef_, model.intercept_
        if len(classes) == 2:
            coefficients = np.concatenate([np.zeros_like(coefficients), coefficients])
            intercept = np.concatenate([np.zeros_like(intercept), intercept])
        width = stack.shape[2]
        return StackedEnsemble(kind, names, tuple(int(c) for c in classes), width, coefficients, intercept)

    return ledger.fit("stacked ensemble", keys[oof.rows], fit, kind="ensemble_weights")


def _stack(oof: OutOfFold, target: np.ndarray) -> tuple[tuple[str, ...], np.ndarray, np.ndarray]:
    names = tuple(oof.predictions)
    _check_estimators(oof.predictions, dict.fromkeys(names, 1.0))
    stack = np.stack([np.asarray(oof.predictions[name], dtype=np.float64) for name in names])
    return names, stack, np.asarray(target)[oof.rows]


def _inputs(kind: str, parts: list[np.ndarray]) -> np.ndarray:
    """(n, inputs) of the second level: values as they are, probabilities as logs."""
    if kind == "value":
        return np.stack(parts, axis=1)
    return np.concatenate([np.log(np.clip(p, 1e-6, 1.0)) for p in parts], axis=1)


def _check_estimators(estimators: Predictions, needed: Mapping[str, float]) -> None:
    missing = [name for name in needed if name not in estimators]
    if missing:
        raise FitError(f"ensemble estimators {missing} gave no predictions; there are {sorted(estimators)}")
    shapes = {name: np.shape(estimators[name]) for name in needed}
    if len(set(shapes.values())) > 1:
        raise FitError(f"ensemble estimators predict different shapes: {shapes}")
