"""The state machine and its 20 features, against a slow reference that follows the definition session by session."""

import math
from dataclasses import dataclass, field

import numpy as np
import polars as pl
import pytest

from trademl_pipeline.features import compute
from trademl_pipeline.features.consolidation import PATTERN_FEATURES
from trademl_pipeline.features.patterns import consolidations, pattern_observations, pattern_view
from trademl_pipeline.features.prepare import prepare
from trademl_pipeline.features.rules import PatternRules
from trademl_pipeline_tests.features.panels import random_bars, sleeping_bars

NAMES = [f.name for f in PATTERN_FEATURES]


@dataclass
class Pattern:
    start: int
    activation: int
    upper: float
    lower: float
    rows: list[int] = field(default_factory=list)
    outcome: str = "open"


def slow_patterns(b: pl.DataFrame, f: pl.DataFrame) -> list[Pattern]:
    """Patterns of one symbol by the definition; b its bars, f its features."""
    found: list[Pattern] = []
    active: Pattern | None = None
    run = 0
    for t in range(b.height):
        close = b["close"][t]
        if active is not None:
            if close > active.upper * 1.005:
                active.outcome, active = "breakout", None
            elif close < active.lower:
                active.outcome, active = "breakdown", None
            elif t - active.activation >= 120:
                active.outcome, active = "expired", None
        bbw, adx, volume, span = (
            f[c][t] for c in ("bbw_percentile_100", "adx_14", "volume_ratio_20", "range_ratio_20")
        )
        quiet = (volume is not None and volume < 1) or (span is not None and span < 1)
        run = run + 1 if bbw is not None and bbw < 0.30 and adx is not None and adx < 32 and quiet else 0
        if run == 10:
            if active is not None:
                active.outcome = "renewed"
            low, high = b["low"][t - 9 : t + 1].min(), b["high"][t - 9 : t + 1].max()
            active = Pattern(t - 9, t, high, low)
            found.append(active)
        if active is not None:
            active.rows.append(t)
    return found


def slow_features(b: pl.DataFrame, f: pl.DataFrame, p: Pattern, t: int) -> dict[str, float]:
    at = slice(p.activation - 9, p.activation + 1)
    close, bbw, volume = b["close"][t], f["bbw_20"][t], f["volume_ratio_20"][t]
    since = range(p.activation, t + 1)
    base_bbw, base_volume = f["bbw_20"][at].mean(), f["volume_ratio_20"][at].mean()
    base_volatility = f["price_volatility_20"][at].mean()
    qualified = [
        f["bbw_percentile_100"][i] < 0.3
        and f["adx_14"][i] < 32
        and (f["volume_ratio_20"][i] < 1 or f["range_ratio_20"][i] < 1)
        for i in range(p.start, t + 1)
    ]
    last = slice(t - 9, t + 1)
    clip = lambda x: min(max(x, 0.0), 1.0)  # noqa: E731
    return {
        "days_qualifying": sum(qualified),
        "days_since_activation": t - p.activation,
        "days_in_pattern": t - p.start + 1,
        "channel_width": p.upper / p.lower - 1,
        "price_position_in_range": (close - p.lower) / (p.upper - p.lower),
        "distance_from_upper": p.upper / close - 1,
        "distance_from_lower": 1 - p.lower / close,
        "distance_from_power": 1.005 * p.upper / close - 1,
        "baseline_bbw": base_bbw,
        "baseline_volume_ratio": base_volume,
        "baseline_volatility": base_volatility,
        "bbw_compression_ratio": bbw / base_bbw,
        "volume_compression_ratio": volume / base_volume,
        "volatility_compression_ratio": f["price_volatility_20"][t] / base_volatility,
        "start_price_ratio": close / b["close"][p.start] - 1,
        "touches_upper": sum(abs(b["high"][i] / p.upper - 1) <= 0.01 for i in since),
        "touches_lower": sum(abs(b["low"][i] / p.lower - 1) <= 0.01 for i in since),
        "narrowing": (b["high"][last].max() - b["low"][last].min()) / (p.upper - p.lower),
        "consolidation_quality": (
            (1 - clip(bbw / base_bbw))
            + (1 - clip(volume / base_volume / 2))
            + (1 - clip(f["adx_14"][t] / 50))
        )
        / 3,
        "is_active": 1.0,
    }


@pytest.fixture(scope="module")
def bars() -> pl.DataFrame:
    """Random walks, and a market that falls asleep but starts up every 17 sessions: its pattern is renewed."""
    return pl.concat([random_bars(12, 900, seed=5), sleeping_bars("Z", 900, asleep=300, restless=17)])


def of(frame: pl.DataFrame, symbol: str) -> pl.DataFrame:
    return frame.filter(pl.col("symbol") == symbol)


