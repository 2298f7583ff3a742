"""Feature sets: what each column says, and the gate on a month whose features know the future."""

from datetime import date

import polars as pl
import pytest

import trademl_pipeline.pipeline.features as features
from trademl_pipeline.features import FEATURE_SETS
from trademl_pipeline.features.panel import feature_month
from trademl_pipeline.features.registry import reference_inputs
from trademl_pipeline_tests.pipeline.made_inputs import (
    FIRST,
    MONTH,
    SAMPLE,
    STAGES,
    failed,
    poisoned,
    with_references,
)

pytestmark = pytest.mark.slow

REFERENCED = [name for name in FEATURE_SETS if reference_inputs(name)]


def test_the_column_of_a_feature_says_formula_unit_and_warmup() -> None:
    assert STAGES["features_indicators"].columns["rsi_14"] == (
        "100 up / (up + down), Wilder averages over 14 of rises and falls of close; 0 if none (0-100; warm-up 263 "
        "sessions; TA-Lib RSI)"
    )


@pytest.mark.parametrize("set_name", list(FEATURE_SETS))
def test_a_poisoned_feature_of_each_set_is_refused(bars: pl.DataFrame, set_name: str) -> None:
    column = FEATURE_SETS[set_name][0]

    def leak(bars: pl.DataFrame, name: str, month: str, **references: pl.DataFrame) -> pl.DataFrame:
        frame = feature_month(bars, name, month, **references)
        return frame.with_columns(pl.col(column).shift(-1).over("symbol"))

    report = poisoned(f"features_{set_name}", {"bars": bars}, features, "feature_month", leak)
    assert {"truncation", "perturbation"} <= failed(report)
    assert {v.column for v in report.violations} == {column}


@pytest.mark.parametrize("set_name", REFERENCED)
def test_a_feature_that_reads_tomorrows_reference_is_refused(
    bars: pl.DataFrame, references: pl.DataFrame, set_name: str
) -> None:
    def leak(bars: pl.DataFrame, name: str, month: str, *, reference: pl.DataFrame, **more) -> pl.DataFrame:
        ahead = reference.with_columns(pl.col("close").shift(-1).over("symbol"))
        return feature_month(bars, name, month, reference=ahead.drop_nulls("close"), **more)

    frames = with_references(bars, references)
    report = poisoned(f"features_{set_name}", frames, features, "feature_month", leak)
    assert {"truncation", "perturbation"} <= failed(report)
    assert all(reference_inputs(v.column or "") for v in report.violations)
    honest = STAGES[f"features_{set_name}"]
    assert honest.audit(honest.compute(frames, MONTH), frames, MONTH, SAMPLE).passed


@pytest.mark.parametrize("set_name", REFERENCED)
def test_without_references_the_features_of_them_are_null_and_the_others_as_ever(
    bars: pl.DataFrame, references: pl.DataFrame, set_name: str
) -> None:
    stage = STAGES[f"features_{set_name}"]
    bare, full = (stage.compute(f, MONTH) for f in ({"bars": bars}, with_references(bars, references)))
    reading = {name for name in FEATURE_SETS[set_name] if reference_inputs(name)}
    assert {name for name in FEATURE_SETS[set_name] if bare[name].null_count() == bare.height} == reading
    assert not any(full[name].null_count() for name in reading)
    assert bare.drop(*reading, "knowledge_time").equals(full.drop(*reading, "knowledge_time"))


@pytest.mark.parametrize("asset", [f"features_{name}" for name in FEATURE_SETS])
def test_the_first_month_of_a_history_passes_the_gate(bars: pl.DataFrame, asset: str) -> None:
    stage = STAGES[asset]
    frames = {"bars": bars.filter(pl.col("session") < date(2011, 11, 1))}
    month = stage.compute(frames, FIRST)
    assert month.height > 0
    assert stage.audit(month, frames, FIRST, SAMPLE).passed
