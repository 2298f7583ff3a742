"""Leading signals: shown by the bars before the move, of the strength that was declared, and no more than that."""

from datetime import date

import numpy as np
import polars as pl
import pytest

from trademl_pipeline.simulation import SimulatedMarket
from trademl_pipeline.simulation.leading_signal import PLACES, bar_factors, posterior
from trademl_pipeline.simulation.paths import MarketSpec
from trademl_pipeline.simulation.regimes import CLASSES, DEFAULT_FREQUENCIES

SHARES = np.array([DEFAULT_FREQUENCIES[name] for name in CLASSES])
KEY = ["symbol", "session"]
CLARITY = MarketSpec().clarity


def drawn(shares: np.ndarray, clarity: float, n: int = 100_000) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    label = rng.choice(len(shares), size=n, p=shares)
    return label, clarity * PLACES[label] + rng.standard_normal((n, 2))


def test_the_posterior_is_the_frequency_of_the_classes():
    label, shown = drawn(SHARES, CLARITY)
    probabilities = posterior(shown, SHARES, CLARITY)
    for k in range(len(CLASSES)):
        said = probabilities[:, k]
        for low, high in ((0.02, 0.2), (0.2, 0.5), (0.5, 0.8), (0.8, 1.0)):
            inside = (said > low) & (said <= high)
            if inside.sum() >= 100:
                outcome, error = (label[inside] == k).mean(), np.sqrt(0.25 / inside.sum())
                assert abs(outcome - said[inside].mean()) < 4 * error, (CLASSES[k], low)


@pytest.mark.slow
def test_the_precursor_tells_much_and_not_all():
    label, shown = drawn(SHARES, CLARITY)
    called = posterior(shown, SHARES, CLARITY).argmax(axis=1)
    right = (called == label).mean()
    assert SHARES.max() + 0.15 < right < 0.9
    assert (called[label == 4] == 4).mean() > 0.5
    assert (called[label == 3] == 3).mean() < 0.7
    assert posterior(shown, SHARES, 0.0) == pytest.approx(np.broadcast_to(SHARES, (len(shown), 6)))


def test_a_consolidation_shows_its_class_in_volume_and_range_before_the_move():
    equal = dict.fromkeys(("K4", "K5"), 0.5)
    settings = {"seed": 4, "n_symbols": 40, "end": date(2016, 12, 30), "class_frequencies": equal}
    told, silent = (SimulatedMarket(**settings, spec=MarketSpec(clarity=c)) for c in (CLARITY, 0.0))
    for market, low, high in ((told, 50.0, 400.0), (silent, 0.6, 1.6)):
        plants = market.planted_events().select("symbol", "class", session="end")
        bars = market.bars.with_columns(usual=pl.col("volume").rolling_median(250).over("symbol"))
        ends = plants.join(bars, on=KEY).with_columns(
            volume=pl.col("volume") / pl.col("usual"), width=pl.col("high") / pl.col("low") - 1
        )
        typical = {
            name: figures
            for name, *figures in ends.group_by("class").agg(pl.col("volume", "width").median()).rows()
        }
        assert low < typical["K4"][0] / typical["K5"][0] < high
        tight = typical["K4"][1] / typical["K5"][1]
        assert (tight < 0.4) if market is told else (0.7 < tight < 1.45), tight
    # Classes, regimes and returns are the same whether they are shown or not.
    assert (
        told.planted_events()
        .select("symbol", "start", "class")
        .equals(silent.planted_events().select("symbol", "start", "class"))
    )
    assert told.realized(1).equals(silent.realized(1))


def test_outside_of_consolidations_nothing_shows():
    settings = {"seed": 4, "n_symbols": 12, "end": date(2013, 12, 31)}
    told, silent = (SimulatedMarket(**settings, spec=MarketSpec(clarity=c)) for c in (CLARITY, 0.0))
    both = told.bars.join(silent.bars, on=KEY, suffix="_silent")
    changed = both.filter(
        (pl.col("volume") != pl.col("volume_silent")) | (pl.col("high") != pl.col("high_silent"))
    )
    inside = told.planted_events()
    assert inside.height > 10
    # One that a delisting cut short is not among the planted events.
    lost = changed.join_where(
        inside.select(pl.col("symbol").alias("of"), "start", "end"),
        pl.col("symbol") == pl.col("of"),
        pl.col("session") >= pl.col("start"),
        pl.col("session") <= pl.col("end"),
    )
    assert lost.height > 0.9 * changed.height > 0


def test_what_is_shown_grows_and_factors_are_one_without_it():
    assert bar_factors(np.zeros((3, 2))) == (pytest.approx(np.ones(3)), pytest.approx(np.ones(3)))
    market = SimulatedMarket(seed=4, n_symbols=10, end=date(2013, 12, 31))
    paths, chain = market._paths, market.spec.chain()
    inside = chain.remaining[paths.state] > 0
    assert not paths.visible_signal[~inside].any()
    assert (np.abs(paths.visible_signal) <= np.abs(paths.leading_signal)).all()
    # The last session of a consolidation shows all of it: none is shorter than the ramp.
    last = chain.remaining[paths.state] == 1
    assert last.any()
    assert paths.visible_signal[last] == pytest.approx(paths.leading_signal[last])


def test_clarity_below_zero_is_refused():
    with pytest.raises(ValueError, match="clarity"):
        MarketSpec(clarity=-0.1)
