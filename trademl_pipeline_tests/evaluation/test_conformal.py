from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest

from trademl_pipeline.evaluation.conformal import AdaptiveConformal, conformal_intervals


def history(sessions=600, symbols=10, horizon=1, seed=0, regime=None):
    rng = np.random.default_rng(seed)
    days = np.datetime64("2020-01-01") + np.arange(sessions + horizon)
    spread = np.ones(sessions) if regime is None else regime(np.arange(sessions))
    predicted = rng.normal(size=(sessions, symbols))
    actual = predicted + spread[:, None] * rng.standard_t(4, size=(sessions, symbols))
    return pl.DataFrame(
        {
            "symbol": [f"S{i}" for i in range(symbols)] * sessions,
            "session": np.repeat(days[:sessions], symbols),
            "label_end": np.repeat(days[horizon:], symbols),
            "predicted": predicted.ravel(),
            "actual": actual.ravel(),
        }
    )


@pytest.mark.parametrize("miscoverage", [0.05, 0.1, 0.3])
def test_long_run_coverage_is_the_promised_one(miscoverage):
    out = conformal_intervals(history(), AdaptiveConformal(miscoverage=miscoverage))
    assert out["covered"].mean() == pytest.approx(1 - miscoverage, abs=0.015)


def test_adapts_to_a_volatility_that_triples():
    frame = history(regime=lambda t: np.where(t < 300, 1.0, 3.0))
    out = conformal_intervals(frame, AdaptiveConformal(miscoverage=0.1, rate=0.05, window=1000))
    after = out.filter(pl.col("session") >= date(2020, 1, 1) + timedelta(days=330))
    assert after["covered"].mean() == pytest.approx(0.9, abs=0.025)
    width = (out["upper"] - out["lower"]).to_numpy()
    assert np.median(width[-500:]) > 2.4 * np.median(width[1000:3000])


def test_interval_of_a_session_uses_only_outcomes_known_before_it():
    frame = history(sessions=200, horizon=5)
    cut = date(2020, 1, 1) + timedelta(days=150)
    later = frame.with_columns(
        actual=pl.when(pl.col("label_end") >= cut).then(pl.col("actual") * 50).otherwise(pl.col("actual"))
    )
    one, two = (conformal_intervals(f, AdaptiveConformal()) for f in (frame, later))
    same = pl.col("session") <= cut
    assert one.filter(same).select("lower", "upper").equals(two.filter(same).select("lower", "upper"))
    assert not one.select("lower", "upper").equals(two.select("lower", "upper"))


def test_infinite_until_there_is_enough_to_go_by_and_null_without_an_outcome():
    frame = history(sessions=60, symbols=2).with_columns(
        actual=pl.when(pl.int_range(pl.len()) >= 116).then(None).otherwise(pl.col("actual"))
    )
    out = conformal_intervals(frame, AdaptiveConformal(min_errors=50))
    assert np.isinf(out["upper"].to_numpy()[:50]).all()
    assert np.isfinite(out["upper"].to_numpy()[-20:]).all()
    assert out["covered"].null_count() == 4


def test_scale_widens_the_intervals_row_by_row():
    frame = history().with_columns(sigma=pl.when(pl.col("symbol") == "S0").then(2.0).otherwise(1.0))
    out = conformal_intervals(frame, AdaptiveConformal(), scale="sigma").tail(10)
    widths = (out["upper"] - out["lower"]).to_list()
    assert widths[0] == pytest.approx(2 * widths[1])
    with pytest.raises(ValueError, match="'sigma' must be above 0"):
        conformal_intervals(frame.with_columns(sigma=pl.lit(0.0)), AdaptiveConformal(), scale="sigma")


def test_half_width_is_the_conformal_quantile_by_hand():
    state = AdaptiveConformal(miscoverage=0.2, rate=0.0, window=9, min_errors=1)
    state.observe(np.arange(1.0, 10.0), np.zeros(9, dtype=bool))
    assert state.half_width() == 8.0  # ceil(0.8 * 10) = the 8th of 9
    state.observe(np.array([100.0]), np.array([True]))
    assert state.half_width() == 9.0  # 2 … 9 and 100 are remembered
