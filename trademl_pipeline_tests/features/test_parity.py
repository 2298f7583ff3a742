"""Every indicator that TA-Lib has equals it to 1e-9 after warm-up."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from trademl_pipeline.features import FEATURE_SETS, FEATURES, compute, warmup
from trademl_pipeline_tests.features.panels import PRICES, random_bars
from trademl_pipeline_tests.features.talib_reference import TIED, talib_values

TICKS_PER_UNIT = 1e6


def worst_errors(bars: pl.DataFrame, *, exact: bool) -> dict[str, float]:
    """By feature the largest |ours - TA-Lib's| / max(1, |TA-Lib's|) after warm-up; infinite where one is null alone.

    exact: the bars' prices are whole ticks, and TA-Lib gets them as whole numbers, so that it does not round.
    """
    ours = {name: compute(bars, name) for name in FEATURE_SETS}
    unit = TICKS_PER_UNIT if exact else 1.0
    worst: dict[str, float] = {}
    for symbol in bars["symbol"].unique().sort():
        of = pl.col("symbol") == symbol
        mine = bars.filter(of)
        o, h, low, c = ((mine[p] * unit).round() if exact else mine[p] for p in PRICES)
        reference = talib_values(*(s.to_numpy() for s in (o, h, low, c, mine["volume"].cast(pl.Float64))))
        for name, want in reference.items():
            frame = next(f for f in ours.values() if name in f.columns)
            # STOCHF gives %K from the session on which %D is known.
            skip = max(warmup(name), 15)
            got, want = frame.filter(of)[name].to_numpy()[skip:], want[skip:]
            want = np.where(np.isinf(want), np.nan, want)
            with np.errstate(invalid="ignore"):
                error = np.abs(got - want) / np.maximum(1, np.abs(want))
            error = np.where(np.isnan(got) != np.isnan(want), np.inf, error)
            worst[name] = max(worst.get(name, 0.0), float(np.nanmax(error, initial=0.0)))
    return worst


def in_ticks(bars: pl.DataFrame) -> pl.DataFrame:
    return bars.with_columns((pl.col(c) * TICKS_PER_UNIT).round() / TICKS_PER_UNIT for c in PRICES)


def wrong(errors: dict[str, float]) -> dict[str, float]:
    return {name: error for name, error in errors.items() if error > 1e-9}


def test_every_indicator_with_a_talib_source_is_compared() -> None:
    named = {name for name, f in FEATURES.items() if f.source.startswith("TA-Lib")}
    compared = set(talib_values(*(np.arange(300.0) + k + 2 for k in range(5))))
    assert named <= compared


def test_parity_on_random_walks() -> None:
    errors = worst_errors(in_ticks(random_bars(4, 900, seed=2, tick=0.01)), exact=True)
    assert wrong(errors) == {}


def test_parity_on_raw_floats_but_for_ties() -> None:
    errors = worst_errors(random_bars(4, 900, seed=3), exact=False)
    assert wrong(errors) == {}


@pytest.mark.slow
@pytest.mark.real_data
def test_parity_on_50_real_symbols(real_data: Path) -> None:
    bars = pl.read_parquet(real_data / "us_equities_daily.parquet").rename({"date": "session"})
    long = bars.group_by("symbol").len().filter(pl.col("len") > 1500).sort("symbol")["symbol"]
    chosen = long.gather_every(len(long) // 50).head(50).to_list()
    bars = bars.filter(pl.col("symbol").is_in(chosen)).sort("symbol", "session")
    assert bars["symbol"].n_unique() == 50
    assert wrong(worst_errors(in_ticks(bars), exact=True)) == {}
    raw = wrong(worst_errors(bars, exact=False))
    assert set(raw) <= set(TIED), "only ties of prices in cents may differ from TA-Lib's rounding"


def test_ties_are_decided_by_price_and_not_by_rounding() -> None:
    """Highs rise and lows fall by the same cents on every second session: no direction at all."""
    cents = np.where(np.arange(400) % 2, 1003, 1000)
    low = np.where(np.arange(400) % 2, 990, 993)
    bars = pl.DataFrame(
        {
            "symbol": "A",
            "session": random_bars(1, 400)["session"],
            "open": 9.95,
            "high": cents / 100,
            "low": low / 100,
            "close": 9.96,
            "volume": 1000.0,
        }
    )
    for ratio in (1.0, 3.0, 7.0):
        values = compute(bars.with_columns(pl.col(c) / ratio for c in PRICES), "indicators").tail(100)
        assert values["plus_di_14"].abs().max() == 0.0
        assert values["minus_di_14"].abs().max() == 0.0
        assert values["adx_14"].abs().max() == 0.0
