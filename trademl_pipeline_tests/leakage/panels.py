"""Small panels and extractors that several tests of the gate share."""

from collections.abc import Callable
from datetime import date

import numpy as np
import polars as pl

from trademl_pipeline.market.calendar import sessions

CLOSE, VOLUME = pl.col("close"), pl.col("volume")
RETURN = CLOSE / CLOSE.shift(1) - 1

Extract = Callable[[pl.DataFrame], pl.DataFrame]


def bars(
    n_symbols: int = 6,
    n_sessions: int = 66,
    *,
    seed: int = 0,
    start: date = date(2019, 1, 2),
    gaps: bool = True,
) -> pl.DataFrame:
    """Random walks; with `gaps` every third symbol starts late or stops early."""
    rng = np.random.default_rng(seed)
    days = sessions(start, date(start.year + 6, 1, 1))[:n_sessions]
    parts = []
    for i in range(n_symbols):
        close = 50 * np.exp(np.cumsum(rng.normal(0, 0.02, n_sessions)))
        opening = close * np.exp(rng.normal(0, 0.005, n_sessions))
        part = pl.DataFrame(
            {
                "symbol": f"S{i:02d}",
                "session": days,
                "open": opening,
                "high": np.maximum(opening, close) * 1.01,
                "low": np.minimum(opening, close) * 0.99,
                "close": close,
                "volume": np.exp(rng.normal(12, 0.5, n_sessions)),
            }
        )
        if gaps and i % 3 == 1:
            part = part.head(n_sessions - 7 * i)
        if gaps and i % 3 == 2:
            part = part.tail(n_sessions - 5 * i)
        parts.append(part)
    return pl.concat(parts)


def features(*expressions: pl.Expr) -> Extract:
    """An extractor of expressions computed within each symbol, named x0, x1, …"""
    named = [e.over("symbol").alias(f"x{i}") for i, e in enumerate(expressions)]
    return lambda frame: frame.sort("symbol", "session").select("symbol", "session", *named)


def rank_within_session(frame: pl.DataFrame) -> pl.DataFrame:
    """A clean feature that mixes symbols."""
    return (
        features(CLOSE / CLOSE.shift(5) - 1)(frame)
        .with_columns((pl.col("x0").rank() / pl.col("x0").count()).over("session"))
        .select("symbol", "session", "x0")
    )


def probes(report) -> set[str]:
    """Names of the probes that refused."""
    return {v.probe for v in report.violations}
