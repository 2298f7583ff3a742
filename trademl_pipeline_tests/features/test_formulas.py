"""Features that TA-Lib lacks, against an independent reference in pandas, one symbol at a time."""

import math

import numpy as np
import pandas as pd
import polars as pl
import pytest

from trademl_pipeline.features import FEATURE_SETS, FEATURES, compute
from trademl_pipeline.features.consolidation import PATTERN_FEATURES
from trademl_pipeline_tests.features.panels import random_bars, reference_bars, sectors
from trademl_pipeline_tests.features.talib_reference import talib_values


def by_talib() -> set[str]:
    return set(talib_values(*(np.arange(300.0) + k + 2 for k in range(5))))


def percentile(x: pd.Series, n: int) -> pd.Series:
    return (x.rolling(n).rank() - 1) / (n - 1)


def slope(x: pd.Series, n: int) -> pd.Series:
    return x.rolling(n).apply(lambda w: np.polyfit(np.arange(n), w, 1)[0], raw=True)


def zscore(x: pd.Series, n: int) -> pd.Series:
    return (x - x.rolling(n).mean()) / x.rolling(n).std()


def run(condition: pd.Series, cap: int) -> pd.Series:
    out, length = [], math.nan
    for state in condition:
        length = math.nan if pd.isna(state) else (length + 1 if state else 0)
        out.append(min(length, cap))
    return pd.Series(out, index=condition.index, dtype=float)


def garch(r: pd.Series) -> pd.Series:
    shock = 0.05 * r.rolling(250).var() + 0.05 * r**2
    out, variance = [], math.nan
    for x in shock:
        variance = (
            (x / 0.1 if math.isnan(variance) else x + 0.9 * variance) if not math.isnan(x) else math.nan
        )
        out.append(math.sqrt(variance))
    return pd.Series(out, index=r.index)


def persistence(r: pd.Series) -> pd.Series:
    sign = np.sign(r.rolling(5).mean())
    return sign.rolling(7).apply(lambda w: np.mean(w == w[-1]), raw=True)


def beta(r: pd.Series, of: pd.Series, n: int) -> pd.Series:
    return r.rolling(n).cov(of) / of.rolling(n).var()


