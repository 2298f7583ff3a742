"""What tasks teach and publish."""

from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trademl_pipeline.tasks import TASKS

DAY = date(2020, 1, 1)


def hybrid_keys(symbols: int, sessions: int, seed: int = 0, market: float = 0.05) -> pl.DataFrame:
    """Keys of a hybrid study in which the market moves several times as much as symbols do apart from it."""
    rng = np.random.default_rng(seed)
    n = symbols * sessions
    day = np.repeat(np.arange(sessions), symbols)
    moved = (market * rng.standard_normal(sessions))[day] + 0.01 * rng.standard_normal(n)
    return pl.DataFrame(
        {
            "symbol": [f"S{i:03}" for _ in range(sessions) for i in range(symbols)],
            "session": [DAY + timedelta(days=int(d)) for d in day],
            "label_end": [DAY + timedelta(days=int(d) + 24) for d in day],
            "return_1": moved,
            "return_4": 2 * moved,
            "return_24": 3 * moved,
            "threshold": np.full(n, 0.02),
            "target": np.digitize(3 * moved, [-0.02, 0.02]),
            "position": np.clip(moved / 0.02, -1, 1),
            "volatility_24": np.full(n, 0.02),
            "drawdown_24": np.minimum(moved, 0.0),
        }
    )


def test_returns_are_learned_apart_from_the_moves_of_the_market():
    keys = hybrid_keys(20, 60)
    price = TASKS["hybrid"].targets(keys)["price"]
    outcome = keys.select("return_1", "return_4", "return_24").to_numpy()
    daily = keys.select("session").with_columns(pl.Series("x", price[:, 0])).group_by("session").mean()["x"]
    assert daily.to_numpy() == pytest.approx(outcome[:, 0].mean())
    for i in range(3):
        own = keys.select("session").with_columns(pl.Series("x", price[:, i]), pl.Series("y", outcome[:, i]))
        ranks = own.group_by("session").agg(pl.corr("x", "y", method="spearman"))["x"]
        assert ranks.to_numpy() == pytest.approx(1.0)
    assert price[:, 0].std() < 0.3 * outcome[:, 0].std()


def test_only_the_returns_are_changed():
    keys = hybrid_keys(20, 60)
    targets = TASKS["hybrid"].targets(keys)
    assert np.array_equal(targets["direction"], keys["target"].to_numpy())
    decided = keys["return_4"].abs() / (keys["threshold"] * (4 / 24) ** 0.5) > 1
    assert np.array_equal(targets["confidence"], decided.cast(pl.Float64).to_numpy())
    assert np.array_equal(TASKS["hybrid"].values.y_true(keys)[:, 0], keys["return_1"].to_numpy())


@given(st.integers(1, 12), st.integers(2, 20), st.integers(0, 1000))
def test_no_row_learns_of_a_return_that_is_known_later_than_its_own(symbols, sessions, seed):
    """What comes to rows whose label ends later reaches the others by the mean over all sessions only."""
    rng = np.random.default_rng(seed)
    keys = hybrid_keys(symbols, sessions, seed)
    late = pl.Series(rng.random(keys.height) < 0.3)
    keys = keys.with_columns(
        label_end=pl.when(late).then(pl.col("label_end") + timedelta(days=7)).otherwise("label_end")
    )
    other = keys.with_columns(
        return_1=pl.when(late).then(pl.col("return_1") + 1.0).otherwise("return_1"),
    )
    early = ~late.to_numpy()
    one, two = (TASKS["hybrid"].targets(k)["price"][early, 0] for k in (keys, other))
    shift = float(late.mean() or 0.0)
    few = keys.select(pl.len().over("session", "label_end") < 5).to_series().to_numpy()[early]
    assert two[few] == pytest.approx(one[few])
    assert two[~few] == pytest.approx(one[~few] + shift)


def test_few_symbols_keep_their_returns():
    keys = hybrid_keys(4, 30)
    price = TASKS["hybrid"].targets(keys)["price"]
    assert np.array_equal(price[:, 2], keys["return_24"].to_numpy())


def test_a_return_that_is_not_known_stays_so_and_spoils_no_other():
    keys = hybrid_keys(20, 10)
    keys = keys.with_columns(return_1=pl.when(pl.int_range(pl.len()) == 3).then(None).otherwise("return_1"))
    price = TASKS["hybrid"].targets(keys)["price"]
    assert np.isnan(price[3, 0])
    assert np.isfinite(np.delete(price[:, 0], 3)).all()
    assert np.isfinite(price[:, 1:]).all()


def test_a_forecast_learns_its_returns_apart_and_is_judged_by_what_came():
    keys = hybrid_keys(20, 60)
    keys = keys.with_columns(return_30=2 * pl.col("return_24"), volatility_1=0.02, volatility_30=0.1)
    task = TASKS["forecast"]
    learned = task.targets(keys)
    own = keys.select("session").with_columns(pl.Series("x", learned["forward_return"][:, 1]))
    daily = own.group_by("session").agg(pl.col("x").mean())["x"].to_numpy()
    assert daily == pytest.approx(keys["return_30"].mean())
    assert np.array_equal(learned["volatility"], keys.select("volatility_1", "volatility_30").to_numpy())
    assert np.array_equal(task.values.y_true(keys)[:, 0], keys["return_1"].to_numpy())


def test_the_score_of_a_forecast_ranks_by_the_mean_and_not_by_its_risk():
    values = np.array([[0.01, 0.05, 0.0, 0.1], [0.005, 0.01, 0.0, 0.1]])
    assert TASKS["forecast"].to_predictions(values, pl.DataFrame())["score"].to_list() == [0.01, 0.005]


@pytest.mark.parametrize("name", ["hybrid"])
def test_what_is_regressed_has_the_columns_of_the_task(name):
    task, keys = TASKS[name], hybrid_keys(20, 10)
    labels = task.values.y(task.targets(keys))
    assert labels.shape == (keys.height, len(task.columns))
    chances = [task.columns.index(c) for c in task.values.probabilities]
    assert set(np.unique(labels[:, chances])) <= {0.0, 1.0}
    own = [task.columns.index(c) for c in task.values.simplexes[0]]
    assert (labels[:, own].sum(axis=1) == 1).all()
    assert set(np.unique(labels[:, task.columns.index("position")])) <= {-1.0, 0.0, 1.0}
