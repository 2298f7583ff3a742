"""How a portfolio did: return, risk, drawdown, hit rate and turnover, each with its interval."""

from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
import polars as pl

from trademl_pipeline.evaluation.intervals import MIN_SESSIONS, Bootstrap, resampled
from trademl_pipeline.evaluation.metrics import (
    SESSIONS_A_YEAR,
    Score,
    deflated_sharpe,
    probabilistic_sharpe,
    score_from_sums,
    sharpe,
)
from trademl_pipeline.portfolio.errors import PortfolioError


@dataclass(frozen=True)
class Performance:
    """Figures of one return series; returns are simple and by session of the portfolio.

    Attributes:
        sessions: length of the series.
        first, last: first and last session.
        total_return: growth over the whole series less 1.
        annual_return: mean session return times the sessions of a year.
        annual_volatility: standard deviation times the root of the sessions of a year.
        sharpe: annualised, with its interval.
        probabilistic_sharpe: probability that the true ratio is above 0; None for a constant series.
        deflated_sharpe: the same against the best of `trials` worthless strategies.
        trials: strategies tried, on record.
        hit_rate: share of the sessions with a position that gained.
        max_drawdown: deepest fall from a peak of equity, below 0; the interval holds 95 % of the drawdowns of
            the same returns in other orders of their blocks.
        drawdown_start, drawdown_end: sessions of its peak and trough; None without a fall.
        turnover: mean sum of absolute weight changes a session.
        annual_cost: mean cost a session times the sessions of a year, as a share of equity.
    """

    sessions: int
    first: date
    last: date
    total_return: float
    annual_return: Score
    annual_volatility: float
    sharpe: Score
    probabilistic_sharpe: float | None
    deflated_sharpe: float | None
    trials: int
    hit_rate: Score
    max_drawdown: Score
    drawdown_start: date | None
    drawdown_end: date | None
    turnover: Score
    annual_cost: float

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers, dates as ISO text."""
        plain = {}
        for name, value in vars(self).items():
            if isinstance(value, Score):
                plain[name] = value.to_dict()
            elif isinstance(value, date):
                plain[name] = value.isoformat()
            else:
                plain[name] = value
        return plain


def performance(
    equity: pl.DataFrame,
    bootstrap: Bootstrap,
    *,
    column: str = "net_return",
    trials: int = 1,
    trial_variance: float | None = None,
    year: int = SESSIONS_A_YEAR,
) -> Performance:
    """Measure one return column of a portfolio.

    Args:
        equity: `LongShort.equity`.
        bootstrap: how to draw the intervals.
        column: "gross_return" or "net_return".
        trials: strategies tried to find this one, for the deflated Sharpe ratio.
        trial_variance: variance of the annualised Sharpe ratios of the trials; see `deflated_sharpe`.
        year: sessions of a year.

    Raises:
        PortfolioError: if the portfolio has no session.
    """
    if equity.is_empty():
        raise PortfolioError("the portfolio has no session to measure")
    r = equity[column].to_numpy()
    n = len(r)
    ones = np.ones(n)
    invested = (equity["positions"] > 0).to_numpy().astype(float)

    def scaled_mean(scale: float):
        return lambda totals: scale * totals[..., 0] / totals[..., 1]

    return Performance(
        sessions=n,
        first=equity["session"][0],
        last=equity["session"][-1],
        total_return=float(np.prod(1 + r) - 1),
        annual_return=score_from_sums(
            "annual return",
            np.column_stack([r, ones]),
            scaled_mean(year),
            bootstrap,
            n=n,
            baselines={"none": 0.0},
        ),
        annual_volatility=float(r.std(ddof=1) * np.sqrt(year)) if n > 1 else 0.0,
        sharpe=sharpe(r, bootstrap, year=year),
        probabilistic_sharpe=probabilistic_sharpe(r),
        deflated_sharpe=deflated_sharpe(r, trials=trials, trial_variance=trial_variance),
        trials=trials,
        hit_rate=score_from_sums(
            "hit rate",
            np.column_stack([(r > 0) * invested, invested]),
            scaled_mean(1.0),
            bootstrap,
            n=int(invested.sum()),
            bounds=(0, 1),
            baselines={"coin": 0.5},
        ),
        turnover=score_from_sums(
            "turnover",
            np.column_stack([equity["turnover"].to_numpy(), ones]),
            scaled_mean(1.0),
            bootstrap,
            n=n,
            bounds=(0, float("inf")),
        ),
        annual_cost=float(equity["cost"].mean() * year),  # pyright: ignore[reportArgumentType, reportOperatorIssue, reportOptionalOperand]
        **_drawdown(r, equity, bootstrap),
    )


def _drawdown(r: np.ndarray, equity: pl.DataFrame, bootstrap: Bootstrap) -> dict[str, Any]:
    wealth = np.concatenate([[1.0], np.cumprod(1 + r)])
    fall = wealth / np.maximum.accumulate(wealth) - 1
    trough = int(fall.argmin())
    low = high = None
    if len(r) >= MIN_SESSIONS:
        paths = np.cumprod(1 + resampled(r, bootstrap), axis=1)
        peaks = np.maximum(np.maximum.accumulate(paths, axis=1), 1.0)
        low, high = (float(q) for q in np.quantile((paths / peaks - 1).min(axis=1), (0.025, 0.975)))
    score = Score("max drawdown", float(fall[trough]), low, high, len(r), len(r))
    if trough == 0:
        return {"max_drawdown": score, "drawdown_start": None, "drawdown_end": None}
    peak = int(wealth[: trough + 1].argmax())
    return {
        "max_drawdown": score,
        "drawdown_start": equity["session"][peak],
        "drawdown_end": equity["until"][trough - 1],
    }
