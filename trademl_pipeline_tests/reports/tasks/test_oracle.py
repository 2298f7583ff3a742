"""What the oracle's probabilities score, and the model's share of it."""

from dataclasses import replace

import polars as pl
import pytest

from trademl_pipeline.reports import build_report
from trademl_pipeline.reports.content import score_lines
from trademl_pipeline.reports.inputs import ReportError
from trademl_pipeline.tasks import TASKS
from trademl_pipeline_tests.reports.made_tasks import task_inputs

EXCESSES = {
    "breakout": {
        "EV correlation": ("EV correlation", ""),
        "Class accuracy": ("excess in Class accuracy", "majority"),
    },
    "pattern": {"AUC over all patterns": ("excess in AUC", "chance")},
}


def reported(made, config, task, skill, of_oracle):
    """A report whose model sees `skill` of what comes, and its oracle `of_oracle`, on the same outcomes."""
    columns = [c for view in TASKS[task].report.views for c in view.columns]
    oracle = task_inputs(made, task, of_oracle).predictions.select("symbol", "session", *columns)
    config = replace(config, task=task, simulated=True)
    return build_report(task_inputs(made, task, skill, oracle=oracle), config)


@pytest.mark.parametrize("task", EXCESSES)
def test_the_share_is_that_of_the_lead(made, config, task):
    report = reported(made, config, task, 1.2, 2.0)
    told, summary = report.evaluation.oracle.probability_scores, report.summary()
    lines = {line.name: line for line in score_lines(report.evaluation)}
    for name, (lead, floor) in EXCESSES[task].items():
        own, best = lines[name].score, told[name]
        none = own.baselines[floor] if floor else 0.0
        share = (own.value - none) / (best.value - none)
        assert 0 < share < 1
        assert summary["recovered"][lead] == pytest.approx(share)
        assert lines[name].oracle == best.value
    assert "of its" in " ".join(summary["verdict"]["reasons"])


@pytest.mark.parametrize("task", EXCESSES)
def test_a_model_that_is_the_oracle_recovers_all(made, config, task):
    report = reported(made, config, task, 0.8, 0.8)
    assert report.evaluation.oracle.probability_shares
    assert all(share == pytest.approx(1.0) for share in report.evaluation.oracle.probability_shares.values())


def test_an_oracle_of_other_rows_is_refused(made, config):
    oracle = task_inputs(made, "breakout", 1.0).predictions.with_columns(symbol=pl.lit("nobody"))
    with pytest.raises(ReportError, match="shares no"):
        build_report(task_inputs(made, "breakout", 0.3, oracle=oracle), replace(config, task="breakout"))
