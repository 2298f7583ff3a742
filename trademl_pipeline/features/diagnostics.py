"""Figures about a feature table: missing share, distribution, and drift against the training months."""

from collections.abc import Sequence

import numpy as np
import polars as pl

QUANTILES = (0.01, 0.05, 0.25, 0.50, 0.75, 0.95, 0.99)
PSI_BINS = 10
PSI_FLOOR = 1e-4


def feature_columns(frame: pl.DataFrame) -> list[str]:
    """The Float64 and Float32 columns of a feature table."""
    return [c for c, dtype in frame.schema.items() if dtype in (pl.Float64, pl.Float32)]


def summary(frame: pl.DataFrame, names: Sequence[str] | None = None) -> pl.DataFrame:
    """One row per feature: rows, null_share, mean, std, min, q01 ... q99, max (null where nothing is present).

    Args:
        frame: feature table.
        names: features; None takes all float columns.
    """
    names = feature_columns(frame) if names is None else list(names)
    rows = []
    for name in names:
        x = frame[name].fill_nan(None).drop_nulls()
        quantiles = {f"q{round(100 * q):02d}": x.quantile(q, "linear") for q in QUANTILES}
        rows.append(
            {
                "feature": name,
                "rows": frame.height,
                "null_share": 1 - len(x) / frame.height if frame.height else None,
                "mean": x.mean(),
                "std": x.std(),
                "min": x.min(),
                **quantiles,
                "max": x.max(),
            }
        )
    figures = ("null_share", "mean", "std", "min", *(f"q{round(100 * q):02d}" for q in QUANTILES), "max")
    schema = {"feature": pl.String, "rows": pl.Int64, **dict.fromkeys(figures, pl.Float64)}
    return pl.DataFrame(rows, schema=schema)


def population_stability(training: np.ndarray, current: np.ndarray) -> float:
    """Population stability index between ten bins with equal counts of the training values.

    Below 0.1 is stable, above 0.25 a shift, by the rule of thumb of credit scoring. NaN where either is
    empty.

    Args:
        training, current: values without NaN.
    """
    if len(training) == 0 or len(current) == 0:
        return float("nan")
    edges = np.unique(np.quantile(training, np.linspace(0, 1, PSI_BINS + 1)[1:-1]))
    shares = [
        np.maximum(
            np.bincount(np.searchsorted(edges, x, side="left"), minlength=len(edges) + 1) / len(x), PSI_FLOOR
        )
        for x in (training, current)
    ]
    return float(((shares[1] - shares[0]) * np.log(shares[1] / shares[0])).sum())


def drift(training: pl.DataFrame, current: pl.DataFrame, names: Sequence[str] | None = None) -> pl.DataFrame:
    """How far a month's features lie from those of the training months.

    Args:
        training: feature table of the training months.
        current: feature table of the month.
        names: features; None takes all float columns of the month.

    Returns:
        feature, psi (see `population_stability`), ks (largest distance of the distribution functions, 0 to
        1), null_share_change (month - training), mean_shift (difference of means in training standard
        deviations); null where it cannot be told.
    """
    names = feature_columns(current) if names is None else list(names)
    rows = []
    for name in names:
        a, b = (f[name].fill_nan(None).drop_nulls().to_numpy() for f in (training, current))
        told = len(a) > 0 and len(b) > 0
        spread = a.std() if told else 0.0
        rows.append(
            {
                "feature": name,
                "psi": population_stability(a, b) if told else None,
                "ks": _distance(a, b) if told else None,
                "null_share_change": _missing(current, name) - _missing(training, name),
                "mean_shift": (b.mean() - a.mean()) / spread if spread > 0 else None,
            }
        )
    figures = dict.fromkeys(("psi", "ks", "null_share_change", "mean_shift"), pl.Float64)
    return pl.DataFrame(rows, schema={"feature": pl.String, **figures})


def _missing(frame: pl.DataFrame, name: str) -> float:
    return frame[name].fill_nan(None).null_count() / frame.height if frame.height else 0.0


def _distance(a: np.ndarray, b: np.ndarray) -> float:
    a, b = np.sort(a), np.sort(b)
    at = np.concatenate([a, b])
    below_a = np.searchsorted(a, at, side="right") / len(a)
    below_b = np.searchsorted(b, at, side="right") / len(b)
    return float(np.abs(below_a - below_b).max())
