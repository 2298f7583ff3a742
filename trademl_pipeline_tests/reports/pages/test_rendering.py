import re
import tomllib
from fnmatch import fnmatch
from importlib.resources import files
from pathlib import Path

import pytest
from jinja2 import UndefinedError

from trademl_pipeline.reports.figure import Figure
from trademl_pipeline.reports.pages.rendering import render_page, static_text
from trademl_pipeline.reports.section import Section, Table
from trademl_pipeline_tests.reports.page import COLOURS, Page

PACKAGE = "trademl_pipeline.reports.pages"
ROOT = Path(__file__).parents[3]

EMPTY = {
    "heading": "H",
    "kind": "edge",
    "label": "Edge",
    "headline": "One.",
    "reasons": [],
    "sections": [],
    "note": "N",
}


def page(**changes):
    return render_page("comparison.html.j2", "T", [], **(EMPTY | changes))


def test_every_template_and_file_is_shipped():
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"][
        PACKAGE
    ]
    folder = files(PACKAGE)
    found = [f"{room}/{file.name}" for room in ("templates", "static") for file in (folder / room).iterdir()]
    assert len(found) >= 8
    assert [f for f in found if not any(fnmatch(f, pattern) for pattern in declared)] == []


def test_style_and_script_are_inside_as_they_are_in_their_files():
    html = page()
    assert static_text("report.css") in html
    assert static_text("report.js") in html
    assert Page(html).references == []


def test_values_are_escaped_wherever_they_stand():
    hostile = "</title></style><script>alert(1)</script>"
    html = page(
        heading=hostile, label=hostile, headline=hostile, reasons=[hostile, f"word: {hostile}"], note=hostile
    )
    assert "<script>alert" not in html
    assert Page(html).errors == []
    assert "".join(Page(html).text).count(hostile) == 6


def test_a_value_that_a_template_asks_for_and_nobody_gives_is_an_error():
    without = {name: value for name, value in EMPTY.items() if name != "note"}
    with pytest.raises(UndefinedError, match="note"):
        render_page("comparison.html.j2", "T", [], **without)


def test_a_figure_with_a_number_that_json_does_not_know_is_refused():
    figure = Figure("f", "F", "", [{"type": "scatter", "y": [float("nan")]}], {})
    with pytest.raises(ValueError, match="JSON compliant"):
        render_page("comparison.html.j2", "T", [figure], **EMPTY)


def test_braces_of_the_style_sheet_balance_and_every_colour_it_uses_exists():
    css = re.sub(r"/\*.*?\*/", "", static_text("report.css"), flags=re.DOTALL)
    depth = 0
    for mark in re.findall(r"[{}]", css):
        depth += 1 if mark == "{" else -1
        assert 0 <= depth <= 2
    assert depth == 0
    used = set(re.findall(r"var\(--([\w-]+)\)", css))
    own = set(re.findall(r"--([\w-]+):", css))
    assert used <= own
    assert set(COLOURS["light"]) == set(COLOURS["dark"])
    assert len(COLOURS["light"]) > 10


def test_tables_and_figures_that_need_room_scroll_within_their_own_box():
    table = Table(["study", "n"], [["a", "1"]])
    narrow, wide = Figure("narrow", "F", "", [], {}), Figure("wide", "F", "", [], {}, min_width=600)
    html = page(sections=[Section("s", "S", tables=[table, table], figures=[narrow, wide])])
    boxed = re.findall(
        r'<div class="scroll" tabindex="0">\s*<(\w+)(?: class="plot" id="figure-(\w+)")?', html
    )
    assert boxed == [("div", "wide"), ("table", ""), ("table", "")]
    assert html.count("<table>") == 2
    assert "min-width: 600px" in html
    rule = re.search(r"\.scroll \{(.*?)\}", static_text("report.css"), re.DOTALL).group(1)
    assert "overflow-x: auto" in rule
