"""Names from data that mean something to HTML, Markdown, plotly or rich are shown letter by letter."""

import io
import json
import re
from dataclasses import replace
from html import unescape
from pathlib import Path

import polars as pl
import pytest
from rich.console import Console

from trademl_pipeline.reports import build_comparison, build_report, print_summary
from trademl_pipeline.reports.elements import grid, leading_word
from trademl_pipeline.reports.figure import Figure, plain
from trademl_pipeline.reports.markdown_text import Code, bullets, escaped, fenced, table_of
from trademl_pipeline.reports.section import Table
from trademl_pipeline_tests.reports.conftest import MONTHS, audit_row
from trademl_pipeline_tests.reports.made_tasks import extras, task_inputs
from trademl_pipeline_tests.reports.page import Page

HOSTILE = '<b>A&"B</b>'
NAMES = {"S00": HOSTILE, "S01": "@red", "S02": "a|b", "S03": "[x](http://x.org)"}
MEMBERS = {"lightgbm": HOSTILE, "xgboost": "@blue"}


def renamed(frame):
    if "symbol" in frame.columns:
        frame = frame.with_columns(pl.col("symbol").replace(NAMES))
    return frame.with_columns(pl.col("member").replace(MEMBERS)) if "member" in frame.columns else frame


@pytest.fixture(scope="module")
def hostile(made, config):
    """A report all of whose names are hostile: symbols, features, models, tables, probes, errors, the study itself."""
    inputs = task_inputs(made, "direction", 0.3)
    inputs = replace(inputs, **extras(inputs, "direction"))
    frames = {
        name: renamed(getattr(inputs, name))
        for name in ("predictions", "outcomes", "bars", "estimator_predictions", "training", "attention")
    }
    importances = pl.DataFrame(
        {
            "fold": MONTHS * 3,
            "feature": [HOSTILE] * 9 + ["@green"] * 9 + ["x`|y"] * 9,
            "importance": [0.4] * 27,
        }
    )
    audits = pl.DataFrame(
        [
            audit_row(
                f"features_{HOSTILE}",
                MONTHS[1],
                HOSTILE,
                False,
                detail=f"{HOSTILE} |\nmoved",
                coverage=json.dumps({HOSTILE: 5}),
            )
        ],
        infer_schema_length=None,
    )
    metadata = {HOSTILE: HOSTILE, "sheet": Path(f"{HOSTILE} ?.md")}
    inputs = replace(inputs, **frames, importances=importances, audits=audits, metadata=metadata)
    return build_report(inputs, replace(config, study=HOSTILE, title=HOSTILE, draws=100))


@pytest.fixture(scope="module")
def compared(hostile):
    summary = json.loads(json.dumps(hostile.summary(), allow_nan=False))
    return build_comparison([summary, summary | {"study": "@red"}])


def figures_of(html):
    return json.loads(re.search(r'id="figures">(.*?)</script>', html, re.DOTALL).group(1))


@pytest.mark.parametrize("which", ["hostile", "compared"])
def test_no_name_becomes_an_element_of_the_page(which, request):
    html = request.getfixturevalue(which).to_html()
    page = Page(html)
    assert "<b>" not in html
    assert page.errors == []
    assert page.open == []
    assert HOSTILE in page.text


def test_every_place_of_the_page_shows_the_name_as_it_is(hostile):
    text = Page(hostile.to_html()).text
    for shown in (HOSTILE, "@red", "a|b", "[x](http://x.org)", f"features_{HOSTILE}", f"{HOSTILE} |\nmoved"):
        assert shown in text
    # Heading, model, symbol of an example or of the best and worst, probe, and both sides of the metadata.
    assert text.count(HOSTILE) >= 6


def test_a_link_to_a_file_leads_to_the_file_whatever_its_name(hostile):
    assert 'href="%3Cb%3EA%26%22B%3C/b%3E%20%3F.md"' in hostile.to_html()


