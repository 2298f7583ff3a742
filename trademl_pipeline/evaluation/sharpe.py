"""Sharpe ratios, and how far to believe them after many trials (Bailey and López de Prado 2012, 2014)."""

import math
from statistics import NormalDist

import numpy as np

from trademl_pipeline.evaluation.intervals import Bootstrap
from trademl_pipeline.evaluation.scores import MetricsError, Score, mean_over_std, score_from_sums

# Of a stock exchange; what trades around the clock has 365, and says so.
SESSIONS_A_YEAR = 252
_EULER = 0.5772156649015329


def sharpe(returns: np.ndarray, bootstrap: Bootstrap | None, *, year: int = SESSIONS_A_YEAR) -> Score:
    """Annualised Sharpe ratio: sqrt(year) times mean over standard deviation (ddof 1) of session returns.

    Args:
        returns: (sessions,) simple returns in time order, net or gross as the caller says.
        bootstrap: how to draw the interval.
        year: sessions of a year.

    Returns:
        Score with value None for a constant series.
    """
    r = _returns(returns)
    sums = np.column_stack([r, r**2, np.ones(len(r))])
    return score_from_sums(
        "Sharpe",
        sums,
        lambda totals: math.sqrt(year) * mean_over_std(totals),
        bootstrap,
        n=len(r),
        baselines={"none": 0.0},
    )


def probabilistic_sharpe(returns: np.ndarray, *, benchmark: float = 0.0) -> float | None:
    """Probability that the true Sharpe ratio exceeds a benchmark (Bailey and López de Prado 2012).

    Args:
        returns: (sessions,) simple returns.
        benchmark: Sharpe ratio to beat, annualised.

    Returns:
        Probability, with skewness and kurtosis of the returns in the standard error; None for a constant
        series.
    """
    r = _returns(returns)
    deviation = r.std(ddof=1) if len(r) > 1 else 0.0
    if deviation <= 1e-15 * max(1.0, float(np.abs(r).max())):
        return None
    ratio = float(r.mean() / deviation)
    # scipy.stats takes a second to import, and everything that scores a frame would wait for it.
    from scipy.stats import kurtosis, skew

    return sharpe_probability(
        ratio,
        len(r),
        skewness=float(skew(r)),
        kurtosis=float(kurtosis(r, fisher=False)),
        benchmark=benchmark / math.sqrt(SESSIONS_A_YEAR),
    )


def sharpe_probability(
    ratio: float, n: int, *, skewness: float = 0.0, kurtosis: float = 3.0, benchmark: float = 0.0
) -> float:
    """Return the probability that a true Sharpe ratio lies above a benchmark, from the moments of the returns.

    Phi((SR - SR*) sqrt(n - 1) / sqrt(1 - skewness SR + (kurtosis - 1) / 4 SR²)), the formula behind
    `probabilistic_sharpe`.

    Args:
        ratio: SR, the measured Sharpe ratio per period, not a year.
        n: number of periods.
        skewness: of the returns; 0 for normal ones.
        kurtosis: of the returns, not the excess; 3 for normal ones.
        benchmark: SR*, the ratio per period to beat.

    Raises:
        MetricsError: there are fewer than two periods.
    """
    if n < 2:
        raise MetricsError(f"a Sharpe ratio needs at least 2 periods, got {n}")
    spread = 1 - skewness * ratio + (kurtosis - 1) / 4 * ratio**2
    return float(NormalDist().cdf((ratio - benchmark) * math.sqrt(n - 1) / math.sqrt(max(spread, 1e-12))))


def expected_maximum_sharpe(trials: int, variance: float) -> float:
    """Sharpe ratio that the best of `trials` worthless strategies is expected to show.

    sqrt(V) ((1 - g) Phi^-1(1 - 1/N) + g Phi^-1(1 - 1/(N e))), g the Euler-Mascheroni constant
    (Bailey and López de Prado 2014).

    Args:
        trials: strategies tried, on record; 1 gives 0.
        variance: variance of the tried strategies' Sharpe ratios, in the unit of which the result is the
            root.
    """
    if trials < 1:
        raise MetricsError(f"the number of trials must be at least 1, got {trials}")
    if trials == 1:
        return 0.0
    first, second = NormalDist().inv_cdf(1 - 1 / trials), NormalDist().inv_cdf(1 - 1 / (trials * math.e))
    return float(math.sqrt(variance) * ((1 - _EULER) * first + _EULER * second))


def deflated_sharpe(returns: np.ndarray, *, trials: int, trial_variance: float | None = None) -> float | None:
    """Probability that the Sharpe ratio is real, given how many strategies were tried to find it.

    Args:
        returns: (sessions,) simple returns of the chosen strategy.
        trials: number of strategies tried, the chosen one included.
        trial_variance: variance over the trials of their annualised Sharpe ratios; None takes that of a
            worthless strategy over as many sessions, 252 / (n - 1), right when the trials are unlike one
            another.

    Returns:
        Probability; None for a constant series.
    """
    r = _returns(returns)
    if trial_variance is None:
        trial_variance = SESSIONS_A_YEAR / max(1, len(r) - 1)
    return probabilistic_sharpe(r, benchmark=expected_maximum_sharpe(trials, trial_variance))


def _returns(returns: np.ndarray) -> np.ndarray:
    r = np.asarray(returns, dtype=np.float64)
    if r.ndim != 1 or len(r) == 0:
        raise MetricsError(f"returns must be a non-empty vector, got shape {r.shape}")
    if not np.isfinite(r).all():
        raise MetricsError(f"returns hold {int((~np.isfinite(r)).sum())} NaN or infinite values")
    return r
