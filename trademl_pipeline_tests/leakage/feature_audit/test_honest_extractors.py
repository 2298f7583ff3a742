"""Honest extractors that look odd: each passes every probe."""

import functools
import threading
from collections.abc import Callable
from datetime import date
from typing import ClassVar

import numpy as np
import polars as pl
import pytest
import talib
from sklearn.preprocessing import StandardScaler

from trademl_pipeline.leakage import audit_features
from trademl_pipeline_tests.leakage.panels import CLOSE, RETURN, VOLUME, bars, features

BARS = bars(6, 60, gaps=False)
KEY = ["symbol", "session"]
CALM = features(RETURN)
Extract = Callable[[pl.DataFrame], pl.DataFrame]
MEMO: dict[date, float] = {}
WINDOWS = [5, 10, 20, 60, 120, 250]
WEIGHTS = np.exp(-np.arange(20) / 5)
SETTINGS = {"fast": 12, "slow": 26, "signal": 9, "names": ["open", "close"], "start": date(2015, 1, 1)}
ROLLING = {f"mean_{n}": RETURN.rolling_mean(n).over("symbol") for n in (5, 10, 20)}
RANGE = pl.col("close").map_batches(lambda s: s / s.shift(3), return_dtype=pl.Float64)


@functools.cache
def weekday(day: date) -> int:
    return day.weekday()


class Strategy:
    """An extractor with settings of its own and an unfitted scaler."""

    window: ClassVar[int] = 10

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.fitted: dict[str, float] = {}
        self.scaler = StandardScaler()

    def __call__(self, frame: pl.DataFrame) -> pl.DataFrame:
        with self.lock:
            return features(RETURN.rolling_std(self.window))(frame)


def seeded_noise(frame: pl.DataFrame) -> pl.DataFrame:
    rows = frame.select(KEY)
    draws = [np.random.default_rng([d.toordinal(), len(s)]).normal() for s, d in rows.iter_rows()]
    return rows.with_columns(x=pl.Series(draws, dtype=pl.Float64))


def memoized(frame: pl.DataFrame) -> pl.DataFrame:
    days = [MEMO.setdefault(d, d.toordinal() % 7) for d in frame["session"]]
    return CALM(frame).with_columns(d=pl.Series(days, dtype=pl.Int64))


def shuffled(frame: pl.DataFrame) -> pl.DataFrame:
    mixed = frame.sample(fraction=1.0, shuffle=True, seed=1)
    return features(RETURN)(mixed).sample(fraction=1.0, shuffle=True, seed=2)


def with_talib(frame: pl.DataFrame) -> pl.DataFrame:
    parts = [
        part.select(*KEY, x=pl.Series(talib.RSI(part["close"].to_numpy(), 14)))
        for part in frame.sort(KEY).partition_by("symbol", maintain_order=True)
    ]
    return pl.concat(parts)


def kernel(frame: pl.DataFrame) -> pl.DataFrame:
    def smooth(values: pl.Series) -> pl.Series:
        return pl.Series(np.convolve(values.fill_null(0.0).to_numpy(), WEIGHTS)[: len(values)])

    return features(RETURN.map_batches(smooth, return_dtype=pl.Float64))(frame)


def in_pandas(frame: pl.DataFrame) -> pl.DataFrame:
    table = frame.sort(KEY).to_pandas()
    table["x"] = table.groupby("symbol")["close"].pct_change()
    return pl.from_pandas(table[[*KEY, "x"]]).with_columns(pl.col("session").cast(pl.Date))


def fitted_inside(frame: pl.DataFrame) -> pl.DataFrame:
    rows = features(RETURN)(frame)
    parts = []
    for part in rows.filter(pl.col("symbol") < "S02").partition_by("symbol", maintain_order=True):
        values = part["x0"].fill_null(0.0).to_numpy().reshape(-1, 1)
        scaled = [
            StandardScaler().fit(values[: i + 1]).transform(values[i : i + 1])[0, 0]
            for i in range(len(values))
        ]
        parts.append(part.select(*KEY, x=pl.Series(scaled)))
    return pl.concat(parts)


HONEST: dict[str, tuple[Extract, int | None]] = {
    "EWM of long memory": (features(CLOSE / CLOSE.ewm_mean(half_life=60)), None),
    "OBV": (features((VOLUME * RETURN.sign()).fill_null(0.0).cum_sum() / VOLUME.cum_sum()), None),
    "expanding z": (
        features((RETURN - RETURN.cum_sum() / pl.int_range(1, pl.len() + 1)) / RETURN.abs().cum_max()),
        None,
    ),
    "age": (features(pl.int_range(pl.len())), None),
    "drawdown from the high so far": (features(CLOSE / CLOSE.cum_max() - 1), None),
    "shuffled input": (shuffled, 3),
    "TA-Lib with declared warm-up": (with_talib, None),
    "seeded noise by date": (seeded_noise, None),
    "memo": (memoized, 3),
    "cache": (lambda f: CALM(f).with_columns(d=pl.Series([weekday(d) for d in f.sort(KEY)["session"]])), 3),
    "windows in a list": (
        lambda f: features(*(CLOSE.rolling_mean(n, min_samples=1) / CLOSE for n in WINDOWS))(f),
        None,
    ),
    "kernel": (kernel, None),
    "settings": (lambda f: features(CLOSE.rolling_mean(SETTINGS["fast"]) / CLOSE)(f), 12),
    "expressions in a dict": (lambda f: f.sort(KEY).select(*KEY, **ROLLING), 21),
    "function in an expression": (lambda f: features(RANGE)(f), 4),
    "instance with a lock": (Strategy(), 12),
    "bound method": (Strategy().__call__, 12),
    "partial": (functools.partial(lambda n, f: features(CLOSE.shift(n) / CLOSE)(f), 3), 3),
    "pandas": (in_pandas, 2),
    "fitted anew at each row": (fitted_inside, None),
    "rank among symbols": (
        lambda f: CALM(f).with_columns(x0=pl.col("x0").rank().over("session") / pl.len().over("session")),
        2,
    ),
    "imports inside": (lambda f: importing_inside(f), 2),
    "thread pool": (lambda f: threaded(f), 2),
    "rare condition": (features(pl.when(RETURN < -0.04).then(1).otherwise(0).rolling_sum(5)), 7),
}


def importing_inside(frame: pl.DataFrame) -> pl.DataFrame:
    import json
    import zoneinfo

    zone = zoneinfo.ZoneInfo("America/New_York")
    assert json.dumps({"zone": str(zone)})
    return CALM(frame)


def threaded(frame: pl.DataFrame) -> pl.DataFrame:
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(2) as pool:
        return pl.concat(pool.map(CALM, frame.sort(KEY).partition_by("symbol", maintain_order=True)))


@pytest.mark.parametrize("name", HONEST)
def test_an_honest_extractor_that_looks_odd_passes(name: str):
    extract, warmup = HONEST[name]
    audit_features(extract, BARS, warmup=warmup).assert_clean()
