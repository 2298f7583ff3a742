"""TA-Lib's values of every indicator that it has, for one symbol."""

import numpy as np
import talib

Arrays = tuple[np.ndarray, ...]


def talib_values(
    o: np.ndarray, h: np.ndarray, low: np.ndarray, c: np.ndarray, v: np.ndarray
) -> dict[str, np.ndarray]:
    """By feature the value made of TA-Lib's functions; arguments are one symbol's bars."""
    line, signal, histogram = talib.MACD(c)
    upper, middle, lower = talib.BBANDS(c, 20, 2, 2)
    k, d = talib.STOCHF(h, low, c, 14, 3)
    down, up = talib.AROON(h, low, 25)
    ema_20, atr = talib.EMA(c, 20), talib.ATR(h, low, c, 14)
    highest, lowest = talib.MAX(h, 20), talib.MIN(low, 20)
    natr_slope = np.full(len(c), np.nan)
    natr_slope[14:] = talib.LINEARREG_SLOPE(talib.NATR(h, low, c, 14)[14:] / 100, 20)
    with np.errstate(invalid="ignore", divide="ignore"):
        values = {
            "macd_line": line / c,
            "macd_signal": signal / c,
            "macd_histogram": histogram / c,
            "bollinger_width": (upper - lower) / middle,
            "bollinger_position": (c - lower) / (upper - lower),
            "bbw_20": (upper - lower) / middle,
            "stochastic_k_14": k,
            "stochastic_d_3": d,
            "aroon_up_25": up,
            "aroon_down_25": down,
            "aroon_oscillator_25": talib.AROONOSC(h, low, 25),
            "adx_14": talib.ADX(h, low, c, 14),
            "plus_di_14": talib.PLUS_DI(h, low, c, 14),
            "minus_di_14": talib.MINUS_DI(h, low, c, 14),
            "linear_slope_20": talib.LINEARREG_SLOPE(c, 20) / c,
            "williams_r_14": talib.WILLR(h, low, c, 14),
            "cci_20": talib.CCI(h, low, c, 20),
            "mfi_14": talib.MFI(h, low, c, v, 14),
            "atr_ratio_14": atr / c,
            "true_range_ratio_14": talib.NATR(h, low, c, 14) / 100,
            "natr_slope_20": natr_slope,
            "keltner_width": 4 * atr / ema_20,
            "keltner_position": (c - (ema_20 - 2 * atr)) / (4 * atr),
            "donchian_width_20": (highest - lowest) / c,
            "donchian_position_20": (c - lowest) / (highest - lowest),
            "obv_slope_20": talib.LINEARREG_SLOPE(talib.OBV(c, v), 20) / talib.SMA(v, 20),
            "volume_ratio_20": v / talib.SMA(v, 20),
            "volume_ratio_50": v / talib.SMA(v, 50),
        }
        for n in (1, 2, 5, 10, 20):
            values[f"pct_change_{n}"] = talib.ROCP(c, n)
        for n in (5, 10, 20):
            values[f"roc_{n}"] = talib.ROC(c, n)
            values[f"momentum_{n}"] = talib.ROCP(c, n)
        for n in (1, 3, 5, 7, 20, 60):
            values[f"return_{n}"] = talib.ROCP(c, n)
        for n in (5, 10, 20, 50, 200):
            values[f"sma_distance_{n}"] = c / talib.SMA(c, n) - 1
        for n in (9, 12, 21, 26, 50):
            values[f"ema_distance_{n}"] = c / talib.EMA(c, n) - 1
        for n in (7, 14, 21):
            values[f"rsi_{n}"] = talib.RSI(c, n)
    return values


# Moves that are equal in exact arithmetic decide these; TA-Lib, and we after it, take the last bit of a float instead.
DECIDED_BY_ROUNDING = ("adx_14", "adx_slope_20", "plus_di_14", "minus_di_14")
