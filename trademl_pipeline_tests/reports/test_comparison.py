import io
import json
import re
from dataclasses import replace

import polars as pl
import pytest
from rich.console import Console

from trademl_pipeline.reports import ReportError, build_comparison, build_report, print_comparison
from trademl_pipeline.tasks import TASKS
from trademl_pipeline_tests.reports.made_tasks import extras, task_inputs
from trademl_pipeline_tests.reports.page import COLOURS, Page


@pytest.fixture(scope="module")
def summaries(made, config, audits):
    made_of = []
    for task in TASKS:
        inputs = task_inputs(made, task, 0.02, audits=audits)
        inputs = replace(inputs, **extras(inputs, task))
        report = build_report(inputs, replace(config, task=task, study=f"my_{task}"))
        made_of.append(json.loads(json.dumps(report.summary(), allow_nan=False)))
    return made_of


def as_kind(summary, kind):
    return summary | {"verdict": summary["verdict"] | {"kind": kind}}


@pytest.mark.slow
def test_worthless_studies_are_said_to_have_no_edge(summaries):
    report = build_comparison(summaries)
    assert report.kind == "no edge"
    assert report.headline == "None of 5 studies shows an edge."
    assert "**NO EDGE: None of 5 studies shows an edge.**" in report.to_markdown()
    # 1 - 0.95^5
    assert any("at least one shows an edge in about 23 % of cases" in r for r in report.reasons)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kinds", "kind", "headline"),
    [
        (["edge"] + ["no edge"] * 4, "edge", "1 of 5 studies shows an edge: my_direction."),
        (["edge"] * 2 + ["no edge"] * 3, "edge", "2 of 5 studies show an edge: my_direction, my_forecast."),
        (["edge"] * 5, "edge", "Edge in my_direction, my_forecast, my_breakout, my_pattern, my_hybrid."),
        (
            ["edge", "alarm", "no edge", "no edge", "alarm"],
            "alarm",
            "Alarm in my_forecast, my_hybrid: do not trade before it is explained; an edge in my_direction.",
        ),
    ],
)
def test_headline_counts_verdicts_and_alarms_come_first(summaries, kinds, kind, headline):
    report = build_comparison([as_kind(s, k) for s, k in zip(summaries, kinds, strict=True)])
    assert (report.kind, report.headline) == (kind, headline)


def test_every_form_shows_the_figures_of_every_study(summaries):
    out = io.StringIO()
    print_comparison(summaries, Console(file=out, width=200))
    report = build_comparison(summaries)
    page, text = " ".join(Page(report.to_html()).text), report.to_markdown()
    assert out.getvalue().count("rank IC") == 1
    for summary in summaries:
        ic = summary["compared"]["rank_ic"]
        value = f"{ic['value']:+.3f}".replace("-", "−")
        baseline = next(iter(summary["compared"]["accuracy"]["baselines"].values()))
        for form in (page, text, out.getvalue()):
            assert summary["study"] in form
            assert value in form
            assert f"{ic['low']:+.3f}".replace("-", "−") in form
            assert f"{100 * baseline:.1f} %" in form
            assert f"{summary['scored']:,}" in form
            assert "18 passed" in form


def test_table_fits_a_terminal_of_a_hundred_columns(summaries):
    out = io.StringIO()
    print_comparison(summaries, Console(file=out, width=100))
    lines = out.getvalue().splitlines()
    assert max(map(len, lines)) <= 100
    assert all(any(s["study"] in line for line in lines) for s in summaries)


def test_a_terminal_of_eighty_columns_shows_whole_cells(summaries):
    out = io.StringIO()
    print_comparison(summaries, Console(file=out, width=80))
    table = out.getvalue().split("Gate:")[0]
    # An ellipsis may only stand between the ends of an interval.
    assert not re.search(r"[a-z…]…|…(\s|$)", table)
    assert "all signals" in table
    assert "% all signals" not in table, "the baseline's name stands below its figure, where there is room"


@pytest.mark.parametrize(("kept", "said"), [(9, True), (0.9, False)])
def test_an_accuracy_of_few_rows_says_of_how_many(summaries, kept, said):
    first = dict(summaries[0])
    n = kept if isinstance(kept, int) else int(kept * first["scored"])
    accuracy = first["compared"]["accuracy"] | {"n": n}
    changed = [first | {"compared": first["compared"] | {"accuracy": accuracy}}, *summaries[1:]]
    for width in (80, 200):
        out = io.StringIO()
        print_comparison(changed, Console(file=out, width=width))
        assert (f"of {n:,}" in out.getvalue()) is said
    assert (f"of {n:,}" in build_comparison(changed).to_markdown()) is said


def test_page_is_whole_and_its_figure_known(summaries):
    html = build_comparison(summaries).to_html()
    page = Page(html)
    assert page.errors == []
    assert page.open == []
    assert page.references == []
    assert 'id="figure-studies"' in html
    assert set(COLOURS["light"]) == set(COLOURS["dark"])


def test_page_tells_what_each_verdict_rests_on(summaries):
    text = build_comparison(summaries).to_markdown()
    for summary in summaries:
        for look in summary["compared"]["looks"].values():
            assert f"{look['n']:,}" in text
    assert "| my_breakout | correlation of expected value and return |" in text
    assert "| my_pattern | return of kept signals less of all, points |" in text
    assert text.count("| no |") == 10


def test_cost_is_the_sum_over_folds_and_members(summaries):
    # Nine months of three members at 2.5 seconds; 8, 7 and 15 thousand parameters.
    assert {s["compared"]["cost"]["train_seconds"] for s in summaries} == {67.5}
    assert {s["compared"]["cost"]["parameters"] for s in summaries} == {30_000.0}
    assert "30,000" in build_comparison(summaries).to_markdown()


def test_share_of_the_oracle_is_shown_where_there_is_one(made, config):
    report = build_report(made.inputs(0.7, oracle=made.oracle()), replace(config, simulated=True))
    summary = report.summary()
    out = io.StringIO()
    print_comparison([summary], Console(file=out, width=160))
    share = report.evaluation.oracle.agreement.value
    assert f"{100 * share:.0f} %" in out.getvalue()
    assert "not a forecast of earnings" in out.getvalue()
    assert "of the oracle" in build_comparison([summary]).to_markdown()


def test_refused_gate_shows(made, config, audits):
    late = audits.with_columns(passed=pl.lit(False)).head(1)
    summary = build_report(made.inputs(audits=late), config).summary()
    out = io.StringIO()
    print_comparison([summary], Console(file=out, width=160))
    assert "1 refused" in out.getvalue()
    bare = build_report(made.inputs(), config).summary()
    assert "no audit" in build_comparison([bare]).to_markdown()


def test_files_are_written_where_a_report_is(summaries, tmp_path):
    paths = build_comparison(summaries).write(tmp_path / "comparison")
    assert json.loads(paths.summary.read_text())["studies"][2]["study"] == "my_breakout"
    assert paths.html.name == "report.html"


def test_what_cannot_be_compared_is_named(summaries):
    with pytest.raises(ReportError, match="no summary to compare"):
        build_comparison([])
    with pytest.raises(ReportError, match=r"\['my_direction'\] come more than once"):
        build_comparison([summaries[0], summaries[0]])
    old = {k: v for k, v in summaries[1].items() if k != "compared"}
    with pytest.raises(ReportError, match=r"\['my_forecast'\] lack the compared figures"):
        build_comparison([old])
