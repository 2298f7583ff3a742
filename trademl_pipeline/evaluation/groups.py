"""Rows that share what the market did, such as those of a session, and what they have in common.

It comes once for all rows of a group and hides what tells them apart.
"""

import numpy as np
import polars as pl

# Fewest rows whose mean is the market's rather than their own.
GROUP = 5


def numbered(columns: pl.DataFrame) -> np.ndarray:
    """(rows,) number of each row's group: rows with the same values of all columns."""
    return columns.select(pl.struct(pl.all()).rank("dense")).to_series().to_numpy()


def group_sums(values: np.ndarray, together: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sums of the values, (rows,) or (rows, columns), over each row's group, and the number of its rows, (rows,)."""
    _, group, counts = np.unique(together, return_inverse=True, return_counts=True)
    sums = np.zeros((len(counts), *values.shape[1:]))
    np.add.at(sums, group, values)
    return sums[group], counts[group]


def less_group_means(values: np.ndarray, together: np.ndarray) -> np.ndarray:
    """Values, (rows,) or (rows, columns), less their mean over the rows of the same group."""
    total, count = group_sums(values, together)
    return values - (total.T / count).T


def apart(values: np.ndarray, together: np.ndarray) -> np.ndarray:
    """Values, (rows,), with the mean of each group put at that of all rows; groups of fewer than `GROUP` stay as is."""
    _, count = group_sums(values, together)
    return np.where(count >= GROUP, less_group_means(values, together) + values.mean(), values)


def drawn_means(values: np.ndarray, together: np.ndarray, towards: np.ndarray) -> np.ndarray:
    """Means of the values, (rows,) or (rows, columns), over each row's group, as if `GROUP` more rows had `towards`."""
    total, count = group_sums(values, together)
    return ((total + GROUP * towards).T / (count + GROUP)).T