@pytest.mark.parametrize("which", ["hostile", "compared"])
def test_figures_name_what_they_draw_and_take_no_name_for_a_tag_or_a_colour(which, request):
    specs = figures_of(request.getfixturevalue(which).to_html())
    names = [
        name
        for spec in specs.values()
        for trace in spec["data"]
        for name in (*(trace["y"] if isinstance(trace["y"][0], str) else ()), trace.get("name", ""))
    ]
    assert not [name for name in names if "<" in name or name.startswith("@")]
    assert {HOSTILE, "@red" if which == "compared" else "@blue"} <= {unescape(name) for name in names}


def test_hover_texts_of_the_gate_are_escaped_but_for_their_line_break(hostile):
    (cells,) = figures_of(hostile.to_html())["gate"]["data"][0]["customdata"]
    assert f"refused, 1 violation<br>{plain(f'5 {HOSTILE}')}" in cells


def test_plotly_is_given_dates_and_numbers_as_they_are():
    data = [
        {"x": ["2019-01-02"], "y": [1.5, None], "marker": {"color": "@blue"}, "text": "a<br>b", "z": [[1]]}
    ]
    assert Figure("f", "", "", data, {}).spec()["data"] == data
    assert plain("@red") == "&#64;red"
    assert plain("a@b <i>") == "a@b &lt;i&gt;"


@pytest.mark.parametrize("which", ["hostile", "compared"])
def test_no_name_becomes_html_a_link_or_a_cell_of_the_document(which, request):
    text = request.getfixturevalue(which).to_markdown()
    outside_code = re.sub(r"(`+).+?\1", "", text)
    assert not re.search(r"<[A-Za-z/!?]", outside_code)
    assert "](" not in outside_code
    assert '&lt;b>A&"B&lt;/b>' in text
    tables = re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE)
    assert len(tables) >= 3
    for table in tables:
        widths = {len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}
        assert len(widths) == 1


def test_document_shows_features_as_code_even_with_backticks(hostile):
    text = hostile.to_markdown()
    assert f"| `{HOSTILE}` |" in text
    assert "| ``x`\\|y`` |" in text
    assert "moved | – | refused |" in text


def test_markdown_escapes_what_acts_and_leaves_the_rest():
    assert escaped("P(x > 0) <5 % & more") == "P(x > 0) <5 % & more"
    assert escaped("&lt; <!-- a\nb") == "&amp;lt; &lt;!-- a b"
    assert escaped("![x](http://x.org)") == "![x]\\(http://x.org)"
    assert bullets(["<i>a", "b"]) == "- &lt;i>a\n- b"
    assert table_of(["a"], [["b\\|c"], [Code("`")]]).splitlines()[2:] == ["| b&#92;\\|c |", "| `` ` `` |"]
    assert fenced("```\nx") == "````\n```\nx\n````"


def test_brackets_are_no_markup_of_the_terminal(hostile):
    summary = json.loads(json.dumps(hostile.summary(), allow_nan=False))
    lines = [summary["lines"][0] | {"name": "[red]x[/y]", "baselines": "1 [bold]"}]
    out = io.StringIO()
    print_summary(summary | {"title": "[/b] title", "lines": lines}, Console(file=out, width=140))
    for said in ("[/b] title", "[red]x[/y]", "1 [bold]"):
        assert said in out.getvalue()


def test_cells_of_a_wide_table_have_their_interval_below_and_bad_words_stand_out():
    wide = Table(
        ["", "a", "b", "c", "d", "e"], [["x", "1 (0 to 2)", "failed", "y" * 40, "", "z"]], left=frozenset({3})
    )
    made = grid(wide)
    assert [text for text, _ in made.head] == list(wide.head)
    assert [(c.text, c.under, c.bad, c.kind) for c in made.rows[0][:4]] == [
        ("x", "", False, ""), ("1", "0 to 2", False, ""), ("failed", "", True, ""), ("y" * 40, "", False, "left text")
    ]  # fmt: skip
    narrow = grid(Table(["", "a"], [["x", "1 (0 to 2)"]]))
    assert narrow.rows[0][1].text == "1 (0 to 2)"


def test_one_word_before_a_colon_leads_a_sentence():
    assert leading_word("Money: it earns.") == ("Money", "It earns.")
    assert leading_word("Of 3: none") == ("", "Of 3: none")
