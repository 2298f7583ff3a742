"""Compiled kernels of the indicators whose steps are cheap but many, after TA-Lib's definitions.

Same invariant as in `window_kernels`: out[i] depends on the same symbol's rows up to i. Prices of a panel are never
missing; a volume may be, and what it enters is then NaN.

Moves of prices in cents tie often: the high rises by as much as the low falls. In floating point the last bit then
decides on +DI, -DI and ADX, in TA-Lib as here, so both decide alike only on the same numbers. Their kernel therefore
reads prices as traded, and brings yesterday's to today's share: the last bit depends neither on where the history
starts nor on the splits before it. The money flow takes such a tie for one, as TA-Lib does.
"""

import numpy as np
from numba import njit

TIE = 1e-12


@njit(cache=True, nogil=True)
def true_range(high, low, close, age):
    """Compute max(high, previous close) - min(low, previous close); NaN in a symbol's first row.

    Args:
        high, low, close: (rows,) float64, on one share basis, symbol after symbol.
        age: (rows,) rows of the same symbol before each.
    """
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
def directional(high, low, close, split, age, n, side):
    """Compute +DI, -DI or DX, in percent: Wilder sums of directional movement and true range.

    Summed over the first n - 1 rows after the symbol's first, then smoothed; defined from row n on. 0 if none
    moved.

    Args:
        high, low, close: (rows,) float64 prices as traded, symbol after symbol.
        split: (rows,) number of today's shares in one of yesterday's.
        age: (rows,) rows of the same symbol before each.
        n: rows of the smoothing.
        side: 1 for +DI, -1 for -DI, 0 for DX.
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
        previous = close[i - 1] / split[i]
        rise = high[i] - high[i - 1] / split[i]
        fall = low[i - 1] / split[i] - low[i]
        if split[i] != 1.0:
            plus /= split[i]
            minus /= split[i]
            span /= split[i]
        if age[i] >= n:
            plus -= plus / n
            minus -= minus / n
            span -= span / n
        if rise > fall and rise > 0.0:
            plus += rise
        elif fall > rise and fall > 0.0:
            minus += fall
        span += max(high[i], previous) - min(low[i], previous)
        if age[i] >= n:
            if side == 0:
                both = plus + minus
                out[i] = 100.0 * abs(plus - minus) / both if both > 0.0 else 0.0
            else:
                out[i] = 100.0 * (plus if side > 0 else minus) / span if span > 0.0 else 0.0
    return out


@njit(cache=True, nogil=True)
def money_flow(price, volume, age, sign):
    """Compute price * volume on rows on which the price rose or fell, else 0; NaN in a symbol's first row.

    Prices closer than TIE of the price are equal.

    Args:
        price: (rows,) float64, symbol after symbol.
        volume: (rows,) float64, shares on the price's basis.
        age: (rows,) rows of the same symbol before each.
        sign: 1 for rows that rose, -1 for rows that fell.
    """
    out = np.empty(price.size)
    for i in range(price.size):
        if age[i] == 0:
            out[i] = np.nan
        else:
            flow = price[i] * volume[i]
            out[i] = flow if sign * (price[i] - price[i - 1]) > TIE * price[i] else 0.0 * flow
    return out
