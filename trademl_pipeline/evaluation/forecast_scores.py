"""Figures of forecasts of return and volatility: profit of the sign, price error against the last price, QLIKE.

Everything here is before costs and takes rows as `evaluation.metrics` does: one a prediction, `session` among the
columns, nothing missing.
"""

import math

import numpy as np
import polars as pl

from trademl_pipeline.evaluation.intervals import MIN_SESSIONS, Bootstrap
from trademl_pipeline.evaluation.scores import (
    MetricsError,
    Score,
    mean_over_std,
    ratio,
    require,
    score_from_sums,
    session_sums,
)
from trademl_pipeline.evaluation.sharpe import SESSIONS_A_YEAR


def sign_sharpe(
    frame: pl.DataFrame,
    bootstrap: Bootstrap | None,
    *,
    score: str,
    outcome: str,
    horizon: int,
    year: int = SESSIONS_A_YEAR,
) -> Score:
    """Annualised Sharpe ratio of holding every symbol by the sign of its forecast, in equal parts, before costs.

    One return a session: the mean over its symbols of sign times simple return over the horizon. Returns of
    neighbouring sessions overlap where the horizon is longer than one; the interval draws blocks that are longer.

    Args:
        frame: session, `score`, `outcome` (log return over `horizon` sessions).
        bootstrap: how to draw the interval.
        score: column whose sign is traded.
        outcome: column of the return that followed.
        horizon: sessions that a position is held.
        year: sessions of a year.

    Returns:
        Score whose n is the number of sessions; baseline `always_long` holds every symbol long.
    """
    require(frame, ("session", score, outcome))
    gained = pl.col(outcome).exp() - 1
    daily = (
        frame.group_by("session")
        .agg((pl.col(score).sign() * gained).mean().alias("traded"), gained.mean().alias("long"))
        .sort("session")
    )
    scale = math.sqrt(year / horizon)
    traded, always_long = daily["traded"].to_numpy(), daily["long"].to_numpy()

    def sums(r: np.ndarray) -> np.ndarray:
        return np.column_stack([r, r**2, np.ones(len(r))])

    with np.errstate(divide="ignore", invalid="ignore"):
        base = float(scale * mean_over_std(sums(always_long).sum(axis=0)))
    return score_from_sums(
        "Sharpe of the sign",
        sums(traded),
        lambda totals: scale * mean_over_std(totals),
        bootstrap,
        n=daily.height,
        baselines={"always_long": base} if math.isfinite(base) else {},
    )


def error_over_last_price(
    frame: pl.DataFrame, bootstrap: Bootstrap | None, *, predicted: str, outcome: str
) -> Score:
    """Absolute percentage error of the predicted price less that of the last price, drawn together; below 0 is skill.

    Args:
        frame: session, `predicted` and `outcome` (log returns from the last price).
        bootstrap: how to draw the interval.
        predicted, outcome: columns of the forecast and of what followed.
    """
    require(frame, ("session", predicted, outcome))
    observed = np.exp(frame[outcome].to_numpy())
    gap = np.abs(np.exp(frame[predicted].to_numpy()) / observed - 1) - np.abs(1 / observed - 1)
    sums = session_sums(frame["session"], [gap, np.ones(len(gap))])
    return score_from_sums(
        "MAPE less the last price's", sums, ratio, bootstrap, n=len(gap), baselines={"no_change": 0.0}
    )


def qlike_difference(
    frame: pl.DataFrame, bootstrap: Bootstrap | None, *, predicted: str, baseline: str, outcome: str
) -> Score:
    """QLIKE loss of one volatility forecast less another's, drawn together; below 0 the first is better.

    QLIKE is came² / said² + ln said², the loss that ranks volatility forecasts rightly though the realised
    volatility is noisy, and is defined where it is 0 (Patton 2011).

    Args:
        frame: session, `predicted`, `baseline` (> 0) and `outcome`, all as standard deviation a session.
        bootstrap: how to draw the interval.
        predicted, baseline: columns of the forecasts.
        outcome: column of the realised volatility.

    Raises:
        MetricsError: if a forecast is not above 0.
    """
    require(frame, ("session", predicted, baseline, outcome))
    for column in (predicted, baseline):
        if (frame[column] <= 0).any():
            raise MetricsError(f"column {column!r} holds volatilities <= 0, which no forecast can mean")
    observed = frame[outcome].to_numpy() ** 2

    def loss(column: str) -> np.ndarray:
        variance = frame[column].to_numpy() ** 2
        return observed / variance + np.log(variance)

    gap = loss(predicted) - loss(baseline)
    sums = session_sums(frame["session"], [gap, np.ones(len(gap))])
    return score_from_sums(
        "QLIKE less the baseline's", sums, ratio, bootstrap, n=len(gap), baselines={"none": 0.0}
    )


def mean_where(
    frame: pl.DataFrame,
    bootstrap: Bootstrap | None,
    *,
    value: str,
    where: pl.Expr,
    name: str,
    bounds: tuple[float, float] = (-math.inf, math.inf),
    baselines: dict[str, float] | None = None,
) -> Score:
    """Mean of a column over some rows; the interval draws sessions without such a row too.

    Args:
        frame: session, `value`.
        bootstrap: how to draw the interval.
        value: column to average.
        where: which rows.
        name: name of the score.
        bounds: range of the figure, (0, 1) for a share.
        baselines: what to read it beside.

    Returns:
        Score whose n counts the chosen rows; value None where there is none, no interval where fewer than 8
        sessions have one.
    """
    require(frame, ("session", value))
    chosen = _flags(frame, where)
    x = frame[value].cast(pl.Float64).to_numpy()
    sums = session_sums(frame["session"], [x * chosen, chosen])
    resampled = bootstrap if _enough_sessions(sums[:, 1]) else None
    return score_from_sums(
        name, sums, ratio, resampled, n=int(chosen.sum()), bounds=bounds, baselines=baselines
    )


def difference_of_means(
    frame: pl.DataFrame,
    bootstrap: Bootstrap | None,
    *,
    value: str,
    first: pl.Expr,
    second: pl.Expr,
    name: str,
) -> Score:
    """Mean of a column over some rows less its mean over others, drawn together.

    The two may overlap: kept signals against all signals.

    Args:
        frame: session, `value`.
        bootstrap: how to draw the interval.
        value: column to average.
        first, second: which rows.
        name: name of the score.

    Returns:
        Score whose n counts the rows of the first; value None where either is empty, no interval where fewer
        than 8 sessions have a row of it; baseline `none` is 0.
    """
    require(frame, ("session", value))
    a, b = (_flags(frame, e) for e in (first, second))
    x = frame[value].cast(pl.Float64).to_numpy()
    sums = session_sums(frame["session"], [x * a, a, x * b, b])

    def gap(totals: np.ndarray) -> np.ndarray:
        return totals[..., 0] / totals[..., 1] - totals[..., 2] / totals[..., 3]

    resampled = bootstrap if _enough_sessions(sums[:, 1]) and _enough_sessions(sums[:, 3]) else None
    return score_from_sums(name, sums, gap, resampled, n=int(a.sum()), baselines={"none": 0.0})


def _flags(frame: pl.DataFrame, where: pl.Expr) -> np.ndarray:
    """1.0 for the chosen rows, else 0.0; a row of which it is not known is not chosen."""
    return frame.select(where.fill_null(False).cast(pl.Float64)).to_series().to_numpy()


def _enough_sessions(rows: np.ndarray) -> bool:
    """True if enough sessions have a row for an interval: draws of the same few rows would look too sure."""
    return int((rows > 0).sum()) >= MIN_SESSIONS
