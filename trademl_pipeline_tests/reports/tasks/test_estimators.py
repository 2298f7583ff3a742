from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from trademl_pipeline.reports import ReportError, build_report
from trademl_pipeline.reports.content import sections
from trademl_pipeline.reports.tasks.training import training_section
from trademl_pipeline.tasks import TASKS
from trademl_pipeline_tests.reports.made_tasks import extras, task_inputs
from trademl_pipeline_tests.reports.page import Page


def with_extras(made, task, skill=0.3):
    inputs = task_inputs(made, task, skill)
    return replace(inputs, **extras(inputs, task))


@pytest.mark.slow
@pytest.mark.parametrize("task", list(TASKS))
def test_members_of_every_task_are_judged_beside_the_study(made, config, task):
    report = build_report(with_extras(made, task), replace(config, task=task))
    table = report.summary()["sections"]["members"]["tables"][0]
    names = [row[0] for row in table["rows"]]
    assert names[0] == "the study"
    assert names[-1] == "without skill"
    assert set(names[1:-1]) == {"lightgbm", "xgboost", "mamba_attention"}
    by_name = {row[0]: dict(zip(table["head"], row, strict=True)) for row in table["rows"]}
    assert by_name["lightgbm"]["parameters"] == "8,000"
    assert by_name["lightgbm"]["seconds a fold"] == "2.5"
    # The first member is the study itself, without noise of its own.
    assert by_name["lightgbm"]["rank IC"] == by_name["the study"]["rank IC"]
    assert by_name["lightgbm"]["IC less the study's"].startswith("0.000")
    report.to_html()
    report.to_markdown()


def test_models_of_the_published_design_stand_beside_what_it_reports(made, config):
    inputs = with_extras(made, "direction")
    table = build_report(inputs, config).summary()["sections"]["members"]["tables"][0]
    at = table["head"].index("published")
    assert {row[0]: row[at] for row in table["rows"]}["xgboost"] == "46 to 50 %"


def test_members_are_compared_on_shared_rows_only(made, config):
    inputs = with_extras(made, "direction")
    fewer = inputs.estimator_predictions.filter((pl.col("member") != "xgboost") | (pl.col("symbol") != "S00"))
    section = next(
        s
        for s in sections(build_report(replace(inputs, estimator_predictions=fewer), config).evaluation)
        if s.id == "members"
    )
    expected = inputs.predictions.filter(pl.col("symbol") != "S00").height
    assert section.tables[0].rows[0][1] == f"{expected:,}"


def test_member_that_lacks_a_column_is_refused(made, config):
    inputs = with_extras(made, "direction")
    with pytest.raises(ReportError, match=r"estimator_predictions lack the columns \['p_hold'\]"):
        build_report(
            replace(inputs, estimator_predictions=inputs.estimator_predictions.drop("p_hold")), config
        )
    twice = pl.concat([inputs.estimator_predictions, inputs.estimator_predictions.head(1)])
    with pytest.raises(ReportError, match=r"estimator_predictions repeat \(symbol, session, member\)"):
        build_report(replace(inputs, estimator_predictions=twice), config)


def test_examples_are_as_sure_and_as_right_as_they_are_called(made, config):
    inputs = with_extras(made, "direction")
    report = build_report(inputs, config)
    part = report.evaluation.examples
    assert [f.id for f in part.figures] == ["attention"]
    heat = part.figures[0].data[0]
    assert heat["x"] == list(range(-59, 1))
    assert heat["y"][-1] == "mean of 200 windows"
    assert len(heat["y"]) == len(part.tables[0].rows) + 1
    rows = inputs.predictions.join(inputs.outcomes, on=["symbol", "session"])
    for why, symbol, session, *_ in part.tables[0].rows:
        row = rows.filter(pl.col("symbol") == symbol, pl.col("session").cast(pl.String) == session)
        right = row["score"][0] * row["forward_return"][0] > 0
        assert right == {"surest, and right": True, "surest, and wrong": False}.get(why, right)


def test_gap_between_training_and_validation_is_told():
    folds = pl.DataFrame(
        {"fold": ["2019-01-01", "2019-02-01"], "train_loss": [0.5, 0.6], "validation_loss": [0.7, 0.5]}
    )
    section = training_section(folds)
    assert "+0.050 on average, and on the worse side in 1 of 2 folds" in section.text[0]
    assert np.isclose(float(folds["validation_loss"].std()), 0.1414, atol=1e-3)
    assert "standard deviation 0.141" in section.text[0]
    assert training_section(folds.drop("train_loss")) is None
    assert training_section(None) is None


def test_cross_validation_is_told_by_symbol(made, config):
    frame = pl.DataFrame(
        {"symbol": ["A", "A", "B"], "split": [0, 1, 0], "rows": [10, 20, 5], "auc": [0.5, 0.7, None]}
    )
    report = build_report(made.inputs(cross_validation=frame), config)
    rows = report.summary()["sections"]["cross_validation"]["tables"][0]["rows"]
    assert rows == [["A", "2", "30", "0.600 (0.500 to 0.700)"], ["B", "1", "5", "–"]]
    assert "cross_validation" not in build_report(made.inputs(), config).summary()["sections"]


@pytest.mark.parametrize("task", ["breakout", "pattern"])
def test_foreign_names_cannot_break_the_page(made, config, task):
    hostile = "</script><b>x</b> | y"
    inputs = with_extras(made, task)
    named = pl.when(pl.col("member") == "xgboost").then(pl.lit(hostile)).otherwise("member").alias("member")
    symbol = pl.col("symbol").replace("S00", hostile)
    inputs = replace(
        inputs,
        predictions=inputs.predictions.with_columns(symbol, certificate=pl.lit(hostile)),
        outcomes=inputs.outcomes.with_columns(symbol),
        bars=inputs.bars.with_columns(symbol),
        estimator_predictions=inputs.estimator_predictions.with_columns(symbol, named),
        attention=inputs.attention.with_columns(symbol),
        metadata={"x": hostile},
    )
    page = Page(build_report(inputs, replace(config, task=task, study=hostile)).to_html())
    assert page.errors == []
    assert page.scripts == 3
    assert hostile in " ".join(page.text)
