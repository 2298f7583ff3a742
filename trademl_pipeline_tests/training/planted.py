"""Small planted problems for training tests: windows whose target is a known function of their features."""

from datetime import date, timedelta

import numpy as np
import polars as pl

from trademl_pipeline.training.windows import Windows


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
