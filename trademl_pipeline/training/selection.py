"""Which features a fold's models see: chosen on the fold's training rows alone, on the record of its fit ledger.

The default (the hybrid design) goes from 60 indicators to 35-40: of features that say the same (|correlation| above
0.8) the most important one stays, then the least important go. The other way is PCA: 25 components instead
of features.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import polars as pl


class SelectionError(ValueError):
    """Features cannot be chosen from the rows given; the message says what they must be."""


class Ledger(Protocol):
    """The part of a fit ledger that selection needs: `FitLedger` has it."""

    def fit(
        self, name: str, frame: pl.DataFrame, fn: Callable[[pl.DataFrame], Any], *, kind: str | None = None
    ) -> Any:
        """Record the rows and return `fn(frame)`.

        Args:
            name: the fitted object, such as "scaler".
            frame: the rows it is fitted on, with `symbol` and `session`.
            fn: takes the frame, returns the fitted object.
            kind: what sort of object it is; None uses `name`.
        """
        ...


@dataclass(frozen=True)
class SelectionPlan:
    """How features are chosen.

    Attributes:
        max_correlation: of two kept features, |Pearson correlation| on the training rows.
        min_features, max_features: number of features kept. Correlation alone may leave fewer than `min_features`:
            then the most important of those it dropped come back.
        rounds: boosted trees that the importance is taken from.
        max_rows: rows that the importance is fitted on, drawn with the seed where there are more.
        seed: of the draw and of the trees.
    """

    max_correlation: float = 0.8
    min_features: int = 35
    max_features: int = 40
    rounds: int = 100
    max_rows: int = 200_000
    seed: int = 7

    def __post_init__(self) -> None:
        if not 0 < self.max_correlation <= 1:
            raise SelectionError(f"max_correlation is {self.max_correlation}; it must lie in (0, 1]")
        if not 1 <= self.min_features <= self.max_features:
            raise SelectionError(
                f"min_features, the least, is {self.min_features}, and max_features, the most, {self.max_features}; "
                "need 1 <= least <= most"
            )


@dataclass(frozen=True)
class Selection:
    """The choice of one fold.

    Attributes:
        names: features kept, in the order given.
        importance: by feature, its share of the total gain of the trees.
        dropped: by feature, why: "same as <kept feature> (<correlation>)", "unimportant" or "constant".
    """

    names: tuple[str, ...]
    importance: dict[str, float]
    dropped: dict[str, str]


def correlation_matrix(matrix: np.ndarray) -> np.ndarray:
    """|Pearson correlation| of the columns, over the rows where both are present; 0 where one is constant.

    Args:
        matrix: (rows, features), NaN where missing.
    """
    present = ~np.isnan(matrix)
    x = np.where(present, matrix, 0.0)
    n = present.T.astype(float) @ present
    shift = np.divide(x.sum(axis=0), np.maximum(present.sum(axis=0), 1))
    x = np.where(present, matrix - shift, 0.0)
    sums, squares = x.T @ present, (x**2).T @ present
    n = np.maximum(n, 1)
    covariance = x.T @ x / n - (sums / n) * (sums.T / n)
    variance = squares / n - (sums / n) ** 2
    spread = np.sqrt(np.clip(variance, 0, None) * np.clip(variance.T, 0, None))
    return np.abs(np.divide(covariance, spread, out=np.zeros_like(spread), where=spread > 1e-300))


def _importance(matrix: np.ndarray, y: np.ndarray, plan: SelectionPlan, classes: int) -> np.ndarray:
    import lightgbm as lgb

    rng = np.random.default_rng(plan.seed)
    if len(y) > plan.max_rows:
        chosen = np.sort(rng.choice(len(y), plan.max_rows, replace=False))
        matrix, y = matrix[chosen], y[chosen]
    parameters: dict[str, Any] = {
        "objective": "multiclass" if classes > 2 else "binary" if classes == 2 else "regression",
        "num_leaves": 15,
        "min_data_in_leaf": max(20, len(y) // 500),
        "learning_rate": 0.1,
        "feature_fraction": 0.5,
        "seed": plan.seed,
        "deterministic": True,
        "force_row_wise": True,
        # Folds run side by side; the trees are few and small.
        "num_threads": 1,
        "verbosity": -1,
    }
    if classes > 2:
        parameters["num_class"] = classes
    booster = lgb.train(parameters, lgb.Dataset(matrix, y), num_boost_round=plan.rounds)
    gain = booster.feature_importance("gain").astype(float)
    return gain / gain.sum() if gain.sum() > 0 else gain


def select_features(
    train: pl.DataFrame,
    names: Sequence[str],
    target: str,
    *,
    ledger: Ledger,
    plan: SelectionPlan | None = None,
) -> Selection:
    """Choose features on the training rows of one fold.

    Args:
        train: the fold's training rows only: symbol, session, label_end, the features and the target.
        names: features to choose from.
        target: column; whole numbers are classes 0..n-1, floats a regression.
        ledger: records both fits, "feature_importance" and "feature_correlation".
        plan: None takes the defaults of `SelectionPlan`.

    Raises:
        SelectionError: a column is missing, or no row has a target.
    """
    plan = plan or SelectionPlan()
    missing = [c for c in (*names, target) if c not in train.columns]
    if missing:
        raise SelectionError(f"the training rows lack the column(s) {', '.join(missing)}")
    rows = train.filter(pl.col(target).is_not_null())
    if rows.is_empty():
        raise SelectionError(f"no training row has the target {target!r}; nothing can be chosen")
    classes = int(rows[target].n_unique()) if rows[target].dtype.is_integer() else 0

    def importance(frame: pl.DataFrame) -> np.ndarray:
        return _importance(_matrix(frame, names), frame[target].to_numpy(), plan, classes)

    def correlation(frame: pl.DataFrame) -> np.ndarray:
        return correlation_matrix(_matrix(frame, names))

    gain = ledger.fit("feature_importance", rows, importance, kind="selector")
    related = ledger.fit("feature_correlation", rows, correlation, kind="selector")
    constant = [i for i in range(len(names)) if related[i, i] == 0]
    return _choose(list(names), gain, related, set(constant), plan)


def _matrix(frame: pl.DataFrame, names: Sequence[str]) -> np.ndarray:
    return frame.select(pl.col(n).cast(pl.Float64).fill_null(float("nan")) for n in names).to_numpy()


def _choose(
    names: list[str], gain: np.ndarray, related: np.ndarray, constant: set[int], plan: SelectionPlan
) -> Selection:
    # Of equally important features the first declared one goes first, so that a choice can be repeated.
    ranked = [i for i in np.argsort(-gain, kind="stable") if i not in constant]
    chosen: list[int] = []
    dropped = {names[i]: "constant" for i in constant}
    doubles: list[int] = []
    for i in ranked:
        twin = max(chosen, key=lambda k: related[i, k], default=None)
        if twin is not None and related[i, twin] > plan.max_correlation:
            dropped[names[i]] = f"same as {names[twin]} ({related[i, twin]:.2f})"
            doubles.append(i)
        else:
            chosen.append(i)
    for i in chosen[plan.max_features :]:
        dropped[names[i]] = "unimportant"
    chosen = chosen[: plan.max_features]
    for i in doubles[: max(0, plan.min_features - len(chosen))]:
        chosen.append(i)
        del dropped[names[i]]
    return Selection(
        names=tuple(names[i] for i in sorted(chosen)),
        importance={n: float(g) for n, g in zip(names, gain, strict=True)},
        dropped=dropped,
    )


@dataclass(frozen=True)
class Projection:
    """Principal components of standardized features; a missing value counts as the training mean.

    Attributes:
        names: features, in order.
        mean, scale: (features,) of the training rows.
        components: (k, features), orthonormal rows, the strongest first.
        explained: (k,) share of the training variance.
    """

    names: tuple[str, ...]
    mean: np.ndarray
    scale: np.ndarray
    components: np.ndarray
    explained: np.ndarray

    def transform(self, frame: pl.DataFrame) -> np.ndarray:
        """(rows, k) components of the frame's features."""
        standard = (_matrix(frame, self.names) - self.mean) / self.scale
        return np.nan_to_num(standard, nan=0.0) @ self.components.T


