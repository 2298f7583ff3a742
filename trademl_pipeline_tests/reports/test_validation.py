import io
import json
import re
from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import plotly.graph_objects as go
import polars as pl
import pytest
from rich.console import Console
from scipy.stats import spearmanr

from trademl_pipeline.leakage import Suspicion
from trademl_pipeline.portfolio.long_short import LongShortConfig
from trademl_pipeline.reports import ReportError, build_report, print_summary
from trademl_pipeline.reports.content import score_lines
from trademl_pipeline.reports.figures import figures
from trademl_pipeline_tests.reports.conftest import MONTHS, audit_row
from trademl_pipeline_tests.reports.page import COLOURS, Page


@pytest.fixture(scope="module")
def skilled(made, config, audits):
    importances = pl.DataFrame(
        {"fold": MONTHS * 2, "feature": ["rsi_14"] * 9 + ["adx_14"] * 9, "importance": [0.7] * 9 + [0.3] * 9}
    )
    folds = pl.DataFrame(
        {
            "fold": MONTHS,
            "train_start": [date(2017, 1, 3)] * 9,
            "train_end": [date(2018, 12, 20)] * 9,
            "rows": [12345] * 9,
            "snapshot": [41] * 9,
            "model_run": ["0123456789abcdef"] * 9,
        }
    )
    inputs = made.inputs(
        0.7,
        oracle=made.oracle(),
        audits=audits,
        importances=importances,
        folds=folds,
        metadata={"market source": "made up", "code version": "1.2.3", "model info sheet": Path("sheet.md")},
    )
    return build_report(inputs, replace(config, simulated=True))


@pytest.fixture(scope="module")
def worthless(made, config, audits):
    return build_report(made.inputs(0.0, audits=audits), config)


def test_worthless_forecasts_get_no_edge(worthless):
    assert worthless.verdict.kind == "no edge"
    assert "cannot be told from chance" in worthless.verdict.headline
    assert "**NO EDGE:" in worthless.to_markdown()


def test_forecasts_that_know_the_future_raise_the_alarm(made, config, audits):
    report = build_report(made.inputs(future=1.0, audits=audits), config)
    assert report.verdict.kind == "alarm"
    assert "suspect a leak" in report.verdict.headline
    assert "above the ceiling of 0.06" in report.verdict.reasons[0]


def test_rank_ic_above_the_ceiling_by_luck_is_no_alarm(made, config):
    inputs = made.inputs()
    month = replace(inputs, predictions=inputs.predictions.filter(pl.col("fold") == MONTHS[1]))
    report = build_report(month, replace(config, ic_ceiling=-1.0))
    assert report.evaluation.rank_ic.low < 0
    assert report.verdict.kind == "no edge"


def test_forecasts_better_than_the_oracle_raise_the_alarm(made, config):
    report = build_report(made.inputs(0.7, future=1.0, oracle=made.oracle()), config)
    assert report.verdict.kind == "alarm"
    assert "beats the oracle" in report.verdict.reasons[0]


def test_skill_below_the_oracle_is_an_edge_whatever_the_ceiling(skilled):
    e = skilled.evaluation
    assert e.rank_ic.value > 0.06
    assert skilled.verdict.kind == "edge"
    assert e.rank_ic.value < e.oracle.rank_ic.value
    assert e.oracle.ic_share == pytest.approx(e.rank_ic.value / e.oracle.rank_ic.value)
    assert any("planted" in r for r in skilled.verdict.reasons)


