"""Forecast targets: log total return and realised volatility over one or more horizons."""

from collections.abc import Sequence

import polars as pl

from trademl_pipeline.features import operators as op
from trademl_pipeline.features.engine import evaluate
from trademl_pipeline.features.feature import Series
from trademl_pipeline.features.prepare import prepare
from trademl_pipeline.features.registry import DECLARED
from trademl_pipeline.labels.horizon import KEY, Sessions, at_horizon

_SQUARES = Series("sum_of_squares", op.cumulative(pl.col("log_return_1") ** 2))


def forward_labels(
    bars: pl.DataFrame, *, horizons: Sequence[int] = (1, 30), sessions: Sessions = None
) -> pl.DataFrame:
    """Return and volatility over the sessions after t, for each horizon.

    Args:
        bars: as for `features.compute`; sessions may be days, or hours as timestamps.
        horizons: sessions ahead, e.g. (1, 30), or (1, 4, 24) bars.
        sessions: the exchange's sessions up to the end of the history; None takes those on which anything
            traded.

    Returns:
        symbol, session, horizon (Int16), label_start, label_end, forward_return (log, close to close,
        dividends counted), forward_volatility (root mean square of the log returns of the h sessions: their
        standard deviation around 0, so that it is defined for one session too), last_price (see `horizon`).
        Sorted by symbol, session and horizon; a horizon that the history does not reach has no row.
    """
    panel = prepare(bars)
    squares = evaluate(panel, ["sum_of_squares"], {**DECLARED, "sum_of_squares": _SQUARES})["sum_of_squares"]
    panel = panel.with_columns(squares)
    parts = []
    for horizon in horizons:
        rows = at_horizon(panel, ["wealth", "sum_of_squares"], horizon, sessions)
        squares = pl.col("sum_of_squares_end") - pl.col("sum_of_squares")
        parts.append(
            rows.select(
                *KEY,
                pl.lit(horizon, dtype=pl.Int16).alias("horizon"),
                "label_start",
                "label_end",
                (pl.col("wealth_end") / pl.col("wealth")).log().alias("forward_return"),
                (squares.clip(lower_bound=0.0) / horizon).sqrt().alias("forward_volatility"),
                "last_price",
            )
        )
    return pl.concat(parts).sort(*KEY, "horizon")
