"""Forward return and realised volatility."""

import math
from datetime import timedelta

import numpy as np
import polars as pl
import pytest

from trademl_pipeline.labels import forward_labels
from trademl_pipeline_tests.features.panels import random_bars


def test_values_follow_the_definition() -> None:
    bars = random_bars(1, 120, seed=1)
    close = bars["close"].to_numpy()
    steps = np.diff(np.log(close))
    labels = forward_labels(bars, horizons=(1, 4, 24))
    assert labels["horizon"].to_list()[:3] == [1, 4, 24]
    for h in (1, 4, 24):
        own = labels.filter(pl.col("horizon") == h)
        assert own.height == 120 - h
        for t, row in enumerate(own.iter_rows(named=True)):
            assert row["label_end"] == bars["session"][t + h]
            assert row["forward_return"] == pytest.approx(math.log(close[t + h] / close[t]))
            assert row["forward_volatility"] == pytest.approx(
                math.sqrt(np.mean(steps[t : t + h] ** 2)), rel=1e-9
            )


def test_hours_are_bars_like_days() -> None:
    bars = random_bars(1, 60, seed=2).with_columns(
        pl.datetime_range(pl.datetime(2020, 1, 1), pl.datetime(2020, 1, 3, 11), "1h").alias("session")
    )
    labels = forward_labels(bars, horizons=(24,))
    assert (labels["label_end"] - labels["label_start"]).unique().to_list() == [timedelta(hours=24)]


def test_a_halted_session_moves_nothing() -> None:
    bars = random_bars(2, 80, seed=3)
    sessions = bars["session"].unique().sort()
    halted = bars.filter((pl.col("symbol") != "S001") | (pl.col("session") != sessions[50]))
    got = forward_labels(halted, horizons=(1,)).filter(pl.col("symbol") == "S001")
    row = got.row(by_predicate=pl.col("session") == sessions[49], named=True)
    assert row["label_end"] == sessions[50]
    assert (row["forward_return"], row["forward_volatility"], row["last_price"]) == (0.0, 0.0, True)


def test_a_constant_price_has_no_volatility() -> None:
    bars = random_bars(1, 40).with_columns(pl.lit(3.0).alias(c) for c in ("open", "high", "low", "close"))
    labels = forward_labels(bars, horizons=(5,))
    assert set(labels["forward_volatility"]) == {0.0}
