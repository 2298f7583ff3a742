import numpy as np
import polars as pl
import pytest

from trademl_pipeline.leakage.feature_audit.corrupt import (
    STYLES,
    corrupt_future,
    corrupt_source,
    split_adjusted,
    ulp_noise,
)
from trademl_pipeline_tests.leakage.panels import bars

BARS = bars(30, 40, gaps=False).with_columns(
    split_factor=pl.lit(1.0),
    dividend=pl.lit(0.0),
    trades=pl.int_range(pl.len()) % 97,
    adjusted=pl.lit(False),
    vendor=pl.lit("a"),
)
SYMBOLS = BARS["symbol"].cast(pl.Enum(BARS["symbol"].unique().sort())).to_physical().to_numpy()
CUT = BARS["session"].unique().sort()[25]
FUTURE = (BARS["session"] > CUT).to_numpy()


def synthetic_view(seed: int = 0, **kwargs) -> pl.DataFrame:
    return corrupt_future(BARS, FUTURE, SYMBOLS, np.random.default_rng(seed), **kwargs)


def test_only_later_values_change_and_no_key_does():
    frame = synthetic_view()
    assert frame.schema == BARS.schema
    assert frame.filter(~pl.Series(FUTURE)).equals(BARS.filter(~pl.Series(FUTURE)))
    assert frame.select("symbol", "session", "vendor").equals(BARS.select("symbol", "session", "vendor"))
    later, before = frame.filter(pl.Series(FUTURE)), BARS.filter(pl.Series(FUTURE))
    for column in ("close", "volume", "trades", "split_factor", "dividend", "adjusted"):
        changed = (later[column] != before[column]).mean()
        assert changed > 0.15, column
    assert (later["close"] / before["close"] - 1).abs().min() < 0.02
    assert (later["close"] / before["close"] - 1).abs().max() > 1


@pytest.mark.parametrize("seed", range(5))
def test_a_made_up_bar_is_still_a_bar(seed):
    frame = synthetic_view(seed)
    bad = frame.filter(
        (pl.col("high") < pl.max_horizontal("open", "close") * (1 - 1e-12))
        | (pl.col("low") > pl.min_horizontal("open", "close") * (1 + 1e-12))
        | (pl.col("low") <= 0)
        | (pl.col("volume") < 0)
        | (pl.col("split_factor") <= 0)
    )
    assert bad.is_empty()


def test_many_symbols_see_every_style():
    steps = synthetic_view().filter(pl.Series(FUTURE))["close"] / BARS.filter(pl.Series(FUTURE))["close"]
    first = steps.to_numpy().reshape(30, -1)[:, 0]
    assert np.isclose(first, 0.4).any()
    assert np.isclose(first, 2.5).any()
    assert len(np.unique(np.round(first, 6))) > len(STYLES)


def test_blanks_appear_only_where_the_bars_have_some():
    assert sum(synthetic_view().null_count().row(0)) == 0
    blanked = [synthetic_view(seed, missing=True) for seed in range(3)]
    assert any(f["close"].is_nan().any() for f in blanked)
    with_nulls = BARS.with_columns(close=pl.when(pl.col("trades") == 5).then(None).otherwise("close"))
    frame = corrupt_future(with_nulls, FUTURE, SYMBOLS, np.random.default_rng(0), missing=True)
    past = ~pl.Series(FUTURE)
    assert frame.filter(past).equals(with_nulls.filter(past))


def test_a_source_keeps_its_keys_and_its_past():
    source = pl.DataFrame({"session": BARS["session"].unique().sort(), "level": 100.0, "n": 3})
    future = (source["session"] > CUT).to_numpy()
    frame = corrupt_source(source, future, np.random.default_rng(0))
    assert frame["session"].equals(source["session"])
    assert (frame.filter(~pl.Series(future))["level"] == 100.0).all()
    assert (frame.filter(pl.Series(future))["level"] != 100.0).all()
    assert corrupt_source(source, np.zeros(40, dtype=bool), np.random.default_rng(0)) is source


def test_a_split_restates_prices_and_volumes_to_the_last_bit():
    power = np.full(BARS.height, 3)
    frame = split_adjusted(BARS.with_columns(dividend=pl.lit(0.8)), power)
    assert (frame["close"] * 8 == BARS["close"]).all()
    assert (frame["volume"] == BARS["volume"] * 8).all()
    assert (frame["dividend"] == 0.1).all()
    assert frame["trades"].equals(BARS["trades"])
    assert (
        (frame["close"] / frame["close"].shift(1)) == (BARS["close"] / BARS["close"].shift(1))
    ).sum() == BARS.height - 1


def test_whole_volumes_stay_whole():
    frame = BARS.with_columns(pl.col("volume").cast(pl.Int64))
    assert split_adjusted(frame, np.full(BARS.height, 2))["volume"].equals(frame["volume"] * 4)


def test_rounding_noise_keeps_equal_prices_equal():
    frame = ulp_noise(BARS)
    ratio = (frame["close"] / BARS["close"] - 1).abs()
    assert 0 < ratio.max() < 1e-15
    same = BARS.with_columns(close=pl.col("close").first().over("symbol"))
    assert ulp_noise(same).group_by("symbol").agg(pl.col("close").n_unique())["close"].max() == 1
