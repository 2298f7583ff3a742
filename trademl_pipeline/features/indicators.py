"""Set `indicators` (the hybrid design): 60 technical indicators. TA-Lib is the reference for each that it has."""

import math

import polars as pl

from trademl_pipeline.features import operators as op
from trademl_pipeline.features.common import (
    ATR_WARMUP,
    BY_NAME,
    CLOSE,
    HIGH,
    LOW,
    MACD_WARMUP,
    VOLUME,
    R,
    also,
    rsi,
    sma_distance,
    total_return,
)
from trademl_pipeline.features.feature import Feature, Series, recursive_warmup
from trademl_pipeline.features.forecast import MOMENTUM_10

SOURCE = "hybrid"

_typical = pl.col("typical_price")
_flow = _typical * VOLUME
_span_14 = pl.col("highest_14") - pl.col("lowest_14")
_span_20 = pl.col("highest_20") - pl.col("lowest_20")
_keltner = pl.col("ema_20")

SERIES: tuple[Series, ...] = (
    Series("ema_20", op.ema(CLOSE, 20)),
    Series("highest_14", op.highest(HIGH, 14)),
    Series("lowest_14", op.lowest(LOW, 14)),
    Series("highest_20", op.highest(HIGH, 20)),
    Series("lowest_20", op.lowest(LOW, 20)),
    Series("inflow_14", op.total(op.money_flow(_typical, VOLUME, 1), 14)),
    Series("outflow_14", op.total(op.money_flow(_typical, VOLUME, -1), 14)),
    Series("on_balance_volume", op.cumulative(VOLUME * (CLOSE - op.lag(CLOSE, 1)).sign())),
    Series("total_volume_20", op.total(VOLUME, 20)),
)


def _ema_distance(n: int) -> Feature:
    return Feature(
        name=f"ema_distance_{n}",
        expr=CLOSE / (pl.col(f"ema_{n}") if n in (12, 26) else op.ema(CLOSE, n)) - 1,
        formula=f"close / EMA{n} of close - 1",
        warmup=recursive_warmup(1 - 2 / (n + 1), after=n - 1),
        unit="ratio",
        source="TA-Lib EMA",
        low=-1,
    )


def _roc(n: int) -> Feature:
    return Feature(
        name=f"roc_{n}",
        expr=100 * op.change(CLOSE, n),
        formula=f"100 (close / close {n} sessions ago - 1); splits counted, dividends not",
        warmup=n,
        unit="percent",
        source="TA-Lib ROC",
        low=-100,
    )


def _aroon(side: str, since: pl.Expr) -> Feature:
    return Feature(
        name=f"aroon_{side}_25",
        expr=100 * (25 - since) / 25,
        formula=f"100 (25 - sessions since the {'highest' if side == 'up' else 'lowest'} of 26) / 25",
        warmup=25,
        unit="0-100",
        source="TA-Lib AROON",
        low=0,
        high=100,
    )


def _cyclic(name: str, part: pl.Expr, period: int, what: str) -> tuple[Feature, ...]:
    return tuple(
        Feature(
            name=f"{name}_{wave.__name__}",
            expr=op.lookup(part, [wave(2 * math.pi * k / period) for k in range(period + 1)]),
            formula=f"{wave.__name__}(2 pi {what} / {period})",
            warmup=0,
            unit="-1 to 1",
            source=SOURCE,
            low=-1,
            high=1,
        )
        for wave in (math.sin, math.cos)
    )


RETURNS: tuple[Feature | str, ...] = (
    also("pct_change_1", BY_NAME["return_1"], SOURCE),
    total_return("pct_change_2", 2, SOURCE),
    also("pct_change_5", BY_NAME["return_5"], SOURCE),
    also("pct_change_10", MOMENTUM_10, SOURCE),
    also("pct_change_20", BY_NAME["return_20"], SOURCE),
    "log_return_1",
    "gap",
)

