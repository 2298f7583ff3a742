"""Compiled kernels that carry a state from row to row: recursions, runs, running sums, and the pattern machine.

Same invariant as in `window_kernels`: out[i] depends on the same symbol's rows up to i. `age[i]` is the number of rows
that the symbol has before row i; at age 0 every state starts afresh. The one exception is what is asked to look ahead
by name: `hindsight`, and a negative `offset`, which only windows of pattern observations use.
"""

import math

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def recursion(x, age, gain, decay, n, scale):
    """Compute `y = decay * y + gain * x`, seeded with `scale` times the sum of the first n values present.

    Defined from the n-th value on. A missing value gives NaN and the recursion seeds itself afresh after it.

    Args:
        x: (rows,) float64, NaN where missing, symbol after symbol.
        age: (rows,) rows of the same symbol before each.
        gain: factor of the new value.
        decay: factor of the state.
        n: values that seed the state.
        scale: factor of the design's sum, 1 / n for their mean.
    """
    rows = x.size
    out = np.empty(rows)
    y = 0.0
    total = 0.0
    seen = 0
    for i in range(rows):
        v = x[i]
        if age[i] == 0 or not math.isfinite(v):
            seen = 0
            total = 0.0
        if not math.isfinite(v):
            out[i] = np.nan
            continue
        if seen < n:
            total += v
            seen += 1
            y = scale * total
            out[i] = y if seen == n else np.nan
        else:
            y = decay * y + gain * v
            out[i] = y
    return out


@njit(cache=True, nogil=True)
def lagged(x, age, n):
    """The value n rows earlier."""
    out = np.empty(x.size)
    for i in range(x.size):
        out[i] = x[i - n] if age[i] >= n else np.nan
    return out


@njit(cache=True, nogil=True)
def change(x, age, n):
    """x / (x n rows earlier) - 1."""
    out = np.empty(x.size)
    for i in range(x.size):
        out[i] = x[i] / x[i - n] - 1.0 if age[i] >= n else np.nan
    return out


@njit(cache=True, nogil=True)
def cumulative(x, age):
    """Running sum from the symbol's first row; a missing value adds nothing."""
    out = np.empty(x.size)
    total = 0.0
    for i in range(x.size):
        if age[i] == 0:
            total = 0.0
        if math.isfinite(x[i]):
            total += x[i]
        out[i] = total
    return out


@njit(cache=True, nogil=True)
def run_length(state, age, cap):
    """Count consecutive rows up to this one on which `state` is 1, up to `cap`.

    `state` is 1, 0 or NaN (not known). While a run may have begun before the first known row, and is not yet
    `cap` long, its length is not known: NaN.
    """
    out = np.empty(state.size)
    run = 0
    known = False
    for i in range(state.size):
        v = state[i]
        if age[i] == 0 or v != v:
            run = 0
            known = False
        if v != v:
            out[i] = np.nan
            continue
        if v > 0.0:
            run += 1
        else:
            run = 0
            known = True
        out[i] = min(run, cap) if known or run >= cap else np.nan
    return out


@njit(cache=True, nogil=True)
def lagged_by(x, offset, age):
    """The value `offset` rows earlier, the offset differing by row; a negative offset reads ahead."""
    rows = x.size
    out = np.full(rows, np.nan)
    for i in range(rows):
        if offset[i] == offset[i]:
            j = i - int(offset[i])
            if age[i] >= i - j and j < rows:
                out[i] = x[j]
    return out


@njit(cache=True, nogil=True)
def count_since(flag, since, age):
    """Sum of `flag` from the row on which `since` was 0; 0 where `since` is negative or NaN."""
    out = np.zeros(flag.size)
    total = 0.0
    for i in range(flag.size):
        if age[i] == 0 or not since[i] > 0.0:
            total = 0.0
        if since[i] >= 0.0:
            total += flag[i]
            out[i] = total
    return out


@njit(cache=True, nogil=True)
def pattern_age(qualifies, close, high, low, age, sessions, power, max_sessions, hindsight):
    """Run the consolidation state machine: rows since the pattern's activation, NaN outside of patterns.

    The row that completes `sessions` qualifying rows in a row activates a pattern, and replaces one that is
    still active. The row that ends a pattern (close above power * upper or below lower, or max_sessions
    active rows passed) is outside of it.

    So the state of a row is a function of the max_sessions + sessions rows before it. A machine that looks
    for activations only while no pattern is active would have to be started at the symbol's first row.

    Args:
        qualifies: (rows,) 1 on rows that qualify, symbol after symbol.
        close: (rows,) float64 prices.
        high, low: (rows,) highest high and lowest low of `sessions` rows, so that at the activation they are
            the pattern's upper and lower boundary.
        age: (rows,) rows of the same symbol before each.
        sessions: qualifying rows that activate a pattern.
        power: a close above this multiple of the upper boundary ends the pattern.
        max_sessions: active rows after which a pattern ends.
        hindsight: the qualifying rows carry -(sessions - 1) .. -1.
    """
    rows = close.size
    out = np.full(rows, np.nan)
    run = 0
    activation = -1
    upper = 0.0
    lower = 0.0
    for i in range(rows):
        if age[i] == 0:
            run = 0
            activation = -1
        run = run + 1 if qualifies[i] == 1.0 else 0
        if activation >= 0 and (
            close[i] > power * upper or close[i] < lower or i - activation >= max_sessions
        ):
            activation = -1
        if run == sessions:
            activation = i
            upper = high[i]
            lower = low[i]
            if hindsight:
                for k in range(1, sessions):
                    out[i - k] = -k
        if activation >= 0:
            out[i] = i - activation
    return out
