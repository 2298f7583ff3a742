"""Consolidations and breakouts: planted as declared, and turning out as planted."""

from datetime import date

import numpy as np
import polars as pl
import pytest

from trademl_pipeline.market.calendar import count_between
from trademl_pipeline.simulation import SimulatedMarket
from trademl_pipeline.simulation.paths import MarketSpec
from trademl_pipeline.simulation.regimes import (
    AFTERMATH,
    CLASSES,
    DEFAULT_FREQUENCIES,
    LONGEST,
    SHORTEST,
    RegimeChain,
)

EQUAL = dict.fromkeys(CLASSES, 1 / 6)


@pytest.fixture(scope="module")
def breakouts() -> SimulatedMarket:
    """A market with all classes in number."""
    return SimulatedMarket(seed=2, n_symbols=120, end=date(2019, 12, 31), class_frequencies=EQUAL)


def outcome(after: pl.DataFrame, upper: float, lower: float) -> str:
    """Class of a pattern by the first-passage label over the sessions after it (the breakout design)."""
    best = 0
    for high, low in after.select("high", "low").iter_rows():
        if low <= 0.9 * lower:
            return f"K{best}" if best else "K5"
        best = max(best, sum(high / upper - 1 >= bound for bound in (0.05, 0.15, 0.35, 0.75)))
    return f"K{best}"


@pytest.fixture(scope="module")
def outcomes(breakouts: SimulatedMarket) -> pl.DataFrame:
    bars = breakouts.bars.with_columns(owned=pl.col("split_factor").cum_prod().over("symbol"))
    bars = bars.with_columns(pl.col("high", "low") * pl.col("owned"))
    by_symbol = {name[0]: part for name, part in bars.partition_by("symbol", as_dict=True).items()}
    rows = []
    for plant in breakouts.planted_events().iter_rows(named=True):
        own = by_symbol[plant["symbol"]]
        after = own.filter(pl.col("session") >= plant["breakout"]).head(AFTERMATH)
        owned = own.filter(pl.col("session") == plant["end"])["owned"].item()
        if after.height == AFTERMATH:
            rows.append((plant["class"], outcome(after, plant["upper"] * owned, plant["lower"] * owned)))
    return pl.DataFrame(rows, schema=["planted", "found"], orient="row")


def test_planted_classes_turn_out_as_planted(outcomes: pl.DataFrame):
    share = outcomes.group_by("planted").agg(n=pl.len(), same=(pl.col("found") == pl.col("planted")).mean())
    share = {name: (n, same) for name, n, same in share.iter_rows()}
    for name, at_least in {"K0": 0.85, "K1": 0.4, "K2": 0.6, "K3": 0.7, "K4": 0.9, "K5": 0.9}.items():
        n, same = share[name]
        assert n > 40
        assert same > at_least, f"{name}: {same:.2f} of {n}"


def test_planted_classes_are_never_their_opposite(outcomes: pl.DataFrame):
    assert outcomes.filter(planted="K4", found="K5").is_empty()
    assert outcomes.filter(planted="K5").filter(pl.col("found").is_in(["K2", "K3", "K4"])).is_empty()


def test_consolidations_are_quiet_and_thinly_traded():
    spec = MarketSpec(clarity=0.0)  # what a leading signal does to volume is another matter
    breakouts = SimulatedMarket(seed=2, n_symbols=60, end=date(2019, 12, 31), spec=spec)
    sizes = (
        breakouts.realized(1)
        .with_columns(size=pl.col("forward_return").shift(1).over("symbol").abs())
        .join(breakouts.bars.select("symbol", "session", "volume"), on=["symbol", "session"])
    )
    sizes = sizes.with_columns(
        usual=pl.col("size").rolling_median(250).over("symbol"),
        usual_volume=pl.col("volume").rolling_median(250).over("symbol"),
    ).drop_nulls()
    ends = breakouts.planted_events().select("symbol", session="end").join(sizes, on=["symbol", "session"])
    assert ends.height > 100
    assert ends.select((pl.col("size") / pl.col("usual")).median()).item() < 0.6
    assert ends.select((pl.col("volume") / pl.col("usual_volume")).median()).item() < 0.85


def test_plantings_record_consolidations_of_listed_symbols(breakouts: SimulatedMarket):
    plants = breakouts.planted_events()
    assert plants.columns == ["symbol", "start", "end", "breakout", "class", "upper", "lower"]
    for row in plants.head(50).iter_rows(named=True):
        assert SHORTEST <= count_between(row["start"], row["end"]) + 1 <= LONGEST
        assert count_between(row["end"], row["breakout"]) == 1
        assert row["lower"] < row["upper"]
        during = breakouts.bars.filter(
            pl.col("symbol") == row["symbol"], pl.col("session").is_between(row["start"], row["end"])
        )
        if during["split_factor"].max() == 1:
            assert row["upper"] == pytest.approx(during["high"].max())
            assert row["lower"] == pytest.approx(during["low"].min())
    listed = plants.join(breakouts.listings(), on="symbol")
    assert listed.filter(pl.col("start") < pl.col("listed")).is_empty()
    assert listed.filter(pl.col("breakout") > pl.col("delisted")).is_empty()


@pytest.mark.slow
def test_class_frequencies_are_tunable():
    rare = {**dict.fromkeys(("K0", "K1", "K2", "K3", "K5"), 0.996 / 5), "K4": 0.004}
    spec = MarketSpec(start_probability=0.05)
    plants = SimulatedMarket(seed=1, n_symbols=200, spec=spec, class_frequencies=rare).planted_events()
    assert plants.height > 3000
    assert (plants["class"] == "K4").mean() == pytest.approx(0.004, abs=0.003)
    assert (plants["class"] == "K1").mean() == pytest.approx(0.2, abs=0.03)
    none = SimulatedMarket(seed=1, n_symbols=20, spec=MarketSpec(start_probability=0.0))
    assert none.planted_events().is_empty()


def test_default_frequencies_are_the_seeds():
    assert sum(DEFAULT_FREQUENCIES.values()) == pytest.approx(1)
    assert DEFAULT_FREQUENCIES["K4"] == 0.004


def test_a_consolidation_runs_down_into_its_move_and_back_to_normal():
    chain = RegimeChain(EQUAL)
    never = np.full((1, 3), 0.999999)
    for label in range(len(CLASSES)):
        state = chain.consolidating(SHORTEST, label)[None]
        seen = []
        while state[0] != 0:
            seen.append(int(chain.remaining[state[0]]))
            state = chain.step(state, never)
        assert seen == [*range(SHORTEST, 0, -1), *[0] * AFTERMATH]


def test_expectations_of_the_chain_agree_with_its_draws():
    chain = RegimeChain(EQUAL, start_probability=0.2)
    rng = np.random.default_rng(0)
    start = np.concatenate([np.zeros(20_000, dtype=np.int64), np.full(20_000, chain.consolidating(5, 5))])
    expected = chain.expected(chain.noise, 40)
    state = start
    for k in range(40):
        state = chain.step(state, rng.random((len(state), 3)))
        for part in (slice(0, 20_000), slice(20_000, None)):
            assert chain.noise[state[part]].mean() == pytest.approx(expected[k, start[part][0]], abs=0.012)
