"""The report as one HTML page that needs nothing else: style, script and plotly.js are inside."""

import json
import re
from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

from trademl_pipeline.reports import content, ranges
from trademl_pipeline.reports.evaluation import Evaluation
from trademl_pipeline.reports.figure import Figure
from trademl_pipeline.reports.figures import figures
from trademl_pipeline.reports.gate_results import PROBES
from trademl_pipeline.reports.section import Section, Table
from trademl_pipeline.reports.style import CSS, SCRIPT
from trademl_pipeline.reports.text import count, number
from trademl_pipeline.reports.verdict import LABELS

SHOWN_REFUSALS = 50
BAD = frozenset({"failed", "refused"})
WIDE, LONG = 5, 36
WITH_INTERVAL = re.compile(r"(.+?) \((.+ to .+)\)")


def page(e: Evaluation) -> str:
    """The whole page."""
    from plotly.offline import get_plotlyjs

    drawn = figures(e)
    parts = content.sections(e)
    drawn |= {f.id: f for part in parts for f in part.figures}
    specs = {f.id: {"data": f.data, "layout": f.layout, "height": f.height} for f in drawn.values()}
    # "</" would end the script element early.
    data = json.dumps(specs, separators=(",", ":"), allow_nan=False).replace("</", "<\\/")
    title = f"{e.config.study}: {LABELS[e.verdict.kind].lower()}, {e.first} to {e.last}"
    own = [_section(part) for part in e.task.sections]
    shown = _section(e.examples) if e.examples else ""
    sections = (_head(e), _figures_of_merit(e), *own, _money(e, drawn), _skill(e, drawn),
                _section(e.consistency), _probabilities(drawn), _section(e.drift), _inputs(drawn), shown,
                _gate(e, drawn), _folds(e), _limits(e), _about(e))  # fmt: skip
    body = "\n".join(s for s in sections if s)
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{CSS}</style>\n</head>\n<body>\n<main>\n{body}\n</main>\n"
        f'<script type="application/json" id="figures">{data}</script>\n'
        f"<script>{get_plotlyjs()}</script>\n<script>{SCRIPT}</script>\n</body>\n</html>\n"
    )


def _head(e: Evaluation) -> str:
    verdict = e.verdict
    kind = verdict.kind.replace(" ", "-")
    reasons = "".join(f"<li>{_lead(r)}</li>" for r in verdict.reasons)
    scope = "".join(f"<div><dt>{escape(n)}</dt><dd>{escape(v)}</dd></div>" for n, v in content.scope(e))
    market = "simulated market" if e.config.simulated else "out of sample, walk-forward"
    return (
        f"<header><p>Validation report · {escape(e.config.study)} · {market}</p>"
        f"<h1>{escape(e.config.title)}</h1></header>\n"
        f'<section class="verdict {kind}" aria-label="Verdict">'
        f'<span class="label">{LABELS[verdict.kind]}</span>'
        f'<p class="headline">{escape(verdict.headline)}</p><ul>{reasons}</ul></section>\n'
        f'<dl class="scope">{scope}</dl>'
    )


def _lead(sentence: str) -> str:
    """The word before a leading colon in bold."""
    word, colon, rest = sentence.partition(": ")
    if colon and " " not in word:
        return f"<strong>{escape(word)}.</strong> {escape(rest[:1].upper() + rest[1:])}"
    return escape(sentence)


def _figures_of_merit(e: Evaluation) -> str:
    lines = content.score_lines(e)
    oracle = any(line.oracle is not None for line in lines)
    head = [
        "",
        "figure",
        "95 % interval",
        ("", "left"),
        "without skill",
        *(["oracle"] if oracle else []),
        "n",
    ]
    rows = [
        [
            _th(line.name),
            f"<strong>{escape(line.value)}</strong>",
            escape(line.interval),
            ranges.drawing(line),
            (escape(line.baselines), "quiet narrow"),
            *([escape(line.oracle_text)] if oracle else []),
            count(line.score.n),
        ]
        for line in lines
    ]
    key = (
        f'<p class="note">{ranges.KEY_FIGURE}figure and interval{ranges.KEY_BASELINE}without skill'
        + (f"{ranges.KEY_ORACLE}oracle" if oracle else "")
        + f". {escape(content.lower_is_better(e))} Intervals draw whole sessions in blocks, so that overlapping "
        "outcomes and common days do not make them narrow.</p>"
    )
    return f"<h2>The figures</h2>\n{_table(head, rows)}\n{key}"


def _money(e: Evaluation, drawn: dict[str, Figure]) -> str:
    note = f'<p class="note">{escape(content.book_rule(e))}</p>'
    head = ["", *(name for name, _ in content.books(e))]
    rows = [[_th(name), *(escape(v) for v in values)] for name, values in content.book_rows(e)]
    if not rows:
        return f"<h2>What it would have earned</h2>\n{note}"
    return f"<h2>What it would have earned</h2>\n{note}\n{_figure(drawn.get('equity'))}\n{_table(head, rows)}"


def _skill(e: Evaluation, drawn: dict[str, Figure]) -> str:
    plots = _figure(drawn.get("ic_monthly")) + _figure(drawn.get("ic_cumulative"))
    return f'<h2>Skill over time</h2>\n<div class="pair">{plots}</div>' if plots else ""