@pytest.mark.slow
def test_agreement_with_the_oracle_is_free_of_the_luck_of_outcomes(made, config):
    inputs = made.inputs(0.5, oracle=made.oracle())
    outcomes = inputs.outcomes.with_columns(pl.col("forward_return").shuffle(seed=1).over("session"))
    told = build_report(inputs, config).evaluation.oracle
    other = build_report(replace(inputs, outcomes=outcomes), config).evaluation.oracle
    assert 0.3 < told.agreement.value < 1
    assert other.agreement.value == pytest.approx(told.agreement.value)
    assert other.rank_ic.value < told.rank_ic.value - 0.05
    lines = {line.name: line for line in score_lines(build_report(inputs, config).evaluation)}
    assert lines["Rank correlation with the oracle"].score == told.agreement
    own = made.oracle().rename({"expected_return": "score"}).select("symbol", "session", "score")
    best = inputs.predictions.drop("score").join(own, on=["symbol", "session"], how="left")
    perfect = build_report(replace(inputs, predictions=best), config).evaluation.oracle
    assert perfect.agreement.value == pytest.approx(1.0)


def test_same_skill_without_an_oracle_is_too_good_for_daily_returns(made, config):
    assert build_report(made.inputs(0.7), config).verdict.kind == "alarm"


def test_refused_month_among_the_figures_raises_the_alarm(made, config, audits):
    late = pl.DataFrame(
        [audit_row("features_indicators", MONTHS[3], "truncation", False, at=9, detail="rsi_14 moves")],
        infer_schema_length=None,
    )
    report = build_report(made.inputs(audits=pl.concat([audits, late], how="diagonal_relaxed")), config)
    assert report.verdict.kind == "alarm"
    assert "2019-04" in report.verdict.reasons[0]
    assert "rsi_14 moves" in report.to_html()


def test_refused_month_without_predictions_is_told_but_no_alarm(made, config, audits):
    late = pl.DataFrame(
        [audit_row("features_indicators", MONTHS[3], "truncation", False, at=9, detail="rsi_14 moves")],
        infer_schema_length=None,
    )
    inputs = made.inputs(audits=pl.concat([audits, late], how="diagonal_relaxed"))
    inputs = replace(inputs, predictions=inputs.predictions.filter(pl.col("fold") != MONTHS[3]))
    report = build_report(inputs, config)
    assert report.verdict.kind == "no edge"
    text = report.to_markdown()
    assert "What the refused 1 month would have brought (2019-04)" in text
    assert report.summary()["gate"]["refused"] == [{"table": "features_indicators", "month": MONTHS[3]}]


def test_without_audits_the_report_says_that_nothing_was_shown(made, config):
    report = build_report(made.inputs(), config)
    assert any("no audit was given" in r for r in report.verdict.reasons)
    assert "No audit was given" in report.to_html()


def test_figures_are_those_of_the_data(made, worthless):
    inputs = made.inputs()
    rows = inputs.predictions.join(inputs.outcomes, on=["symbol", "session"])
    right = np.sign(rows["score"].to_numpy()) == np.sign(rows["forward_return"].to_numpy())
    daily = [
        spearmanr(g["score"], g["forward_return"]).statistic
        for _, g in rows.group_by("session", maintain_order=True)
    ]
    up = (rows["forward_return"] > 0).mean()
    for text in (worthless.to_markdown(), " ".join(Page(worthless.to_html()).text)):
        assert f"{100 * right.mean():.1f} %" in text
        assert f"{np.mean(daily):+.3f}".replace("-", "−") in text
        assert f"{100 * max(up, 1 - up):.1f} %" in text
        assert f"{rows.height:,}" in text
    assert worthless.summary()["scores"]["daily rank IC"]["value"] == pytest.approx(np.mean(daily))


def test_every_figure_stands_beside_interval_baselines_and_n(skilled):
    for line in skilled.summary()["lines"]:
        assert line["n"] > 0
        assert " to " in line["interval"]
        assert line["baselines"]


def test_page_needs_nothing_else(skilled):
    html = skilled.to_html()
    page = Page(html)
    assert page.references == []
    assert page.errors == []
    assert page.open == []
    assert page.scripts == 3
    style = re.search(r"<style>(.*?)</style>", html, re.DOTALL).group(1)
    assert "@import" not in style
    assert "url(" not in style
    assert len(html.encode()) < 6e6


