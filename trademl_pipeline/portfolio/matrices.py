"""Bars as (session, symbol) matrices, the form in which a portfolio is carried from open to open."""

from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
import polars as pl

from trademl_pipeline.market.calendar import DEFAULT_CALENDAR, open_utc
from trademl_pipeline.portfolio.errors import PortfolioError


@dataclass(frozen=True)
class PriceMatrices:
    """Prices from the first decision on; NaN where a symbol has no bar.

    Attributes:
        symbols: sorted names, the columns.
        sessions: sorted sessions, the rows.
        opens: opening time (UTC) of each session.
        open, close, volume, split, dividend: (session, symbol).
        last: (symbol,) row of the last bar of each symbol, or the last row where its bars go on to the end.
    """

    symbols: pl.Series
    sessions: list[date]
    opens: pl.Series
    open: np.ndarray
    close: np.ndarray
    volume: np.ndarray
    split: np.ndarray
    dividend: np.ndarray
    last: np.ndarray

    def has(self, s: int) -> np.ndarray:
        """(symbol,) whether each symbol has a bar in row s."""
        return np.isfinite(self.open[s])

    def column_of(self, symbols: pl.Series) -> np.ndarray:
        """(rows,) column of each symbol.

        Raises:
            PortfolioError: if a symbol has no bar at all.
        """
        unknown = sorted(set(symbols.unique()) - set(self.symbols))
        if unknown:
            raise PortfolioError(
                f"{len(unknown)} predicted symbols have no bar from the first decision on, "
                f"such as {unknown[:3]}"
            )
        return np.searchsorted(self.symbols.to_numpy(), symbols.to_numpy())


def price_matrices(bars: pl.DataFrame, first: Any, calendar: str = DEFAULT_CALENDAR) -> PriceMatrices:
    """Lay out the bars from the session `first` on.

    Args:
        bars: symbol, session, open, close, volume; split_factor (1 where absent) and dividend (0 where
            absent).
        first: first session to keep.
        calendar: exchange calendar that gives the opening times.

    Raises:
        PortfolioError: if columns are missing, no bar is left, prices are not above 0, keys are repeated, or
            a session is not one of the calendar.
    """
    missing = [c for c in ("symbol", "session", "open", "close", "volume") if c not in bars.columns]
    if missing:
        raise PortfolioError(f"bars lack the columns {missing}; they have {bars.columns}")
    extra = {"split_factor": 1.0, "dividend": 0.0}
    actions = [pl.col(c).fill_null(d) if c in bars.columns else pl.lit(d).alias(c) for c, d in extra.items()]
    rows = bars.filter(pl.col("session") >= first).select(
        "symbol", "session", "open", "close", pl.col("volume").cast(pl.Float64).fill_null(0.0), *actions
    )
    if rows.is_empty():
        raise PortfolioError(f"there are no bars from the first decision on, {first}")
    unpriced = rows.filter(~((pl.col("open") > 0) & (pl.col("close") > 0)).fill_null(False))
    if unpriced.height:
        raise PortfolioError(
            f"{unpriced.height} bars have prices that are missing or not above 0, the first of "
            f"{unpriced['symbol'][0]} on {unpriced['session'][0]}; quarantine them first"
        )
    if rows.select(pl.struct("symbol", "session").is_duplicated().any()).item():
        raise PortfolioError("bars repeat (symbol, session) keys")
    sessions, symbols = rows["session"].unique().sort(), rows["symbol"].unique().sort()
    opens = open_utc(sessions, calendar)
    assert isinstance(opens, pl.Series)
    if opens.null_count():
        raise PortfolioError(
            f"{sessions.filter(opens.is_null())[0]} is no session of the calendar {calendar}"
        )
    at = np.searchsorted(sessions.to_numpy(), rows["session"].to_numpy())
    of = np.searchsorted(symbols.to_numpy(), rows["symbol"].to_numpy())

    def matrix(column: str) -> np.ndarray:
        values = np.full((len(sessions), len(symbols)), np.nan)
        values[at, of] = rows[column].to_numpy()
        return values

    opening = matrix("open")
    last = len(sessions) - 1 - np.isfinite(opening)[::-1].argmax(axis=0)
    return PriceMatrices(
        symbols,
        sessions.to_list(),
        opens,
        opening,
        matrix("close"),
        matrix("volume"),
        matrix("split_factor"),
        matrix("dividend"),
        last,
    )
