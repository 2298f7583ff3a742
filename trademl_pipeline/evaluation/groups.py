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


def group_sums(values: np.ndarray, groups: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sums of the values, (rows,) or (rows, columns), over each row's group, and the number of its rows, (rows,)."""
    _, group, counts = np.unique(groups, return_inverse=True, return_counts=True)
    sums = np.zeros((len(counts), *values.shape[1:]))
    np.add.at(sums, group, values)
    return sums[group], counts[group]


def demean_within(values: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Values, (rows,) or (rows, columns), less their mean over the rows of the same group."""
    total, count = group_sums(values, groups)
    return values - (total.T / count).T


def cross_sectional_demean(values: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Values, (rows,), with the mean of each group put at that of all rows; groups of fewer than `GROUP` stay as is."""
    _, count = group_sums(values, groups)
    return np.where(count >= GROUP, demean_within(values, groups) + values.mean(), values)


def shrunken_means(values: np.ndarray, groups: np.ndarray, towards: np.ndarray) -> np.ndarray:
    """Means of the values, (rows,) or (rows, columns), over each row's group, as if `GROUP` more rows had `towards`."""
    total, count = group_sums(values, groups)
    return ((total + GROUP * towards).T / (count + GROUP)).T
