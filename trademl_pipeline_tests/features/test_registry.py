"""The registry: sets, declarations, and what importing them costs."""

import subprocess
import sys

import polars as pl
import pytest

from trademl_pipeline.features import FEATURE_SETS, FEATURES, Feature, compute, engine, feature_inputs, warmup
from trademl_pipeline.features.engine import evaluate, stages, symbol_blocks
from trademl_pipeline.features.feature import Series
from trademl_pipeline.features.prepare import PANEL_COLUMNS, prepare
from trademl_pipeline.features.registry import DECLARED
from trademl_pipeline_tests.features.panels import random_bars, reference_bars, sectors


def test_the_four_sets_have_their_sizes() -> None:
    assert {name: len(names) for name, names in FEATURE_SETS.items()} == {
        "forecast": 21,
        "breakout": 69,
        "pattern": 17,
        "indicators": 60,
    }
    for names in FEATURE_SETS.values():
        assert len(set(names)) == len(names)
        assert set(names) <= set(FEATURES)


def test_columns_come_in_the_sets_order_and_type() -> None:
    for name, names in FEATURE_SETS.items():
        frame = compute(random_bars(2, 30), name)
        assert frame.columns == ["symbol", "session", *names]
        assert set(frame.dtypes[2:]) == {pl.Float64}


@pytest.mark.parametrize("name", sorted(FEATURES))
def test_declarations_are_complete(name: str) -> None:
    feature = FEATURES[name]
    assert all((feature.formula, feature.unit, feature.source))
    assert feature.warmup >= 0
    assert feature.low < feature.high
    inputs = feature_inputs(name)
    assert set(inputs) <= set(PANEL_COLUMNS)
    assert inputs


def test_inputs_are_followed_to_the_bars() -> None:
    assert feature_inputs("sma_distance_20") == ("close",)
    assert feature_inputs("mfi_14") == ("close", "high", "low", "volume")
    assert feature_inputs("sector_relative_strength") == ("sector_wealth", "wealth")
    assert feature_inputs("day_of_week_sin") == ("session",)
    assert set(feature_inputs("days_in_pattern")) == {"close", "high", "low", "volume"}


def test_values_stay_in_their_declared_range() -> None:
    bars = random_bars(8, 900, seed=5, zero_volume=0.02, gap=0.01)
    reference = reference_bars(900)
    for name, names in FEATURE_SETS.items():
        frame = compute(bars, name, reference=reference, universe=sectors(bars))
        for n in names:
            low, high = frame[n].min(), frame[n].max()
            assert low >= FEATURES[n].low - 1e-9, n
            assert high <= FEATURES[n].high + 1e-9, n
            assert frame[n].is_finite().all(), n


def test_a_sets_warmup_is_its_slowest_features() -> None:
    assert warmup("sma_distance_200") == 199
    assert warmup("indicators") == max(FEATURES[n].warmup for n in FEATURE_SETS["indicators"])


def test_importing_the_features_pulls_in_nothing_heavy() -> None:
    code = (
        "import sys; import trademl_pipeline.features;"
        "print(sorted({'numba', 'talib', 'torch', 'scipy', 'pandas'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_new_feature_is_one_declaration() -> None:
    mine = Feature("mine", pl.col("rsi_14") - 50, "rsi_14 - 50", warmup("rsi_14"), "points", "here")
    values = evaluate(prepare(random_bars(1, 60)), ["mine"], {**DECLARED, "mine": mine})
    assert values["mine"].drop_nulls().len() == 46


def test_features_that_read_each_other_are_refused() -> None:
    circle = {"a": Series("a", pl.col("b") + 1), "b": Series("b", pl.col("a") + 1)}
    with pytest.raises(ValueError, match="circle: a -> b -> a"):
        stages(["a"], circle, [])
    with pytest.raises(ValueError, match="nowhere, which c reads, is neither"):
        stages(["c"], {"c": Series("c", pl.col("nowhere"))}, ["close"])


def test_blocks_do_not_cut_symbols_and_change_no_value() -> None:
    panel = prepare(random_bars(9, 300))
    blocks = symbol_blocks(panel, 500)
    assert len(blocks) > 2
    assert pl.concat(blocks).equals(panel)
    assert sum(b["symbol"].n_unique() for b in blocks) == 9
    names = FEATURE_SETS["breakout"]
    assert evaluate(panel, names, DECLARED, chunk_rows=1).equals(evaluate(panel, names, DECLARED))


def test_small_panels_come_out_as_large_ones(monkeypatch) -> None:
    """Large ones are computed by several threads, small ones by one."""
    panel = prepare(random_bars(9, 300))
    names = FEATURE_SETS["indicators"]
    small = evaluate(panel, names, DECLARED)
    monkeypatch.setattr(engine, "SMALL_ROWS", 0)
    assert evaluate(panel, names, DECLARED).equals(small)


def test_infinite_values_become_null() -> None:
    careless = {"x": Series("x", pl.col("close") / (pl.col("close") - pl.col("close")))}
    assert evaluate(prepare(random_bars(1, 5)), ["x"], careless)["x"].null_count() == 5
