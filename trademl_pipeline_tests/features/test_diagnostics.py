"""Missing share, distribution and drift."""

import math

import numpy as np
import polars as pl
import pytest
from scipy.stats import ks_2samp

from trademl_pipeline.features.diagnostics import drift, summary

RNG = np.random.default_rng(0)


def frame(x: np.ndarray | list[float | None]) -> pl.DataFrame:
    return pl.DataFrame({"symbol": ["A"] * len(x), "x": x}, schema={"symbol": pl.String, "x": pl.Float64})


def test_summary_counts_nulls_and_nan_as_missing() -> None:
    row = summary(frame([1.0, 2.0, 3.0, None, math.nan])).row(0, named=True)
    assert row["feature"] == "x"
    assert row["rows"] == 5
    assert row["null_share"] == pytest.approx(0.4)
    assert (row["mean"], row["std"], row["min"], row["q50"], row["max"]) == (2.0, 1.0, 1.0, 2.0, 3.0)


def test_summary_of_nothing_is_null() -> None:
    row = summary(frame([None, None])).row(0, named=True)
    assert row["null_share"] == 1.0
    assert row["mean"] is None
    assert row["q50"] is None
    assert summary(frame([])).row(0, named=True)["null_share"] is None


def test_drift_tells_a_shift_from_a_sample() -> None:
    training = RNG.normal(size=20_000)
    calm = drift(frame(training), frame(RNG.normal(size=5_000))).row(0, named=True)
    moved = drift(frame(training), frame(RNG.normal(1.0, 1.0, size=5_000))).row(0, named=True)
    assert calm["psi"] < 0.02
    assert moved["psi"] > 0.25
    assert abs(calm["mean_shift"]) < 0.05
    assert moved["mean_shift"] == pytest.approx(1.0, abs=0.05)


def test_the_distance_is_kolmogorovs() -> None:
    a, b = RNG.normal(size=500).round(1), RNG.normal(0.2, 1.3, size=300).round(1)
    got = drift(frame(a), frame(b))["ks"][0]
    assert got == pytest.approx(ks_2samp(a, b).statistic)


def test_stability_by_hand() -> None:
    """Half of the training values in each of two bins; all of the current ones in the upper."""
    training, current = np.array([0.0, 1.0] * 50), np.ones(20)
    want = (1 - 0.5) * math.log(1 / 0.5) + (1e-4 - 0.5) * math.log(1e-4 / 0.5)
    assert drift(frame(training), frame(current))["psi"][0] == pytest.approx(want)
    assert drift(frame(training), frame(training))["psi"][0] == 0.0


def test_a_constant_or_missing_feature_gives_no_shift() -> None:
    row = drift(frame([1.0, 1.0]), frame([1.0, None])).row(0, named=True)
    assert row["psi"] == 0.0
    assert row["mean_shift"] is None
    assert row["null_share_change"] == 0.5
    gone = drift(frame([1.0, 2.0]), frame([None, None])).row(0, named=True)
    assert gone["psi"] is None
    assert gone["ks"] is None
    assert gone["null_share_change"] == 1.0
