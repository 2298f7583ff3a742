"""Prices and returns across splits and dividends, as they could be computed at a moment.

The lake holds prices as traded. What they are worth on one share depends on when one asks: a split that lies ahead
must not reach back. Both functions therefore take the moment `as_of` and look at nothing that was not known by then:

- `adjusted` puts all prices on the share of the last bar known, `price / product of the splits after that bar`, as
  charts show them. Its *levels* change with each split, so they are for looking at and for orders, not for features;
- `total_return` follows one unit of money from each symbol's first bar on, dividends reinvested at the close of their
  ex-date. It is built forwards, so a value once computed never changes; its ratios are returns.

Rows that a source marks `adjusted` have their splits in their prices already, and are taken as they are. Their
dividends are taken for being in the prices too, as such sources' returns are total returns.
"""

from datetime import datetime
from typing import Final

import polars as pl

from trademl_pipeline.market.errors import BarsSchemaError
from trademl_pipeline.market.schema import PRICE_COLUMNS

_KEY: Final = ("symbol", "session")
_NEEDED: Final = (*_KEY, *PRICE_COLUMNS, "volume", "split_factor", "dividend", "adjusted", "knowledge_time")


def known(bars: pl.DataFrame, as_of: datetime | None) -> pl.DataFrame:
    """The bars known at a moment, sorted by symbol and session.

    Args:
        bars: the columns of `raw_bars`, one row for each symbol and session.
        as_of: the moment, with time zone; None takes all.

    Raises:
        BarsSchemaError: a column is absent.
        ValueError: `as_of` has no time zone.
    """
    for name in _NEEDED:
        if name not in bars.columns:
            raise BarsSchemaError(f"bars lack the column {name!r}; they have {', '.join(bars.columns)}", name)
    if as_of is not None:
        if as_of.tzinfo is None:
            raise ValueError("as_of has no time zone; pass an aware datetime, e.g. datetime(..., tzinfo=UTC)")
        bars = bars.filter(pl.col("knowledge_time") <= pl.lit(as_of).dt.convert_time_zone("UTC"))
    return bars.sort(_KEY)


def _split() -> pl.Expr:
    return pl.when("adjusted").then(1.0).otherwise("split_factor")


def _dividend() -> pl.Expr:
    return pl.when("adjusted").then(0.0).otherwise("dividend")


def adjusted(bars: pl.DataFrame, as_of: datetime | None = None) -> pl.DataFrame:
    """Bars on the share of the last bar known of each symbol.

    Args:
        bars: the columns of `raw_bars`, prices as traded.
        as_of: the moment at which one asks, with time zone; None knows all of `bars`.

    Returns:
        The bars known by then in the same columns: prices and dividend divided, and volume multiplied, by the product
        of the splits after their session. split_factor is 1.0, being in the prices now; dividends still count, so
        `adjusted` stays as it was and `total_return` of the result is that of the bars.

    Raises:
        BarsSchemaError: a column is absent.
        ValueError: `as_of` has no time zone.
    """
    frame = known(bars, as_of)
    since = _split().cum_prod().over("symbol")
    ahead = since.last().over("symbol") / since
    return frame.with_columns(
        *((pl.col(name) / ahead).alias(name) for name in (*PRICE_COLUMNS, "dividend")),
        (pl.col("volume") * ahead).alias("volume"),
        pl.when("adjusted").then("split_factor").otherwise(1.0).alias("split_factor"),
    )


def total_return(bars: pl.DataFrame, as_of: datetime | None = None) -> pl.DataFrame:
    """Follow one unit of money, put into each symbol at its first close, dividends reinvested.

    `wealth[t] / wealth[t-1] = split[t] * (close[t] + dividend[t]) / close[t-1]`, the dividend being paid on the share
    of its ex-date and reinvested at that day's close.

    Args:
        bars, as_of: as for `adjusted`.

    Returns:
        symbol, session, `total_return` (of the session, null on a symbol's first), `wealth` (1.0 on its first) and
        `adjusted_close`, wealth scaled to end with the last close known, which changes with every dividend.

    Raises:
        BarsSchemaError: a column is absent.
        ValueError: `as_of` has no time zone.
    """
    frame = known(bars, as_of)
    gross = _split() * (pl.col("close") + _dividend()) / pl.col("close").shift(1).over("symbol")
    wealth = gross.fill_null(1.0).cum_prod().over("symbol")
    return frame.select(*_KEY, "close", gross.alias("gross"), wealth.alias("wealth")).select(
        *_KEY,
        (pl.col("gross") - 1).alias("total_return"),
        "wealth",
        (pl.col("wealth") * (pl.col("close").last() / pl.col("wealth").last()).over("symbol")).alias(
            "adjusted_close"
        ),
    )
