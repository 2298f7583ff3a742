from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest
from scipy.stats import spearmanr

from trademl_pipeline.evaluation import metrics
from trademl_pipeline.evaluation.metrics import Bootstrap, MetricsError

FIRST = date(2020, 1, 6)


def frame_of(**columns):
    n = len(next(iter(columns.values())))
    sessions = columns.pop("session", [FIRST] * n)
    return pl.DataFrame({"session": sessions, **columns})


def panel(sessions, symbols, seed=0, skill=0.0):
    rng = np.random.default_rng(seed)
    outcome = rng.standard_normal((sessions, symbols)) * 0.02
    score = skill * outcome / 0.02 + rng.standard_normal((sessions, symbols))
    days = [FIRST + timedelta(days=i) for i in range(sessions)]
    return pl.DataFrame(
        {
            "session": np.repeat(np.array(days, dtype="datetime64[D]"), symbols),
            "symbol": [f"S{i}" for _ in range(sessions) for i in range(symbols)],
            "score": score.ravel(),
            "forward_return": outcome.ravel(),
        }
    )


def test_directional_accuracy_by_hand():
    frame = frame_of(
        score=[0.2, -0.1, 0.3, -0.4, 0.0, 0.5], forward_return=[0.01, -0.02, -0.01, 0.03, 0.01, 0.0]
    )
    got = metrics.directional_accuracy(frame, None)
    assert got.value == 0.5
    assert got.n == 4
    assert got.baselines == {"majority": 0.5, "always_up": 0.5}
    assert got.low is None


def test_majority_baseline_takes_the_commoner_direction():
    frame = frame_of(score=[1.0, 1.0, 1.0, -1.0], forward_return=[-0.01, -0.02, 0.01, -0.01])
    got = metrics.directional_accuracy(frame, None)
    assert got.value == 0.5
    assert got.baselines == {"majority": 0.75, "always_up": 0.25}
    assert metrics.directional_excess(frame, None).value == pytest.approx(-0.25)


def test_excess_interval_is_drawn_with_the_same_days_as_the_baseline():
    # Always calling "up" in a market that mostly rises has no excess at all, on any draw.
    frame = panel(60, 10).with_columns(score=pl.lit(1.0), forward_return=pl.col("forward_return") + 0.01)
    got = metrics.directional_excess(frame, Bootstrap(seed=0))
    assert (got.value, got.low, got.high) == (0.0, 0.0, 0.0)


def test_no_call_at_all_is_an_error():
    with pytest.raises(MetricsError, match="none of 2 rows"):
        metrics.directional_accuracy(frame_of(score=[0.0, 0.0], forward_return=[0.1, 0.2]), None)


def test_class_accuracy_by_hand():
    frame = frame_of(
        p_sell=[0.6, 0.2, 0.1, 0.5],
        p_hold=[0.3, 0.5, 0.2, 0.3],
        p_buy=[0.1, 0.3, 0.7, 0.2],
        target=[0, 1, 1, 1],
    )
    got = metrics.class_accuracy(frame, None)
    assert got.value == 0.5
    assert got.baselines["majority"] == 0.75


def test_daily_rank_ic_is_spearman_of_each_session_with_ties():
    frame = panel(3, 8).with_columns(score=pl.col("score").round(0))
    daily = metrics.rank_ic_by_session(frame)
    for day, ic, n in daily.iter_rows():
        rows = frame.filter(pl.col("session") == day)
        assert ic == pytest.approx(spearmanr(rows["score"], rows["forward_return"]).statistic)
        assert n == 8


def test_sessions_without_a_ranking_or_with_few_symbols_are_left_out():
    flat = frame_of(score=[0.5] * 6, forward_return=[0.1, 0.2, 0.3, 0.4, 0.5, 0.6])
    few = frame_of(
        session=[FIRST + timedelta(days=1)] * 3, score=[0.1, 0.2, 0.3], forward_return=[0.1, 0.2, 0.3]
    )
    assert metrics.rank_ic_by_session(pl.concat([flat, few])).is_empty()
    with pytest.raises(MetricsError, match="no rows"):
        metrics.rank_ic(metrics.rank_ic_by_session(flat), None)


def test_rank_ic_and_icir_by_hand():
    daily = pl.DataFrame({"session": [FIRST, FIRST + timedelta(days=1)], "ic": [0.1, 0.3], "n": [10, 10]})
    assert metrics.rank_ic(daily, None).value == pytest.approx(0.2)
    assert metrics.rank_ic(daily, None).n == 20
    assert metrics.icir(daily, None).value == pytest.approx(0.2 / np.std([0.1, 0.3], ddof=1))


