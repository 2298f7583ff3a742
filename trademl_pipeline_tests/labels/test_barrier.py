"""Triple barrier, against a reference that walks from each close."""

import math

import numpy as np
import polars as pl
import pytest

from trademl_pipeline.labels import LabelInputError, triple_barrier_labels
from trademl_pipeline_tests.features.panels import PRICES, random_bars


@pytest.mark.parametrize(("upper", "lower"), [(1.0, 1.0), (2.0, 0.5)])
def test_the_first_touch_decides(upper: float, lower: float) -> None:
    bars = random_bars(2, 260, seed=1)
    labels = triple_barrier_labels(bars, horizon=10, upper=upper, lower=lower)
    assert set(labels["target"]) == {-1, 0, 1}
    for (symbol,), own in bars.group_by("symbol", maintain_order=True):
        close, session = own["close"].to_numpy(), own["session"].to_list()
        r = close[1:] / close[:-1] - 1
        got = {row["session"]: row for row in labels.filter(pl.col("symbol") == symbol).iter_rows(named=True)}
        for t in range(20, len(close)):
            sigma = np.std(r[t - 20 : t], ddof=1) * math.sqrt(10)
            touch = next(
                (
                    (k, 1 if math.log(close[t + k] / close[t]) > 0 else -1)
                    for k in range(1, min(10, len(close) - 1 - t) + 1)
                    if not -lower * sigma < math.log(close[t + k] / close[t]) < upper * sigma
                ),
                None,
            )
            if touch is None and t + 10 >= len(close):
                assert session[t] not in got
                continue
            k, want = touch or (10, 0)
            row = got[session[t]]
            assert row["target"] == want
            assert row["label_end"] == session[t + k]
            assert row["forward_return"] == pytest.approx(math.log(close[t + k] / close[t]))


def test_a_touch_is_known_before_the_horizon_is() -> None:
    bars = random_bars(1, 60, seed=2)
    last = pl.int_range(pl.len()) == 59
    crash = bars.with_columns(
        pl.when(last).then(pl.col(c) * 0.3).otherwise(pl.col(c)).alias(c) for c in PRICES
    )
    labels = triple_barrier_labels(crash)
    assert labels["session"].max() == bars["session"][58]
    assert labels.filter(pl.col("label_end") == bars["session"][59])["target"].unique().to_list() == [-1]


def test_a_price_that_never_moves_touches_nothing() -> None:
    bars = random_bars(1, 60).with_columns(pl.lit(10.0).alias(c) for c in PRICES)
    assert set(triple_barrier_labels(bars)["target"]) == {0}


def test_wrong_barriers_are_refused() -> None:
    with pytest.raises(LabelInputError, match="both must be above 0"):
        triple_barrier_labels(random_bars(1, 30), upper=0.0)
