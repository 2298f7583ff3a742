"""The report of one study as an HTML page: what its template needs."""

from pathlib import Path
from typing import Any
from urllib.parse import quote

from trademl_pipeline.reports import content
from trademl_pipeline.reports.evaluation import Evaluation
from trademl_pipeline.reports.figures import figures
from trademl_pipeline.reports.gate_results import PROBES
from trademl_pipeline.reports.pages.rendering import render_page
from trademl_pipeline.reports.ranges import drawing
from trademl_pipeline.reports.section import Table
from trademl_pipeline.reports.text import count, month_name, number
from trademl_pipeline.reports.verdict import LABELS

SHOWN_REFUSALS = 50


def page(e: Evaluation) -> str:
    """Return the whole page."""
    report_figures = figures(e)
    inside = [figure for part in content.sections(e) for figure in part.figures]
    label = LABELS[e.verdict.kind]
    return render_page(
        "report.html.j2",
        f"{e.config.study}: {label.lower()}, {e.first} to {e.last}",
        [*report_figures.values(), *inside],
        study=e.config.study,
        market="simulated market" if e.config.simulated else "out of sample, walk-forward",
        heading=e.config.title,
        verdict=e.verdict,
        label=label,
        scope=content.scope(e),
        scores=_scores(e),
        lower_is_better=content.lower_is_better(e),
        task_sections=e.task.sections,
        portfolio_rule=content.portfolio_rule(e),
        portfolios=_portfolio_table(e),
        figures=report_figures,
        consistency=e.consistency,
        drift=e.drift,
        examples=e.examples,
        limits=content.limits(e),
        about=[(str(name), str(value), _link(value)) for name, value in e.metadata.items()],
        fold_note=content.FOLD_NOTE,
        fold_head=[(column, "") for column in content.fold_columns(e)],
        folds=content.fold_rows(e),
        **_gate(e),
    )


def _scores(e: Evaluation) -> list[dict[str, Any]]:
    return [
        {
            "name": line.name,
            "value": line.value,
            "interval": line.interval,
            "range": drawing(line),
            "baselines": line.baselines,
            "oracle": line.oracle_text,
            "n": count(line.score.n),
        }
        for line in content.score_lines(e)
    ]


def _portfolio_table(e: Evaluation) -> Table | None:
    rows = [[name, *values] for name, values in content.portfolio_rows(e)]
    return Table(["", *(name for name, _ in content.portfolios(e))], rows) if rows else None


def _gate(e: Evaluation) -> dict[str, Any]:
    """Return what the part on the gate and its certificates needs."""
    gate = e.gate
    refusals = gate.refusals.head(SHOWN_REFUSALS)
    return {
        "probes": [_probe(row) for row in gate.coverage.iter_rows(named=True)],
        "refusals": [
            row | {"month": month_name(row["month"]), "change": number(row.get("max_delta"), 4)}
            for row in refusals.iter_rows(named=True)
        ],
        "suspicions": [
            row | {"month": month_name(row["month"])}
            for row in gate.suspicions.head(SHOWN_REFUSALS).iter_rows(named=True)
        ],
        "older_refusals": gate.refusals.height - refusals.height,
        "certificate_sentence": content.certificate_sentence(e),
        "certificate_note": content.CERTIFICATE_NOTE,
        "certificates": content.certificate_rows(e),
    }


def _probe(row: dict[str, Any]) -> dict[str, Any]:
    letter, meaning = PROBES.get(row["probe"], ("", ""))
    return row | {"name": f"{letter} {row['probe'].replace('_', ' ')}".strip(), "meaning": meaning}


def _link(value: object) -> str:
    """Return where a file beside the report is linked to; "" for what is no path."""
    return quote(value.as_posix()) if isinstance(value, Path) else ""