def test_rank_ic_interval_holds_zero_without_skill_and_excludes_it_with():
    boot = Bootstrap(seed=0)
    chance = metrics.rank_ic(metrics.rank_ic_by_session(panel(250, 20)), boot)
    skilled = metrics.rank_ic(metrics.rank_ic_by_session(panel(250, 20, skill=0.3)), boot)
    assert chance.low < 0 < chance.high
    assert not chance.excludes(0)
    assert skilled.low > 0
    assert skilled.excludes(0)


def test_mape_is_on_price_and_beside_no_change():
    frame = frame_of(predicted_price=[110.0, 45.0], actual_price=[100.0, 50.0], close=[100.0, 40.0])
    got = metrics.mape(frame, None, last="close")
    assert got.value == pytest.approx(0.1)
    assert got.baselines["no_change"] == pytest.approx(0.1)
    with pytest.raises(MetricsError, match="prices <= 0"):
        metrics.mape(frame.with_columns(actual_price=pl.lit(0.0)), None)


def test_brier_by_hand():
    frame = frame_of(p_sell=[0.7, 0.0], p_hold=[0.2, 0.5], p_buy=[0.1, 0.5], target=[0, 2])
    got = metrics.brier(frame, None)
    assert got.value == pytest.approx(((0.3**2 + 0.2**2 + 0.1**2) + (0.5**2 + 0.5**2)) / 2)
    assert got.baselines == {"frequencies": pytest.approx(0.5), "uniform": pytest.approx(2 / 3)}


def test_reliability_and_calibration_error_by_hand():
    frame = frame_of(
        p_sell=[0.05, 0.05, 0.10, 0.10], p_hold=[0.10, 0.10, 0.35, 0.35], p_buy=[0.85, 0.85, 0.55, 0.55],
        target=[2, 0, 2, 2],
    )  # fmt: skip
    table = metrics.reliability(frame).filter(pl.col("series") == "top").sort("bin")
    assert table["bin"].to_list() == [5, 8]
    assert table["n"].to_list() == [2, 2]
    assert table["predicted"].to_list() == pytest.approx([0.55, 0.85])
    assert table["observed"].to_list() == pytest.approx([1.0, 0.5])
    got = metrics.expected_calibration_error(frame, None)
    assert got.value == pytest.approx((2 * 0.45 + 2 * 0.35) / 4)
    assert set(metrics.reliability(frame)["series"]) == {"p_sell", "p_hold", "p_buy", "top"}


def test_probability_of_one_falls_into_the_last_bin():
    frame = frame_of(p_sell=[1.0], p_hold=[0.0], p_buy=[0.0], target=[0])
    assert metrics.reliability(frame, probabilities=("p_sell", "p_hold", "p_buy"))["bin"].max() == 9


def test_calibrated_forecast_scores_about_the_sampling_floor():
    rng = np.random.default_rng(0)
    p = rng.dirichlet([4, 5, 4], size=20000)
    target = (rng.random((20000, 1)) > p.cumsum(axis=1)).sum(axis=1)
    days = [FIRST + timedelta(days=int(i)) for i in np.repeat(np.arange(200), 100)]
    frame = pl.DataFrame(
        {"session": days, "p_sell": p[:, 0], "p_hold": p[:, 1], "p_buy": p[:, 2], "target": target}
    )
    got = metrics.expected_calibration_error(frame, Bootstrap(seed=0))
    assert got.value < 3 * got.baselines["sampling"]
    assert got.low < got.value < got.high


def test_k4_and_k3_k4_recall_by_hand():
    frame = frame_of(predicted=[4, 3, 0, 4, 1], target=[4, 4, 3, 0, 1])
    k4 = metrics.recall(frame, None, classes=(4,))
    both = metrics.recall(frame, None, classes=(3, 4))
    assert (k4.name, k4.value, k4.n) == ("K4 recall", 0.5, 2)
    assert k4.baselines["at_random"] == pytest.approx(2 / 5)
    assert (both.name, both.value, both.n) == ("K3+K4 recall", pytest.approx(2 / 3), 3)


@pytest.mark.parametrize("right", [True, False])
def test_recall_of_all_or_none_is_no_more_certain_than_the_waves_it_was_seen_in(right):
    """Three waves of hits in 300 sessions are three trials, whatever the number of rows."""
    sessions = [FIRST + timedelta(days=i) for i in range(300) for _ in range(4)]
    outcome = [4 if i % 100 < 8 and j < 2 else 0 for i in range(300) for j in range(4)]
    called = [k if right else 0 for k in outcome]
    frame = pl.DataFrame({"session": sessions, "predicted": called, "target": outcome})
    got = metrics.recall(frame, Bootstrap(seed=0, horizon=5, block=50), classes=(4,))
    assert (got.value, got.n) == (float(right), 48)
    exact = 0.025 ** (1 / 3)
    assert (got.low, got.high) == pytest.approx((exact, 1.0) if right else (0.0, 1 - exact))


