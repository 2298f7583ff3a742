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


def forecast_labels(
    bars: pl.DataFrame, *, horizons: Sequence[int] = (1, 30), sessions: Sessions = None
) -> pl.DataFrame:
    """`forward_labels` side by side: one row per symbol and session, known when the longest horizon is.

    Args:
        bars: as for `features.compute`.
        horizons: sessions ahead, ascending. A row is there once the last of them is reached; until then the
            values of the shorter ones are absent too.
        sessions: see `forward_labels`.

    Returns:
        symbol, session, label_start, label_end (of the longest horizon), forward_return (that of the *first*
        horizon: what a report ranks predictions against), return_<h> and volatility_<h> for each horizon,
        last_price (at the longest horizon); sorted by symbol and session.
    """
    every = forward_labels(bars, horizons=horizons, sessions=sessions)
    parts = [
        every.filter(pl.col("horizon") == h).rename(
            {"forward_return": f"return_{h}", "forward_volatility": f"volatility_{h}"}
        )
        for h in horizons
    ]
    wide = parts[-1]
    for h, part in zip(horizons[:-1], parts[:-1], strict=True):
        wide = wide.join(part.select(*KEY, f"return_{h}", f"volatility_{h}"), on=KEY, how="inner")
    values = (name for h in horizons for name in (f"return_{h}", f"volatility_{h}"))
    return wide.select(
        *KEY,
        "label_start",
        "label_end",
        pl.col(f"return_{horizons[0]}").alias("forward_return"),
        *values,
        "last_price",
    ).sort(KEY)
