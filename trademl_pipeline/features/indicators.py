"""Set `indicators` (seed 004): technical indicators, all free of scale."""

from trademl_pipeline.features import operators as op
from trademl_pipeline.features.common import CLOSE, SEED, rsi, sma_distance, total_return
from trademl_pipeline.features.feature import Feature

SERIES = ()

FEATURES: tuple[Feature | str, ...] = (
    *(total_return(f"pct_change_{n}", n, SEED[4]) for n in (1, 2, 5, 10, 20)),
    "log_return_1",
    "sma_distance_5",
    "sma_distance_20",
    "sma_distance_50",
    sma_distance(200),
    rsi(7),
    "rsi_14",
    Feature(
        name="bollinger_position",
        expr=op.divide(CLOSE - op.mean(CLOSE, 20), 4 * op.std(CLOSE, 20, ddof=0)) + 0.5,
        formula="(close - lower) / (upper - lower), bands mean20 +- 2 population std20; null if constant",
        warmup=19,
        unit="ratio",
        source="TA-Lib BBANDS",
    ),
    "volatility_20",
    "volume_ratio_20",
)