TREND: tuple[Feature | str, ...] = (
    "sma_distance_5",
    sma_distance(10),
    "sma_distance_20",
    "sma_distance_50",
    sma_distance(200),
    *(_ema_distance(n) for n in (9, 12, 21, 26, 50)),
    Feature(
        name="macd_line",
        expr=pl.col("macd") / CLOSE,
        formula="(EMA12 - EMA26) / close",
        warmup=MACD_WARMUP,
        unit="ratio",
        source="TA-Lib MACD",
    ),
    Feature(
        name="macd_signal",
        expr=pl.col("macd_average") / CLOSE,
        formula="EMA9 of (EMA12 - EMA26) / close",
        warmup=MACD_WARMUP,
        unit="ratio",
        source="TA-Lib MACD",
    ),
    "macd_histogram",
    "adx_14",
    "plus_di_14",
    "minus_di_14",
    _aroon("up", op.since_highest(HIGH, 26)),
    _aroon("down", op.since_lowest(LOW, 26)),
    Feature(
        name="aroon_oscillator_25",
        expr=pl.col("aroon_up_25") - pl.col("aroon_down_25"),
        formula="aroon_up_25 - aroon_down_25",
        warmup=25,
        unit="-100 to 100",
        source="TA-Lib AROONOSC",
        low=-100,
        high=100,
    ),
    "linear_slope_20",
)

MOMENTUM: tuple[Feature | str, ...] = (
    rsi(7),
    "rsi_14",
    rsi(21),
    Feature(
        name="stochastic_k_14",
        expr=100 * op.divide(CLOSE - pl.col("lowest_14"), _span_14, otherwise=0.0),
        formula="100 (close - lowest low 14) / (highest high 14 - lowest low 14); 0 where nothing moved",
        warmup=13,
        unit="0-100",
        source="TA-Lib STOCHF",
        low=0,
        high=100,
    ),
    Feature(
        name="stochastic_d_3",
        expr=op.mean("stochastic_k_14", 3),
        formula="mean3 of stochastic_k_14",
        warmup=15,
        unit="0-100",
        source="TA-Lib STOCHF",
        low=0,
        high=100,
    ),
    Feature(
        name="williams_r_14",
        expr=-100 * op.divide(pl.col("highest_14") - CLOSE, _span_14, otherwise=0.0),
        formula="-100 (highest high 14 - close) / (highest high 14 - lowest low 14); 0 where nothing moved",
        warmup=13,
        unit="-100 to 0",
        source="TA-Lib WILLR",
        low=-100,
        high=0,
    ),
    *(_roc(n) for n in (5, 10, 20)),
    Feature(
        name="cci_20",
        expr=op.divide(_typical - op.mean(_typical, 20), 0.015 * op.deviation(_typical, 20), otherwise=0.0),
        formula="(typical price - mean20) / (0.015 mean absolute deviation20); 0 where nothing moved",
        warmup=19,
        unit="index",
        source="TA-Lib CCI",
        low=-670,
        high=670,
    ),
    Feature(
        name="mfi_14",
        expr=100 * op.divide("inflow_14", pl.col("inflow_14") + pl.col("outflow_14"), otherwise=0.0),
        formula="100 inflow / (inflow + outflow) over 14: typical price volume on rises, falls; 0 if none",
        warmup=14,
        unit="0-100",
        source="TA-Lib MFI",
        low=0,
        high=100,
    ),
)

VOLATILITY: tuple[Feature | str, ...] = (
    "atr_ratio_14",
    Feature(
        name="natr_slope_20",
        expr=op.slope("atr_ratio_14", 20),
        formula="least-squares slope of ATR14 / close over 20 sessions",
        warmup=ATR_WARMUP + 19,
        unit="per session",
        source="TA-Lib NATR, LINEARREG_SLOPE",
    ),
    also("bollinger_width", BY_NAME["bbw_20"], "TA-Lib BBANDS"),
    "bollinger_position",
    Feature(
        name="keltner_width",
        expr=4 * pl.col("atr_14") / _keltner,
        formula="(upper - lower) / EMA20, channel EMA20 +- 2 ATR14",
        warmup=ATR_WARMUP,
        unit="ratio",
        source="TA-Lib EMA, ATR",
        low=0,
    ),
    Feature(
        name="keltner_position",
        expr=op.divide(CLOSE - _keltner, 4 * pl.col("atr_14")) + 0.5,
        formula="(close - lower) / (upper - lower), channel EMA20 +- 2 ATR14; null where nothing moved",
        warmup=ATR_WARMUP,
        unit="ratio",
        source="TA-Lib EMA, ATR",
    ),
    Feature(
        name="donchian_width_20",
        expr=_span_20 / CLOSE,
        formula="(highest high 20 - lowest low 20) / close",
        warmup=19,
        unit="ratio",
        source="TA-Lib MAX, MIN",
        low=0,
    ),
    Feature(
        name="donchian_position_20",
        expr=op.divide(CLOSE - pl.col("lowest_20"), _span_20),
        formula="(close - lowest low 20) / (highest high 20 - lowest low 20); null where nothing moved",
        warmup=19,
        unit="0-1",
        source="TA-Lib MAX, MIN",
        low=0,
        high=1,
    ),
    "volatility_20",
)

