"""Tries in a report: they widen what an edge has to clear, deflate the Sharpe ratio, and stand beside the verdict."""

import io
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from trademl_pipeline.evaluation.scores import Score
from trademl_pipeline.evaluation.tries import Tries
from trademl_pipeline.reports import ReportConfig, ValidationReport, build_report, print_summary
from trademl_pipeline.reports.tries import above_zero_for, tries_sentence, widening


def report_after(made, config: ReportConfig, tries: Tries | None) -> ValidationReport:
    trials = tries.trials if tries else 1
    inputs = made.inputs(0.35, oracle=made.oracle())
    return build_report(inputs, replace(config, simulated=True, trials=trials, tries=tries))


def one_of(n: int, **more) -> Tries:
    return Tries(n, n, n, **more)


def test_an_edge_is_one_no_more_when_it_is_the_best_of_many(made, config) -> None:
    alone, once = report_after(made, config, None), report_after(made, config, one_of(1))
    assert alone.verdict.kind == once.verdict.kind == "edge"
    assert alone.verdict.headline == once.verdict.headline
    many = report_after(made, config, Tries(2, 2, 10**60))
    assert many.verdict.kind == "no edge"
    assert "the best of 1,000,000" in many.verdict.headline


def test_the_deflated_sharpe_falls_with_every_try(made, config) -> None:
    figures = [report_after(made, config, one_of(n)).summary()["books"]["net"] for n in (1, 2, 5)]
    deflated = [figure["deflated_sharpe"] for figure in figures]
    assert deflated[0] == figures[0]["probabilistic_sharpe"]
    assert deflated[0] > deflated[1] > deflated[2]


def test_tries_stand_beside_the_verdict_in_every_form(made, config) -> None:
    report = report_after(made, config, Tries(3, 9, 5, searched=4))
    for text in (report.to_html(), report.to_markdown()):
        assert "3 tries of these outcomes, 9 sets of predictions scored" in text
        assert "Deflated for 13 trials" in text
        assert "4 configurations that searches tried on inner rows" in text
    summary = report.summary()
    assert summary["tries"]["tries"] == 3
    out = io.StringIO()
    print_summary(summary, Console(file=out, width=200))
    assert (
        "Tries: 3 tries of these outcomes, 9 sets of predictions scored, 4 configurations searched"
        in out.getvalue()
    )


def test_where_looks_may_be_missing_the_number_is_a_lower_bound_and_the_edge_says_so(made, config) -> None:
    report = report_after(made, config, one_of(2, complete=False, missing="predictions of 2014-02 are older"))
    assert report.verdict.kind == "edge"
    assert "at least 2 tries: earlier looks at these outcomes are not on record" in report.verdict.headline
    document = report.to_markdown()
    assert "Deflated for at least 2 trials" in document
    assert "predictions of 2014-02 are older" in document
    assert "At least 2 trials on record" in document


def test_a_report_of_frames_alone_says_nothing_of_tries(made, config) -> None:
    report = report_after(made, config, None)
    assert report.summary()["tries"] is None
    assert "tries of these outcomes" not in report.to_markdown()


def test_one_set_of_predictions_widens_nothing() -> None:
    assert widening(1) == 1.0
    assert widening(2) == pytest.approx(2.2414 / 1.95996, abs=1e-4)
    assert "1 try on record" in tries_sentence(one_of(1))


@given(st.floats(-1, 1), st.floats(0, 1), st.integers(1, 500))
def test_more_tries_never_make_an_edge(value: float, half: float, n: int) -> None:
    score = Score("a figure", value, value - half, value + half, 10, 10)
    assert (
        above_zero_for(score, None)
        >= above_zero_for(score, one_of(n))
        >= above_zero_for(score, one_of(n + 1))
    )
    if above_zero_for(score, one_of(1)):
        assert score.low is not None
        assert score.low > 0
