from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from trademl_pipeline.reports import build_report
from trademl_pipeline_tests.reports.made_tasks import task_inputs


@pytest.fixture(scope="module")
def hybrid(config):
    return replace(config, task="hybrid")


def test_gain_of_sizing_is_that_of_the_rows(made, hybrid):
    inputs = task_inputs(made, "hybrid", 0.2)
    score = build_report(inputs, hybrid).summary()["sections"]["sizing"]["scores"]["gain of sizing"]
    rows = inputs.predictions.join(inputs.outcomes, on=["symbol", "session"])
    w, r = rows["position"].to_numpy(), rows["forward_return"].to_numpy()
    assert score["value"] == pytest.approx((w * r).sum() / np.abs(w).sum() - (np.sign(w) * r).mean())


def test_sizes_that_know_gain_and_equal_sizes_gain_nothing(made, hybrid):
    inputs = task_inputs(made, "hybrid")
    known = made.outcomes["forward_return"].to_numpy()
    for position, sure in ((known, True), (np.sign(known) * 0.5, False)):
        p = inputs.predictions.with_columns(position=pl.Series(position))
        score = build_report(replace(inputs, predictions=p), hybrid).summary()["sections"]["sizing"]["scores"]
        assert (score["gain of sizing"]["low"] > 1e-6) == sure


def test_no_position_has_no_size_to_judge(made, hybrid):
    inputs = task_inputs(made, "hybrid")
    flat = inputs.predictions.with_columns(position=pl.lit(0.0))
    report = build_report(replace(inputs, predictions=flat), hybrid)
    assert "no position" in " ".join(report.verdict.reasons)
    assert "no position" in report.to_markdown()


def test_each_head_has_its_own_figure(made, hybrid):
    inputs = task_inputs(made, "hybrid", 0.3)
    heads = build_report(inputs, hybrid).summary()["sections"]["heads"]["scores"]
    outcome = inputs.outcomes["return_4"].to_numpy()
    said = inputs.predictions["return_4"].to_numpy()
    assert heads["Return over 4 bars: correlation"]["value"] == pytest.approx(
        np.corrcoef(said, outcome)[0, 1]
    )
    for name in ("Volatility: correlation", "Risk: correlation with the size of the move",
                 "Confidence: AUC for a right direction", "Position: correlation with the return"):  # fmt: skip
        assert heads[name]["low"] is not None


def test_risk_is_held_against_the_deepest_loss_where_it_is_known(made, hybrid):
    inputs = task_inputs(made, "hybrid", 0.3)
    risk = inputs.predictions["risk"]
    fell = inputs.outcomes.with_columns(drawdown_24=-risk)
    heads = build_report(replace(inputs, outcomes=fell), hybrid).summary()["sections"]["heads"]["scores"]
    assert heads["Risk: correlation with the deepest loss"]["value"] == pytest.approx(-1)


def test_hit_rates_lie_between_none_and_all(made, hybrid):
    inputs = task_inputs(made, "hybrid")
    few = inputs.predictions.filter(pl.col("session") < pl.date(2019, 1, 18))
    rows = build_report(replace(inputs, predictions=few), hybrid).summary()["sections"]["sizing"]["tables"][
        0
    ]["rows"]
    for row in rows:
        assert "(−" not in row[3]
        assert all(
            float(x) <= 100
            for x in row[3].replace("%", "").replace("(", "").replace(")", "").split()
            if x != "to"
        )
