"""Adaptive conformal intervals (Gibbs & Candès 2021, arXiv 2106.00170), as outcomes become known.

The interval of a session is made from outcomes whose label had ended before that session; its own outcome
counts only once its label has ended. Coverage is promised in the long run, whatever the market does; not per
session.
"""

from collections import deque
from dataclasses import dataclass, field
from datetime import date

import numpy as np
import polars as pl

from trademl_pipeline.evaluation.scores import require


@dataclass
class AdaptiveConformal:
    """Running state: recent errors and the level that is being adapted.

    Attributes:
        miscoverage: share of outcomes to fall outside, e.g. 0.1.
        rate: step of the adaptation a session.
        window: errors remembered.
        min_errors: errors needed before an interval is given; until then it is infinite.
        level: current level, starts at ``miscoverage``.
    """

    miscoverage: float = 0.1
    rate: float = 0.02
    window: int = 2000
    min_errors: int = 50
    level: float = field(default=-1.0)
    errors: deque[float] = field(default_factory=deque[float])

    def __post_init__(self) -> None:
        if not (0 < self.miscoverage < 1 and self.rate >= 0 and self.window >= self.min_errors >= 1):
            raise ValueError(
                "conformal settings must obey 0 < miscoverage < 1, rate >= 0, window >= min_errors >= 1"
            )
        if self.level < 0:
            self.level = self.miscoverage

    def half_width(self) -> float:
        """Half width of the interval in units of ``scale``; infinite while there is too little to go by."""
        if len(self.errors) < self.min_errors or self.level <= 0:
            return float("inf")
        if self.level >= 1:
            return 0.0
        n = len(self.errors)
        rank = min(int(np.ceil((1 - self.level) * (n + 1))), n + 1)
        return float("inf") if rank > n else float(np.partition(np.array(self.errors), rank - 1)[rank - 1])

    def observe(self, errors: np.ndarray, outside: np.ndarray) -> None:
        """Take in the outcomes of one session, once they are known.

        Args:
            errors: |actual - predicted| / scale.
            outside: whether each outcome fell outside the interval given at its time.
        """
        self.level += self.rate * (self.miscoverage - float(np.mean(outside)))
        self.errors.extend(errors.tolist())
        while len(self.errors) > self.window:
            self.errors.popleft()


def conformal_intervals(
    frame: pl.DataFrame, state: AdaptiveConformal, *, scale: str | None = None
) -> pl.DataFrame:
    """Intervals of all rows of a history, each from what was known before its session.

    Args:
        frame: symbol, session, label_end, predicted, actual; actual null or NaN: not known yet.
        state: running state, advanced in place.
        scale: column of the predicted deviation, above 0; None: 1.

    Returns:
        The frame, in its order, with lower, upper (Float64) and covered (Boolean, null without an outcome).
    """
    require(frame, ("session", "predicted"))
    n = frame.height
    predicted = frame["predicted"].cast(pl.Float64).to_numpy()
    spread = np.ones(n) if scale is None else frame[scale].cast(pl.Float64).to_numpy()
    if n and not (spread > 0).all():
        raise ValueError(f"column {scale!r} must be above 0 throughout; it is the scale of the intervals")
    actual = frame["actual"].cast(pl.Float64).fill_null(float("nan")).to_numpy()
    ends = frame["label_end"].to_list()
    half = np.full(n, np.inf)
    waiting: deque[tuple[date, np.ndarray]] = deque()
    by_session = frame.select("session").with_row_index("row").group_by("session").agg("row").sort("session")
    for session, rows in by_session.iter_rows():
        _take_in_known(waiting, session, state, actual, predicted, spread, half)
        position = np.array(rows)
        half[position] = state.half_width()
        outcomes = position[~np.isnan(actual[position])]
        for end in sorted({ends[i] for i in outcomes}):
            waiting.append((end, np.array([i for i in outcomes if ends[i] == end])))
    _take_in_known(waiting, None, state, actual, predicted, spread, half)
    lower, upper = predicted - half * spread, predicted + half * spread
    covered = pl.Series("covered", (actual >= lower) & (actual <= upper))
    return frame.with_columns(
        pl.Series("lower", lower),
        pl.Series("upper", upper),
        pl.when(pl.Series(~np.isnan(actual))).then(covered).otherwise(None).alias("covered"),
    )


def _take_in_known(
    waiting: deque[tuple[date, np.ndarray]],
    session: date | None,
    state: AdaptiveConformal,
    actual: np.ndarray,
    predicted: np.ndarray,
    spread: np.ndarray,
    half: np.ndarray,
) -> None:
    """Observe the groups of rows whose labels ended before ``session`` (None: all), oldest first."""
    ready = sorted((g for g in waiting if session is None or g[0] < session), key=lambda g: g[0])
    for group in ready:
        rows = group[1]
        error = np.abs(actual[rows] - predicted[rows]) / spread[rows]
        state.observe(error, error > half[rows])
    done = {id(g) for g in ready}
    still_waiting = [g for g in waiting if id(g) not in done]
    waiting.clear()
    waiting.extend(still_waiting)
