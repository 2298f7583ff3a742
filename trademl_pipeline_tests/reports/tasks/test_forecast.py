from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from trademl_pipeline.evaluation.metrics import Score
from trademl_pipeline.reports import build_report
from trademl_pipeline.reports.lines import Line
from trademl_pipeline.reports.tasks.forecast import DECAY, _reached, ewma_volatility
from trademl_pipeline.reports.tasks.published import FORECAST_TARGETS
from trademl_pipeline_tests.reports.made_tasks import task_inputs


@pytest.fixture(scope="module")
def forecast(config):
    return replace(config, task="forecast")


def section(report):
    return report.summary()["sections"]["forecast"]


def told(inputs, **means):
    """The inputs with other means."""
    p = inputs.predictions.join(
        inputs.outcomes.select("symbol", "session", "return_1", "return_30"), on=["symbol", "session"]
    ).with_columns(**means)
    p = p.with_columns(score=pl.col("mean_1") / pl.col("volatility_1"))
    return replace(inputs, predictions=p.drop("return_1", "return_30"))


def test_perfect_forecast_reaches_every_target_and_raises_the_alarm(made, forecast):
    inputs = told(
        task_inputs(made, "forecast"), mean_1=pl.col("return_1"), mean_30=pl.col("return_30").fill_null(0.0)
    )
    report = build_report(inputs, forecast)
    assert report.verdict.kind == "alarm"
    scores = section(report)["scores"]
    for horizon in (1, 30):
        assert scores[f"Directional accuracy, {horizon}"]["value"] == 1
        assert scores[f"MAPE of price, {horizon}"]["value"] == pytest.approx(0, abs=1e-12)
        assert scores[f"Correlation, {horizon}"]["value"] == pytest.approx(1)
    hoped = section(report)["tables"][-1]
    assert len(hoped["rows"]) == 8
    assert all(row[-1].startswith("stretch") for row in hoped["rows"])


def test_last_price_reaches_the_price_error_and_nothing_else(made, forecast):
    inputs = told(task_inputs(made, "forecast"), mean_1=pl.lit(1e-9), mean_30=pl.lit(1e-9))
    report = build_report(inputs, forecast)
    assert report.verdict.kind == "no edge"
    reached = {row[0]: row[-1] for row in section(report)["tables"][-1]["rows"]}
    assert reached["MAPE of price, 1 session"] == "stretch, as without skill"
    assert reached["Correlation, 1 session"] == "–"
    assert section(report)["scores"]["MAPE less the last price's, points, 1"]["value"] == pytest.approx(
        0, abs=1e-8
    )


def test_errors_and_baselines_are_those_of_the_rows(made, forecast):
    inputs = task_inputs(made, "forecast", 0.2)
    scores = section(build_report(inputs, forecast))["scores"]
    rows = inputs.predictions.join(
        inputs.outcomes.select("symbol", "session", "return_30"), on=["symbol", "session"]
    ).drop_nulls("return_30")
    gap = (rows["mean_30"] - rows["return_30"]).to_numpy()
    got = scores["MAPE of price, 30"]
    assert got["n"] == rows.height
    assert got["value"] == pytest.approx(np.abs(np.expm1(gap)).mean())
    assert got["baselines"]["no_change"] == pytest.approx(
        np.abs(np.expm1(-rows["return_30"].to_numpy())).mean()
    )
    assert scores["Correlation, 30"]["value"] == pytest.approx(
        np.corrcoef(rows["mean_30"], rows["return_30"])[0, 1]
    )
    up = (rows["return_30"] > 0).mean()
    assert scores["Directional accuracy, 30"]["baselines"]["always_up"] == pytest.approx(up)


def test_outcomes_of_thirty_sessions_may_be_unknown_throughout(made, forecast):
    inputs = task_inputs(made, "forecast")
    blank = inputs.outcomes.with_columns(
        return_30=pl.lit(None, pl.Float64), volatility_30=pl.lit(None, pl.Float64)
    )
    text = build_report(replace(inputs, outcomes=blank), forecast).to_markdown()
    assert "No outcome over 30 sessions is known yet." in text


def test_baseline_of_volatility_is_the_recursion_and_reads_nothing_later(made):
    got = ewma_volatility(made.bars)
    own = made.bars.filter(pl.col("symbol") == "S03").sort("session")
    r = np.diff(np.log(own["close"].to_numpy()))
    weights = DECAY ** np.arange(len(r))[::-1]
    expected = np.sqrt((weights * r**2).sum() / weights.sum())
    last = got.filter(pl.col("symbol") == "S03").sort("session")
    assert last["ewma"][-1] == pytest.approx(expected)
    assert last.height == len(r) - 19
    cut = own["session"][60]
    early = ewma_volatility(made.bars.filter(pl.col("session") <= cut))
    assert early.sort("symbol", "session").equals(
        got.filter(pl.col("session") <= cut).sort("symbol", "session")
    )


def test_splits_and_dividends_are_no_volatility():
    days = pl.date_range(pl.date(2020, 1, 1), pl.date(2020, 3, 1), eager=True)
    close = np.where(np.arange(len(days)) < 30, 100.0, 50.0)
    split = np.where(np.arange(len(days)) == 30, 2.0, 1.0)
    bars = pl.DataFrame({"symbol": "A", "session": days, "close": close, "split_factor": split})
    assert ewma_volatility(bars)["ewma"].max() == 0


def test_mark_reached_without_skill_is_named():
    target = FORECAST_TARGETS[1][2]

    def reached(value, baseline):
        score = Score("Sharpe of the sign", value, None, None, 9, 9, baselines={"always_long": baseline})
        return _reached(Line("Sharpe of the sign", score, "number"), target)

    assert reached(2.5, 0.3) == "stretch"
    assert reached(2.5, 1.6) == "stretch; without skill target"
    assert reached(2.5, 2.1) == "stretch, as without skill"
    assert reached(1.0, 2.1) == "no"


def test_published_targets_are_those_of_the_table():
    marks = {h: {t.name: (t.target, t.stretch) for t in targets} for h, targets in FORECAST_TARGETS.items()}
    assert marks[1] == {
        "Directional accuracy": (0.60, 0.65), "MAPE of price": (0.05, 0.03),
        "Sharpe of the sign": (1.5, 2.0), "Correlation": (0.5, 0.7),
    }  # fmt: skip
    assert marks[30] == {
        "Directional accuracy": (0.55, 0.60), "MAPE of price": (0.10, 0.08),
        "Sharpe of the sign": (1.2, 1.5), "Correlation": (0.4, 0.6),
    }  # fmt: skip
    error = FORECAST_TARGETS[1][1]
    assert [error.reached(v) for v in (0.06, 0.04, 0.02, None)] == ["no", "target", "stretch", "–"]
