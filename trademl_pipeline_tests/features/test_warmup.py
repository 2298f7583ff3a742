"""Declared warm-ups are enough, and not more than twice what is needed; a month alone equals the full run."""

import numpy as np
import polars as pl
import pytest

from trademl_pipeline.features import FEATURE_SETS, FEATURES, compute, warmup
from trademl_pipeline_tests.features.panels import (
    largest_difference,
    random_bars,
    reference_bars,
    sectors,
    sleeping_bars,
    weekdays,
)

SESSIONS = 1500
# VIX3M is left out: with it, vix_term_structure needs no warm-up at all.
REFERENCE = reference_bars(SESSIONS, names=("SPY", "XLK", "XLF", "^VIX"))


@pytest.fixture(scope="module")
def history() -> pl.DataFrame:
    """Twelve random walks, and one market that goes to sleep: its pattern lasts as long as any may."""
    return pl.concat([random_bars(12, SESSIONS, seed=6), sleeping_bars("Z", SESSIONS, asleep=600)])


@pytest.fixture(scope="module")
def full(history: pl.DataFrame) -> dict[str, pl.DataFrame]:
    universe = sectors(history)
    return {s: compute(history, s, reference=REFERENCE, universe=universe) for s in FEATURE_SETS}


@pytest.fixture(scope="module")
def ends(history: pl.DataFrame, full: dict[str, pl.DataFrame]) -> np.ndarray:
    """Rows at which values are compared; among them the last session of the longest pattern."""
    age = history.select(pl.int_range(pl.len()).over("symbol")).to_series().to_numpy()
    chosen = np.random.default_rng(2).choice(np.flatnonzero(age > 1000), 60, replace=False)
    days = np.where(age > 600, full["breakout"]["days_since_activation"].fill_null(0).to_numpy(), 0)
    assert days.max() == 119
    return np.sort(np.append(chosen, days.argmax()))


def value_at_ends(history: pl.DataFrame, ends: np.ndarray, name: str, sessions: int) -> np.ndarray:
    """The feature at the ends, each computed from that many sessions before it."""
    rows = (ends[:, None] - np.arange(sessions, -1, -1)).ravel()
    piece = np.repeat(np.arange(len(ends)), sessions + 1)
    bars = history[rows].with_columns(pl.Series("symbol", [f"{k:05d}" for k in piece]))
    values = compute(bars, name, reference=REFERENCE, universe=sectors(bars))[name].to_numpy()
    return values[sessions :: sessions + 1]


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(FEATURES))
def test_warmup_is_enough_and_not_more_than_twice_what_is_needed(
    name: str, history: pl.DataFrame, full: dict[str, pl.DataFrame], ends: np.ndarray
) -> None:
    column = next(f[name] for f in full.values() if name in f.columns)
    want = column.to_numpy()[ends]
    size = column.drop_nulls().abs().median() or 1.0
    # The fund of a piece differs from its symbol's: what reads a sector is compared with null alone.
    of_sector = name == "sector_relative_strength"

    def error(sessions: int) -> float:
        got = value_at_ends(history, ends, name, sessions)
        if of_sector:
            return np.inf if np.isnan(got).any() else 0.0
        if (np.isnan(got) != np.isnan(want)).any():
            return np.inf
        return float(np.nanmax(np.abs(got - want) / np.maximum(np.abs(want), size), initial=0.0))

    declared = warmup(name)
    assert error(declared) < 1e-6
    if declared > 0:
        assert error(declared // 2) > 1e-6, "half of the declared warm-up would do"


@pytest.mark.parametrize("set_name", list(FEATURE_SETS))
def test_a_month_alone_equals_the_full_run(
    set_name: str, history: pl.DataFrame, full: dict[str, pl.DataFrame]
) -> None:
    sessions = pl.Series(weekdays(SESSIONS))
    for first in (700, 1100, 1470):
        start = sessions[first - warmup(set_name)] if first > warmup(set_name) else sessions[0]
        month = pl.col("session").is_between(sessions[first], sessions[min(first + 20, SESSIONS - 1)])
        given = pl.col("session").is_between(start, sessions[min(first + 20, SESSIONS - 1)])
        alone = compute(
            history.filter(given), set_name, reference=REFERENCE.filter(given), universe=sectors(history)
        )
        errors = largest_difference(full[set_name].filter(month), alone.filter(month), scale=full[set_name])
        assert {n: e for n, e in errors.items() if e > 1e-6} == {}


def test_half_a_sets_warmup_does_not_do(history: pl.DataFrame, full: dict[str, pl.DataFrame]) -> None:
    """The comparison above can fail."""
    sessions = pl.Series(weekdays(SESSIONS))
    given = pl.col("session") >= sessions[1300 - warmup("indicators") // 2]
    month = pl.col("session") >= sessions[1300]
    alone = compute(history.filter(given), "indicators").filter(month)
    errors = largest_difference(full["indicators"].filter(month), alone, scale=full["indicators"])
    assert errors["ema_distance_50"] > 1e-6
    assert errors["sma_distance_5"] == 0.0
