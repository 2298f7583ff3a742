"""K0-K5: the first-passage label of every snapshot, against a reference that runs it bar by bar."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from trademl_pipeline.features.patterns import pattern_observations
from trademl_pipeline.features.prepare import prepare
from trademl_pipeline.labels import CLASSES, STRATEGIC_VALUES, FirstPassageRules, breakout_labels
from trademl_pipeline_tests.features.panels import random_bars, sleeping_bars


def slow_first_passage(bars: pl.DataFrame, horizon: int = 100) -> dict[tuple, tuple]:
    """(symbol, session) -> (class, label_end, last_price), by the definition."""
    calendar = bars["session"].unique().sort().to_list()
    number = {s: i for i, s in enumerate(calendar)}
    marked = pattern_observations(prepare(bars))
    found = {}
    for (symbol,), own in bars.group_by("symbol", maintain_order=True):
        rows = own.rows(named=True)
        for snap in marked.filter(pl.col("symbol") == symbol).iter_rows(named=True):
            start = number[snap["session"]]
            later = [r for r in rows if start < number[r["session"]] <= start + horizon]
            best, decided = 0, None
            for r in later:
                if r["low"] <= 0.90 * snap["lower"]:
                    decided = (best or 5, r["session"], False)
                    break
                for rank, gain in enumerate((0.05, 0.15, 0.35, 0.75), start=1):
                    if r["high"] >= (1 + gain) * snap["upper"]:
                        best = max(best, rank)
                if best == 4:
                    decided = (4, r["session"], False)
                    break
            if decided is None and start + horizon < len(calendar):
                end = calendar[start + horizon]
                decided = (best, end, not later or later[-1]["session"] < end)
            if decided:
                found[symbol, snap["session"]] = decided
    return found


@pytest.fixture(scope="module")
def bars() -> pl.DataFrame:
    walks = random_bars(14, 900, seed=5, gap=0.005)
    sessions = walks["session"].unique().sort()
    return walks.filter((pl.col("symbol") != "S004") | (pl.col("session") <= sessions[600]))


def as_dict(labels: pl.DataFrame) -> dict[tuple, tuple]:
    return {
        (r[0], r[1]): r[2:]
        for r in labels.select("symbol", "session", "target", "label_end", "last_price").rows()
    }


def test_the_race_equals_the_slow_reference(bars: pl.DataFrame) -> None:
    got = as_dict(breakout_labels(bars))
    assert got == slow_first_passage(bars)
    assert {v[0] for v in got.values()} >= {0, 1, 2, 5}


def test_prices_after_the_snapshot_decide(bars: pl.DataFrame) -> None:
    """Send the market up or down after an observation."""
    snap = pattern_observations(prepare(bars)).filter(pl.col("symbol") == "S001").row(0, named=True)
    at = pl.col("session").rank("dense")
    first = bars.filter(pl.col("session") <= snap["session"])["session"].n_unique()
    for path, want in (
        ([1.1], 1),
        ([1.2, 0.5], 2),
        ([0.5, 3.0], 5),
        ([1.4, 1.8, 0.1], 4),
        ([1.0] * 3, None),
    ):
        levels = [snap["upper"] * p for p in path]
        level = pl.lit(snap["upper"])
        for k, value in enumerate(levels, start=1):
            level = pl.when(at == first + k).then(value).otherwise(level)
        after = pl.col("session") > snap["session"]
        moved = bars.with_columns(
            pl.when(after).then(level).otherwise(pl.col(c)).alias(c) for c in ("open", "high", "low", "close")
        ).filter(pl.col("session").rank("dense") <= first + len(path))
        row = as_dict(breakout_labels(moved)).get(("S001", snap["session"]))
        if want in (4, 5) or path == [1.2, 0.5]:
            assert row is not None
            assert row[0] == want
        else:
            assert row is None, "the first-passage label is not over and the history is"


def test_on_one_bar_failure_comes_first() -> None:
    bars = random_bars(14, 900, seed=5)
    snap = pattern_observations(prepare(bars)).row(0, named=True)
    later = bars.filter(pl.col("session") > snap["session"])["session"].min()
    wild = (pl.col("session") == later) & (pl.col("symbol") == snap["symbol"])
    moved = bars.with_columns(
        pl.when(wild).then(snap["upper"] * 3).otherwise(pl.col("high")).alias("high"),
        pl.when(wild).then(snap["lower"] * 0.5).otherwise(pl.col("low")).alias("low"),
    )
    row = as_dict(breakout_labels(moved))[snap["symbol"], snap["session"]]
    assert row == (5, later, False)


def test_a_sleeping_market_stagnates() -> None:
    bars = sleeping_bars("Z", 800, asleep=300, restless=17)
    labels = breakout_labels(bars)
    assert labels.height > 100
    assert set(labels["target"]) == {0}
    sessions = bars["session"].to_list()
    gap = {sessions.index(e) - sessions.index(s) for s, e in labels.select("label_start", "label_end").rows()}
    assert gap == {100}


def test_the_race_is_configuration(bars: pl.DataFrame) -> None:
    short = breakout_labels(bars, first_passage=FirstPassageRules(horizon=10, gains=(0.5,)))
    assert set(short["target"]) <= {0, 1, 5}
    assert short["target"].eq(0).mean() > breakout_labels(bars)["target"].eq(0).mean()


def test_classes_have_their_values() -> None:
    assert dict(zip(CLASSES, STRATEGIC_VALUES, strict=True)) == {
        "K0_STAGNANT": -2.0,
        "K1_MINIMAL": -0.2,
        "K2_QUALITY": 1.0,
        "K3_STRONG": 3.0,
        "K4_EXCEPTIONAL": 10.0,
        "K5_FAILED": -10.0,
    }


@pytest.mark.real_data
def test_class_frequencies_on_real_data_are_those_measured_elsewhere(real_data: Path) -> None:
    """K0 9.4, K1 28.8, K2 21.4, K3 8.2, K4 2.5, K5 29.7 % by another implementation on a part of these names."""
    bars = pl.read_parquet(real_data / "us_equities_daily.parquet").rename({"date": "session"})
    names = bars["symbol"].unique().sort().gather_every(8)
    labels = breakout_labels(bars.filter(pl.col("symbol").is_in(names.implode())))
    share = np.bincount(labels["target"], minlength=6) / labels.height
    np.testing.assert_allclose(share, [0.094, 0.288, 0.214, 0.082, 0.025, 0.297], atol=0.05)
