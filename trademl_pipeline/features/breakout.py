"""Set `breakout` (the breakout design): 30 core features here, 19 of `explosive` and 20 of `consolidation`."""

import polars as pl

from trademl_pipeline.features import operators as op
from trademl_pipeline.features.common import BY_NAME, CLOSE, HIGH, LOW, VOLUME, also, return_std
from trademl_pipeline.features.consolidation import PATTERN_FEATURES, PATTERN_SERIES
from trademl_pipeline.features.explosive import EBP_FEATURES, EBP_SERIES
from trademl_pipeline.features.feature import Feature, Series, recursive_warmup

SOURCE = "breakout"
ADX_WARMUP = recursive_warmup(13 / 14, after=40)

SERIES: tuple[Series, ...] = (
    Series("relative_range", pl.col("range") / CLOSE),
    *EBP_SERIES,
    *PATTERN_SERIES,
)

_bbw = pl.col("bbw_20")

CORE: tuple[Feature | str, ...] = (
    "bbw_20",
    Feature(
        name="bbw_percentile_100",
        expr=op.rank(_bbw, 100),
        formula="percentile rank of bbw_20 among the last 100 sessions, ties half",
        warmup=118,
        unit="0-1",
        source=SOURCE,
        low=0,
        high=1,
    ),
    Feature(
        name="bbw_slope_20",
        expr=op.slope(_bbw, 20),
        formula="least-squares slope of bbw_20 over 20 sessions",
        warmup=38,
        unit="per session",
        source=SOURCE,
    ),
    Feature(
        name="bbw_std_20",
        expr=op.std(_bbw, 20),
        formula="sample standard deviation of bbw_20 over 20 sessions",
        warmup=38,
        unit="ratio",
        source=SOURCE,
        low=0,
    ),
    Feature(
        name="bbw_acceleration",
        expr=op.slope(_bbw, 5) - pl.col("bbw_slope_20"),
        formula="slope of bbw_20 over 5 sessions - over 20",
        warmup=38,
        unit="per session",
        source=SOURCE,
    ),
    "adx_14",
    Feature(
        name="adx_slope_20",
        expr=op.slope("adx_14", 20),
        formula="least-squares slope of adx_14 over 20 sessions",
        warmup=ADX_WARMUP + 19,
        unit="per session",
        source=SOURCE,
    ),
    "plus_di_14",
    "minus_di_14",
    "volume_ratio_20",
    Feature(
        name="volume_ratio_50",
        expr=op.divide(VOLUME, op.mean(VOLUME, 50)),
        formula="volume / mean50 volume; null where nothing traded",
        warmup=49,
        unit="ratio",
        source=SOURCE,
        low=0,
        high=50,
    ),
    Feature(
        name="volume_slope_20",
        expr=op.slope("volume_ratio_20", 20),
        formula="least-squares slope of volume_ratio_20 over 20 sessions",
        warmup=38,
        unit="per session",
        source=SOURCE,
    ),
    Feature(
        name="volume_std_20",
        expr=op.std("volume_ratio_20", 20),
        formula="sample standard deviation of volume_ratio_20 over 20 sessions",
        warmup=38,
        unit="ratio",
        source=SOURCE,
        low=0,
    ),
    "range_ratio_20",
    Feature(
        name="avg_range_20",
        expr=op.mean("range", 20) / CLOSE,
        formula="mean20 of (high - low) / close",
        warmup=19,
        unit="ratio",
        source=SOURCE,
        low=0,
    ),
    Feature(
        name="range_slope_20",
        expr=op.slope("relative_range", 20),
        formula="least-squares slope of (high - low) / close over 20 sessions",
        warmup=19,
        unit="per session",
        source=SOURCE,
    ),
    "atr_ratio_14",
    also("price_volatility_20", BY_NAME["volatility_20"], SOURCE),
    return_std("price_volatility_60", 60, SOURCE),
    Feature(
        name="volatility_ratio_20_60",
        expr=op.divide("volatility_20", "price_volatility_60"),
        formula="price_volatility_20 / price_volatility_60",
        warmup=60,
        unit="ratio",
        source=SOURCE,
        low=0,
        high=1.77,
    ),
    "return_5",
    "return_20",
    "return_60",
    "rsi_14",
    "sma_distance_20",
    "sma_distance_50",
    Feature(
        name="high_distance_60",
        expr=CLOSE / op.highest(HIGH, 60) - 1,
        formula="close / highest high of 60 sessions - 1",
        warmup=59,
        unit="ratio",
        source=SOURCE,
        low=-1,
        high=0,
    ),
    Feature(
        name="low_distance_60",
        expr=CLOSE / op.lowest(LOW, 60) - 1,
        formula="close / lowest low of 60 sessions - 1",
        warmup=59,
        unit="ratio",
        source=SOURCE,
        low=0,
    ),
    Feature(
        name="close_location_5",
        expr=op.mean("close_location", 5),
        formula="mean5 of close_location",
        warmup=4,
        unit="0-1",
        source=SOURCE,
        low=0,
        high=1,
    ),
    Feature(
        name="gap_ratio_20",
        expr=op.mean(pl.col("gap").abs(), 20),
        formula="mean20 of |gap|",
        warmup=20,
        unit="ratio",
        source=SOURCE,
        low=0,
    ),
)


FEATURES: tuple[Feature | str, ...] = (*CORE, *EBP_FEATURES, *PATTERN_FEATURES)