def _probabilities(drawn: dict[str, Figure]) -> str:
    plots = _figure(drawn.get("calibration")) + _figure(drawn.get("confusion"))
    return f'<h2>Are the probabilities right?</h2>\n<div class="pair">{plots}</div>' if plots else ""


def _section(part: Section) -> str:
    texts = "".join(f"<p>{escape(text)}</p>" for text in part.text)
    code = f"<pre>{escape(part.code)}</pre>" if part.code else ""
    tables = "".join(_plain_table(t) for t in part.tables)
    drawn = "".join(_figure(f) for f in part.figures)
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
    return f"{title}{_table(head, rows)}{note}"


def _inputs(drawn: dict[str, Figure]) -> str:
    figure = drawn.get("importance")
    return f"<h2>What the model uses</h2>\n{_figure(figure)}" if figure else ""


def _gate(e: Evaluation, drawn: dict[str, Figure]) -> str:
    title = "<h2>The leakage gate</h2>"
    gate = e.gate
    if gate.cells.is_empty():
        return (
            f"{title}\n<p>No audit was given: nothing shows that the figures are free of look-ahead.</p>"
            f"{_certificates(e)}"
        )
    head = ["probe", ("shows that", "left"), "months", "passed", "refused", ("tested, in all", "left")]
    rows = []
    for row in gate.coverage.iter_rows(named=True):
        letter, meaning = PROBES.get(row["probe"], ("", ""))
        refused = f'<span class="refused">{row["refused"]}</span>' if row["refused"] else "0"
        rows.append(
            [
                _th(f"{letter} {row['probe'].replace('_', ' ')}".strip()),
                (escape(meaning), "left quiet"),
                str(row["months"]),
                str(row["passed"]),
                refused,
                (escape(row["tested"]), "left quiet"),
            ]
        )
    return f"{title}\n{_figure(drawn.get('gate'))}\n{_table(head, rows)}\n{_refusals(e)}{_certificates(e)}"


def _certificates(e: Evaluation) -> str:
    said = f"<p>{escape(content.certificate_sentence(e))}</p>"
    if e.certificates.is_empty():
        return f"<h3>Certificates</h3>\n{said}"
    rows = [
        [_th(month), (f"<code>{escape(digest)}</code>", "left"), n]
        for month, digest, n in content.certificate_rows(e)
    ]
    note = f'<p class="note">{escape(content.CERTIFICATE_NOTE)}</p>'
    table = _table(["fold", ("certificate", "left"), "predictions"], rows)
    return f"<h3>Certificates</h3>\n{said}{note}{table}"


def _refusals(e: Evaluation) -> str:
    refusals = e.gate.refusals
    if refusals.is_empty():
        return '<p class="note">Nothing was refused.</p>'
    head = [
        "month",
        ("table", "left"),
        ("probe", "left"),
        ("what was found", "left"),
        "largest change",
        "state",
    ]
    rows = [
        [
            escape(row["month"][:7]),
            (escape(row["table_name"]), "left"),
            (escape(row["probe"]), "left"),
            (escape(row["detail"]), "left wrap"),
            number(row.get("max_delta"), 4),
            '<span class="refused">refused</span>' if row["standing"] else "healed since",
        ]
        for row in refusals.head(SHOWN_REFUSALS).iter_rows(named=True)
    ]
    more = refusals.height - len(rows)
    note = f'<p class="note">{more} older refusals are not listed.</p>' if more > 0 else ""
    return f"<h3>Refusals in detail</h3>\n{_table(head, rows)}{note}"


def _folds(e: Evaluation) -> str:
    head: list[Any] = content.fold_columns(e)
    rows = []
    for fold in content.fold_rows(e):
        cells: list[Any] = [escape(fold[c]) for c in head]
        cells[head.index("MLflow run")] = (
            f'<code title="{escape(fold["run"])}">{escape(fold["MLflow run"])}</code>'
        )
        if fold["refused"]:
            cells[-1] = '<span class="refused">refused</span>'
        rows.append(cells)
    note = f'<p class="note">{escape(content.FOLD_NOTE)}</p>'
    return f"<h2>What was trained on what</h2>\n{note}\n{_table(head, rows)}"


def _limits(e: Evaluation) -> str:
    items = "".join(f"<li>{escape(text)}</li>" for text in content.limits(e))
    return f'<h2>What this report does not show</h2>\n<ul class="limits">{items}</ul>'


def _about(e: Evaluation) -> str:
    if not e.metadata:
        return ""
    rows = [[_th(str(name)), (escape(str(value)), "left")] for name, value in e.metadata.items()]
    return f"<h2>About this run</h2>\n{_table([], rows)}"


def _figure(figure: Figure | None) -> str:
    if figure is None:
        return ""
    return (
        f'<figure class="figure" style="margin-inline:0"><h3>{escape(figure.title)}</h3>'
        f"<figcaption>{escape(figure.caption)}</figcaption>"
        f'<div class="plot" id="figure-{figure.id}" role="img" style="min-height:{figure.height}px" '
        f'aria-label="{escape(figure.title)}. {escape(figure.caption)}"></div></figure>'
    )


def _th(text: str) -> tuple[str, str]:
    return escape(text), "row"


def _table(head: Sequence[str | tuple[str, str]], rows: Iterable[Sequence[str | tuple[str, str]]]) -> str:
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
