from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from trademl_pipeline.reports import build_report
from trademl_pipeline_tests.reports.made_tasks import task_inputs


@pytest.fixture(scope="module")
def pattern(config):
    return replace(config, task="pattern", ic_ceiling=1.0, direction_ceiling=1.0, sharpe_ceiling=1e3)


def test_gain_of_filtering_is_that_of_the_rows(made, pattern):
    inputs = task_inputs(made, "pattern", 0.3)
    report = build_report(inputs, pattern)
    rows = inputs.predictions.join(inputs.outcomes, on=["symbol", "session"])
    gained = (rows["direction"] * rows["forward_return"]).to_numpy()
    kept = (rows["confidence"] >= 0.6).to_numpy()
    scores = report.summary()["sections"]["filter"]["scores"]
    assert scores["mean return gained by the filter"]["value"] == pytest.approx(
        gained[kept].mean() - gained.mean()
    )
    hit = gained > 0
    assert scores["hit rate gained by the filter"]["value"] == pytest.approx(hit[kept].mean() - hit.mean())
    accuracy = report.summary()["compared"]["accuracy"]
    assert accuracy["value"] == pytest.approx(hit[kept].mean())
    assert accuracy["baselines"]["all_signals"] == pytest.approx(hit.mean())


def test_confidence_that_knows_is_an_edge_and_one_that_does_not_is_none(made, pattern):
    knowing = build_report(task_inputs(made, "pattern", 0.4), pattern)
    assert knowing.verdict.kind == "edge"
    assert "gained by the filter" not in knowing.verdict.headline
    assert build_report(task_inputs(made, "pattern", 0.0), pattern).verdict.kind == "no edge"


def test_patterns_told_without_gain_are_no_edge(made, pattern):
    inputs = task_inputs(made, "pattern", 1.0)
    blind = np.random.default_rng(3).random(inputs.predictions.height)
    sign = np.sign(np.random.default_rng(4).standard_normal(inputs.predictions.height))
    p = inputs.predictions.with_columns(
        confidence=pl.Series(blind), direction=pl.Series(sign).cast(pl.Int8), score=pl.Series(sign * blind)
    )
    verdict = build_report(replace(inputs, predictions=p), pattern).verdict
    assert verdict.kind == "no edge"
    assert "patterns are told apart" in verdict.headline


def test_patterns_are_scored_where_they_can_be_told(made, pattern):
    inputs = task_inputs(made, "pattern", 0.5)
    scores = build_report(inputs, pattern).summary()["sections"]["patterns"]["scores"]
    told = inputs.outcomes["trend_exhaustion"].is_not_null().sum()
    assert scores["trend exhaustion: AUC"]["n"] == told
    rows = inputs.predictions.join(inputs.outcomes, on=["symbol", "session"]).drop_nulls("trend_exhaustion")
    right = (rows["p_trend_exhaustion"] > 0.5) == (rows["trend_exhaustion"] == 1)
    assert scores["trend exhaustion: accuracy"]["value"] == pytest.approx(right.mean())


def test_pattern_that_never_came_is_told_and_not_scored(made, pattern):
    inputs = task_inputs(made, "pattern", 0.5)
    blank = inputs.outcomes.with_columns(volume_divergence=pl.lit(None, pl.Int8))
    report = build_report(replace(inputs, outcomes=blank), pattern)
    rows = report.summary()["sections"]["patterns"]["tables"][0]["rows"]
    assert [r[:2] for r in rows][-1] == ["volume divergence", "0"]
    assert len(report.evaluation.classes) == 3
    report.to_html()


def test_filter_that_keeps_nothing_says_so(made, pattern):
    report = build_report(task_inputs(made, "pattern"), replace(pattern, confidence_threshold=2.0))
    assert "the filter keeps nothing" in " ".join(report.verdict.reasons)
    assert report.evaluation.portfolio is None


def test_rows_without_a_technical_signal_have_nothing_to_filter(made, pattern):
    inputs = task_inputs(made, "pattern")
    silent = inputs.predictions.with_columns(direction=pl.lit(0, pl.Int8), score=pl.lit(0.0))
    report = build_report(replace(inputs, predictions=silent), pattern)
    assert "nothing to filter" in " ".join(report.verdict.reasons)
    report.to_html()
