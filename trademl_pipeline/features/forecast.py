"""Set `forecast` (the forecaster design): 21 features of price, volatility, momentum, trend, volume and range."""

from trademl_pipeline.features import operators as op
from trademl_pipeline.features.common import BY_NAME, CLOSE, also, return_std, total_return
from trademl_pipeline.features.feature import Feature, Series

SOURCE = "forecaster"

SERIES: tuple[Series, ...] = ()


def _volatility_of_volatility(n: int) -> Feature:
    return Feature(
        name=f"volatility_of_volatility_{n}",
        expr=op.std(f"volatility_{n}", n),
        formula=f"sample standard deviation of volatility_{n} over {n} sessions",
        warmup=2 * n - 1,
        unit="per session",
        source=SOURCE,
        low=0,
    )


MOMENTUM_10 = total_return("momentum_10", 10, SOURCE)

FEATURES: tuple[Feature | str, ...] = (
    "return_1",
    "log_return_1",
    Feature(
        name="close_z_60",
        expr=op.zscore(CLOSE, 60),
        formula="(close - mean60) / sample std60 of close; null where close is constant",
        warmup=59,
        unit="standard deviations",
        source=SOURCE,
        low=-7.7,
        high=7.7,
    ),
    "sma_distance_5",
    "sma_distance_20",
    "sma_distance_50",
    return_std("volatility_10", 10, SOURCE),
    "volatility_20",
    _volatility_of_volatility(10),
    _volatility_of_volatility(20),
    also("momentum_5", BY_NAME["return_5"], SOURCE),
    MOMENTUM_10,
    also("momentum_20", BY_NAME["return_20"], SOURCE),
    "rsi_14",
    "macd_histogram",
    "bollinger_position",
    "linear_slope_20",
    "volume_ratio_20",
    Feature(
        name="dollar_volume_z_60",
        expr=op.zscore("dollar_volume", 60),
        formula="(close volume - mean60) / sample std60 of close volume; null where it is constant",
        warmup=59,
        unit="standard deviations",
        source=SOURCE,
        low=-7.7,
        high=7.7,
    ),
    also("true_range_ratio_14", BY_NAME["atr_ratio_14"], "TA-Lib ATR"),
    "close_location",
)
