import json
import re
from dataclasses import replace

import numpy as np
import plotly.graph_objects as go
import polars as pl
import pytest

from trademl_pipeline.reports import ReportError, build_report
from trademl_pipeline.reports.content import sections
from trademl_pipeline.reports.figures import figures
from trademl_pipeline.tasks import TASKS
from trademl_pipeline_tests.reports.made_tasks import task_inputs
from trademl_pipeline_tests.reports.page import COLOURS, Page


@pytest.fixture(scope="module", params=list(TASKS))
def report(request, made, config, audits):
    inputs = task_inputs(made, request.param, 0.3, audits=audits)
    return build_report(inputs, replace(config, task=request.param, study=request.param))


def test_report_has_verdict_interval_and_n_in_every_form(report):
    summary = json.loads(json.dumps(report.summary(), allow_nan=False))
    page, text = " ".join(Page(report.to_html()).text), report.to_markdown()
    for form in (page, text):
        assert report.verdict.headline in form
        for line in summary["lines"]:
            assert line["value"] in form
            assert " to " in line["interval"]
            assert line["n"] > 0
            assert line["baselines"]


def test_page_nests_and_needs_nothing_else(report):
    page = Page(report.to_html())
    assert page.errors == []
    assert page.open == []
    assert page.references == []


def test_all_figures_are_valid_plotly_with_known_colours(report):
    e = report.evaluation
    drawn = [*figures(e).values(), *(f for part in sections(e) for f in part.figures)]
    assert len({f.id for f in drawn}) == len(drawn)
    for figure in drawn:
        text = json.dumps([figure.data, figure.layout], allow_nan=False)
        assert set(re.findall(r'"@(\w+)"', text)) <= set(COLOURS["light"]) & set(COLOURS["dark"])
        data, layout = json.loads(re.sub(r'"@\w+"', '"#123456"', text))
        go.Figure(data=data, layout=layout)


def test_every_table_of_a_section_has_as_many_cells_as_headings(report):
    for part in sections(report.evaluation):
        for table in part.tables:
            assert table.rows
            assert {len(row) for row in table.rows} == {len(table.head)}


def test_only_figures_that_make_sense_are_shown(report):
    e, task = report.evaluation, report.evaluation.config.task
    names = {line["name"] for line in report.summary()["lines"]}
    assert ("Directional accuracy" in names) == (task != "breakout")
    assert ("Brier score" in names) == (task in ("direction", "breakout", "hybrid"))
    assert len(e.classes) == {"forecast": 0, "pattern": 4}.get(task, 1)
    assert ("calibration" in figures(e)) == (task != "forecast")


def test_confusion_counts_every_row_whose_class_is_known(report):
    for classes in report.evaluation.classes:
        assert classes.confusion.shape == (len(classes.view.labels),) * 2
        assert classes.confusion.sum() == classes.n


@pytest.mark.parametrize("task", [t for t in TASKS if TASKS[t].predicted])
def test_missing_column_of_a_task_is_named(made, config, task):
    inputs = task_inputs(made, task)
    column = TASKS[task].predicted[0]
    with pytest.raises(ReportError, match=rf"predictions lack .*{column}.*task '{task}'"):
        build_report(replace(inputs, predictions=inputs.predictions.drop(column)), replace(config, task=task))


def test_unknown_task_is_refused(config):
    with pytest.raises(ReportError, match=r"'tea'.*direction, forecast, breakout, pattern, hybrid"):
        replace(config, task="tea")


def test_forecasts_are_judged_over_one_session_whatever_the_horizon(made, config):
    inputs = task_inputs(made, "forecast", 0.3)
    e = build_report(inputs, replace(config, task="forecast", horizon=30)).evaluation
    assert e.config.horizon == 1
    known = inputs.outcomes.drop_nulls("return_1")
    right = np.sign(inputs.predictions["score"].to_numpy()) == np.sign(known["return_1"].to_numpy())
    assert e.directional_accuracy.value == pytest.approx(right.mean())


def test_breakout_without_a_signal_has_no_book_but_a_report(made, config):
    inputs = task_inputs(made, "breakout")
    silent = replace(inputs, predictions=inputs.predictions.with_columns(signal=pl.lit("AVOID")))
    report = build_report(silent, replace(config, task="breakout"))
    assert report.evaluation.portfolio is None
    assert "no prediction calls for a trade" in " ".join(report.verdict.reasons)
    assert "there is no portfolio" in report.to_markdown()
    assert "equity" not in figures(report.evaluation)
    assert Page(report.to_html()).errors == []


def test_breakout_book_is_long_the_signals_only(made, config):
    book = build_report(
        task_inputs(made, "breakout", 1.0), replace(config, task="breakout")
    ).evaluation.portfolio
    assert (book.portfolio.signals["weight"] > 0).all()


def test_certificates_are_told_by_fold_and_their_lack_as_well(made, config):
    inputs = task_inputs(made, "forecast")
    bare = pl.when(pl.col("fold") == "2019-03-01").then(None).otherwise(pl.lit("d1" * 32))
    report = build_report(
        replace(inputs, predictions=inputs.predictions.with_columns(certificate=bare)),
        replace(config, task="forecast"),
    )
    by_fold = dict(report.evaluation.certificates.select("fold", "certificate").rows())
    assert by_fold["2019-03-01"] is None
    assert by_fold["2019-04-01"] == "d1" * 32
    lacking = inputs.predictions.filter(pl.col("fold") == "2019-03-01").height
    for form in (report.to_markdown(), " ".join(Page(report.to_html()).text)):
        assert f"{lacking} predictions of" in form
        assert "d1" * 32 in form


def test_predictions_without_certificates_say_so(made, config):
    assert "The predictions carry no certificates." in build_report(made.inputs(), config).to_markdown()


def test_folds_of_a_quarter_are_judged_as_one(made, config):
    inputs = made.inputs()
    quarter = pl.col("session").dt.truncate("1q").dt.strftime("%Y-%m-%d")
    e = build_report(
        replace(inputs, predictions=inputs.predictions.with_columns(fold=quarter)), config
    ).evaluation
    assert e.folds["fold"].to_list() == ["2019-01-01", "2019-04-01", "2019-07-01"]
    assert e.folds["ic"].mean() == pytest.approx(e.rank_ic.value, abs=0.005)


def test_scores_have_names_that_a_tracker_takes_and_none_hides_another(report):
    e, summary = report.evaluation, report.summary()
    assert all(re.fullmatch(r"[\w .:/-]+", name) for name in summary["scores"])
    lines = len(e.task.lines) + 3 * (len(e.classes) == 1)
    common = [e.directional_accuracy, e.directional_excess, e.rank_ic, e.icir]
    assert len(summary["scores"]) == lines + sum(s is not None for s in common)
    if e.directional_accuracy:
        assert summary["scores"]["directional accuracy"]["value"] == e.directional_accuracy.value


def test_chosen_trades_are_read_beside_the_same_book_without_the_choice(report):
    e = report.evaluation
    line = next(x for x in report.summary()["lines"] if x["name"] == "Sharpe ratio after costs")
    if not e.config.kind.unfiltered_portfolio:
        assert line["baselines"] == "0 by chance"
        return
    assert line["baselines"].endswith(e.config.kind.unfiltered_portfolio)
    both = e.portfolio.portfolio.equity.join(
        e.benchmark_portfolio.portfolio.equity, on="session", suffix="_other"
    )
    gap = 252 * (both["net_return"] - both["net_return_other"]).mean()
    assert e.excess.value == pytest.approx(gap)
    assert "Against that the evaluated portfolio earns more by" in report.to_markdown()
