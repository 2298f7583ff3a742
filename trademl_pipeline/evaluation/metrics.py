"""Figures of merit of predictions, each with its baselines, its n and a 95 % block-bootstrap interval.

Every function takes a frame with one row a prediction, `session` among its columns, and rows without an
outcome already dropped: a null or NaN in a column that a figure reads is an error, never a silent gap.
`bootstrap=None` skips the interval. Here are direction, rank correlation and price error; the other
figures, re-exported here, are in `class_scores` (class probabilities) and `sharpe`.
"""

import math

import numpy as np
import polars as pl

from trademl_pipeline.evaluation.class_scores import (
    CLASSES,
    PROBABILITIES,
    brier,
    class_accuracy,
    correlation,
    ev_correlation,
    expected_calibration_error,
    recall,
    reliability,
    roc_auc,
)
from trademl_pipeline.evaluation.intervals import Bootstrap
from trademl_pipeline.evaluation.scores import (
    MetricsError,
    Score,
    mean_over_std,
    ratio,
    require,
    score_from_sums,
    session_sums,
)
from trademl_pipeline.evaluation.sharpe import (
    SESSIONS_A_YEAR,
    deflated_sharpe,
    expected_maximum_sharpe,
    probabilistic_sharpe,
    sharpe,
    sharpe_probability,
)

__all__ = [
    "CLASSES",
    "IC_ALARM",
    "PROBABILITIES",
    "SESSIONS_A_YEAR",
    "Bootstrap",
    "MetricsError",
    "Score",
    "brier",
    "class_accuracy",
    "correlation",
    "deflated_sharpe",
    "directional_accuracy",
    "directional_excess",
    "ev_correlation",
    "expected_calibration_error",
    "expected_maximum_sharpe",
    "icir",
    "mape",
    "probabilistic_sharpe",
    "rank_ic",
    "rank_ic_by_session",
    "ratio",
    "recall",
    "reliability",
    "roc_auc",
    "score_from_sums",
    "session_sums",
    "sharpe",
    "sharpe_probability",
]

IC_ALARM = 0.06
"""A daily rank-IC mean above this is an alarm, not a success."""


def directional_accuracy(
    frame: pl.DataFrame,
    bootstrap: Bootstrap | None,
    *,
    score: str = "score",
    outcome: str = "forward_return",
) -> Score:
    """Share of predictions whose sign is the sign of what followed.

    Rows with a score of exactly 0 say nothing and rows with a return of exactly 0 have no direction; neither
    counts in n.

    Args:
        frame: session, `score` (any scale, its sign is the call), `outcome` (log return).
        bootstrap: how to draw the interval.
        score: column of the call.
        outcome: column of the return that followed.

    Returns:
        Score with baselines `majority` (the direction that was more frequent in these rows, which no one
        could know beforehand: a strict bar) and `always_up`.
    """
    called = _called(frame, score, outcome)
    up = (called[outcome] > 0).cast(pl.Float64)
    right = ((called[score] > 0) == (called[outcome] > 0)).cast(pl.Float64)
    sums = session_sums(called["session"], [right, pl.repeat(1.0, called.height, eager=True)])
    share_up = float(up.mean())  # pyright: ignore[reportArgumentType]
    baselines = {"majority": max(share_up, 1 - share_up), "always_up": share_up}
    return score_from_sums(
        "directional accuracy",
        sums,
        ratio,
        bootstrap,
        n=called.height,
        bounds=(0, 1),
        baselines=baselines,
    )


def directional_excess(
    frame: pl.DataFrame,
    bootstrap: Bootstrap | None,
    *,
    score: str = "score",
    outcome: str = "forward_return",
) -> Score:
    """Directional accuracy less the majority direction's, drawn together.

    Calls and baseline meet the same days, so the interval of the difference is the one to judge an edge by.

    Args:
        frame: session, `score`, `outcome` as for `directional_accuracy`.
        bootstrap: how to draw the interval.
        score: column of the call.
        outcome: column of the return that followed.
    """
    called = _called(frame, score, outcome)
    up = (called[outcome] > 0).cast(pl.Float64)
    right = ((called[score] > 0) == (called[outcome] > 0)).cast(pl.Float64)
    majority = up if float(up.mean()) >= 0.5 else 1 - up  # pyright: ignore[reportArgumentType]
    sums = session_sums(called["session"], [right - majority, pl.repeat(1.0, called.height, eager=True)])
    return score_from_sums(
        "directional accuracy over majority", sums, ratio, bootstrap, n=called.height, bounds=(-1, 1)
    )


