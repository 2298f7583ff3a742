"""Windows into the feature matrix: an index of end rows, gathered per batch. No window is stored.

The feature frame, sorted by symbol and session, is the matrix; a window of `length` sessions that ends at
row r holds the rows `r - n_valid + 1 .. r`, where `n_valid <= length` stops at the symbol's first row.
Padding stands before those rows and nowhere else. Windows count the symbol's own sessions: a gap is stepped
over, not padded.
"""

from collections.abc import Sequence

import numpy as np
import polars as pl

KEY = ("symbol", "session")


class SequenceInputError(ValueError):
    """Windows cannot be made of the input; the message says what it must be."""


def window_index(features: pl.DataFrame, length: int) -> pl.DataFrame:
    """For each row of the features the window that ends there.

    Args:
        features: sorted by symbol and session, one row per key.
        length: sessions in a window, at least 1.

    Returns:
        symbol, session, row (Int64: the window's last row in the matrix), n_valid (Int32: its rows,
        1..length), window_start (session of its first row); in the order of the features.

    Raises:
        SequenceInputError: wrong length, or features not sorted by unique keys.
    """
    if length < 1:
        raise SequenceInputError(f"window length is {length}; it must be at least 1 session")
    keys = features.select(KEY)
    ordered = keys.select(
        (
            (pl.col("symbol") > pl.col("symbol").shift(1))
            | (
                (pl.col("symbol") == pl.col("symbol").shift(1))
                & (pl.col("session") > pl.col("session").shift(1))
            )
        ).all()
    ).item()
    if not ordered:
        raise SequenceInputError(
            "features must be sorted by symbol and session, each key once; sort them first"
        )
    row = pl.int_range(pl.len(), dtype=pl.Int64)
    # Within `over`, a row number counts the symbol's own rows.
    age = row.over("symbol")
    n_valid = pl.min_horizontal(age + 1, length)
    return keys.with_columns(row.alias("row"), n_valid.cast(pl.Int32).alias("n_valid")).with_columns(
        pl.col("session").gather(pl.col("row") - pl.col("n_valid") + 1).alias("window_start")
    )


def feature_matrix(features: pl.DataFrame, names: Sequence[str] | None = None) -> np.ndarray:
    """The features as (rows, features) float32, row by row in memory, NaN where null.

    Args:
        features: keyed frame.
        names: columns in order; None takes all but symbol and session.
    """
    columns = [c for c in features.columns if c not in KEY] if names is None else list(names)
    values = features.select(pl.col(c).cast(pl.Float32).fill_null(float("nan")) for c in columns)
    return values.to_numpy(order="c")


def gather(
    matrix: np.ndarray, row: np.ndarray, n_valid: np.ndarray, length: int
) -> tuple[np.ndarray, np.ndarray]:
    """The windows of a batch.

    Fastest on a float32 matrix that is contiguous row by row (see `feature_matrix`): each window is one
    block.

    Args:
        matrix: (rows, features), the features in the order of the index.
        row: (batch,) last row of each window.
        n_valid: (batch,) rows of each window, 1 to length.
        length: sessions in a window.

    Returns:
        x (batch, length, features) float32, left-padded with 0; mask (batch, length) bool, true on rows
        that exist.
        A feature that is missing on an existing row stays NaN: filling it is a fitted choice of the model.
    """
    row = np.asarray(row, dtype=np.int64)
    mask = np.arange(length, 0, -1)[None, :] <= np.asarray(n_valid)[:, None]
    if len(matrix) < length:
        steps = row[:, None] + np.arange(1 - length, 1)[None, :]
        x = matrix[np.where(mask, steps, row[:, None])]
    else:
        blocks = np.lib.stride_tricks.sliding_window_view(matrix, length, axis=0)
        x = blocks.transpose(0, 2, 1)[np.maximum(row - length + 1, 0)]
        # The first rows of the matrix have no full block: theirs starts at row 0 and must move to the right.
        for k in np.flatnonzero(row < length - 1):
            x[k, length - 1 - row[k] :] = matrix[: row[k] + 1]
    x = np.ascontiguousarray(x, dtype=np.float32)
    if not mask.all():
        x[~mask] = 0.0
    return x, mask


def flat(
    matrix: np.ndarray, row: np.ndarray, lags: tuple[int, ...] = (0,), n_valid: np.ndarray | None = None
) -> np.ndarray:
    """The tabular view for trees: the features of each row's session and of earlier ones side by side.

    Args:
        matrix: (rows, features).
        row: (batch,) rows of the decisions.
        lags: sessions back, e.g. (0, 1, 5).
        n_valid: (batch,) rows of the window; needed with lags above 0, so that no lag reaches into another
            symbol.

    Returns:
        (batch, len(lags) * features), lag by lag; NaN where the symbol has no such session.
    """
    row = np.asarray(row, dtype=np.int64)
    if any(lag < 0 for lag in lags):
        raise SequenceInputError(f"lags are {lags}; a negative lag would read the future")
    if max(lags) > 0 and n_valid is None:
        raise SequenceInputError("lags above 0 need n_valid, which tells where the symbol begins")
    parts = []
    for lag in lags:
        part = matrix[np.maximum(row - lag, 0)]
        if lag > 0:
            part[np.asarray(n_valid) <= lag] = np.nan
        parts.append(part)
    return np.concatenate(parts, axis=1)
