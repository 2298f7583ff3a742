"""Four months of bars with defects in one of them."""

from pathlib import Path

import polars as pl

from trademl_pipeline.simulation import SimulatedMarket

FIRST, LAST = "2013-01-01", "2013-04-01"
COLUMNS = ["symbol", "session", "open", "high", "low", "close", "volume", "split_factor", "dividend"]


def spoiled(folder: Path) -> Path:
    """Simulated bars of four months with one defect of several kinds in March."""
    bars = SimulatedMarket(n_symbols=6).bars.filter(pl.col("session").dt.year() == 2013).select(COLUMNS)
    days = bars.filter(pl.col("session").dt.month() == 3)["session"].unique().sort()
    name = bars["symbol"].min()
    own = pl.col("symbol") == name
    gone = own & pl.col("session").is_in(days[3:5].implode())
    idle = own & (pl.col("session") == days[8])
    broken = own & (pl.col("session") == days[10])
    bars = bars.filter(~gone).with_columns(
        pl.when(idle).then(0.0).otherwise("volume").alias("volume"),
        pl.when(broken).then(0.01).otherwise("high").alias("high"),
    )
    again = bars.filter(own & (pl.col("session") == days[12]))
    path = folder / "bars.parquet"
    pl.concat([bars, again]).write_parquet(path)
    return path
