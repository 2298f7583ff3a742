import numpy as np
import pytest

from trademl_pipeline.evaluation.intervals import (
    Bootstrap,
    block_bootstrap_interval,
    fixed_b_factor,
    jackknife,
    politis_white_block,
)


def mean(totals):
    return totals[..., 0] / totals[..., 1]


def sums_of(series):
    return np.column_stack([series, np.ones(len(series))])


def overlapping_market(rng, sessions, horizon, symbols, common):
    """(session, symbol) returns over `horizon` sessions that share a factor with variance share `common`."""
    factor = np.sqrt(common) * rng.standard_normal((sessions + horizon, 1))
    own = np.sqrt(1 - common) * rng.standard_normal((sessions + horizon, symbols))
    path = np.cumsum(factor + own, axis=0)
    return (path[horizon:] - path[:-horizon])[:sessions]


def test_independent_sessions_give_the_textbook_interval():
    series = np.random.default_rng(0).standard_normal(2000)
    got = block_bootstrap_interval(sums_of(series), mean, Bootstrap(seed=1, block=1, draws=4000))
    half = 1.96 * series.std() / np.sqrt(len(series))
    assert got.low == pytest.approx(series.mean() - half, abs=0.1 * half)
    assert got.high == pytest.approx(series.mean() + half, abs=0.1 * half)


def test_same_seed_gives_the_same_interval_and_another_seed_another():
    sums = sums_of(np.random.default_rng(0).standard_normal(300))
    first = block_bootstrap_interval(sums, mean, Bootstrap(seed=1))
    assert first == block_bootstrap_interval(sums, mean, Bootstrap(seed=1))
    assert first != block_bootstrap_interval(sums, mean, Bootstrap(seed=2))


def test_blocks_cover_at_least_four_horizons_and_at_most_half_of_the_sample():
    noise = sums_of(np.random.default_rng(0).standard_normal(400))
    assert block_bootstrap_interval(noise, mean, Bootstrap(seed=0, horizon=20)).block >= 80
    assert block_bootstrap_interval(noise[:30], mean, Bootstrap(seed=0, horizon=20)).block == 15
    assert block_bootstrap_interval(noise, mean, Bootstrap(seed=0, horizon=20, block=7)).block == 7


def test_fewer_than_eight_sessions_get_no_interval():
    got = block_bootstrap_interval(sums_of(np.arange(7.0)), mean, Bootstrap(seed=0))
    assert (got.low, got.high) == (None, None)


def test_interval_respects_the_bounds_of_the_figure():
    series = np.r_[np.zeros(19), 1.0]
    got = block_bootstrap_interval(sums_of(series), mean, Bootstrap(seed=0), bounds=(0, 1))
    assert got.low == 0.0


def test_not_a_number_is_refused():
    with pytest.raises(ValueError, match="NaN"):
        block_bootstrap_interval(sums_of(np.r_[np.zeros(9), np.nan]), mean, Bootstrap(seed=0))


@pytest.mark.parametrize("wrong", [{"horizon": 0}, {"draws": 10}, {"block": 0}])
def test_settings_out_of_range_are_refused(wrong):
    with pytest.raises(ValueError, match=f"Bootstrap.{next(iter(wrong))}"):
        Bootstrap(seed=0, **wrong)


def test_draws_wrap_so_that_every_session_counts_alike():
    # Each session's mean weight over draws is 1 only if the last ones are drawn as often as the middle.
    n = 40
    sums = np.column_stack([np.eye(n), np.ones(n)])
    seen = []

    def remember(totals):
        seen.append(totals)
        return totals[..., 0] / totals[..., -1]

    block_bootstrap_interval(sums, remember, Bootstrap(seed=3, block=9, draws=20000))
    draws = seen[-1]
    assert draws.shape == (20000, n + 1)
    assert np.allclose(draws[:, -1], n)
    assert np.allclose(draws[:, :n].mean(axis=0), 1.0, atol=0.05)


def test_jackknife_of_a_mean_is_the_deviation_from_it():
    series = np.array([1.0, 2.0, 6.0])
    assert jackknife(sums_of(series), mean) == pytest.approx(3 * (3.0 - np.array([4.0, 3.5, 1.5])))


def test_politis_white_block_grows_with_persistence():
    rng = np.random.default_rng(0)
    noise = rng.standard_normal(2000)
    persistent = np.empty(2000)
    persistent[0] = 0
    for t in range(1, 2000):
        persistent[t] = 0.9 * persistent[t - 1] + noise[t]
    assert politis_white_block(noise) < 8
    assert politis_white_block(persistent) > 20
    assert politis_white_block(np.ones(50)) == 1.0


@pytest.mark.parametrize(
    ("sessions", "window", "theirs"),
    [(1500, 10, 37.281), (500, 3, 10.062), (2000, 1, 2.591), (300, 25, 25.413)],
)
def test_politis_white_block_is_near_that_of_the_arch_package(sessions, window, theirs):
    # `theirs` is arch 8.0.0's optimal_block_length, "circular"; it tests one lag earlier for significance.
    series = np.convolve(np.random.default_rng(5).standard_normal(sessions), np.ones(window), "valid")
    assert politis_white_block(series) == pytest.approx(theirs, rel=0.12)


@pytest.mark.slow
@pytest.mark.parametrize("share", [0.05, 0.2, 0.4])
def test_fixed_b_factor_matches_a_fresh_simulation(share):
    n, samples = 200, 20000
    x = np.random.default_rng(11).standard_normal((samples, n))
    centred = x - x.mean(axis=1, keepdims=True)
    covariance = np.fft.irfft(np.abs(np.fft.rfft(centred, axis=1)) ** 2, n, axis=1) / n
    block = round(share * n)
    weight = 1 - np.arange(1, block) / block
    long_run = covariance[:, 0] + 2 * covariance[:, 1:block] @ weight
    critical = np.quantile(np.abs(x.mean(axis=1)) * np.sqrt(n / long_run), 0.95)
    assert fixed_b_factor(share) * 1.96 == pytest.approx(critical, rel=0.03)


def coverage(sessions, horizon, symbols, common, samples, **settings):
    rng = np.random.default_rng(sessions + horizon)
    held = 0
    for seed in range(samples):
        up = overlapping_market(rng, sessions, horizon, symbols, common) > 0
        sums = np.column_stack([up.sum(axis=1), np.full(sessions, symbols)])
        got = block_bootstrap_interval(
            sums, mean, Bootstrap(seed=seed, horizon=horizon, draws=500, **settings), bounds=(0, 1)
        )
        held += got.low <= 0.5 <= got.high
    return held / samples


@pytest.mark.slow
@pytest.mark.parametrize(
    ("sessions", "horizon"),
    [(252, 1), (252, 5), (750, 5), (252, 20), (750, 30), (63, 5)],
)
def test_interval_covers_the_truth_under_overlap_and_common_days(sessions, horizon):
    # 95 % wanted; 500 samples have a standard error of 1 %.
    assert 0.91 <= coverage(sessions, horizon, symbols=15, common=0.3, samples=500) <= 0.985


@pytest.mark.slow
def test_single_session_blocks_would_be_far_too_narrow():
    assert coverage(252, 20, symbols=15, common=0.3, samples=200, block=1) < 0.5