VOLUME_FLOW: tuple[Feature | str, ...] = (
    Feature(
        name="obv_slope_20",
        expr=op.divide(op.slope("on_balance_volume", 20), "mean_volume_20"),
        formula="least-squares slope of on-balance volume over 20 sessions / mean20 volume",
        warmup=20,
        unit="per session",
        source="TA-Lib OBV, LINEARREG_SLOPE",
    ),
    Feature(
        name="vwap_distance_20",
        expr=op.divide(CLOSE * pl.col("total_volume_20"), op.total(_flow, 20)) - 1,
        formula="close / (sum20 typical price volume / sum20 volume) - 1; null where nothing traded",
        warmup=19,
        unit="ratio",
        source=SOURCE,
        low=-1,
    ),
    Feature(
        name="cmf_20",
        expr=op.divide(
            op.total(op.divide(2 * CLOSE - HIGH - LOW, "range", otherwise=0.0) * VOLUME, 20),
            "total_volume_20",
        ),
        formula="sum20 ((2 close - high - low) / (high - low) volume) / sum20 volume; null if none traded",
        warmup=19,
        unit="-1 to 1",
        source="Chaikin money flow",
        low=-1,
        high=1,
    ),
    "volume_ratio_20",
    Feature(
        name="volume_z_60",
        expr=op.zscore(VOLUME, 60),
        formula="(volume - mean60) / sample std60; null where volume is constant",
        warmup=59,
        unit="standard deviations",
        source=SOURCE,
        low=-7.7,
        high=7.7,
    ),
    Feature(
        name="amihud_20",
        expr=1e6 * op.mean(op.divide(R.abs(), "dollar_volume"), 20),
        formula="mean20 of |return_1| per million of close volume; null where a session did not trade",
        warmup=20,
        unit="per million",
        source="Amihud (2002)",
        low=0,
    ),
)

CALENDAR: tuple[Feature | str, ...] = (
    *_cyclic("day_of_week", pl.col("session").dt.weekday(), 7, "day of week (Monday 1)"),
    *_cyclic("month", pl.col("session").dt.month(), 12, "month"),
)

INDEX: tuple[Feature | str, ...] = (
    Feature(
        name="relative_strength_20",
        expr=pl.col("pct_change_20") - op.change("index_wealth", 20),
        formula="total return of the symbol over 20 sessions - that of the index",
        warmup=20,
        unit="ratio",
        source=SOURCE,
    ),
    Feature(
        name="index_beta_60",
        expr=op.beta(R, "index_return_1", 60),
        formula="covariance of return_1 with the index's over 60 sessions / variance of the index's",
        warmup=60,
        unit="ratio",
        source=SOURCE,
    ),
    Feature(
        name="index_momentum_20",
        expr=op.change("index_wealth", 20),
        formula="total return of the index between the symbol's session 20 earlier and this one",
        warmup=20,
        unit="ratio",
        source=SOURCE,
        low=-1,
    ),
)

FEATURES: tuple[Feature | str, ...] = (
    *RETURNS,
    *TREND,
    *MOMENTUM,
    *VOLATILITY,
    *VOLUME_FLOW,
    *CALENDAR,
    *INDEX,
)
