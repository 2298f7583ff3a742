"""Buy, Hold or Sell: does the return over the horizon leave the band of volatility known at t?"""

import polars as pl

from trademl_pipeline.features.engine import evaluate
from trademl_pipeline.features.prepare import prepare
from trademl_pipeline.features.registry import DECLARED
from trademl_pipeline.labels.horizon import KEY, Sessions, at_horizon

SELL, HOLD, BUY = 0, 1, 2


def direction_labels(
    bars: pl.DataFrame, *, horizon: int = 5, k: float = 0.5, sessions: Sessions = None
) -> pl.DataFrame:
    """Buy (2) above +k sigma, Sell (0) below -k sigma, else Hold (1); sigma = volatility_20 sqrt(horizon).

    Args:
        bars: as for `features.compute`.
        horizon: exchange sessions ahead.
        k: half width of the Hold band, in units of sigma, which is known at t.
        sessions: the exchange's sessions up to the end of the history; None takes those on which anything
            traded.

    Returns:
        symbol, session, label_start (= session, exclusive), label_end, forward_return (log total return
        from close to close), threshold (k sigma), target (Int8), last_price (the symbol did not trade at
        label_end: its last price stands in). One row per bar whose horizon lies within the history and
        whose sigma is defined; sorted by symbol and session.
    """
    panel = prepare(bars)
    sigma = evaluate(panel, ["volatility_20"], DECLARED)["volatility_20"]
    labels = at_horizon(panel.with_columns(sigma), ["wealth"], horizon, sessions)
    labels = labels.with_columns(
        (pl.col("wealth_end") / pl.col("wealth")).log().alias("forward_return"),
        (k * pl.col("volatility_20") * horizon**0.5).alias("threshold"),
    ).filter(pl.col("threshold").is_not_null())
    target = (
        pl.when(pl.col("forward_return") > pl.col("threshold"))
        .then(BUY)
        .when(pl.col("forward_return") < -pl.col("threshold"))
        .then(SELL)
        .otherwise(HOLD)
    )
    return labels.select(
        *KEY,
        "label_start",
        "label_end",
        "forward_return",
        "threshold",
        target.cast(pl.Int8).alias("target"),
        "last_price",
    )
