"""Figures about a feature table: missing share, distribution, and drift against the training months."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

QUANTILES = (0.01, 0.05, 0.25, 0.50, 0.75, 0.95, 0.99)
PSI_BINS = 10
PSI_FLOOR = 1e-4


def feature_columns(frame: pl.DataFrame) -> list[str]:
    """The Float64 and Float32 columns of a feature table."""
    return [c for c, dtype in frame.schema.items() if dtype in (pl.Float64, pl.Float32)]


@dataclass(frozen=True)
class Values:
    """The values of a feature table that are there, sorted: what all figures are made of.

    Attributes:
        rows: of the table.
        columns: (n,) ascending values of each feature, missing ones left out.
    """

    rows: int
    columns: dict[str, np.ndarray]

    @classmethod
    def of(cls, frame: "pl.DataFrame | Values", names: Sequence[str] | None = None) -> "Values":
        """The values of a frame's features (None: all float columns); values stay what they are."""
        if isinstance(frame, Values):
            return frame
        sorted_values = {}
        for name in feature_columns(frame) if names is None else names:
            x = frame[name].to_numpy()
            sorted_values[name] = np.sort(x[~np.isnan(x)])
        return cls(frame.height, sorted_values)

    def missing(self, name: str) -> float | None:
        """Share of the rows without a value; None where there are no rows."""
        return 1 - len(self.columns[name]) / self.rows if self.rows else None


def summary(frame: pl.DataFrame | Values, names: Sequence[str] | None = None) -> pl.DataFrame:
    """One row per feature: rows, null_share, mean, std, min, q01 ... q99, max (null where nothing is present).

    Args:
        frame: feature table.
        names: features; None takes all float columns.
    """
    values = Values.of(frame, names)
    quantiles = [f"q{round(100 * q):02d}" for q in QUANTILES]
    rows = []
    for name, x in values.columns.items():
        row: dict = {"feature": name, "rows": values.rows, "null_share": values.missing(name)}
        if len(x):
            row |= {"mean": x.mean(), "min": x[0], "max": x[-1], "std": x.std(ddof=1) if len(x) > 1 else None}
            row |= zip(quantiles, _quantiles(x), strict=True)
        rows.append(row)
    figures = ("null_share", "mean", "std", "min", *quantiles, "max")
    schema = {"feature": pl.String, "rows": pl.Int64, **dict.fromkeys(figures, pl.Float64)}
    return pl.DataFrame(rows, schema=schema)


def _quantiles(x: np.ndarray) -> np.ndarray:
    """`QUANTILES` of sorted values, linear between neighbours."""
    return np.interp(np.multiply(QUANTILES, len(x) - 1), np.arange(len(x)), x)


def _stability(training: np.ndarray, current: np.ndarray) -> float:
    """Population stability index of sorted values between ten bins with equal counts of the training values.

    Below 0.1 is stable, above 0.25 a shift, by the rule of thumb of credit scoring. NaN where either is empty.
    """
    if len(training) == 0 or len(current) == 0:
        return float("nan")
    at = np.linspace(0, 1, PSI_BINS + 1)[1:-1] * (len(training) - 1)
    edges = np.unique(np.interp(at, np.arange(len(training)), training))
    shares = []
    for x in (training, current):
        below = np.concatenate([[0], np.searchsorted(x, edges, side="right"), [len(x)]])
        shares.append(np.maximum(np.diff(below) / len(x), PSI_FLOOR))
    return float(((shares[1] - shares[0]) * np.log(shares[1] / shares[0])).sum())


def drift(
    training: pl.DataFrame | Values, current: pl.DataFrame | Values, names: Sequence[str] | None = None
) -> pl.DataFrame:
    """How far a month's features lie from those of the training months.

    Args:
        training: feature table of the training months.
        current: feature table of the month.
        names: features; None takes all float columns of the month.

    Returns:
        feature, psi (population stability index: below 0.1 is stable, above 0.25 a shift), ks (largest distance of
        the distribution functions, 0 to 1), null_share_change (month - training), mean_shift (difference of means
        in training standard deviations); null where it cannot be told.
    """
    now = Values.of(current, names)
    before = Values.of(training, list(now.columns))
    rows = []
    for name, b in now.columns.items():
        a = before.columns[name]
        comparable = len(a) > 0 and len(b) > 0
        spread = a.std() if comparable else 0.0
        rows.append(
            {
                "feature": name,
                "psi": _stability(a, b) if comparable else None,
                "ks": _distance(a, b) if comparable else None,
                "null_share_change": (now.missing(name) or 0.0) - (before.missing(name) or 0.0),
                "mean_shift": (b.mean() - a.mean()) / spread if spread > 0 else None,
            }
        )
    figures = dict.fromkeys(("psi", "ks", "null_share_change", "mean_shift"), pl.Float64)
    return pl.DataFrame(rows, schema={"feature": pl.String, **figures})


def _distance(a: np.ndarray, b: np.ndarray) -> float:
    """Kolmogorov's distance of sorted values: the functions differ most where one of them steps."""
    at = np.concatenate([a, b])
    below_a = np.searchsorted(a, at, side="right") / len(a)
    below_b = np.searchsorted(b, at, side="right") / len(b)
    return float(np.abs(below_a - below_b).max())
