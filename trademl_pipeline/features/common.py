"""Steps (series) of all sets, and the features that more than one set uses."""

from dataclasses import replace

import polars as pl

from trademl_pipeline.features import operators as op
from trademl_pipeline.features.feature import Feature, Series, recursive_warmup

OPEN, HIGH, LOW, CLOSE, VOLUME = (pl.col(c) for c in ("open", "high", "low", "close", "volume"))
R = pl.col("return_1")

SERIES: tuple[Series, ...] = (
    Series("range", HIGH - LOW),
    Series("true_range", op.true_range(HIGH, LOW, CLOSE)),
    Series("typical_price", (HIGH + LOW + CLOSE) / 3),
    Series("dollar_volume", CLOSE * VOLUME),
    Series("mean_close_20", op.mean(CLOSE, 20)),
    Series("std_close_20", op.std(CLOSE, 20, ddof=0)),
    Series("mean_volume_20", op.mean(VOLUME, 20)),
    Series("atr_14", op.wilder("true_range", 14)),
    Series("ema_12", op.ema(CLOSE, 12)),
    Series("ema_26", op.ema(CLOSE, 26)),
    Series("macd", pl.col("ema_12") - pl.col("ema_26")),
    Series("macd_average", op.ema("macd", 9)),
    Series("directional_index_14", op.directional(14, 0)),
    Series("index_return_1", op.change("index_wealth", 1)),
)

ATR_WARMUP = recursive_warmup(13 / 14, after=14)
DI_WARMUP = recursive_warmup(13 / 14, after=14)
MACD_WARMUP = recursive_warmup(1 - 2 / 27, after=25)


def rsi(n: int) -> Feature:
    """Relative strength index of n sessions."""
    return Feature(
        name=f"rsi_{n}",
        expr=op.rsi(CLOSE, n),
        formula=f"100 up / (up + down), Wilder averages over {n} of rises and falls of close; 0 if none",
        warmup=recursive_warmup(1 - 1 / n, after=n),
        unit="0-100",
        source="TA-Lib RSI",
        low=0,
        high=100,
    )


def total_return(name: str, n: int, source: str) -> Feature:
    """Simple total return over n sessions."""
    return Feature(
        name=name,
        expr=op.change("wealth", n),
        formula=f"wealth / wealth {n} session{'s' if n > 1 else ''} ago - 1; wealth counts splits and dividends",
        warmup=n,
        unit="ratio",
        source=source,
        low=-1,
    )


def sma_distance(n: int) -> Feature:
    """Distance of close from its simple average."""
    return Feature(
        name=f"sma_distance_{n}",
        expr=CLOSE / (pl.col("mean_close_20") if n == 20 else op.mean(CLOSE, n)) - 1,
        formula=f"close / mean{n} close - 1",
        warmup=n - 1,
        unit="ratio",
        source="TA-Lib SMA",
        low=-1,
    )


def return_std(name: str, n: int, source: str) -> Feature:
    """Volatility of daily returns."""
    return Feature(
        name=name,
        expr=op.std(R, n),
        formula=f"sample standard deviation of return_1 over {n} sessions",
        warmup=n,
        unit="per session",
        source=source,
        low=0,
    )


def also(name: str, feature: Feature, source: str) -> Feature:
    """The same feature under the name that another set gives it: computed and described once."""
    formula = f"= {feature.name}: {feature.formula}"
    return replace(feature, name=name, expr=pl.col(feature.name), formula=formula, source=source)


def _di(name: str, side: int) -> Feature:
    return Feature(
        name=name,
        expr=op.directional(14, side),
        formula=f"100 {'+' if side > 0 else '-'}DM / true range, Wilder sums over 14; 0 where nothing moved",
        warmup=DI_WARMUP,
        unit="0-100",
        source=f"TA-Lib {'PLUS' if side > 0 else 'MINUS'}_DI",
        low=0,
        high=100,
    )


FEATURES: tuple[Feature, ...] = (
    *(
        total_return(f"return_{n}", n, "forecaster, breakout, pattern confidence")
        for n in (1, 3, 5, 7, 20, 60)
    ),
    Feature(
        name="log_return_1",
        expr=(pl.col("wealth") / op.lag("wealth", 1)).log(),
        formula="log(wealth / wealth of the session before)",
        warmup=1,
        unit="log ratio",
        source="forecaster, hybrid",
    ),
    *(sma_distance(n) for n in (5, 20, 50)),
    return_std("volatility_20", 20, "forecaster, hybrid"),
    rsi(14),
    Feature(
        name="macd_histogram",
        expr=(pl.col("macd") - pl.col("macd_average")) / CLOSE,
        formula="(MACD(12, 26) - its EMA9) / close",
        warmup=MACD_WARMUP,
        unit="ratio",
        source="TA-Lib MACD",
    ),
    Feature(
        name="linear_slope_20",
        expr=op.slope(CLOSE, 20) / CLOSE,
        formula="least-squares slope of close over 20 sessions / close",
        warmup=19,
        unit="per session",
        source="TA-Lib LINEARREG_SLOPE",
    ),
    Feature(
        name="bbw_20",
        expr=4 * pl.col("std_close_20") / pl.col("mean_close_20"),
        formula="Bollinger band width: 4 population std20 / mean20 of close",
        warmup=19,
        unit="ratio",
        source="TA-Lib BBANDS",
        low=0,
    ),
    Feature(
        name="bollinger_position",
        expr=op.divide(CLOSE - pl.col("mean_close_20"), 4 * pl.col("std_close_20")) + 0.5,
        formula="(close - lower) / (upper - lower), bands mean20 +- 2 population std20; null if constant",
        warmup=19,
        unit="ratio",
        source="TA-Lib BBANDS",
        low=-0.6,
        high=1.6,
    ),
    Feature(
        name="atr_ratio_14",
        expr=pl.col("atr_14") / CLOSE,
        formula="ATR14 / close",
        warmup=ATR_WARMUP,
        unit="ratio",
        source="TA-Lib ATR",
        low=0,
    ),
    _di("plus_di_14", 1),
    _di("minus_di_14", -1),
    Feature(
        name="adx_14",
        expr=op.wilder("directional_index_14", 14),
        formula="Wilder average over 14 of 100 |+DI - -DI| / (+DI + -DI)",
        warmup=recursive_warmup(13 / 14, after=40),
        unit="0-100",
        source="TA-Lib ADX",
        low=0,
        high=100,
    ),
    Feature(
        name="volume_ratio_20",
        expr=op.divide(VOLUME, "mean_volume_20"),
        formula="volume / mean20 volume; null where nothing traded",
        warmup=19,
        unit="ratio",
        source="forecaster, breakout, hybrid",
        low=0,
        high=20,
    ),
    Feature(
        name="range_ratio_20",
        expr=op.divide("range", op.mean("range", 20)),
        formula="(high - low) / its mean20; null where nothing moved",
        warmup=19,
        unit="ratio",
        source="breakout",
        low=0,
        high=20,
    ),
    Feature(
        name="close_location",
        expr=op.divide(CLOSE - LOW, "range", otherwise=0.5),
        formula="(close - low) / (high - low); 0.5 where high is low",
        warmup=0,
        unit="0-1",
        source="forecaster",
        low=0,
        high=1,
    ),
    Feature(
        name="gap",
        expr=(OPEN + pl.col("dividend")) / op.lag(CLOSE, 1) - 1,
        formula="(open + dividend) / close of the session before - 1",
        warmup=1,
        unit="ratio",
        source="hybrid",
        low=-1,
    ),
)

BY_NAME = {feature.name: feature for feature in FEATURES}
