"""Pieces of the HTML pages: the document around them, tables, sections and the places of figures."""

import json
import re
from collections.abc import Iterable, Sequence
from html import escape

from trademl_pipeline.reports.figure import Figure
from trademl_pipeline.reports.section import Section, Table
from trademl_pipeline.reports.style import CSS, SCRIPT

BAD = frozenset({"failed", "refused"})
WIDE, LONG = 5, 36
WITH_INTERVAL = re.compile(r"(.+?) \((.+ to .+)\)")


def document(title: str, body: str, drawn: Iterable[Figure]) -> str:
    """A page that needs nothing else: style, script and plotly.js are inside.

    Args:
        title: plain text.
        body: HTML.
        drawn: the figures whose places are in the body.
    """
    from plotly.offline import get_plotlyjs

    specs = {f.id: {"data": f.data, "layout": f.layout, "height": f.height} for f in drawn}
    # "</" would end the script element early.
    data = json.dumps(specs, separators=(",", ":"), allow_nan=False).replace("</", "<\\/")
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{CSS}</style>\n</head>\n<body>\n<main>\n{body}\n</main>\n"
        f'<script type="application/json" id="figures">{data}</script>\n'
        f"<script>{get_plotlyjs()}</script>\n<script>{SCRIPT}</script>\n</body>\n</html>\n"
    )


def verdict_html(kind: str, label: str, headline: str, reasons: Iterable[str]) -> str:
    """The box that comes first: label, headline, and the reasons with their leading word in bold."""
    items = "".join(f"<li>{_lead(reason)}</li>" for reason in reasons)
    return (
        f'<section class="verdict {kind.replace(" ", "-")}" aria-label="Verdict">'
        f'<span class="label">{escape(label)}</span>'
        f'<p class="headline">{escape(headline)}</p><ul>{items}</ul></section>'
    )


def _lead(sentence: str) -> str:
    """The word before a leading colon in bold."""
    word, colon, rest = sentence.partition(": ")
    if colon and " " not in word:
        return f"<strong>{escape(word)}.</strong> {escape(rest[:1].upper() + rest[1:])}"
    return escape(sentence)


def section_html(part: Section) -> str:
    """A part of a report: heading, paragraphs, figures, tables, code."""
    texts = "".join(f"<p>{escape(text)}</p>" for text in part.text)
    code = f"<pre>{escape(part.code)}</pre>" if part.code else ""
    tables = "".join(_plain_table(t) for t in part.tables)
    drawn = "".join(figure_html(f) for f in part.figures)
    return f"<h2>{escape(part.title)}</h2>\n{texts}{drawn}{tables}{code}"


def _plain_table(table: Table) -> str:
    folded = len(table.head) > WIDE

    def cell(number: int, text: str) -> tuple[str, str]:
        if text in BAD:
            shown = f'<span class="refused">{escape(text)}</span>'
        elif folded and (parts := WITH_INTERVAL.fullmatch(text)):
            shown = f'{escape(parts[1])}<span class="under">{escape(parts[2])}</span>'
        else:
            shown = escape(text)
        if number == 0:
            return shown, "row"
        return shown, ("left text" if len(text) > LONG else "left") if number in table.left else ""

    head = [(escape(h), "left" if i in table.left else "") for i, h in enumerate(table.head)]
    rows = [[cell(i, text) for i, text in enumerate(row)] for row in table.rows]
    title = f"<h3>{escape(table.title)}</h3>" if table.title else ""
    note = f'<p class="note">{escape(table.note)}</p>' if table.note else ""
    return f"{title}{table_html(head, rows)}{note}"


def figure_html(figure: Figure | None) -> str:
    """The place of a figure, which the page's script fills; nothing for None."""
    if figure is None:
        return ""
    return (
        f'<figure class="figure" style="margin-inline:0"><h3>{escape(figure.title)}</h3>'
        f"<figcaption>{escape(figure.caption)}</figcaption>"
        f'<div class="plot" id="figure-{figure.id}" role="img" style="min-height:{figure.height}px" '
        f'aria-label="{escape(figure.title)}. {escape(figure.caption)}"></div></figure>'
    )


def row_head(text: str) -> tuple[str, str]:
    """A cell that names its row."""
    return escape(text), "row"


def table_html(head: Sequence[str | tuple[str, str]], rows: Iterable[Sequence[str | tuple[str, str]]]) -> str:
    """A table of HTML cells; a cell may be (HTML, class), and the class "row" makes it the row's header."""

    def cell(value: str | tuple[str, str], tag: str) -> str:
        html, kind = value if isinstance(value, tuple) else (value, "")
        if kind == "row":
            return f'<th scope="row">{html}</th>'
        scope = ' scope="col"' if tag == "th" else ""
        return f"<{tag}{scope}{f' class={chr(34)}{kind}{chr(34)}' if kind else ''}>{html}</{tag}>"

    top = f"<thead><tr>{''.join(cell(c, 'th') for c in head)}</tr></thead>" if head else ""
    body = "".join(f"<tr>{''.join(cell(c, 'td') for c in row)}</tr>" for row in rows)
    return f'<div class="scroll" tabindex="0"><table>{top}<tbody>{body}</tbody></table></div>'
