"""Consolidation patterns: the gate on a month whose patterns know their end."""

import polars as pl
import pytest

import trademl_pipeline.pipeline.patterns as patterns
from trademl_pipeline.features.pattern_month import pattern_month
from trademl_pipeline_tests.pipeline.made_inputs import failed, poisoned

pytestmark = pytest.mark.slow


def test_a_pattern_that_knows_its_end_is_refused(bars: pl.DataFrame) -> None:
    def leak(bars: pl.DataFrame, month: str) -> pl.DataFrame:
        return pattern_month(bars, month).with_columns(
            pl.col("days_since_activation").max().over("pattern").alias("days_since_activation")
        )

    report = poisoned("patterns", {"bars": bars}, patterns, "pattern_month", leak)
    assert "truncation" in failed(report)


def test_a_pattern_that_is_shown_only_if_it_lasts_is_refused(bars: pl.DataFrame) -> None:
    def leak(bars: pl.DataFrame, month: str) -> pl.DataFrame:
        return pattern_month(bars, month).filter(pl.len().over("pattern") > 6)

    report = poisoned("patterns", {"bars": bars}, patterns, "pattern_month", leak)
    assert "truncation" in failed(report)
    assert "active" in {v.column for v in report.violations}
