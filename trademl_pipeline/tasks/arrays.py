"""Steps that tasks share between columns and arrays."""

import numpy as np
import polars as pl

from trademl_pipeline.evaluation.groups import cross_sectional_demean, numbered

VOLATILITY_FLOOR = 1e-6


def softmax(logits: np.ndarray) -> np.ndarray:
    """Class probabilities (rows, classes)."""
    e = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def sigmoid(logits: np.ndarray) -> np.ndarray:
    """Probability of each logit."""
    return 1.0 / (1.0 + np.exp(-np.clip(logits, -40.0, 40.0)))


def column(keys: pl.DataFrame, name: str) -> np.ndarray:
    """One column as float64, (rows,), NaN for null."""
    return keys[name].cast(pl.Float64).fill_null(float("nan")).to_numpy()


def class_numbers(keys: pl.DataFrame, name: str = "target") -> np.ndarray:
    """Numbers of classes as int64, (rows,)."""
    return keys[name].cast(pl.Int64).to_numpy()


def frame_of(columns: tuple[str, ...], values: np.ndarray) -> pl.DataFrame:
    """(rows, columns) as a frame of float64."""
    return pl.DataFrame({name: np.asarray(values[:, i], dtype=np.float64) for i, name in enumerate(columns)})


def typical_size(values: np.ndarray) -> float:
    """Mean absolute size of what is known, above 0."""
    known = values[~np.isnan(values)]
    return max(float(np.abs(known).mean()) if known.size else 0.0, VOLATILITY_FLOOR)


def demean_sessions(keys: pl.DataFrame, returns: np.ndarray) -> np.ndarray:
    """Returns with the market's move of each session put at its mean over all sessions.

    What moves all symbols of a session alike comes once a session: a few hundred of them say little about it, and it
    hides what tells symbols apart. Rows share a move if they share session and end of the label: but for that one
    mean no row learns of a return that is known later than its own. Where fewer than `groups.GROUP` rows
    do, their returns stay as they are.

    Args:
        keys: session and, where known, label_end, one row a sample.
        returns: (rows, horizons), NaN where there is no label.

    Returns:
        (rows, horizons).
    """
    groups = numbered(keys.select(c for c in ("session", "label_end") if c in keys.columns))
    demeaned = returns.copy()
    for one in demeaned.T:
        known = ~np.isnan(one)
        if known.any():
            one[known] = cross_sectional_demean(one[known], groups[known])
    return demeaned
