"""Training rows of boosted trees: what is accepted, and what is refused."""

from collections.abc import Sequence

import numpy as np
import polars as pl

from trademl_pipeline.training.inner_split import FitError
from trademl_pipeline.training.trees.boosters import Rows
from trademl_pipeline.training.trees.config import TreeConfig


def weighted_rows(matrix: np.ndarray, y: np.ndarray, classes: np.ndarray, weight: np.ndarray) -> Rows:
    """Return rows with classes as positions in `classes` and the weight of each row's class.

    Args:
        matrix: (rows, features).
        y: (rows,) classes.
        classes: (m,) classes that occur, ascending.
        weight: (n_classes,) weight of each class.
    """
    return Rows(matrix, np.searchsorted(classes, y), weight[y])


def class_shares(y: np.ndarray, m: int) -> np.ndarray:
    """(m,) share of each class position; all of them have rows."""
    return np.bincount(y, minlength=m) / len(y)


def class_weights(y: np.ndarray, config: TreeConfig) -> np.ndarray:
    """(n_classes,) weight of each class, 0 for classes without a row."""
    counts = np.bincount(y, minlength=config.n_classes)
    present = counts > 0
    if present.sum() < 2:
        raise FitError(
            f"all {len(y)} rows are of class {int(y[0])}; a classifier needs two classes, "
            "so widen the training window or check the labels"
        )
    if config.class_weights == "balanced":
        return np.where(present, len(y) / (present.sum() * np.maximum(counts, 1)), 0.0)
    if config.class_weights == "none":
        return present.astype(np.float64)
    return np.where(present, np.asarray(config.class_weights, dtype=np.float64), 0.0)


def checked_targets(keys: pl.DataFrame, matrix: np.ndarray, config: TreeConfig) -> np.ndarray:
    """The targets as integers, once keys and features are known to fit each other and the config."""
    missing = [c for c in ("symbol", "session", "label_end", "target") if c not in keys.columns]
    if missing:
        raise FitError(f"columns {missing} are missing from the training keys; they have {keys.columns}")
    if keys.height != len(matrix):
        raise FitError(f"{keys.height} training keys but {len(matrix)} rows of features; align them first")
    if keys.height < max(1, config.min_rows):
        raise FitError(
            f"{keys.height} training rows, fewer than min_rows={max(1, config.min_rows)}; "
            "give more history or symbols, or lower min_rows"
        )
    nulls = {c: keys[c].null_count() for c in ("session", "label_end", "target") if keys[c].null_count()}
    if nulls:
        raise FitError(f"training keys hold nulls: {nulls}; drop rows without a label first")
    y = keys["target"].cast(pl.Int64).to_numpy()
    if y.min() < 0 or y.max() >= config.n_classes:
        raise FitError(f"targets run from {y.min()} to {y.max()}, outside 0 … {config.n_classes - 1}")
    return y


def feature_matrix(x: pl.DataFrame | np.ndarray, features: Sequence[str]) -> np.ndarray:
    """(rows, features) with NaN for missing values; infinity is an error."""
    if isinstance(x, pl.DataFrame):
        missing = [f for f in features if f not in x.columns]
        if missing:
            raise FitError(f"feature columns {missing} are missing; the frame has {x.columns}")
        matrix = x.select(pl.col(list(features)).cast(pl.Float64).fill_null(float("nan"))).to_numpy()
    else:
        matrix = np.asarray(x)
        if matrix.ndim != 2 or matrix.shape[1] != len(features):
            raise FitError(f"features must be (rows, {len(features)}), got shape {matrix.shape}")
    if np.isinf(matrix).any():
        column = features[int(np.isinf(matrix).any(axis=0).argmax())]
        raise FitError(f"feature {column!r} holds infinite values")
    return matrix
