"""A task without pages of its own gets the general ones: its measures beside their baselines, the primary one first."""

from dataclasses import replace

import pytest

from trademl_pipeline.reports import build_comparison, build_report
from trademl_pipeline.reports.judging import primary_tests
from trademl_pipeline.reports.tasks.pages import GENERAL, PAGES
from trademl_pipeline.tasks import TASKS
from trademl_pipeline.tasks.breakout import Breakout
from trademl_pipeline.tasks.direction import Direction
from trademl_pipeline_tests.reports.made_tasks import task_inputs
from trademl_pipeline_tests.reports.page import Page


@pytest.fixture
def report_of(monkeypatch, made, config, audits):
    """The report of a task as it is, under a name that has no pages."""

    def build(base, frames, skill=0.3, **changes):
        task = type("Plain", (base,), {"name": "plain", "report": replace(base.report, **changes)})()
        monkeypatch.setitem(TASKS, "plain", task)
        inputs = task_inputs(made, frames, skill, audits=audits)
        return build_report(inputs, replace(config, task="plain", study="plain"))

    return build


def test_every_task_with_pages_is_a_task_and_a_new_one_has_the_general_ones():
    assert set(PAGES) <= set(TASKS)
    assert "plain" not in PAGES
    assert GENERAL.assess is not PAGES["direction"].assess


def test_its_measures_are_shown_with_interval_baseline_and_n(report_of):
    report = report_of(Direction, "direction", 0.0, primary_metric="Brier score")
    (table,) = report.summary()["sections"]["scores"]["tables"]
    assert [row[0] for row in table["rows"]] == [
        "Brier score",
        "Rank IC",
        "Directional accuracy",
        "Class accuracy",
    ]
    for _, figure, interval, without_skill, n in table["rows"]:
        assert float(figure.removesuffix(" %"))
        assert " to " in interval
        assert without_skill
        assert n
    assert report.verdict.reasons[0].startswith("Primary metric: the Brier score is ")
    names = [line["name"] for line in report.summary()["lines"]]
    assert len(set(names)) == len(names)
    page = Page(report.to_html())
    assert page.errors == []
    assert "What the task is judged by" in " ".join(page.text)


def test_figures_that_every_task_has_are_those_of_the_task_with_pages(report_of, made, config, audits):
    plain = report_of(Direction, "direction").summary()
    own = build_report(task_inputs(made, "direction", 0.3, audits=audits), config).summary()
    for part in ("scores", "books", "gate", "folds", "compared"):
        assert plain[part] == own[part]
    assert plain["verdict"]["headline"] == own["verdict"]["headline"]


def test_ranks_show_no_edge_where_outcomes_end_at_barriers(report_of):
    report = report_of(Breakout, "breakout", 1.0)
    assert set(primary_tests(report.evaluation)) == {"score"}
    assert "correlation of score and return" in build_comparison([report.summary()]).to_markdown()


def test_a_primary_metric_that_cannot_be_told_says_so(report_of):
    silent = replace(Direction.report.measures[0], name="none", of=lambda rows, how: None)
    report = report_of(
        Direction, "direction", 0.0, measures=(silent, *Direction.report.measures), primary_metric="none"
    )
    assert "the none cannot be told from these rows" in report.verdict.reasons[0]
    assert "none" not in report.summary()["sections"]["scores"]["scores"]