def expected(b: pd.DataFrame) -> dict[str, pd.Series]:
    """By feature its value on one symbol's bars, with columns spy, fund, vix and vix3m."""
    o, h, low, c, v = (b[k] for k in ("open", "high", "low", "close", "volume"))
    r, log_r = c.pct_change(), np.log(c).diff()
    span, location = h - low, (c - low) / (h - low)
    prior = c.shift(1)
    true_range = (
        pd.concat([span, (h - prior).abs(), (low - prior).abs()], axis=1).max(axis=1).where(prior.notna())
    )
    typical, dollars = (h + low + c) / 3, c * v
    gap = o / prior - 1
    ta = {
        k: pd.Series(x, index=b.index)
        for k, x in talib_values(*(s.to_numpy() for s in (o, h, low, c, v))).items()
    }
    std = {n: r.rolling(n).std() for n in (5, 10, 20, 60)}
    bbw, adx = ta["bbw_20"], ta["adx_14"]
    ratio_20, market = v / v.rolling(20).mean(), b["spy"].pct_change()
    bbw_rank = percentile(bbw, 100)

    e: dict[str, pd.Series] = {
        "log_return_1": log_r,
        "gap": gap,
        "close_location": location,
        "close_z_60": zscore(c, 60),
        "volatility_10": std[10],
        "volatility_20": std[20],
        "volatility_of_volatility_10": std[10].rolling(10).std(),
        "volatility_of_volatility_20": std[20].rolling(20).std(),
        "dollar_volume_z_60": zscore(dollars, 60),
        "range_ratio_20": span / span.rolling(20).mean(),
        "vwap_distance_20": c / ((typical * v).rolling(20).sum() / v.rolling(20).sum()) - 1,
        "cmf_20": (((c - low) - (h - c)) / span * v).rolling(20).sum() / v.rolling(20).sum(),
        "volume_z_60": zscore(v, 60),
        "amihud_20": (r.abs() / (dollars / 1e6)).rolling(20).mean(),
        "relative_strength_20": c.pct_change(20) - b["spy"].pct_change(20),
        "index_beta_60": beta(r, market, 60),
        "index_momentum_20": b["spy"].pct_change(20),
        "bbw_percentile_100": bbw_rank,
        "bbw_slope_20": slope(bbw, 20),
        "bbw_std_20": bbw.rolling(20).std(),
        "bbw_acceleration": slope(bbw, 5) - slope(bbw, 20),
        "adx_slope_20": slope(adx, 20),
        "volume_slope_20": slope(ratio_20, 20),
        "volume_std_20": ratio_20.rolling(20).std(),
        "avg_range_20": span.rolling(20).mean() / c,
        "range_slope_20": slope(span / c, 20),
        "price_volatility_20": std[20],
        "price_volatility_60": std[60],
        "volatility_ratio_20_60": std[20] / std[60],
        "high_distance_60": c / h.rolling(60).max() - 1,
        "low_distance_60": c / low.rolling(60).min() - 1,
        "close_location_5": location.rolling(5).mean(),
        "gap_ratio_20": gap.abs().rolling(20).mean(),
        "price_acceleration": c.pct_change(3) - c.pct_change(3).shift(3),
        "volume_price_divergence": -r.rolling(20).corr(np.log(v).diff()),
        "volatility_regime_change": (std[20] - std[20].rolling(60).mean()) / std[20].rolling(60).mean(),
        "return_skewness_7": r.rolling(7).skew(),
        "momentum_persistence_7": persistence(r),
        "volatility_clustering": r.abs().rolling(5).mean() / r.abs().rolling(20).mean(),
        "trend_exhaustion": r.rolling(10).mean().abs() / std[10],
        "garch_volatility_forecast": garch(r),
        "intraday_range_expansion": span / span.rolling(20).mean(),
        "overnight_gap": gap / ta["atr_ratio_14"],
        "end_of_day_momentum": 2 * location - 1,
        "sector_relative_strength": c.pct_change(20) - b["fund"].pct_change(20),
        "market_beta_instability": (beta(r, market, 20) - beta(r, market, 60)).abs(),
        "vix_term_structure": b["vix"] / b["vix3m"] - 1,
    }
    day, month = pd.to_datetime(b["session"]).dt.dayofweek + 1, pd.to_datetime(b["session"]).dt.month
    for name, x, period in (("day_of_week", day, 7), ("month", month, 12)):
        e[f"{name}_sin"], e[f"{name}_cos"] = np.sin(2 * np.pi * x / period), np.cos(2 * np.pi * x / period)

    e["cci_bbw_compression"] = (1 - bbw / bbw.rolling(60).max()).clip(0, 1)
    e["cci_atr_compression"] = (1 - true_range.rolling(20).mean() / true_range.rolling(60).mean()).clip(0, 1)
    below = (bbw < bbw.rolling(60).median()).astype(object).where(bbw.rolling(60).median().notna())
    e["cci_days_factor"] = np.sqrt(run(below, 80) / 20).clip(upper=2)
    e["cci_score"] = e["cci_bbw_compression"] * e["cci_atr_compression"] * e["cci_days_factor"]
    e["var_raw"] = (v * r.clip(lower=0)).rolling(20).sum() / (v * (-r).clip(lower=0)).rolling(20).sum()
    e["var_score"] = (e["var_raw"] / e["var_raw"].rolling(20).mean()).clip(0.5, 3)
    idle = (1 - np.minimum(2, v / v.rolling(250).mean())).clip(0, 1)
    e["nes_inactive_mass"] = percentile(idle * dollars / dollars.rolling(250).mean(), 100)
    e["nes_wavelet_energy"] = sum(s / s.rolling(50).mean() for s in (std[5], std[10], std[20])) / 3
    e["nes_rsa_proxy"] = zscore(c.pct_change(20), 100).clip(-3, 3)
    e["nes_score"] = (
        e["nes_inactive_mass"] ** 0.3
        * e["nes_wavelet_energy"].clip(0.1, 10) ** 0.4
        * (1 + e["nes_rsa_proxy"]).clip(0.1, 10) ** 0.3
    )
    e["lpf_bid_pressure"] = location.rolling(5).mean()
    e["lpf_volume_pressure"] = v.rolling(5).mean() / v.rolling(50).mean()
    e["lpf_fta_proxy"] = (v.rolling(5).mean() / v.rolling(20).mean() - 1).clip(-1, 3)
    e["lpf_score"] = e["lpf_bid_pressure"] * e["lpf_volume_pressure"] * (1 + e["lpf_fta_proxy"])
    e["tsf_days_in_consolidation"] = run((bbw_rank < 0.30).astype(object).where(bbw_rank.notna()), 120)
    e["tsf_score"] = 1 + np.sqrt(e["tsf_days_in_consolidation"] / 30)
    e["ebp_raw"] = (
        e["cci_score"].clip(0.01, 10)
        * e["var_score"].clip(0.1, 10)
        * e["nes_score"].clip(0.1, 10)
        * e["lpf_score"].clip(0.1, 10)
    ) ** (1 / e["tsf_score"].clip(1, 10))
    e["ebp_composite"] = percentile(e["ebp_raw"], 100)
    e["ebp_slope_5"] = slope(e["ebp_composite"], 5)
    return e