def test_figures_are_valid_plotly_and_their_colours_exist(skilled):
    made_figures = figures(skilled.evaluation)
    assert set(made_figures) == {
        "equity", "ic_monthly", "ic_cumulative", "calibration", "confusion", "importance", "gate"
    }  # fmt: skip
    html = skilled.to_html()
    for figure in made_figures.values():
        text = json.dumps([figure.data, figure.layout])
        for name in re.findall(r'"@(\w+)"', text):
            assert name in COLOURS["light"]
            assert name in COLOURS["dark"]
        data, layout = json.loads(re.sub(r'"@\w+"', '"#123456"', text))
        go.Figure(data=data, layout=layout)
        assert f'id="figure-{figure.id}"' in html


def test_equity_figure_ends_where_the_book_ends(skilled):
    e = skilled.evaluation
    lines = {line["name"]: line for line in figures(e)["equity"].data}
    last = lines["held 5 sessions, after costs"]["y"][-1]
    assert last == pytest.approx(e.net.total_return + 1, rel=1e-5)
    assert lines["held 1 session, before costs"]["y"][-1] == pytest.approx(
        e.benchmark_portfolio.gross.total_return + 1, rel=1e-5
    )


def test_confusion_counts_every_scored_row(skilled):
    e = skilled.evaluation
    assert e.confusion.sum() == e.scored
    assert np.trace(e.confusion) / e.scored == pytest.approx(e.class_accuracy.value)


def test_fold_table_says_what_was_trained_on_what(skilled):
    folds = skilled.summary()["folds"]
    assert [f["fold"] for f in folds] == MONTHS
    assert folds[0]["train_end"] == "2018-12-20"
    text = " ".join(Page(skilled.to_html()).text)
    for said in ("2017-01-03 to 2018-12-20", "12,345", "01234567", "41"):
        assert said in text


def test_folds_are_told_from_the_predictions_where_no_table_is_given(worthless):
    assert {f["snapshot"] for f in worthless.summary()["folds"]} == {41}


def test_foreign_text_cannot_break_the_page(made, config):
    hostile = "</script><script>alert(1)</script>"
    audits = pl.DataFrame(
        [audit_row(f"features_{hostile}", MONTHS[0], "truncation", detail=hostile)], infer_schema_length=None
    )
    report = build_report(
        made.inputs(audits=audits, metadata={hostile: hostile}), replace(config, title=f"{hostile} | x")
    )
    page = Page(report.to_html())
    assert page.scripts == 3
    assert page.errors == []


def test_summary_is_plain_json_and_prints_the_same_figures(skilled):
    summary = json.loads(json.dumps(skilled.summary(), allow_nan=False))
    out = io.StringIO()
    print_summary(summary, Console(file=out, width=140))
    printed = out.getvalue()
    assert "EDGE" in printed
    assert "Recovered of the oracle" in printed
    for line in summary["lines"]:
        assert line["value"] in printed
        assert line["interval"] in printed


def test_files_are_written_whole_or_not_at_all(worthless, tmp_path, monkeypatch):
    paths = worthless.write(tmp_path / "direction")
    assert sorted(p.name for p in paths.html.parent.iterdir()) == ["report.html", "report.md", "summary.json"]
    assert json.loads(paths.summary.read_text())["verdict"]["kind"] == "no edge"
    before = paths.markdown.read_text()

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr("trademl_pipeline.reports.writing.os.replace", fail)
    with pytest.raises(OSError, match="disk full"):
        worthless.write(tmp_path / "direction")
    assert paths.markdown.read_text() == before
    assert len(list(paths.html.parent.iterdir())) == 3


def test_same_inputs_and_seed_give_the_same_bytes(made, config, worthless, audits):
    again = build_report(made.inputs(0.0, audits=audits), config)
    assert again.to_markdown() == worthless.to_markdown()
    assert again.summary() == worthless.summary()


