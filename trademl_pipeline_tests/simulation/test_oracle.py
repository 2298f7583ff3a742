"""The oracle: calibrated, unbeatable by what it ignores, and of the strength that was declared."""

from datetime import date

import numpy as np
import polars as pl
import pytest

from trademl_pipeline.simulation import SimulatedMarket
from trademl_pipeline.simulation.paths import MarketSpec
from trademl_pipeline.simulation.scoring import rank_ic

KEY = ["symbol", "session"]


@pytest.fixture(scope="module")
def default() -> SimulatedMarket:
    return SimulatedMarket()


@pytest.fixture(scope="module")
def wide() -> SimulatedMarket:
    """Many symbols without index and sector moves, so that the rows are nearly independent draws."""
    spec = MarketSpec(
        index_volatility=1e-9, sector_volatility=1e-9, index_drift=0.0003, start_probability=1 / 100
    )
    return SimulatedMarket(seed=12, n_symbols=300, end=date(2016, 12, 30), spec=spec)


def judged(market: SimulatedMarket, horizon: int, apart: int = 1) -> pl.DataFrame:
    """Oracle and outcome of every `apart`-th session, so that horizons do not overlap."""
    table = market.oracle(horizon).join(market.realized(horizon), on=KEY)
    days = table.select(pl.col("session").unique().sort()).gather_every(apart)
    return table.join(days, on="session", how="semi")


@pytest.mark.parametrize("horizon", [1, 5, 30])
def test_p_up_is_the_frequency_of_rises(wide: SimulatedMarket, horizon: int):
    table = judged(wide, horizon, apart=horizon)
    bins = table.with_columns(bin=(pl.col("p_up") * 10).floor().clip(0, 9)).group_by("bin")
    rows = bins.agg(n=pl.len(), said=pl.col("p_up").mean(), came=(pl.col("forward_return") > 0).mean())
    rows = rows.filter(pl.col("n") >= 100).sort("bin")
    assert rows.height >= 6
    error = (rows["came"] - rows["said"]) / (rows["said"] * (1 - rows["said"]) / rows["n"]).sqrt()
    assert (error.abs() < 4).all(), rows
    # Of 100 rows the share that came errs by 0.05 itself.
    many = rows.filter(pl.col("n") >= 400)
    assert ((many["came"] - many["said"]).abs() < 0.05).all(), rows


@pytest.mark.parametrize("horizon", [1, 5, 30])
def test_the_expectation_is_unbiased_in_every_part_of_its_range(wide: SimulatedMarket, horizon: int):
    table = judged(wide, horizon, apart=horizon)
    rank = pl.col("expected_return").rank(method="ordinal")
    rows = (
        table.with_columns(bin=(rank * 10 / pl.len()).ceil())
        .group_by("bin")
        .agg(
            said=pl.col("expected_return").mean(),
            came=pl.col("forward_return").mean(),
            spread=pl.col("forward_return").std() / pl.len().sqrt(),
        )
    )
    assert (((rows["came"] - rows["said"]) / rows["spread"]).abs() < 4).all(), rows
    slope = table.select(pl.cov("expected_return", "forward_return") / pl.col("expected_return").var()).item()
    assert slope == pytest.approx(1.0, abs=0.1)


def test_default_strength_is_as_declared(default: SimulatedMarket):
    scores = default.best_scores(5)
    assert 0.56 <= scores["directional_accuracy"] <= 0.58
    assert 0.17 <= scores["rank_ic"] <= 0.25
    assert 0.17 <= scores["signal_rank_ic"] <= 0.21
    assert scores["n"] > 150_000
    assert scores["majority"] == max(scores["always_up"], 1 - scores["always_up"]) < 0.53


@pytest.mark.parametrize("horizon", [1, 5])
def test_realized_scores_agree_with_the_expected_ones(default: SimulatedMarket, horizon: int):
    scores = default.best_scores(horizon)
    assert scores["directional_accuracy"] == pytest.approx(scores["expected_directional_accuracy"], abs=0.006)
    assert scores["rank_ic"] == pytest.approx(scores["expected_rank_ic"], abs=0.012)


