"""Features that more than one set uses, and the steps (series) that carry units of price or volume."""

import polars as pl

from trademl_pipeline.features import operators as op
from trademl_pipeline.features.feature import Feature, Series, recursive_warmup

OPEN, HIGH, LOW, CLOSE, VOLUME = (pl.col(c) for c in ("open", "high", "low", "close", "volume"))
WEALTH = pl.col("wealth")
R = pl.col("return_1")

TALIB = "TA-Lib"
SEED = {n: f"seed {n:03d}" for n in range(5)}

_gain = pl.when(pl.col("close_change") > 0).then(pl.col("close_change")).otherwise(0.0)
_loss = pl.when(pl.col("close_change") < 0).then(-pl.col("close_change")).otherwise(0.0)
_present = pl.col("close_change").is_not_null()


def rsi(n: int) -> Feature:
    """Relative strength index of n sessions."""
    up = op.wilder(pl.when(_present).then(_gain), n)
    down = op.wilder(pl.when(_present).then(_loss), n)
    return Feature(
        name=f"rsi_{n}",
        expr=100 * op.divide(up, up + down, otherwise=0.0),
        formula=f"100 up / (up + down), Wilder averages over {n} of rises and falls of close; 0 if none",
        warmup=recursive_warmup(1 - 1 / n, after=1),
        unit="0-100",
        source=f"{TALIB} RSI",
        low=0,
        high=100,
    )


def total_return(name: str, n: int, source: str) -> Feature:
    """Simple total return over n sessions."""
    return Feature(
        name=name,
        expr=op.change(WEALTH, n),
        formula=f"wealth / wealth {n} sessions ago - 1 (splits and dividends included)",
        warmup=n,
        unit="ratio",
        source=source,
        low=-1,
    )


def sma_distance(n: int) -> Feature:
    """Distance of close from its simple average."""
    return Feature(
        name=f"sma_distance_{n}",
        expr=CLOSE / op.mean(CLOSE, n) - 1,
        formula=f"close / mean{n} close - 1",
        warmup=n - 1,
        unit="ratio",
        source=f"{TALIB} SMA",
        low=-1,
    )


SERIES: tuple[Series, ...] = (Series("close_change", CLOSE - op.lag(CLOSE, 1)),)

COMMON: tuple[Feature, ...] = (
    total_return("return_1", 1, SEED[0]),
    Feature(
        name="log_return_1",
        expr=(WEALTH / op.lag(WEALTH, 1)).log(),
        formula="log(wealth / wealth of the session before)",
        warmup=1,
        unit="log ratio",
        source=SEED[0],
    ),
    rsi(14),
    *(sma_distance(n) for n in (5, 20, 50)),
    Feature(
        name="volatility_20",
        expr=op.std(R, 20),
        formula="sample standard deviation of return_1 over 20 sessions",
        warmup=20,
        unit="per session",
        source=SEED[0],
        low=0,
    ),
    Feature(
        name="volume_ratio_20",
        expr=op.divide(VOLUME, op.mean(VOLUME, 20)),
        formula="volume / mean20 volume; null where nothing traded",
        warmup=19,
        unit="ratio",
        source=SEED[1],
        low=0,
        high=20,
    ),
)