@pytest.fixture(scope="module")
def both() -> tuple[dict[str, pl.Series], dict[str, pd.Series]]:
    sessions = 760
    bars, reference = random_bars(2, sessions, seed=8), reference_bars(sessions)
    ours: dict[str, pl.Series] = {}
    for name in FEATURE_SETS:
        frame = compute(bars, name, reference=reference, universe=sectors(bars)).filter(
            pl.col("symbol") == "S001"
        )
        ours |= {c: frame[c] for c in frame.columns[2:]}
    mine = bars.filter(pl.col("symbol") == "S001")
    for column, symbol in (("spy", "SPY"), ("fund", "XLK"), ("vix", "^VIX"), ("vix3m", "^VIX3M")):
        close = reference.filter(pl.col("symbol") == symbol).select("session", pl.col("close").alias(column))
        mine = mine.join(close, on="session", how="left")
    return ours, expected(mine.to_pandas())


def test_every_feature_has_a_reference() -> None:
    """TA-Lib's are in test_parity, the pattern features in test_consolidation."""
    bars = random_bars(1, 400).to_pandas()
    for column in ("spy", "fund", "vix", "vix3m"):
        bars[column] = bars["close"]
    covered = set(expected(bars)) | by_talib() | {f.name for f in PATTERN_FEATURES}
    assert set(FEATURES) <= covered


REFERENCED = sorted(set(FEATURES) - {f.name for f in PATTERN_FEATURES} - by_talib())


@pytest.mark.parametrize("name", REFERENCED)
def test_formula(name: str, both: tuple[dict[str, pl.Series], dict[str, pd.Series]]) -> None:
    ours, wanted = both
    got, want = ours[name].to_numpy(), wanted[name].to_numpy(dtype=float)
    # The reference knows at which length a run began only after its first break; so does ours, from a cap on earlier.
    both_known = ~np.isnan(want)
    assert both_known.sum() > 100
    assert not np.isnan(got[both_known]).any()
    # ADX and ATR are seeded alike; what is made of them needs no further warm-up.
    np.testing.assert_allclose(got[both_known], want[both_known], rtol=1e-8, atol=1e-10)
    early = np.isnan(want) & ~np.isnan(got)
    assert early.sum() == 0 or name.startswith(("cci_days", "cci_score", "tsf_", "ebp_"))
