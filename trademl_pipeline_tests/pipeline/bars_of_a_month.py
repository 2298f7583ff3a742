"""Good bars of two symbols in one month, and the same with one value changed."""

from datetime import date

import polars as pl

from trademl_pipeline.market.calendar import sessions

MONTH = "2016-03-01"
DAYS = sessions(date(2016, 3, 1), date(2016, 3, 31))
# One row of them.
FIRST = (pl.col("symbol") == "A") & (pl.col("session") == DAYS[0])


def good() -> pl.DataFrame:
    """Bars that break no rule."""
    frame = pl.DataFrame({"symbol": ["A", "B"]}).join(pl.DataFrame({"session": DAYS}), how="cross")
    price = 10.0 + pl.int_range(pl.len()).cast(pl.Float64) / 10
    return frame.with_columns(
        price.alias("open"), (price + 1).alias("high"), (price - 1).alias("low"), price.alias("close")
    ).with_columns(pl.lit(1000.0).alias("volume"))


def changed(column: str, value: float | None) -> pl.DataFrame:
    """The good bars with another value in one row."""
    return good().with_columns(pl.when(FIRST).then(pl.lit(value)).otherwise(pl.col(column)).alias(column))
