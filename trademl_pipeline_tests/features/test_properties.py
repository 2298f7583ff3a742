"""Whatever the bars: features are finite or null, in range, of one symbol, and blind to the future."""

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trademl_pipeline.features import FEATURE_SETS, FEATURES, compute
from trademl_pipeline_tests.features.panels import (
    PRICES,
    decided_by_rounding,
    largest_difference,
    random_bars,
    scaled,
    weekdays,
)

QUIET = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@st.composite
def histories(draw: st.DrawFn) -> pl.DataFrame:
    """A few symbols of any length, with stale runs, missing sessions, zero and missing volumes, and broken rows."""
    frames = []
    for k in range(draw(st.integers(1, 3))):
        n = draw(st.integers(1, 160))
        steps = draw(st.lists(st.sampled_from([0.0, 0.0, 0.01, -0.01, 0.3, -0.3]), min_size=n, max_size=n))
        widths = draw(st.lists(st.sampled_from([0.0, 0.01, 0.05]), min_size=n, max_size=n))
        volumes = draw(st.lists(st.sampled_from([0.0, 1.0, 500.0, 1e9, None]), min_size=n, max_size=n))
        kept = draw(st.lists(st.sampled_from([True] * 9 + [False]), min_size=n, max_size=n))
        close, rows = 10.0, []
        for step, width in zip(steps, widths, strict=True):
            opening, close = close, close * (1 + step)
            rows.append(
                (opening, max(opening, close) * (1 + width), min(opening, close) * (1 - width), close)
            )
        frame = pl.DataFrame(rows, schema=dict.fromkeys(PRICES, pl.Float64), orient="row").with_columns(
            symbol=pl.lit(f"S{k}"),
            session=pl.Series(weekdays(n)),
            volume=pl.Series(volumes, dtype=pl.Float64),
        )
        if draw(st.booleans()):
            broken = draw(st.integers(0, n - 1))
            frame = frame.with_columns(
                pl.when(pl.int_range(n) == broken).then(None).otherwise(pl.col("low")).alias("low")
            )
        frames.append(frame.filter(pl.Series(kept)))
    return pl.concat(frames)


@pytest.mark.slow
@pytest.mark.parametrize("name", list(FEATURE_SETS))
@QUIET
@given(bars=histories(), cut=st.integers(0, 159), ratio=st.sampled_from([8.0, 0.25, 7.0, 3.0, 0.1]))
def test_any_history(name: str, bars: pl.DataFrame, cut: int, ratio: float) -> None:
    full = compute(bars, name)
    assert full.height == bars.height
    for n in FEATURE_SETS[name]:
        present = full[n].drop_nulls()
        assert present.is_finite().all(), n
        assert present.is_empty() or (
            present.min() >= FEATURES[n].low - 1e-9 and present.max() <= FEATURES[n].high + 1e-9
        ), n

    upto = pl.col("session") <= weekdays(160)[cut]
    assert compute(bars.filter(upto), name).equals(full.filter(upto))

    for symbol in bars["symbol"].unique():
        own = pl.col("symbol") == symbol
        assert compute(bars.filter(own), name).equals(full.filter(own))

    # Values around 0 are compared with 1: a size of their own they do not have in such histories.
    size = full.with_columns(pl.lit(1.0).alias(n) for n in FEATURE_SETS[name])
    errors = largest_difference(full, compute(scaled(bars, ratio), name), scale=size)
    rounded = decided_by_rounding() if ratio not in (8.0, 0.25) else set()
    assert {n for n, e in errors.items() if e > 1e-6} <= rounded


def constant(price: float, volume: float, n: int = 500) -> pl.DataFrame:
    return random_bars(1, n).with_columns(
        *(pl.lit(price).alias(c) for c in PRICES), pl.lit(volume).alias("volume")
    )


@pytest.mark.parametrize("price", [1e-4, 1 / 3, 10.0, 123456.789])
def test_a_price_that_never_moves(price: float) -> None:
    row = {
        n: v
        for name in FEATURE_SETS
        for n, v in compute(constant(price, 1000.0), name).row(-1, named=True).items()
    }
    for name in (
        "return_1",
        "sma_distance_20",
        "bbw_20",
        "volatility_20",
        "rsi_14",
        "adx_14",
        "cci_20",
        "roc_5",
    ):
        assert row[name] == pytest.approx(0.0, abs=1e-12), name
    for name in (
        "bollinger_position",
        "keltner_position",
        "donchian_position_20",
        "range_ratio_20",
        "close_z_60",
    ):
        assert row[name] is None, name
    assert row["bbw_percentile_100"] == 0.5
    assert row["volume_ratio_20"] == pytest.approx(1.0)
    assert row["is_active"] == 0.0


def test_a_share_that_never_trades() -> None:
    bars = random_bars(1, 500).with_columns(volume=pl.lit(0.0))
    got = compute(bars, "indicators").row(-1, named=True)
    for name in ("volume_ratio_20", "volume_z_60", "obv_slope_20", "vwap_distance_20", "cmf_20", "amihud_20"):
        assert got[name] is None, name
    assert got["mfi_14"] == 0.0
    assert got["rsi_14"] is not None


def test_symbols_of_one_row_know_only_what_one_bar_tells() -> None:
    bars = random_bars(3, 40).group_by("symbol", maintain_order=True).head(1)
    for name in FEATURE_SETS:
        got = compute(bars, name)
        known = {n for n in FEATURE_SETS[name] if got[n].null_count() < 3}
        assert known == {n for n in FEATURE_SETS[name] if FEATURES[n].warmup == 0}