def rank_ic_by_session(
    frame: pl.DataFrame,
    *,
    score: str = "score",
    outcome: str = "forward_return",
    min_symbols: int = 5,
) -> pl.DataFrame:
    """Cross-sectional Spearman correlation of score and outcome, session by session.

    Args:
        frame: session, `score`, `outcome`.
        score: column of the prediction.
        outcome: column of what followed.
        min_symbols: sessions with fewer rows are left out.

    Returns:
        session, ic (Float64), n (rows of the session), sorted by session. Sessions on which all scores or all
        outcomes are equal have no rank correlation and are left out.
    """
    require(frame, ("session", score, outcome))
    return (
        frame.group_by("session")
        .agg(
            pl.corr(pl.col(score).rank("average"), pl.col(outcome).rank("average")).alias("ic"),
            pl.len().cast(pl.Int64).alias("n"),
            (pl.col(score).n_unique().gt(1) & pl.col(outcome).n_unique().gt(1)).alias("ranked"),
        )
        .filter(pl.col("n") >= min_symbols, pl.col("ranked"))
        .select("session", "ic", "n")
        .sort("session")
    )


def rank_ic(daily: pl.DataFrame, bootstrap: Bootstrap | None) -> Score:
    """Mean of the daily rank ICs.

    Args:
        daily: result of `rank_ic_by_session`.
        bootstrap: how to draw the interval.

    Returns:
        Score with the baseline `none` of 0. Above `IC_ALARM` suspect a leak.
    """
    require(daily, ("session", "ic"))
    sums = np.column_stack([daily["ic"].to_numpy(), np.ones(daily.height)])
    return score_from_sums(
        "daily rank IC",
        sums,
        ratio,
        bootstrap,
        n=int(daily["n"].sum()) if "n" in daily.columns else daily.height,
        bounds=(-1, 1),
        baselines={"none": 0.0},
    )


def icir(daily: pl.DataFrame, bootstrap: Bootstrap | None) -> Score:
    """Mean over standard deviation (ddof 1) of the daily rank ICs, not annualised.

    Args:
        daily: result of `rank_ic_by_session`, at least two sessions.
        bootstrap: how to draw the interval.
    """
    require(daily, ("session", "ic"))
    ic = daily["ic"].to_numpy()
    sums = np.column_stack([ic, ic**2, np.ones(len(ic))])
    return score_from_sums("ICIR", sums, mean_over_std, bootstrap, n=len(ic), baselines={"none": 0.0})


def mape(
    frame: pl.DataFrame,
    bootstrap: Bootstrap | None,
    *,
    predicted: str = "predicted_price",
    actual: str = "actual_price",
    last: str | None = None,
) -> Score:
    """Mean absolute percentage error of a predicted price, as a share (0.02 is 2 %).

    Args:
        frame: session, `predicted`, `actual` (> 0).
        bootstrap: how to draw the interval.
        predicted: column of the predicted price.
        actual: column of the price that came.
        last: column of the price at the decision; where given, baseline `no_change` is its error.
    """
    columns = ("session", predicted, actual) + ((last,) if last else ())
    require(frame, columns)
    if (frame[actual] <= 0).any():
        raise MetricsError(f"column {actual!r} holds prices <= 0; MAPE is defined on prices")
    error = ((frame[predicted] - frame[actual]) / frame[actual]).abs()
    baselines: dict[str, float] = {}
    if last:
        baselines["no_change"] = float(((frame[last] - frame[actual]) / frame[actual]).abs().mean())  # pyright: ignore[reportArgumentType]
    sums = session_sums(frame["session"], [error, np.ones(frame.height)])
    return score_from_sums(
        "MAPE", sums, ratio, bootstrap, n=frame.height, bounds=(0, math.inf), baselines=baselines
    )


def _called(frame: pl.DataFrame, score: str, outcome: str) -> pl.DataFrame:
    require(frame, ("session", score, outcome))
    called = frame.filter(pl.col(score) != 0, pl.col(outcome) != 0)
    if called.is_empty():
        raise MetricsError(
            f"none of {frame.height} rows has both a call and a direction: "
            f"column {score!r} or column {outcome!r} is 0 throughout"
        )
    return called