def test_recall_without_a_positive_row_has_no_value():
    got = metrics.recall(frame_of(predicted=[4, 0], target=[0, 1]), Bootstrap(seed=0), classes=(4,))
    assert (got.value, got.low, got.high, got.n) == (None, None, None, 0)


def test_ev_correlation_is_pearson_over_all_rows():
    rng = np.random.default_rng(0)
    days = [FIRST + timedelta(days=int(i)) for i in np.repeat(np.arange(40), 5)]
    ev = rng.standard_normal(200) + 5
    outcome = rng.choice([-10.0, -2, -0.2, 1, 3, 10], 200) + ev
    frame = pl.DataFrame({"session": days, "expected_value": ev, "realised_value": outcome})
    got = metrics.ev_correlation(frame, Bootstrap(seed=0))
    assert got.value == pytest.approx(np.corrcoef(ev, outcome)[0, 1])
    assert got.low < got.value < got.high
    constant = frame.with_columns(expected_value=pl.lit(0.3))
    assert metrics.ev_correlation(constant, None).value is None


def test_sharpe_is_annualised_by_root_252():
    r = np.array([0.01, -0.005, 0.02, 0.0])
    assert metrics.sharpe(r, None).value == pytest.approx(np.sqrt(252) * r.mean() / r.std(ddof=1))
    assert metrics.sharpe(np.full(30, 0.001), Bootstrap(seed=0)).value is None


def test_probabilistic_sharpe_of_normal_returns():
    # Skewness 0 and kurtosis 3: Phi(SR sqrt(n - 1) / sqrt(1 + SR² / 2)), with SR 0.1 over 101 periods.
    from scipy.stats import norm

    assert metrics.sharpe_probability(0.1, 101) == pytest.approx(norm.cdf(0.1 * 10 / np.sqrt(1.005)))
    assert metrics.probabilistic_sharpe(np.full(10, 0.1)) is None


def test_deflated_sharpe_of_the_paper_s_example():
    # Bailey and López de Prado 2014: SR 2.5 a year over 1,250 days, skewness -3, kurtosis 10, 100 trials
    # with a variance of 1/2: expected maximum 0.1132 a day, deflated Sharpe 0.9004.
    threshold = metrics.expected_maximum_sharpe(100, 0.5) / np.sqrt(250)
    assert threshold == pytest.approx(0.1132, abs=1e-4)
    got = metrics.sharpe_probability(2.5 / np.sqrt(250), 1250, skewness=-3, kurtosis=10, benchmark=threshold)
    assert got == pytest.approx(0.9004, abs=1e-4)


def test_deflated_sharpe_falls_with_the_number_of_trials():
    r = np.random.default_rng(0).standard_normal(500) * 0.01 + 0.001
    one = metrics.deflated_sharpe(r, trials=1)
    assert one == pytest.approx(metrics.probabilistic_sharpe(r))
    assert one > metrics.deflated_sharpe(r, trials=10) > metrics.deflated_sharpe(r, trials=1000)
    with pytest.raises(MetricsError, match="trials"):
        metrics.deflated_sharpe(r, trials=0)


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (pl.DataFrame({"session": [FIRST], "score": [0.1]}), "forward_return"),
        (frame_of(score=[0.1, None], forward_return=[0.1, 0.1]), "'score' has 1 null"),
        (frame_of(score=[0.1], forward_return=[float("nan")]), "'forward_return' has 1 null, NaN"),
        (frame_of(score=[0.1], forward_return=[0.1]).clear(), "no rows"),
    ],
)
def test_unscorable_frames_are_named(frame, message):
    with pytest.raises(MetricsError, match=message):
        metrics.directional_accuracy(frame, None)


def test_what_is_no_probability_is_refused():
    with pytest.raises(MetricsError, match="no probabilities"):
        metrics.brier(frame_of(p_sell=[0.5], p_hold=[0.5], p_buy=[0.5], target=[0]), None)
    with pytest.raises(MetricsError, match="outside 0 … 2"):
        metrics.brier(frame_of(p_sell=[0.2], p_hold=[0.3], p_buy=[0.5], target=[3]), None)


def test_row_order_does_not_matter():
    frame = panel(50, 10, skill=0.1)
    shuffled = frame.sample(fraction=1.0, shuffle=True, seed=1)
    boot = Bootstrap(seed=0, horizon=5)
    assert metrics.directional_accuracy(frame, boot) == metrics.directional_accuracy(shuffled, boot)


def test_score_survives_json():
    import json

    got = metrics.directional_accuracy(panel(30, 5), Bootstrap(seed=0)).to_dict()
    assert json.loads(json.dumps(got)) == got
