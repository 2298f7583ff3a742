"""Triple barrier: which comes first, a gain, a loss or the end of the horizon?"""

import numpy as np
import polars as pl

from trademl_pipeline.features.engine import evaluate
from trademl_pipeline.features.prepare import prepare
from trademl_pipeline.features.registry import DECLARED
from trademl_pipeline.labels.horizon import KEY, Clock, LabelInputError, Sessions


def triple_barrier_labels(
    bars: pl.DataFrame,
    *,
    horizon: int = 10,
    upper: float = 1.0,
    lower: float = 1.0,
    sessions: Sessions = None,
) -> pl.DataFrame:
    """1 where the close first leaves the band upwards, -1 downwards, 0 where it stays up to the horizon.

    The barriers lie `upper` and `lower` times sigma = volatility_20 sqrt(horizon) from the close at t, in
    log total return; they are touched by closes. (López de Prado, Advances in Financial Machine Learning,
    ch. 3.)

    Args:
        bars: as for `features.compute`.
        horizon: exchange sessions ahead.
        upper, lower: barriers in units of sigma, above 0.
        sessions: the exchange's sessions up to the end of the history; None takes those on which anything
            traded.

    Returns:
        symbol, session, label_start, label_end (session of the touch, else the horizon), forward_return
        (log, up to label_end), threshold_up, threshold_down (log returns), target (Int8: -1, 0, 1),
        last_price (undecided at the horizon, and the symbol did not trade there). Absent where sigma is not
        defined, or the history ends before a touch and before the horizon. Sorted by symbol and session.
    """
    if upper <= 0 or lower <= 0:
        raise LabelInputError(f"barriers are {upper} and {lower} sigma; both must be above 0")
    panel = prepare(bars)
    clock = Clock.of(panel, sessions)
    last, complete = clock.last_row(horizon)
    sigma = evaluate(panel, ["volatility_20"], DECLARED)["volatility_20"].to_numpy() * horizon**0.5
    wealth = np.log(panel["wealth"].to_numpy())

    rows = np.arange(panel.height)
    target = np.zeros(panel.height, dtype=np.int8)
    stop = np.where(complete, last, -1)
    end = clock.index + horizon
    racing = rows[~np.isnan(sigma)]
    for ahead in range(1, horizon + 1):
        racing = racing[racing + ahead <= last[racing]]
        moved = wealth[racing + ahead] - wealth[racing]
        up, down = moved >= upper * sigma[racing], moved <= -lower * sigma[racing]
        # A symbol that does not move has no band to leave.
        touched = (up | down) & (sigma[racing] > 0)
        hit = racing[touched]
        target[hit] = np.where(up[touched], 1, -1)
        stop[hit] = hit + ahead
        end[hit] = clock.index[hit + ahead]
        racing = racing[~touched]

    known = rows[(stop >= 0) & ~np.isnan(sigma)]
    return panel[known].select(
        *KEY,
        pl.col("session").alias("label_start"),
        clock.session(end[known]).alias("label_end"),
        pl.Series("forward_return", wealth[stop[known]] - wealth[known]),
        pl.Series("threshold_up", upper * sigma[known]),
        pl.Series("threshold_down", -lower * sigma[known]),
        pl.Series("target", target[known]),
        pl.Series("last_price", clock.index[stop[known]] < end[known]),
    )
