"""Block-bootstrap intervals for figures measured on overlapping, cross-sectionally dependent predictions.

The invariant: whole sessions are the unit that is drawn, in blocks of consecutive sessions. All rows of a
session travel together, so whatever the symbols have in common on a day is kept; consecutive sessions travel
together, so the overlap of labels that reach `horizon` sessions ahead is kept too. Drawing rows, or single
sessions, would treat the same few price moves as many independent ones and give an interval several times too
narrow.

Every figure here is a smooth function of sums over sessions. A draw therefore needs the sums of the drawn
blocks only, which are differences of one cumulative sum: 2,000 draws cost milliseconds whatever the number of
rows.

What this does not repair: an interval speaks of the market that the sample comes from, not of another regime;
figures from fewer than 8 sessions get no interval; the choice among many tried models is not in it (see the
deflated Sharpe).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal

import numpy as np

Estimator = Callable[[np.ndarray], np.ndarray]
"""Maps sums (..., k) over sessions to the figure (...)."""

MIN_SESSIONS = 8
_BLOCKS_PER_HORIZON = 4
_LARGEST_BLOCK_SHARE = 1 / 2
_NORMAL = NormalDist().inv_cdf(0.975)
_FIXED_B = (2.543, 2.666, 0.104)


@dataclass(frozen=True)
class Bootstrap:
    """How an interval is drawn.

    Attributes:
        seed: seed of the random block starts; the same seed and sums give the same interval.
        horizon: sessions that a label reaches ahead (5 for a five-session return). Blocks are at least four
            times as long: a block of just `horizon` sessions sees two thirds of the variance that overlap
            creates, one of four horizons 92 %.
        draws: number of bootstrap samples.
        block: block length in sessions; "auto" takes the longest of 4 * horizon, the cube root of the number
            of sessions and the data-driven length of Politis and White, and at most half of the sessions.
    """

    seed: int
    horizon: int = 1
    draws: int = 2000
    block: int | Literal["auto"] = "auto"

    def __post_init__(self) -> None:
        if self.horizon < 1:
            raise ValueError(f"Bootstrap.horizon must be at least 1 session, got {self.horizon}")
        if self.draws < 100:
            raise ValueError(f"Bootstrap.draws must be at least 100, got {self.draws}")
        if self.block != "auto" and self.block < 1:
            raise ValueError(f"Bootstrap.block must be 'auto' or at least 1 session, got {self.block}")


@dataclass(frozen=True)
class Interval:
    """An interval and its block length in sessions; `low` and `high` are None where none can be given."""

    low: float | None
    high: float | None
    block: int


def block_bootstrap_interval(
    sums: np.ndarray,
    estimator: Estimator,
    bootstrap: Bootstrap,
    *,
    bounds: tuple[float, float] = (-math.inf, math.inf),
) -> Interval:
    """Draw blocks of sessions with replacement and return the interval of a figure.

    The circular block bootstrap (Politis and Romano 1992): blocks of fixed length start at any session and
    wrap at the end, so every session is drawn equally often. The draws are recentred on the estimate, which
    takes out the bias that drawing adds to curved figures such as a calibration error. Their 2.5 % and 97.5 %
    quantiles, or 1.96 standard deviations where that is wider, are then widened by `fixed_b_factor`, since
    with few blocks the spread of the draws is itself uncertain and too small on average; at a block of a
    tenth of the sample that is 14 %.

    Args:
        sums: (session, k), one row a session in time order, what `estimator` adds up.
        estimator: figure from sums, vectorised over leading axes; may give NaN for degenerate draws.
        bootstrap: seed, horizon, draws, block.
        bounds: range of the figure; the interval is cut there.

    Returns:
        The interval, with None for both ends below 8 sessions, or where more than a tenth of the draws have
        no value.

    Raises:
        ValueError: if `sums` is not two-dimensional or not finite.
    """
    sums = np.asarray(sums, dtype=np.float64)
    if sums.ndim != 2:
        raise ValueError(f"sums must be (session, k), got shape {sums.shape}")
    if not np.isfinite(sums).all():
        raise ValueError("sums hold NaN or infinity; drop the rows without an outcome first")
    n = len(sums)
    if n < MIN_SESSIONS:
        return Interval(None, None, min(n, 1))
    with np.errstate(divide="ignore", invalid="ignore"):
        value = float(estimator(sums.sum(axis=0)))
        block = _block_length(sums, estimator, bootstrap)
        draws = estimator(_draw(sums, block, bootstrap))
    draws = draws[np.isfinite(draws)]
    if not math.isfinite(value) or len(draws) < 0.9 * bootstrap.draws:
        return Interval(None, None, block)
    low, high = np.quantile(draws, (0.025, 0.975)) - draws.mean()
    # A draw of two or three blocks has thinner tails than the figure itself: its own quantiles would be too
    # near.
    normal = _NORMAL * draws.std()
    low, high = min(low, -normal), max(high, normal)
    widen = fixed_b_factor(block / n)
    return Interval(
        float(np.clip(value + widen * low, *bounds)), float(np.clip(value + widen * high, *bounds)), block
    )


def exact_share_interval(sums: np.ndarray, block: int) -> tuple[float, float]:
    """The exact binomial interval (Clopper and Pearson 1934) of a share of all or of none.

    Whatever blocks are drawn of such rows, the share stays what it is, as if it were known for certain. What is known
    is as many trials as there are blocks with a row: two waves of a hundred hits are two hits.

    Args:
        sums: (session, 2) rows that count and rows, in time order; some rows, and all or none of them count.
        block: sessions of a block.
    """
    # half of the time that loading the definitions would take
    from scipy.stats import binomtest

    starts = np.arange(0, len(sums), block)
    hits, rows = np.add.reduceat(sums, starts, axis=0).T
    exact = binomtest(int((hits > 0).sum()), int((rows > 0).sum())).proportion_ci(0.95, method="exact")
    return float(exact.low), float(exact.high)


def resampled(series: np.ndarray, bootstrap: Bootstrap) -> np.ndarray:
    """Series of the same length made of random blocks of the given one, for figures that depend on the order.

    Args:
        series: (sessions,) in time order.
        bootstrap: seed, draws, and the block as in `block_bootstrap_interval`, chosen for the mean of the
            series.

    Returns:
        (draws, sessions).
    """
    x = np.asarray(series, dtype=np.float64)
    n = len(x)
    block = _block_length(np.column_stack([x, np.ones(n)]), lambda s: s[..., 0] / s[..., 1], bootstrap)
    starts = np.random.default_rng(bootstrap.seed).integers(0, n, (bootstrap.draws, math.ceil(n / block)))
    index = (starts[:, :, None] + np.arange(block)).reshape(bootstrap.draws, -1)[:, :n] % n
    return x[index]


def fixed_b_factor(share: float) -> float:
    """Ratio of the fixed-b critical value of a 95 % interval to 1.96, for a block of `share` of the sample.

    The limit of Kiefer and Vogelsang (2005) for the Bartlett kernel, which the block bootstrap's variance
    equals, here for the circular form. The cubic was fitted to 60,000 simulated samples for shares up to a
    half (largest error 0.02 in the critical value); the tests simulate it anew.
    """
    return float(1 + sum(c * share ** (i + 1) for i, c in enumerate(_FIXED_B)) / _NORMAL)


def jackknife(sums: np.ndarray, estimator: Estimator) -> np.ndarray:
    """Influence of each session on a figure: (session,) of n * (figure - figure without that session)."""
    total = sums.sum(axis=0)
    return len(sums) * (estimator(total) - estimator(total - sums))


def politis_white_block(series: np.ndarray) -> float:
    """Block length of Politis and White (2004), corrected by Patton et al. (2009), circular form.

    Args:
        series: (n,) in time order.

    Returns:
        The length in sessions, not rounded; 1 for a constant series.
    """
    x = np.asarray(series, dtype=np.float64)
    n = len(x)
    x = x - x.mean()
    variance = float(x @ x) / n
    if variance <= 0:
        return 1.0
    run = max(5, math.ceil(math.log10(n)))
    largest = min(n - 1, math.ceil(math.sqrt(n)) + run)
    covariance = np.array([float(x[: n - k] @ x[k:]) / n for k in range(largest + 1)])
    small = np.abs(covariance[1:]) / variance < 2 * math.sqrt(math.log10(n) / n)
    cut = next((m for m in range(len(small)) if small[m : m + run].all()), len(small))
    lags = np.arange(1, min(2 * max(cut, 1), largest) + 1)
    weight = np.minimum(1.0, 2 * (1 - lags / lags[-1]))
    g = 2 * float((weight * lags * covariance[lags]).sum())
    spectrum = float(covariance[0] + 2 * (weight * covariance[lags]).sum())
    if spectrum == 0 or g == 0:
        return 1.0
    return max(1.0, (2 * g**2 / (4 / 3 * spectrum**2)) ** (1 / 3) * n ** (1 / 3))


def _block_length(sums: np.ndarray, estimator: Estimator, bootstrap: Bootstrap) -> int:
    n = len(sums)
    if bootstrap.block != "auto":
        return min(bootstrap.block, n)
    influence = jackknife(sums, estimator)
    influence = influence[np.isfinite(influence)]
    driven = politis_white_block(influence) if len(influence) > MIN_SESSIONS else 1.0
    length = max(
        _BLOCKS_PER_HORIZON * bootstrap.horizon if bootstrap.horizon > 1 else 1, n ** (1 / 3), driven
    )
    return max(1, min(math.ceil(length), int(n * _LARGEST_BLOCK_SHARE)))


def _draw(sums: np.ndarray, block: int, bootstrap: Bootstrap) -> np.ndarray:
    """Sums of each bootstrap sample, (draws, k)."""
    n = len(sums)
    rng = np.random.default_rng(bootstrap.seed)
    blocks = math.ceil(n / block)
    starts = rng.integers(0, n, size=(bootstrap.draws, blocks))
    lengths = np.full(blocks, block)
    lengths[-1] = n - block * (blocks - 1)
    # Centring before the cumulative sum keeps the differences exact where the sums are large and alike.
    mean = sums.mean(axis=0)
    wrapped = np.concatenate([sums, sums[:block]]) - mean
    cumulative = np.vstack([np.zeros(sums.shape[1]), np.cumsum(wrapped, axis=0)])
    return (cumulative[starts + lengths] - cumulative[starts]).sum(axis=1) + n * mean