def fit_projection(
    train: pl.DataFrame, names: Sequence[str], *, ledger: Ledger, components: int = 25
) -> Projection:
    """Fit principal components of the features on the training rows of one fold, recorded as "feature_pca".

    The sign of a component is set so that its largest loading is positive.

    Args:
        train: the training rows: symbol, session and the features.
        names: features to project, in order.
        ledger: records the fit.
        components: number of components to keep, the strongest.

    Raises:
        SelectionError: more components than features are asked for.
    """
    if not 1 <= components <= len(names):
        raise SelectionError(f"{components} components of {len(names)} features; ask for 1 to {len(names)}")

    def fit(frame: pl.DataFrame) -> Projection:
        matrix = _matrix(frame, names)
        present = ~np.isnan(matrix)
        count = np.maximum(present.sum(axis=0), 1)
        mean = np.where(present, matrix, 0.0).sum(axis=0) / count
        centred = np.where(present, matrix - mean, 0.0)
        scale = np.sqrt((centred**2).sum(axis=0) / count)
        scale[scale == 0] = 1.0
        standard = centred / scale
        values, vectors = np.linalg.eigh(standard.T @ standard / len(standard))
        order = np.argsort(values)[::-1][:components]
        rows = vectors[:, order].T
        largest = np.abs(rows).argmax(axis=1)
        rows = rows * np.sign(rows[np.arange(components), largest])[:, None]
        return Projection(tuple(names), mean, scale, rows, values[order] / values.sum())

    return ledger.fit("feature_pca", train, fit, kind="selector")