def test_shuffled_outcomes_kill_the_oracle(default: SimulatedMarket):
    table = judged(default, 5)
    shuffled = table.with_columns(pl.col("forward_return").shuffle(seed=1).over("session"))
    assert abs(rank_ic(shuffled, "expected_return", "forward_return")) < 0.006
    assert rank_ic(table, "expected_return", "forward_return") > 0.17
    hit = ((shuffled["p_up"] > 0.5) == (shuffled["forward_return"] > 0)).mean()
    assert abs(hit - 0.5) < 0.02


def test_an_oracle_of_the_wrong_session_knows_little(default: SimulatedMarket):
    """The signal fades by 0.8 a session: a view that is 30 sessions old is of no use, one of the day is."""
    table = (
        judged(default, 1).with_columns(stale=pl.col("signal_return").shift(30).over("symbol")).drop_nulls()
    )
    assert abs(rank_ic(table, "stale", "forward_return")) < 0.01
    assert rank_ic(table, "signal_return", "forward_return") > 0.1


def test_without_a_signal_there_is_nothing_to_know():
    spec = MarketSpec(start_probability=0.0, index_drift=0.0)
    market = SimulatedMarket(seed=1, n_symbols=60, end=date(2017, 12, 29), strength=0.0, spec=spec)
    table = judged(market, 5)
    assert table["expected_return"].abs().max() == 0
    assert table["p_up"].unique().to_list() == [0.5]


def test_stronger_signals_score_higher():
    scores = [
        SimulatedMarket(seed=1, n_symbols=40, end=date(2014, 12, 31), strength=b).best_scores(5)
        for b in (0.05, 0.16, 0.4)
    ]
    for name in ("directional_accuracy", "rank_ic", "expected_directional_accuracy", "signal_rank_ic"):
        values = [s[name] for s in scores]
        assert values == sorted(values), name
        assert values[2] > values[0] + 0.05


def test_without_a_precursor_the_oracle_does_not_know_the_class_before_the_move():
    """On a consolidation's last session every class has the same prospects; on its move's first, its own."""
    equal = dict.fromkeys(("K4", "K5"), 0.5)
    market = SimulatedMarket(
        seed=6, n_symbols=40, end=date(2014, 12, 31), spec=MarketSpec(clarity=0.0), class_frequencies=equal
    )
    plants = market.planted_events().select("symbol", "class", session="end")
    view = market.oracle(1).join(plants, on=KEY)
    means = view.group_by("class").agg((pl.col("expected_return") - pl.col("signal_return")).mean())
    assert means["expected_return"].max() - means["expected_return"].min() < 1e-4
    begun = market.oracle(1).join(
        market.planted_events().select("symbol", "class", session="breakout"), on=KEY
    )
    means = begun.group_by("class").agg(pl.col("expected_return").mean())
    assert means["expected_return"].max() - means["expected_return"].min() > 0.01


def test_scores_are_of_the_keys_asked_for(default: SimulatedMarket):
    day = date(2015, 6, 1)
    keys = default.bars.filter(pl.col("session") >= day, pl.col("session") < date(2015, 7, 1)).select(KEY)
    scores = default.best_scores(5, keys)
    table = judged(default, 5).join(keys, on=KEY, how="semi")
    assert scores["n"] == table.height
    assert scores["days"] == table["session"].n_unique()
    assert scores["directional_accuracy"] == ((table["p_up"] > 0.5) == (table["forward_return"] > 0)).mean()
    daily = [
        np.corrcoef(part["expected_return"].rank(), part["forward_return"].rank())[0, 1]
        for part in table.partition_by("session")
    ]
    assert scores["rank_ic"] == pytest.approx(np.mean(daily))
    last = default.bars.filter(pl.col("session") == default.span()[1]).select(KEY)
    with pytest.raises(ValueError, match="no key has a return over the next 5"):
        default.best_scores(5, last)


def test_returns_that_run_past_a_delisting_are_absent(default: SimulatedMarket):
    gone = default.listings().drop_nulls("delisted").select("symbol", session="delisted")
    assert gone.height > 5
    assert gone.join(default.realized(1), on=KEY).is_empty()
    assert gone.join(default.oracle(1), on=KEY).height == gone.height


def test_a_horizon_below_one_is_refused(default: SimulatedMarket):
    with pytest.raises(ValueError, match="at least one session"):
        default.oracle(0)
