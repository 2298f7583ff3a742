"""A figure with what it must be read beside, and how one is made from sums over sessions."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import polars as pl

from trademl_pipeline.evaluation.intervals import (
    Bootstrap,
    Estimator,
    block_bootstrap_interval,
    exact_share_interval,
)


class MetricsError(ValueError):
    """A frame cannot be scored: empty, a column missing, or a value null, NaN or out of range."""


@dataclass(frozen=True)
class Score:
    """One figure and what it must be read beside.

    Attributes:
        name: what was measured.
        value: the figure; None where it is not defined (no positive row for a recall).
        low, high: ends of the 95 % interval; None where none was asked for or can be given.
        n: rows the figure rests on.
        sessions: sessions the figure rests on; the interval draws these.
        block: block length of the bootstrap in sessions; 0 without interval.
        baselines: what a forecast without skill scores on the same rows.
    """

    name: str
    value: float | None
    low: float | None
    high: float | None
    n: int
    sessions: int
    block: int = 0
    baselines: Mapping[str, float] = field(default_factory=dict[str, float])

    def excludes(self, level: float) -> bool:
        """Return whether the interval exists and does not hold `level`."""
        return self.low is not None and self.high is not None and not self.low <= level <= self.high

    def to_dict(self) -> dict[str, Any]:
        """The score as plain numbers, for JSON and metadata."""
        return asdict(self) | {"baselines": dict(self.baselines)}


def score_from_sums(
    name: str,
    sums: np.ndarray,
    estimator: Estimator,
    bootstrap: Bootstrap | None,
    *,
    n: int,
    bounds: tuple[float, float] = (-math.inf, math.inf),
    baselines: Mapping[str, float] | None = None,
) -> Score:
    """A score of a figure that is a function of sums over sessions; the way to add a figure of one's own.

    Args:
        name: what is measured.
        sums: (session, k) in time order.
        estimator: figure from sums, vectorised over leading axes.
        bootstrap: how to draw the interval, or None for none.
        n: rows behind the sums.
        bounds: range of the figure. A `ratio` within (0, 1) is a share: where it is all or none of the rows, its
            interval is the exact one of as many trials as there are blocks.
        baselines: scores without skill.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        value = float(estimator(sums.sum(axis=0)))
    low = high = None
    block = 0
    if bootstrap is not None:
        interval = block_bootstrap_interval(sums, estimator, bootstrap, bounds=bounds)
        low, high, block = interval.low, interval.high, interval.block
        if estimator is ratio and bounds == (0, 1) and low is not None and value in bounds:
            low, high = exact_share_interval(sums, block)
    return Score(
        name,
        value if math.isfinite(value) else None,
        low,
        high,
        n,
        len(sums),
        block,
        dict(baselines or {}),
    )


def session_sums(sessions: pl.Series, columns: Sequence[pl.Series | np.ndarray]) -> np.ndarray:
    """Sums over the rows of each session, (session, column) in time order."""
    frame = pl.DataFrame({"session": sessions, **{f"c{i}": c for i, c in enumerate(columns)}})
    totals = frame.group_by("session").agg(pl.exclude("session").sum()).sort("session")
    return totals.drop("session").to_numpy().astype(np.float64)


def ratio(totals: np.ndarray) -> np.ndarray:
    """Estimator: first sum over second."""
    return totals[..., 0] / totals[..., 1]


def mean_over_std(totals: np.ndarray) -> np.ndarray:
    """Estimator: mean over standard deviation (ddof 1) from sums of x, x² and 1; NaN where x is constant."""
    first, second, n = totals[..., 0], totals[..., 1], totals[..., 2]
    variance = (second - first**2 / n) / (n - 1)
    flat = variance <= 1e-14 * np.maximum(second / n, 1e-300)
    return np.where(flat, np.nan, first / n / np.sqrt(np.where(flat, 1.0, variance)))


def require(frame: pl.DataFrame, columns: Sequence[str]) -> None:
    """Raise MetricsError unless the frame has rows and the columns, without null, NaN or infinity."""
    missing = [c for c in columns if c not in frame.columns]
    if missing:
        raise MetricsError(f"columns {missing} are missing; the frame has {frame.columns}")
    if frame.is_empty():
        raise MetricsError("nothing to score: the frame has no rows")
    for column in columns:
        series = frame[column]
        bad = series.null_count()
        if series.dtype.is_float():
            bad += int(series.is_nan().sum()) + int(series.is_infinite().sum())
        if bad:
            raise MetricsError(
                f"column {column!r} has {bad} null, NaN or infinite values; "
                "drop rows without an outcome first"
            )