def test_patterns_and_their_features_equal_the_slow_reference(bars: pl.DataFrame) -> None:
    features = compute(bars, "breakout")
    table = consolidations(bars)
    seen = 0
    for symbol in bars["symbol"].unique().sort():
        b, f, mine = of(bars, symbol), of(features, symbol), of(table, symbol)
        want = slow_patterns(b, f)
        seen += len(want)
        assert mine["outcome"].to_list() == [p.outcome for p in want]
        assert mine["active_sessions"].to_list() == [len(p.rows) for p in want]
        for column, rows in (("start", "start"), ("activation", "activation")):
            assert mine[column].to_list() == [b["session"][getattr(p, rows)] for p in want]
        np.testing.assert_allclose(mine["upper"], [p.upper for p in want])
        np.testing.assert_allclose(mine["lower"], [p.lower for p in want])

        inside = {t: p for p in want for t in p.rows}
        for t in range(b.height):
            row = f.row(t, named=True)
            if t in inside:
                for name, value in slow_features(b, f, inside[t], t).items():
                    assert row[name] == pytest.approx(value, rel=1e-9, abs=1e-12), (symbol, t, name)
            elif row["bbw_percentile_100"] is not None:
                assert all(row[name] == 0 for name in NAMES), (symbol, t)
            else:
                assert all(row[name] is None for name in NAMES), (symbol, t)
    assert seen >= 30
    assert set(table["outcome"]) >= {"breakout", "breakdown", "renewed"}


def test_a_window_sees_the_boundaries_on_the_qualifying_sessions(bars: pl.DataFrame) -> None:
    panel = prepare(bars)
    features, view = compute(bars, "breakout"), pattern_view(panel)
    marked = pattern_observations(panel)
    start = marked.filter(pl.col("days_since_activation") == 0)["start_row"].to_numpy()
    assert len(start) >= 30
    causal, seen = features.select(NAMES).to_numpy(), view.select(NAMES).to_numpy()
    before = np.concatenate([np.arange(s, s + 9) for s in start])
    active = marked["row"].to_numpy()
    position = [NAMES.index(n) for n in ("days_in_pattern", "days_qualifying", "is_active", "channel_width")]
    active, quiet = np.setdiff1d(active, before), np.setdiff1d(before, active)
    np.testing.assert_array_equal(seen[active], causal[active])
    assert (causal[quiet] == 0).all()
    days, qualifying, on, width = (seen[before, k].reshape(-1, 9) for k in position)
    assert (days == np.arange(1, 10)).all()
    assert (qualifying == days).all()
    assert (on == 0).all()
    assert (width == causal[start + 9, position[3]][:, None]).all()
    rest = np.setdiff1d(np.arange(len(seen)), np.concatenate([before, active]))
    np.testing.assert_array_equal(seen[rest], causal[rest])


def test_a_pattern_expires_after_120_sessions_and_has_bounded_memory() -> None:
    bars = sleeping_bars("A", 700, asleep=300)
    table = consolidations(bars)
    assert "expired" in set(table["outcome"])
    assert table.filter(pl.col("outcome") == "expired")["active_sessions"].unique().to_list() == [120]
    ages = compute(bars, "breakout")["days_since_activation"].drop_nulls()
    assert ages.max() == 119


def test_rules_are_configuration(bars: pl.DataFrame) -> None:
    few, many = (consolidations(bars, PatternRules(max_bbw_percentile=p)).height for p in (0.2, 0.6))
    assert few < consolidations(bars).height < many


def test_boundaries_are_prices_as_traded_at_the_activation() -> None:
    bars = random_bars(6, 900, seed=5)
    plain = consolidations(bars)
    later = bars["session"].unique().sort()[700]
    after = pl.col("session") >= later
    traded = bars.with_columns(
        *(pl.when(after).then(pl.col(c) / 4).otherwise(pl.col(c)) for c in ("open", "high", "low", "close")),
        pl.when(after).then(pl.col("volume") * 4).otherwise(pl.col("volume")),
        pl.when(pl.col("session") == later).then(4.0).otherwise(1.0).alias("split_factor"),
    )
    table = consolidations(traded)
    assert table.drop("upper", "lower", "power").equals(plain.drop("upper", "lower", "power"))
    ratio = np.where(plain["activation"] >= later, 4.0, 1.0)
    assert len(set(ratio)) == 2
    np.testing.assert_allclose(table["upper"] * pl.Series(ratio), plain["upper"])


def test_nothing_of_a_pattern_is_known_before_its_activation(bars: pl.DataFrame) -> None:
    full = compute(bars, "breakout")
    table = consolidations(bars)
    for symbol, activation in table.select("symbol", "activation").sample(10, seed=1).iter_rows():
        before = of(bars, symbol).filter(pl.col("session") < activation)
        got = compute(before, "breakout").select(NAMES)
        assert got.equals(of(full, symbol).filter(pl.col("session") < activation).select(NAMES))
    assert math.isfinite(full["is_active"].drop_nulls().sum())