def test_few_symbols_have_no_rank_correlation_but_a_report(made, config):
    inputs = made.inputs()
    few = replace(
        inputs, predictions=inputs.predictions.filter(pl.col("symbol").is_in(["S00", "S01", "S02"]))
    )
    report = build_report(few, replace(config, portfolio=LongShortConfig(weighting="sign")))
    assert report.evaluation.rank_ic is None
    assert "no session has the 5 symbols" in report.verdict.reasons[0]
    assert Page(report.to_html()).errors == []
    assert "ic_monthly" not in figures(report.evaluation)
    report.to_markdown()
    json.dumps(report.summary(), allow_nan=False)


def test_few_sessions_have_no_interval_and_no_edge(made, config):
    inputs = made.inputs(0.7)
    short = replace(inputs, predictions=inputs.predictions.filter(pl.col("session") <= date(2019, 1, 8)))
    report = build_report(short, replace(config, ic_ceiling=1.0))
    assert report.verdict.kind == "no edge"
    assert "too few sessions" in report.verdict.headline
    assert "no interval" in report.to_markdown()
    assert Page(report.to_html()).errors == []


def test_predictions_without_an_outcome_are_counted_not_scored(made, config):
    inputs = made.inputs()
    late = replace(inputs, outcomes=inputs.outcomes.filter(pl.col("session") < date(2019, 9, 1)))
    report = build_report(late, config)
    e = report.evaluation
    assert e.scored < e.predictions
    assert f"{e.predictions - e.scored} predictions without an outcome yet" in report.to_markdown()


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda i: replace(i, predictions=i.predictions.clear()), "predictions are empty"),
        (lambda i: replace(i, outcomes=i.outcomes.clear()), "outcomes are empty"),
        (lambda i: replace(i, bars=i.bars.clear()), "bars are empty"),
        (lambda i: replace(i, predictions=i.predictions.drop("p_buy")), r"predictions lack .*p_buy"),
        (lambda i: replace(i, audits=i.bars), "audits lack"),
        (lambda i: replace(i, outcomes=pl.concat([i.outcomes, i.outcomes.head(1)])), "outcomes repeat"),
        (
            lambda i: replace(i, outcomes=i.outcomes.with_columns(pl.col("session").dt.offset_by("10y"))),
            "none of .* predictions has an outcome yet",
        ),
        (
            lambda i: replace(
                i, oracle=i.outcomes.select("symbol", "session", expected_return="forward_return").clear()
            ),
            "oracle shares no",
        ),
    ],
)
def test_what_cannot_be_reported_is_named(made, config, spoil, message):
    with pytest.raises(ReportError, match=message):
        build_report(spoil(made.inputs()), config)


@pytest.mark.slow
def test_worthless_forecasts_rarely_look_like_an_edge(made, config):
    edges = 0
    for seed in range(60):
        noise = np.random.default_rng(1000 + seed).standard_normal(len(made.noise))
        report = build_report(replace(made, noise=noise).inputs(), config)
        edges += report.verdict.kind != "no edge"
    # Two primary tests at 2.5 %; the 99.9 % point of a binomial of 60 at 5 % is 9.
    assert edges <= 9


def test_files_beside_the_report_are_linked(skilled):
    assert '<a href="sheet.md">sheet.md</a>' in skilled.to_html()
    assert "sheet.md" in skilled.to_markdown()


def test_a_suspicious_column_stands_under_the_gate_and_raises_no_alarm(made, config, audits):
    suspicion = Suspicion("rsi_14", 0.31, 0.02, 240, 4800, 0.14)
    coverage = json.dumps({"columns": 3, "suspicious": [suspicion.to_plain()]})
    row = audit_row("features_indicators", MONTHS[3], "plausibility", at=9) | {"coverage": coverage}
    late = pl.DataFrame([row], infer_schema_length=None)
    report = build_report(made.inputs(audits=pl.concat([audits, late], how="diagonal_relaxed")), config)
    assert report.verdict.kind != "alarm"
    for text in (report.to_html(), report.to_markdown()):
        assert "Suspicious columns" in text
        assert "rsi_14 ranks the returns to the next session" in text
    assert report.summary()["gate"]["refused"] == []
