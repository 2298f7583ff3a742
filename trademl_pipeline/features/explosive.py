"""Set `breakout` (the breakout design), second part: 19 features of the explosive-breakout predictor (EBP).

Five scores (compression, volume accumulation, dormant energy, bid pressure, time in consolidation) and their
composite. The runs are counted up to a cap, so that no value needs more than the sessions it declares.
"""

import polars as pl

from trademl_pipeline.features import operators as op
from trademl_pipeline.features.common import VOLUME, R
from trademl_pipeline.features.feature import Feature, Series

SOURCE = "breakout"
DAYS_CAP = 80  # cci_days_factor reaches its maximum of 2 there
CONSOLIDATION_CAP = 120

EBP_SERIES: tuple[Series, ...] = (
    Series("mean_volume_250", op.mean(VOLUME, 250)),
    Series("mean_volume_5", op.mean(VOLUME, 5)),
    Series("up_volume_20", op.total(VOLUME * op.positive(R), 20)),
    Series("down_volume_20", op.total(VOLUME * op.negative(R), 20)),
    *(Series(f"std_return_{n}", op.std(R, n)) for n in (5, 10)),
)

_bbw = pl.col("bbw_20")
_wavelet = [pl.col(name) for name in ("std_return_5", "std_return_10", "volatility_20")]
_inactivity = (1 - op.divide(VOLUME, "mean_volume_250").clip(upper_bound=2.0)).clip(0.0, 1.0)
_turnover = op.divide("dollar_volume", op.mean("dollar_volume", 250))


def _ebp(
    name: str, expr: pl.Expr, formula: str, warmup: int, low: float, high: float, unit: str = "score"
) -> Feature:
    return Feature(name, expr, formula, warmup, unit, SOURCE, low, high)


_INF = float("inf")
_MASS_WARMUP = 249 + 99
_TSF_WARMUP = 118 + CONSOLIDATION_CAP
_EBP_WARMUP = max(_MASS_WARMUP, _TSF_WARMUP)

