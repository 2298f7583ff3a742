"""The validation report of a study: measured once, written as HTML, Markdown and JSON.

    config = ReportConfig("mine", "My forecasts of the next week", horizon=5, seed=1, task="direction")
    report = build_report(ReportInputs(predictions, outcomes, bars, audits=audits), config)
    paths = report.write(folder)

The files are `report.html` (one page that needs nothing else), `report.md` and `summary.json` (the numbers,
for the terminal table and for other programs).
"""

import json
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trademl_pipeline.reports import content, html, markdown
from trademl_pipeline.reports.compared import compared
from trademl_pipeline.reports.evaluation import Evaluation
from trademl_pipeline.reports.inputs import ReportConfig, ReportInputs
from trademl_pipeline.reports.measuring import evaluate
from trademl_pipeline.reports.verdict import Verdict
from trademl_pipeline.reports.writing import ReportPaths, write_report


@dataclass(frozen=True)
class ValidationReport:
    """A measured report; see `build_report`."""

    evaluation: Evaluation

    @property
    def verdict(self) -> Verdict:
        """The judgement."""
        return self.evaluation.verdict

    def to_html(self) -> str:
        """The page, about 5 MB, of which plotly.js is 4.8."""
        return html.page(self.evaluation)

    def to_markdown(self) -> str:
        """The document."""
        return markdown.document(self.evaluation)

    def summary(self) -> dict[str, Any]:
        """The numbers as plain data, what `summary.json` holds; NaN never occurs, missing values are None."""
        e = self.evaluation
        verdict = e.verdict
        classes = [
            f for c in e.classes[:1] * (len(e.classes) == 1) for f in (c.accuracy, c.brier, c.calibration)
        ]
        scores = [e.directional_accuracy, e.directional_excess, e.rank_ic, e.icir, *classes]
        performances = {"gross": e.gross, "net": e.net}
        if e.benchmark_portfolio:
            name = e.benchmark_portfolio.name.removesuffix(" session").replace(" ", "_")
            performances |= {
                f"gross_{name}": e.benchmark_portfolio.gross,
                f"net_{name}": e.benchmark_portfolio.net,
            }
        oracle = e.oracle
        return {
            "study": e.config.study,
            "task": e.config.task,
            "title": e.config.title,
            "simulated": e.config.simulated,
            "verdict": {"kind": verdict.kind, "headline": verdict.headline, "reasons": list(verdict.reasons)},
            "period": {"first": e.first.isoformat(), "last": e.last.isoformat(), "sessions": e.sessions},
            "months": e.months,
            "symbols": e.symbols,
            "predictions": e.predictions,
            "scored": e.scored,
            "horizon": e.config.horizon,
            "trials": e.config.trials,
            "tries": e.config.tries.to_plain() if e.config.tries else None,
            "scores": {s.name: s.to_dict() for s in scores if s is not None}
            | {_key(line.name): line.score.to_dict() for line in e.task.lines},
            "lead_over_other_book": e.excess.to_dict() if e.excess else None,
            "oracle": {
                s.name: s.to_dict()
                for s in (oracle.directional_accuracy, oracle.rank_ic, *oracle.probability_scores.values())
                if s is not None
            }
            if oracle
            else {},
            "recovered": oracle.shares if oracle else {},
            "books": {
                name: performance.to_dict()
                for name, performance in performances.items()
                if performance is not None
            },
            "gate": {
                "audited": not e.gate.cells.is_empty(),
                "passed": e.gate.cells.select("table_name", "month").unique().height
                - len(e.gate.latest_refusals),
                "refused": [{"table": table, "month": month} for table, month in e.gate.latest_refusals],
            },
            "folds": [_plain(row) for row in e.folds.iter_rows(named=True)],
            "lines": [
                {
                    "name": x.name,
                    "value": x.value,
                    "interval": x.interval,
                    "baselines": x.baselines,
                    "oracle": x.oracle_text,
                    "n": x.score.n,
                }
                for x in content.score_lines(e)
            ],
            "compared": compared(e),
            "certificates": e.certificates.rows(),
            "sections": {part.id: part.to_dict() for part in content.sections(e)},
            "metadata": {str(k): str(v) for k, v in e.metadata.items()},
        }

    def write(self, folder: Path | str) -> ReportPaths:
        """Write `report.html`, `report.md` and `summary.json` into a folder, each whole or not at all.

        Raises:
            OSError: if the folder cannot be made or written to.
        """
        summary = json.dumps(self.summary(), indent=1, allow_nan=False, ensure_ascii=False)
        return write_report(folder, self.to_html(), self.to_markdown(), summary)


def build_report(inputs: ReportInputs, config: ReportConfig) -> ValidationReport:
    """Measure and judge the predictions of a study.

    Args:
        inputs: predictions, outcomes, bars and what else is known about them.
        config: how to measure and judge, fixed beforehand.

    Raises:
        ReportError: if inputs are empty, lack columns or keys, or no prediction has an outcome.
        PortfolioError: if the predictions cannot be traded on the bars.
    """
    return ValidationReport(evaluate(inputs, config))


def _key(name: str) -> str:
    """A name without the characters that trackers refuse in the name of a metric."""
    return " ".join(re.sub(r"[^\w .:/-]", " ", name).split())


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    return {
        name: value.isoformat()
        if hasattr(value, "isoformat")
        else None
        if isinstance(value, float) and not math.isfinite(value)
        else value
        for name, value in row.items()
    }
