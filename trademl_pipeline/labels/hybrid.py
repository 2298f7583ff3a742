"""Targets of several tasks at once (the hybrid design).

They are returns over three horizons, direction, size, volatility and risk.
"""

from typing import Final

import numpy as np
import polars as pl

from trademl_pipeline.features.prepare import prepare
from trademl_pipeline.labels.direction import direction_labels
from trademl_pipeline.labels.forward import forecast_labels
from trademl_pipeline.labels.horizon import KEY, Clock, Sessions

HORIZONS: Final = (1, 4, 24)
FULL_SIZE_SIGMAS: Final = 2.0


def hybrid_labels(bars: pl.DataFrame, *, k: float = 0.5, sessions: Sessions = None) -> pl.DataFrame:
    """Label the market's move over 1, 4 and 24 bars, and what one should have done about it.

    Direction, size and risk are those of the longest horizon, the interval of the label.

    Args:
        bars: as for `features.compute`.
        k: half width of the Hold band in units of sigma = volatility_20 sqrt(24), known at t.
        sessions: the exchange's sessions up to the end of the history; None takes those on which anything
            traded.

    Returns:
        symbol, session, label_start, label_end, forward_return (= return_24), return_1, return_4, return_24 (log
        total returns), threshold (k sigma), target (Int8: sell 0, hold 1, buy 2), position (size from -1 to 1
        that a perfect forecast takes: return_24 / (2 sigma), clipped), volatility_24 (root mean square of the
        log returns), drawdown_24 (deepest log total return below the close at t on any close of the interval,
        0 or less), last_price; sorted by symbol and session. Absent where sigma is not defined or the history
        ends before the longest horizon.
    """
    longest = HORIZONS[-1]
    returns = forecast_labels(bars, horizons=HORIZONS, sessions=sessions)
    classes = direction_labels(bars, horizon=longest, k=k, sessions=sessions)
    sigma = pl.col("threshold") / k
    size = (pl.col("return_24") / (FULL_SIZE_SIGMAS * sigma)).clip(-1.0, 1.0)
    return (
        returns.with_columns(pl.col("return_24").alias("forward_return"))
        .join(classes.select(*KEY, "threshold", "target"), on=KEY, how="inner")
        .join(_drawdowns(bars, longest, sessions), on=KEY, how="inner")
        # A symbol that does not move offers no risk to size a position by.
        .with_columns(pl.when(sigma > 0).then(size).otherwise(0.0).alias("position"))
        .select(
            *KEY,
            "label_start",
            "label_end",
            "forward_return",
            *(f"return_{h}" for h in HORIZONS),
            "threshold",
            "target",
            "position",
            "volatility_24",
            "drawdown_24",
            "last_price",
        )
        .sort(KEY)
    )


def _drawdowns(bars: pl.DataFrame, horizon: int, sessions: Sessions) -> pl.DataFrame:
    """symbol, session, drawdown_<horizon> of every row; short of the horizon, of what is there."""
    panel = prepare(bars)
    last, _ = Clock.of(panel, sessions).last_row(horizon)
    wealth = np.log(panel["wealth"].to_numpy())
    rows = np.arange(panel.height)
    lowest = wealth.copy()
    for ahead in range(1, horizon + 1):
        inside = rows[rows + ahead <= last]
        lowest[inside] = np.minimum(lowest[inside], wealth[inside + ahead])
    return panel.select(*KEY).with_columns(pl.Series(f"drawdown_{horizon}", lowest - wealth))
