"""Small planted problems for training tests: windows whose target is a known function of their features."""

from datetime import date, timedelta

import numpy as np
import polars as pl

from trademl_pipeline.sequences.windows import Windows


def panel(symbols: int, sessions: int, features: int, seed: int, horizon: int = 1):
    """Features (rows, features) of a long panel and its keys; labels end ``horizon`` sessions later."""
    rng = np.random.default_rng(seed)
    days = [date(2020, 1, 1) + timedelta(days=i) for i in range(sessions + horizon)]
    keys = pl.DataFrame(
        {
            "symbol": np.repeat([f"S{i:03d}" for i in range(symbols)], sessions),
            "session": days[:sessions] * symbols,
            "label_end": days[horizon:] * symbols,
        }
    )
    matrix = rng.normal(size=(symbols * sessions, features))
    age = np.tile(np.arange(sessions), symbols)
    return matrix, keys, age, rng


def windows_of(matrix, keys, age, length, targets, which=None):
    n_valid = np.minimum(age + 1, length).astype(np.int32)
    windows = Windows(matrix, np.arange(len(age), dtype=np.int64), n_valid, length, keys, targets)
    return windows if which is None else windows.take(which)


def direction_problem(symbols=20, sessions=80, features=5, length=10, noise=0.5, seed=0):
    """Three classes by a signal that sums the last three steps of feature 0 and the last of feature 1."""
    matrix, keys, age, rng = panel(symbols, sessions, features, seed)
    first = matrix[:, 0]
    lagged = sum(np.where(age >= k, np.roll(first, k), 0.0) for k in range(3))
    signal = lagged + matrix[:, 1]
    value = signal + noise * rng.normal(size=len(signal))
    target = np.digitize(value, [-0.8, 0.8])
    oracle = np.digitize(signal, [-0.8, 0.8])
    return windows_of(matrix, keys, age, length, {"target": target}), oracle


BREAKOUT_SHARES = (0.457, 0.291, 0.080, 0.010, 0.004, 0.158)
BREAKOUT_VALUES = np.array([-2.0, -0.2, 1.0, 3.0, 10.0, -10.0])
_CLARITY = np.array([1.5, 1.5, 1.8, 1.8, 1.8, 2.2])


def breakout_problem(symbols=60, sessions=250, length=20, seed=0):
    """A breakout market: six classes at the design's frequencies, K4 in exactly 0.4 % of the rows.

    Each class has a feature that drifts up over the last ten steps before its snapshot; the other features
    are noise. ``_CLARITY`` is the distance between the class's and the others' best statistic (the matched
    filter), in standard deviations, so no classifier can be perfect. Windows do not overlap: every snapshot
    has rows of its own. Returns windows and, from the known densities, every class's exact probability.
    """
    rng = np.random.default_rng(seed)
    _, keys, _, _ = panel(symbols, sessions, 1, seed)
    n, classes = len(keys), len(BREAKOUT_SHARES)
    counts = np.round(np.array(BREAKOUT_SHARES) * n).astype(int)
    counts[0] += n - counts.sum()
    target = rng.permutation(np.repeat(np.arange(classes), counts))
    drift = np.zeros(length)
    drift[-10:] = np.linspace(0.1, 1.0, 10)
    drift /= np.sqrt((drift**2).sum())
    noise = rng.normal(size=(n, length, classes))
    x = noise + (_CLARITY * np.eye(classes))[target][:, None, :] * drift[None, :, None]
    statistic = np.einsum("ntc,t->nc", x, drift)
    log_likelihood = _CLARITY * statistic - _CLARITY**2 / 2 + np.log(np.array(BREAKOUT_SHARES))
    exact = np.exp(log_likelihood - log_likelihood.max(1, keepdims=True))
    row = np.arange(n, dtype=np.int64) * length + length - 1
    n_valid = np.full(n, length, dtype=np.int32)
    windows = Windows(x.reshape(n * length, classes), row, n_valid, length, keys, {"target": target})
    return windows, exact / exact.sum(1, keepdims=True)


def planted_returns(kind, symbols=20, sessions=80, features=4, length=8, noise=1.0, seed=0):
    """Returns of several horizons, and the other targets of the network ``kind``, from one planted signal.

    Returns windows and the signal, the best score there is.
    """
    matrix, keys, age, rng = panel(symbols, sessions, features, seed)
    first = matrix[:, 0]
    signal = sum(np.where(age >= k, np.roll(first, k), 0.0) for k in range(3)) + matrix[:, 1]
    n = len(signal)

    def noisy(scale):
        return signal + noise * scale * rng.normal(size=n)

    if kind == "mamba_forecast":
        targets = {
            "forward_return": 0.01 * np.column_stack([noisy(0.5), noisy(1.0)]),
            "volatility": np.full((n, 2), 0.02),
        }
    elif kind == "lstm_backbone":
        confidence = (np.column_stack([noisy(0.2), noisy(0.2)]) > 0).astype(float)
        # a quarter of the rows has no trigger, so no label, for the second pattern
        confidence[rng.random(n) < 0.25, 1] = np.nan
        targets = {"confidence": confidence}
    else:
        targets = {
            "price": 0.01 * np.column_stack([noisy(0.5), noisy(0.7), noisy(1.0)]),
            "direction": np.digitize(noisy(0.2), [-0.8, 0.8]),
            "position": np.digitize(noisy(0.2), [-0.8, 0.8]),
            "volatility": np.full(n, 0.02),
            "risk": -np.abs(signal) + 0.5 * rng.normal(size=n),
            "confidence": (np.abs(signal) > 1).astype(float),
        }
    return windows_of(matrix, keys, age, length, targets), signal
