"""No feature at (symbol, t) depends on a row after t, on another symbol, on row order, or on the unit of price.

Checks of our own, apart from the gate's: they compute everything again on changed input and compare.
"""

import numpy as np
import polars as pl
import pytest

from trademl_pipeline.features import FEATURE_SETS, compute
from trademl_pipeline_tests.features.panels import (
    PRICES,
    decided_by_rounding,
    largest_difference,
    random_bars,
    reference_bars,
    scaled,
    sectors,
)

SYMBOLS, SESSIONS = 100, 1000
KEY = ["symbol", "session"]


def everything(
    bars: pl.DataFrame, reference: pl.DataFrame | None, of: pl.DataFrame | None = None
) -> pl.DataFrame:
    """All 148 features of the four sets."""
    universe = sectors(bars if of is None else of)
    frames = [compute(bars, name, reference=reference, universe=universe) for name in FEATURE_SETS]
    return pl.concat(
        [frames[0], *(f.select(pl.exclude(*KEY)) for f in _without_repeats(frames))], how="horizontal"
    )


def _without_repeats(frames: list[pl.DataFrame]) -> list[pl.DataFrame]:
    seen = set(frames[0].columns)
    out = []
    for frame in frames[1:]:
        fresh = [c for c in frame.columns if c not in seen]
        seen |= set(fresh)
        out.append(frame.select(*KEY, *fresh))
    return out


@pytest.fixture(scope="module")
def small() -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    bars = random_bars(6, 900, seed=5, gap=0.02, zero_volume=0.01)
    reference = reference_bars(900)
    return bars, reference, everything(bars, reference)


def test_all_167_columns_are_there(small: tuple[pl.DataFrame, ...]) -> None:
    assert sum(map(len, FEATURE_SETS.values())) == 167
    assert set(small[2].columns[2:]) == {n for names in FEATURE_SETS.values() for n in names}
    assert all(small[2][n].null_count() < small[2].height for n in small[2].columns)


def test_symbols_are_computed_alone(small: tuple[pl.DataFrame, ...]) -> None:
    bars, reference, full = small
    parts = [
        everything(bars.filter(pl.col("symbol") == s), reference, bars)
        for s in bars["symbol"].unique().sort()
    ]
    assert pl.concat(parts).equals(full)


def test_row_order_does_not_matter(small: tuple[pl.DataFrame, ...]) -> None:
    bars, reference, full = small
    shuffled = bars.sample(fraction=1.0, shuffle=True, seed=3)
    assert everything(shuffled, reference.sample(fraction=1.0, shuffle=True, seed=4)).equals(full)


def test_truncation_of_all_sources(small: tuple[pl.DataFrame, ...]) -> None:
    bars, reference, full = small
    sessions = bars["session"].unique().sort()
    for cut in sessions.gather(np.linspace(0, len(sessions) - 2, 12).astype(int)):
        upto = pl.col("session") <= cut
        assert everything(bars.filter(upto), reference.filter(upto), bars).equals(full.filter(upto)), cut


def corrupted(frame: pl.DataFrame, cut: object, seed: int) -> pl.DataFrame:
    """Other numbers after the cut, same keys."""
    rng = np.random.default_rng(seed)
    after = pl.col("session") > cut
    noise = pl.Series(np.exp(rng.normal(0, 1, frame.height)))
    columns = [c for c in (*PRICES, "volume") if c in frame.columns]
    return frame.with_columns(pl.when(after).then(pl.col(c) * noise).otherwise(pl.col(c)) for c in columns)


@pytest.mark.slow
def test_perturbation_at_50_cut_offs(small: tuple[pl.DataFrame, ...]) -> None:
    bars, reference, full = small
    sessions = bars["session"].unique().sort()
    for seed, cut in enumerate(sessions.gather(np.linspace(5, len(sessions) - 2, 50).astype(int))):
        upto = pl.col("session") <= cut
        got = everything(corrupted(bars, cut, seed), corrupted(reference, cut, seed), bars).filter(upto)
        assert got.equals(full.filter(upto)), cut


@pytest.mark.parametrize("ratio", [7.0, 2.0, 1 / 3])
def test_a_later_split_moves_nothing(small: tuple[pl.DataFrame, ...], ratio: float) -> None:
    bars, reference, full = small
    errors = largest_difference(full, everything(scaled(bars, ratio), reference))
    assert {n: e for n, e in errors.items() if e > 1e-7} == {}


def test_a_split_within_the_history_is_no_return() -> None:
    bars = random_bars(4, 900, seed=5)
    full = everything(bars, None)
    day = bars["session"].unique().sort()[600]
    after = pl.col("session") >= day
    traded = bars.with_columns(
        *(pl.when(after).then(pl.col(c) / 7).otherwise(pl.col(c)) for c in PRICES),
        pl.when(after).then(pl.col("volume") * 7).otherwise(pl.col("volume")),
        pl.when(pl.col("session") == day).then(7.0).otherwise(1.0).alias("split_factor"),
    )
    errors = largest_difference(full, everything(traded, None))
    assert {n: e for n, e in errors.items() if e > 1e-7} == {}


@pytest.mark.slow
def test_truncation_at_every_session_of_100_symbols_by_1000() -> None:
    """Each run cuts every symbol at a session of its own; together the runs cut at every session."""
    bars = random_bars(SYMBOLS, SESSIONS, seed=9).filter(pl.col("session").is_not_null())
    full = everything(bars, None)
    sessions = bars["session"].unique().sort()
    assert len(sessions) == SESSIONS
    runs = SESSIONS // SYMBOLS
    number = pl.col("symbol").str.slice(1).cast(pl.Int64)
    cut_at: set[int] = set()
    for k in range(runs):
        which = (number * runs + k) % SESSIONS
        cut_at |= set(range(k, SESSIONS, runs))
        index = pl.col("session").rank("dense") - 1
        kept = bars.with_columns(index.alias("_t")).filter(pl.col("_t") <= which).drop("_t")
        assert kept["symbol"].n_unique() >= SYMBOLS - 40
        assert everything(kept, None, bars).equals(full.join(kept.select(KEY), on=KEY, how="semi")), k
    assert len(cut_at) == SESSIONS


@pytest.mark.slow
def test_perturbation_and_adjustment_of_100_symbols_by_1000() -> None:
    bars = random_bars(SYMBOLS, SESSIONS, seed=10)
    full = everything(bars, None)
    errors = largest_difference(full, everything(scaled(bars, 7.0), None))
    assert {n: e for n, e in errors.items() if e > 1e-7} == {}
    cut = bars["session"].unique().sort()[500]
    upto = pl.col("session") <= cut
    assert everything(corrupted(bars, cut, 0), None).filter(upto).equals(full.filter(upto))


def test_prices_in_cents_move_only_what_rounding_decides() -> None:
    """By 8 no price is rounded; by 7 moves of equal cents are, see docs/features.md."""
    bars = random_bars(20, 700, seed=10, tick=0.01)
    full = everything(bars, None)
    exact = largest_difference(full, everything(scaled(bars, 8.0), None))
    assert {n: e for n, e in exact.items() if e > 1e-9} == {}
    errors = largest_difference(full, everything(scaled(bars, 7.0), None))
    assert {n for n, e in errors.items() if e > 1e-7} <= decided_by_rounding()
