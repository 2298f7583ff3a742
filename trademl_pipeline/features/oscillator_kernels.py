"""Compiled kernels of the indicators whose steps are cheap but many, after TA-Lib's definitions.

Same invariant as in `window_kernels`: out[i] depends on the same symbol's rows up to i. Prices of a panel are never
missing; a volume may be, and what it enters is then NaN.

One thing differs from TA-Lib: differences of prices closer than `TIE` of the price are equal. Prices in
cents tie often (the high rose by as much as the low fell), and in floating point TA-Lib then decides by the
last bit. The same prices divided by a split of 7 would decide otherwise, and a feature must not move with
the unit of price. On prices in whole ticks, where its differences are exact, TA-Lib gives the same values.
"""

import numpy as np
from numba import njit

TIE = 1e-12


@njit(cache=True, nogil=True)
def true_range(high, low, close, age):
    """max(high, previous close) - min(low, previous close); NaN in a symbol's first row."""
    out = np.empty(close.size)
    for i in range(close.size):
        if age[i] == 0:
            out[i] = np.nan
        else:
            out[i] = max(high[i], close[i - 1]) - min(low[i], close[i - 1])
    return out


@njit(cache=True, nogil=True)
def rsi(close, age, n):
    """100 up / (up + down), Wilder averages of rises and falls, seeded with their first n; 0 if none."""
    out = np.full(close.size, np.nan)
    up = 0.0
    down = 0.0
    for i in range(close.size):
        if age[i] == 0:
            up = 0.0
            down = 0.0
            continue
        step = close[i] - close[i - 1]
        rise = max(step, 0.0)
        fall = max(-step, 0.0)
        if age[i] <= n:
            up += rise / n
            down += fall / n
        else:
            up = (up * (n - 1) + rise) / n
            down = (down * (n - 1) + fall) / n
        if age[i] >= n:
            total = up + down
            out[i] = 100.0 * up / total if total > 0.0 else 0.0
    return out


@njit(cache=True, nogil=True)
def directional(high, low, close, age, n, side):
    """+DI (side 1), -DI (side -1) or DX (side 0): Wilder sums of directional movement and true range.

    Summed over the first n - 1 rows after the symbol's first, then smoothed; defined from row n on. 0 if none
    moved.
    """
    out = np.full(close.size, np.nan)
    plus = 0.0
    minus = 0.0
    span = 0.0
    for i in range(close.size):
        if age[i] == 0:
            plus = 0.0
            minus = 0.0
            span = 0.0
            continue
        rise = high[i] - high[i - 1]
        fall = low[i - 1] - low[i]
        if age[i] >= n:
            plus -= plus / n
            minus -= minus / n
            span -= span / n
        tie = TIE * close[i]
        if rise - fall > tie and rise > tie:
            plus += rise
        elif fall - rise > tie and fall > tie:
            minus += fall
        span += max(high[i], close[i - 1]) - min(low[i], close[i - 1])
        if age[i] >= n:
            if side == 0:
                both = plus + minus
                out[i] = 100.0 * abs(plus - minus) / both if both > 0.0 else 0.0
            else:
                out[i] = 100.0 * (plus if side > 0 else minus) / span if span > 0.0 else 0.0
    return out


@njit(cache=True, nogil=True)
def money_flow(price, volume, age, sign):
    """price * volume on rows whose price rose (sign 1) or fell (-1), else 0; NaN in the first row."""
    out = np.empty(price.size)
    for i in range(price.size):
        if age[i] == 0:
            out[i] = np.nan
        else:
            flow = price[i] * volume[i]
            out[i] = flow if sign * (price[i] - price[i - 1]) > TIE * price[i] else 0.0 * flow
    return out
