"""Every indicator that TA-Lib has equals it to 1e-9 after warm-up."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from trademl_pipeline.features import FEATURE_SETS, FEATURES, compute, warmup
from trademl_pipeline_tests.features.panels import random_bars
from trademl_pipeline_tests.features.talib_reference import DECIDED_BY_ROUNDING, talib_values


def worst_errors(bars: pl.DataFrame) -> dict[str, float]:
    """By feature the largest |ours - TA-Lib's| / max(1, |TA-Lib's|) after warm-up; infinite where one is null alone."""
    ours = {name: compute(bars, name) for name in FEATURE_SETS}
    worst: dict[str, float] = {}
    for symbol in bars["symbol"].unique().sort():
        of = pl.col("symbol") == symbol
        mine = bars.filter(of)
        arrays = (mine[c].cast(pl.Float64).to_numpy() for c in ("open", "high", "low", "close", "volume"))
        for name, want in talib_values(*arrays).items():
            frame = next(f for f in ours.values() if name in f.columns)
            # STOCHF gives %K from the session on which %D is known.
            skip = max(warmup(name), 15)
            got, want = frame.filter(of)[name].to_numpy()[skip:], want[skip:]
            want = np.where(np.isinf(want), np.nan, want)
            with np.errstate(invalid="ignore"):
                error = np.abs(got - want) / np.maximum(1, np.abs(want))
            error = np.where(np.isnan(got) != np.isnan(want), np.inf, error)
            worst[name] = max(worst.get(name, 0.0), float(np.nanmax(error, initial=0.0)))
    return {name: error for name, error in worst.items() if error > 1e-9}


def test_every_indicator_with_a_talib_source_is_compared() -> None:
    named = {name for name, f in FEATURES.items() if f.source.startswith("TA-Lib")}
    compared = set(talib_values(*(np.arange(300.0) + k + 2 for k in range(5))))
    assert named <= compared


@pytest.mark.parametrize("tick", [None, 0.01, 0.25])
def test_parity_on_random_walks(tick: float | None) -> None:
    assert worst_errors(random_bars(4, 900, seed=2, tick=tick)) == {}


@pytest.mark.slow
@pytest.mark.real_data
def test_parity_on_50_real_symbols(real_data: Path) -> None:
    bars = pl.read_parquet(real_data / "us_equities_daily.parquet").rename({"date": "session"})
    long = bars.group_by("symbol").len().filter(pl.col("len") > 1500).sort("symbol")["symbol"]
    chosen = long.gather_every(len(long) // 50).head(50).to_list()
    bars = bars.filter(pl.col("symbol").is_in(chosen)).sort("symbol", "session")
    assert bars["symbol"].n_unique() == 50
    assert worst_errors(bars) == {}


def test_a_split_changes_no_decision_that_rounding_took() -> None:
    """Prices in cents, a split of 3 on the way: what precedes it, and where the history starts, must not matter."""
    bars = random_bars(3, 900, seed=4, tick=0.01)
    day = bars["session"].unique().sort()[500]
    split = pl.when(pl.col("session") == day).then(3.0).otherwise(1.0).alias("split_factor")
    traded = bars.with_columns(split)
    late = pl.col("session") >= bars["session"].unique().sort()[560]
    later = traded.filter(pl.col("session") > day)
    for name in DECIDED_BY_ROUNDING:
        full, alone = compute(traded, name).filter(late), compute(later, name).filter(late)
        tail = pl.col("session") >= bars["session"].unique().sort()[870]
        np.testing.assert_allclose(full.filter(tail)[name], alone.filter(tail)[name], rtol=1e-5, atol=1e-5)
