"""Robust scaling of features: centre on the median, divide by the interquartile range."""

from dataclasses import dataclass

import numpy as np

from trademl_pipeline.training.inner_split import FitError

NORMAL_IQR = 1.3489795003921634  # of a standard normal, so that a scaled Gaussian feature has deviation 1


@dataclass(frozen=True)
class RobustScaling:
    """Fitted scaling; the network carries it (see ``models.prepared``), so a saved model needs nothing else.

    Attributes:
        centre, scale: (features,).
        unused: positions of features that were constant or wholly missing; scaled, they are 0 in training.
    """

    centre: np.ndarray
    scale: np.ndarray
    unused: tuple[int, ...]


def fit_robust_scaling(matrix: np.ndarray) -> RobustScaling:
    """Median and interquartile range of each column, NaN left out.

    A column whose quartiles coincide is scaled by its standard deviation; a constant one by 1; a column of
    NaN only is centred on 0.

    Args:
        matrix: (rows, features), at least one row.

    Raises:
        FitError: no rows, infinite values, or no feature that varies.
    """
    if len(matrix) == 0:
        raise FitError("there are no rows to fit the scaling on")
    if np.isinf(matrix).any():
        column = int(np.isinf(matrix).any(axis=0).argmax())
        raise FitError(f"feature {column} holds infinite values; they have no scale")
    known = ~np.isnan(matrix).all(axis=0)
    if not known.any():
        raise FitError(f"none of {matrix.shape[1]} features varies over {len(matrix)} rows: all are missing")
    centre, scale = np.zeros(matrix.shape[1]), np.ones(matrix.shape[1])
    low, middle, high = np.nanquantile(matrix[:, known], (0.25, 0.5, 0.75), axis=0)
    spread, deviation = (high - low) / NORMAL_IQR, np.nanstd(matrix[:, known], axis=0)
    centre[known] = middle
    varies = np.nanmax(matrix[:, known], axis=0) > np.nanmin(matrix[:, known], axis=0)
    scale[known] = np.where(varies, np.where(spread > 0, spread, deviation), 1.0)
    unused = np.ones(matrix.shape[1], dtype=bool)
    unused[known] = ~varies
    if unused.all():
        raise FitError(f"none of {matrix.shape[1]} features varies over {len(matrix)} rows; nothing to learn")
    scale = np.where(scale > 0, scale, 1.0)
    return RobustScaling(centre, scale, tuple(int(i) for i in np.flatnonzero(unused)))
