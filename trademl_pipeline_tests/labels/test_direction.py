"""Buy, Hold, Sell."""

import math

import numpy as np
import polars as pl
import pytest

from trademl_pipeline.labels import direction_labels
from trademl_pipeline.labels.direction import BUY, HOLD, SELL
from trademl_pipeline_tests.features.panels import PRICES, random_bars


def test_targets_follow_the_definition() -> None:
    bars = random_bars(2, 200, seed=1)
    labels = direction_labels(bars, horizon=5, k=0.5)
    assert set(labels["target"]) == {SELL, HOLD, BUY}
    for symbol in ("S000", "S001"):
        close = bars.filter(pl.col("symbol") == symbol)["close"].to_numpy()
        own = labels.filter(pl.col("symbol") == symbol)
        assert own.height == len(close) - 20 - 5
        r = close[1:] / close[:-1] - 1
        for k, row in enumerate(own.iter_rows(named=True)):
            t = 20 + k
            sigma = np.std(r[t - 20 : t], ddof=1) * math.sqrt(5)
            forward = math.log(close[t + 5] / close[t])
            assert row["threshold"] == pytest.approx(0.5 * sigma)
            assert row["forward_return"] == pytest.approx(forward)
            want = BUY if forward > 0.5 * sigma else SELL if forward < -0.5 * sigma else HOLD
            assert row["target"] == want


def test_a_wider_band_holds_more() -> None:
    bars = random_bars(3, 300, seed=2)
    holds = [direction_labels(bars, k=k)["target"].eq(HOLD).mean() for k in (0.1, 0.5, 2.0)]
    assert holds == sorted(holds)
    assert holds[0] < 0.2 < 0.9 < holds[2]


def test_a_split_or_dividend_on_the_way_is_no_move() -> None:
    bars = random_bars(1, 60, seed=3).with_columns(pl.lit(0.0).alias("dividend"))
    plain = direction_labels(bars)
    day = bars["session"][40]
    after = pl.col("session") >= day
    split = bars.with_columns(
        *(pl.when(after).then(pl.col(c) / 2).otherwise(pl.col(c)) for c in PRICES),
        pl.when(pl.col("session") == day).then(2.0).otherwise(1.0).alias("split_factor"),
    )
    got = direction_labels(split)
    assert got["target"].equals(plain["target"])
    np.testing.assert_allclose(got["forward_return"], plain["forward_return"], atol=1e-12)
    paid = bars.with_columns(pl.when(pl.col("session") == day).then(5.0).otherwise(0.0).alias("dividend"))
    inside = direction_labels(paid).filter((pl.col("label_start") < day) & (pl.col("label_end") >= day))
    assert inside.height == 5
    assert (
        inside["forward_return"] > plain.join(inside, on=["symbol", "session"], how="semi")["forward_return"]
    ).all()


def test_a_price_that_never_moves_is_held() -> None:
    bars = random_bars(1, 60).with_columns(pl.lit(10.0).alias(c) for c in PRICES)
    labels = direction_labels(bars)
    assert labels.height == 60 - 25
    assert set(labels["target"]) == {HOLD}
    assert labels["threshold"].max() == 0.0


def test_columns_and_types() -> None:
    labels = direction_labels(random_bars(1, 60))
    assert labels.schema == {
        "symbol": pl.String,
        "session": pl.Date,
        "label_start": pl.Date,
        "label_end": pl.Date,
        "forward_return": pl.Float64,
        "threshold": pl.Float64,
        "target": pl.Int8,
        "last_price": pl.Boolean,
    }
