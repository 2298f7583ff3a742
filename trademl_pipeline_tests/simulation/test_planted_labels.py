"""Probabilities by drawn simulated paths: those that came, and those that have a closed form."""

from datetime import date

import numpy as np
import polars as pl
import pytest

from trademl_pipeline.labels import TARGETS
from trademl_pipeline.labels.breakout import STRATEGIC_VALUES, FirstPassageRules
from trademl_pipeline.labels.validation import FEATURE_OF
from trademl_pipeline.simulation import SimulatedMarket
from trademl_pipeline.simulation.paths import MarketSpec
from trademl_pipeline.simulation.planted_labels import _winner, breakout_probabilities, pattern_probabilities
from trademl_pipeline.simulation.simulated_paths import SimulatedPaths

KEY = ["symbol", "session"]
CLASS_CHANCES = [f"p_k{k}" for k in range(6)]


@pytest.fixture(scope="module")
def market() -> SimulatedMarket:
    """Without index and sector moves, so that first-passage labels of different symbols are nearly independent
    draws."""
    spec = MarketSpec(index_volatility=1e-9, sector_volatility=1e-9)
    return SimulatedMarket(seed=21, n_symbols=50, end=date(2016, 12, 30), spec=spec)


@pytest.fixture(scope="module")
def pattern_observations(market: SimulatedMarket) -> pl.DataFrame:
    """Labels and probabilities of pattern observations, some of each pattern."""
    labels = TARGETS["breakout"].compute(market.bars, None)
    labels = labels.filter(pl.col("session") <= date(2016, 6, 30)).gather_every(5)
    probabilities = breakout_probabilities(market, market.bars, labels.select(KEY), draws=60)
    assert probabilities.select(KEY).equals(labels.select(KEY))
    return labels.hstack(probabilities.drop(KEY))


@pytest.mark.slow
def test_class_chances_are_the_frequencies_of_the_classes(pattern_observations: pl.DataFrame):
    assert pattern_observations.select(
        pl.sum_horizontal(CLASS_CHANCES)
    ).to_series().to_numpy() == pytest.approx(1.0)
    for k in (0, 1, 2, 5):
        outcome = (pattern_observations["target"] == k).to_numpy().astype(float)
        said = pattern_observations[f"p_k{k}"].to_numpy()
        slope = np.cov(said, outcome)[0, 1] / said.var()
        assert outcome.mean() == pytest.approx(said.mean(), abs=0.06)
        # Below 1 by what so few draws err.
        if k in (0, 5):
            assert slope == pytest.approx(0.95, abs=0.25), k


@pytest.mark.slow
def test_the_oracle_of_the_breakouts_tells_them_apart(pattern_observations: pl.DataFrame):
    values = np.array(STRATEGIC_VALUES)
    expected = pattern_observations.select(CLASS_CHANCES).to_numpy() @ values
    assert np.corrcoef(expected, values[pattern_observations["target"].to_numpy()])[0, 1] > 0.35


def test_the_race_of_a_future_is_that_of_the_labels():
    flat = np.full((5, 4), 1.0)
    high, low = flat.copy(), flat.copy()
    low[0, 2] = 0.85  # fails with nothing reached
    high[1, 1], low[1, 2] = 1.2, 0.85  # K2 first, then the failure
    high[2, 3], low[2, 3] = 2.0, 0.85  # a bar that fails and gains fails first
    high[3, 0] = 1.8
    upper, lower = np.full((5, 1), 1.02), np.full((5, 1), 0.98)
    assert _winner(SimulatedPaths(flat * 0, high, low), upper, lower, FirstPassageRules()).tolist() == [
        5,
        2,
        5,
        4,
        0,
    ]


@pytest.mark.slow
def test_chances_of_patterns_agree_with_the_closed_form_and_with_what_came(market: SimulatedMarket):
    bars = market.bars
    labels = (
        TARGETS["pattern"].compute(bars, None).filter(pl.col("session") >= date(2013, 1, 1)).gather_every(3)
    )
    probabilities = pattern_probabilities(market, bars, labels.select(KEY), draws=200)
    rows = labels.join(probabilities, on=KEY, maintain_order="left")
    for name in FEATURE_OF:
        known = rows.drop_nulls(name)
        said, outcome = known[f"p_{name}"].to_numpy(), known[name].cast(pl.Float64).to_numpy()
        assert known.height > 800
        assert outcome.mean() == pytest.approx(said.mean(), abs=0.03), name
        slope = np.cov(said, outcome)[0, 1] / said.var()
        assert slope == pytest.approx(0.95, abs=0.25), name
    # That the return turns against that of ten sessions is p_up, or 1 - p_up.
    closed = rows.join(market.oracle(5), on=KEY, maintain_order="left").drop_nulls("trend_exhaustion")
    turned = closed["p_trend_exhaustion"].to_numpy()
    up = closed["p_up"].to_numpy()
    error = np.minimum(np.abs(turned - up), np.abs(turned - (1 - up)))
    assert np.sqrt((error**2).mean()) < 1.5 * np.sqrt(0.25 / 200)
