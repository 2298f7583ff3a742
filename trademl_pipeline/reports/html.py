"""The report of one study as an HTML page."""

from html import escape
from pathlib import Path
from typing import Any

from trademl_pipeline.reports import content, ranges
from trademl_pipeline.reports.elements import (
    document,
    figure_html,
    row_head,
    section_html,
    table_html,
    verdict_html,
)
from trademl_pipeline.reports.evaluation import Evaluation
from trademl_pipeline.reports.figure import Figure
from trademl_pipeline.reports.figures import figures
from trademl_pipeline.reports.gate_results import PROBES
from trademl_pipeline.reports.text import count, number
from trademl_pipeline.reports.verdict import LABELS

SHOWN_REFUSALS = 50


def page(e: Evaluation) -> str:
    """The whole page."""
    drawn = figures(e)
    parts = content.sections(e)
    drawn |= {f.id: f for part in parts for f in part.figures}
    title = f"{e.config.study}: {LABELS[e.verdict.kind].lower()}, {e.first} to {e.last}"
    own = [section_html(part) for part in e.task.sections]
    shown = section_html(e.examples) if e.examples else ""
    sections = (_head(e), _figures_of_merit(e), *own, _money(e, drawn), _skill(e, drawn),
                section_html(e.consistency), _probabilities(drawn), section_html(e.drift), _inputs(drawn), shown,
                _gate(e, drawn), _folds(e), _limits(e), _about(e))  # fmt: skip
    return document(title, "\n".join(s for s in sections if s), drawn.values())


def _head(e: Evaluation) -> str:
    verdict = e.verdict
    scope = "".join(f"<div><dt>{escape(n)}</dt><dd>{escape(v)}</dd></div>" for n, v in content.scope(e))
    market = "simulated market" if e.config.simulated else "out of sample, walk-forward"
    return (
        f"<header><p>Validation report · {escape(e.config.study)} · {market}</p>"
        f"<h1>{escape(e.config.title)}</h1></header>\n"
        f"{verdict_html(verdict.kind, LABELS[verdict.kind], verdict.headline, verdict.reasons)}\n"
        f'<dl class="scope">{scope}</dl>'
    )


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
            row_head(line.name),
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
    return f"<h2>The figures</h2>\n{table_html(head, rows)}\n{key}"


def _money(e: Evaluation, drawn: dict[str, Figure]) -> str:
    note = f'<p class="note">{escape(content.book_rule(e))}</p>'
    head = ["", *(name for name, _ in content.books(e))]
    rows = [[row_head(name), *(escape(v) for v in values)] for name, values in content.book_rows(e)]
    if not rows:
        return f"<h2>What it would have earned</h2>\n{note}"
    return f"<h2>What it would have earned</h2>\n{note}\n{figure_html(drawn.get('equity'))}\n{table_html(head, rows)}"


def _skill(e: Evaluation, drawn: dict[str, Figure]) -> str:
    plots = figure_html(drawn.get("ic_monthly")) + figure_html(drawn.get("ic_cumulative"))
    return f'<h2>Skill over time</h2>\n<div class="pair">{plots}</div>' if plots else ""


def _probabilities(drawn: dict[str, Figure]) -> str:
    plots = figure_html(drawn.get("calibration")) + figure_html(drawn.get("confusion"))
    return f'<h2>Are the probabilities right?</h2>\n<div class="pair">{plots}</div>' if plots else ""


def _inputs(drawn: dict[str, Figure]) -> str:
    figure = drawn.get("importance")
    return f"<h2>What the model uses</h2>\n{figure_html(figure)}" if figure else ""


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
                row_head(f"{letter} {row['probe'].replace('_', ' ')}".strip()),
                (escape(meaning), "left quiet"),
                str(row["months"]),
                str(row["passed"]),
                refused,
                (escape(row["tested"]), "left quiet"),
            ]
        )
    return f"{title}\n{figure_html(drawn.get('gate'))}\n{table_html(head, rows)}\n{_refusals(e)}{_certificates(e)}"


def _certificates(e: Evaluation) -> str:
    said = f"<p>{escape(content.certificate_sentence(e))}</p>"
    if e.certificates.is_empty():
        return f"<h3>Certificates</h3>\n{said}"
    rows = [
        [row_head(month), (f"<code>{escape(digest)}</code>", "left"), n]
        for month, digest, n in content.certificate_rows(e)
    ]
    note = f'<p class="note">{escape(content.CERTIFICATE_NOTE)}</p>'
    table = table_html(["fold", ("certificate", "left"), "predictions"], rows)
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
    return f"<h3>Refusals in detail</h3>\n{table_html(head, rows)}{note}"


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
    return f"<h2>What was trained on what</h2>\n{note}\n{table_html(head, rows)}"


def _limits(e: Evaluation) -> str:
    items = "".join(f"<li>{escape(text)}</li>" for text in content.limits(e))
    return f'<h2>What this report does not show</h2>\n<ul class="limits">{items}</ul>'


def _said(value: object) -> str:
    """A value as text; a path is a file beside the report, and a link to it."""
    text = escape(str(value))
    return f'<a href="{text}">{text}</a>' if isinstance(value, Path) else text


def _about(e: Evaluation) -> str:
    if not e.metadata:
        return ""
    rows = [[row_head(str(name)), (_said(value), "left")] for name, value in e.metadata.items()]
    return f"<h2>About this run</h2>\n{table_html([], rows)}"