EBP_FEATURES: tuple[Feature, ...] = (
    _ebp(
        "cci_bbw_compression",
        (1 - op.divide(_bbw, op.highest(_bbw, 60))).clip(0.0, 1.0),
        "1 - bbw_20 / its highest of 60, within 0 and 1",
        78,
        0,
        1,
    ),
    _ebp(
        "cci_atr_compression",
        (1 - op.divide(op.mean("true_range", 20), op.mean("true_range", 60))).clip(0.0, 1.0),
        "1 - mean20 true range / mean60 true range, within 0 and 1",
        60,
        0,
        1,
    ),
    _ebp(
        "cci_days_factor",
        (op.run_length(op.rank(_bbw, 60) < 0.5, DAYS_CAP) / 20).sqrt().clip(upper_bound=2.0),
        "sqrt(d / 20), at most 2; d sessions in a row with bbw_20 below its median of 60",
        78 + DAYS_CAP,
        0,
        2,
    ),
    _ebp(
        "cci_score",
        pl.col("cci_bbw_compression") * pl.col("cci_atr_compression") * pl.col("cci_days_factor"),
        "cci_bbw_compression cci_atr_compression cci_days_factor",
        78 + DAYS_CAP,
        0,
        2,
    ),
    _ebp(
        "var_raw",
        op.divide("up_volume_20", "down_volume_20"),
        "sum20 volume rises / sum20 volume |falls| of return_1; null where none fell",
        20,
        0,
        _INF,
        "ratio",
    ),
    _ebp(
        "var_score",
        op.divide("var_raw", op.mean("var_raw", 20)).clip(0.5, 3.0),
        "var_raw / its mean20, within 0.5 and 3",
        39,
        0.5,
        3,
    ),
    _ebp(
        "nes_inactive_mass",
        op.rank(_inactivity * _turnover, 100),
        "percentile rank over 100 of (1 - min(2, volume / mean250), at least 0) close volume / its mean250",
        _MASS_WARMUP,
        0,
        1,
        "0-1",
    ),
    _ebp(
        "nes_wavelet_energy",
        sum((op.divide(s, op.mean(s, 50)) for s in _wavelet), start=pl.lit(0.0)) / 3,
        "mean over 5, 10, 20 sessions of the std of return_1 / mean50 of that std",
        69,
        0,
        50,
    ),
    _ebp(
        "nes_rsa_proxy",
        op.zscore("return_20", 100).clip(-3.0, 3.0),
        "z-score of return_20 over 100 sessions, within -3 and 3",
        119,
        -3,
        3,
    ),
    _ebp(
        "nes_score",
        pl.col("nes_inactive_mass") ** 0.3
        * pl.col("nes_wavelet_energy").clip(0.1, 10.0) ** 0.4
        * (1 + pl.col("nes_rsa_proxy")).clip(0.1, 10.0) ** 0.3,
        "mass^0.3 (energy within 0.1 and 10)^0.4 (1 + rsa within 0.1 and 10)^0.3",
        _MASS_WARMUP,
        0,
        10**0.4 * 4**0.3,
    ),
    _ebp(
        "lpf_bid_pressure",
        pl.col("close_location_5"),
        "mean5 of close_location",
        4,
        0,
        1,
        "0-1",
    ),
    _ebp(
        "lpf_volume_pressure",
        op.divide("mean_volume_5", op.mean(VOLUME, 50)),
        "mean5 volume / mean50 volume",
        49,
        0,
        10,
        "ratio",
    ),
    _ebp(
        "lpf_fta_proxy",
        (op.divide("mean_volume_5", "mean_volume_20") - 1).clip(-1.0, 3.0),
        "mean5 volume / mean20 volume - 1, within -1 and 3",
        19,
        -1,
        3,
        "ratio",
    ),
    _ebp(
        "lpf_score",
        pl.col("lpf_bid_pressure") * pl.col("lpf_volume_pressure") * (1 + pl.col("lpf_fta_proxy")),
        "lpf_bid_pressure lpf_volume_pressure (1 + lpf_fta_proxy)",
        49,
        0,
        40,
    ),
    _ebp(
        "tsf_days_in_consolidation",
        op.run_length(pl.col("bbw_percentile_100") < 0.30, CONSOLIDATION_CAP),
        f"sessions in a row with bbw_percentile_100 below 0.30, counted up to {CONSOLIDATION_CAP}",
        _TSF_WARMUP,
        0,
        CONSOLIDATION_CAP,
        "sessions",
    ),
    _ebp(
        "tsf_score",
        1 + (pl.col("tsf_days_in_consolidation") / 30).sqrt(),
        "1 + sqrt(tsf_days_in_consolidation / 30)",
        _TSF_WARMUP,
        1,
        3,
    ),
    _ebp(
        "ebp_raw",
        (
            pl.col("cci_score").clip(0.01, 10.0)
            * pl.col("var_score").clip(0.1, 10.0)
            * pl.col("nes_score").clip(0.1, 10.0)
            * pl.col("lpf_score").clip(0.1, 10.0)
        )
        ** (1 / pl.col("tsf_score").clip(1.0, 10.0)),
        "(cci in 0.01..10  var in 0.1..10  nes in 0.1..10  lpf in 0.1..10)^(1 / tsf in 1..10)",
        _EBP_WARMUP,
        0,
        _INF,
    ),
    _ebp(
        "ebp_composite",
        op.rank("ebp_raw", 100),
        "percentile rank of ebp_raw over 100 sessions",
        _EBP_WARMUP + 99,
        0,
        1,
        "0-1",
    ),
    _ebp(
        "ebp_slope_5",
        op.slope("ebp_composite", 5),
        "least-squares slope of ebp_composite over 5 sessions",
        _EBP_WARMUP + 103,
        -1,
        1,
        "per session",
    ),
)
