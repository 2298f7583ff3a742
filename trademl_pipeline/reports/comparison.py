"""The studies side by side, from their summaries: which to trust how far.

    report = build_comparison([json.loads(path.read_text()) for path in summaries])
    paths = report.write(folder)

Studies of different kinds share few figures: an accuracy with its baseline, the mean daily rank IC, the Sharpe ratio
of their portfolio, the gate's verdict, and what training cost. All others are in the reports of the studies.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from trademl_pipeline.reports.comparison_parts import (
    NOTE,
    Summary,
    cost_section,
    primary_tests_section,
    row_of,
    side_by_side,
)
from trademl_pipeline.reports.inputs import ReportError
from trademl_pipeline.reports.markdown import parts_of
from trademl_pipeline.reports.markdown_text import bullets, verdict_line
from trademl_pipeline.reports.pages.rendering import render_page
from trademl_pipeline.reports.section import Section
from trademl_pipeline.reports.text import percent
from trademl_pipeline.reports.verdict import LABELS, Kind
from trademl_pipeline.reports.writing import ReportPaths, write_report

HEADING: Final = "Which study to trust, and how far"
FALSE_EDGE: Final = 0.05
"""Share of reports on worthless models that show an edge by luck: two primary tests at 2.5 %."""


@dataclass(frozen=True)
class Comparison:
    """Studies compared; see `build_comparison`."""

    summaries: Sequence[Summary]

    @property
    def kind(self) -> Kind:
        """Alarm where any study alarms, else edge where any has one, else no edge."""
        kinds = {s["verdict"]["kind"] for s in self.summaries}
        return "alarm" if "alarm" in kinds else "edge" if "edge" in kinds else "no edge"

    @property
    def headline(self) -> str:
        """One sentence over all studies."""
        n = len(self.summaries)
        names = {k: [s["study"] for s in self.summaries if s["verdict"]["kind"] == k] for k in LABELS}
        if names["alarm"]:
            rest = f"; an edge in {', '.join(names['edge'])}" if names["edge"] else ""
            return f"Alarm in {', '.join(names['alarm'])}: do not trade before it is explained{rest}."
        edges = len(names["edge"])
        if not edges:
            return f"None of {n} studies shows an edge." if n > 1 else f"{names['no edge'][0]} shows no edge."
        if edges == n:
            return f"Edge in {', '.join(names['edge'])}."
        return (
            f"{edges} of {n} studies {'shows' if edges == 1 else 'show'} an edge: {', '.join(names['edge'])}."
        )

    @property
    def reasons(self) -> list[str]:
        """Return what to know before the table is read."""
        n = len(self.summaries)
        reasons = [f"{s['study']}: {s['verdict']['headline']}" for s in self.summaries]
        if n > 1:
            luck = 1 - (1 - FALSE_EDGE) ** n
            reasons.append(
                f"Luck: of {n} worthless studies at least one shows an edge in about {percent(luck, 0)} of cases, were "
                "they independent. Choosing the best after the fact needs a new test on later data."
            )
        if any(s["simulated"] for s in self.summaries):
            reasons.append(
                "Simulated: signals were planted. The figures show whether the pipeline finds them, not what would be "
                "earned."
            )
        return reasons

    def summary(self) -> dict[str, Any]:
        """Headline and rows as plain values."""
        return {
            "verdict": {"kind": self.kind, "headline": self.headline, "reasons": self.reasons},
            "studies": [vars(row_of(s)) for s in self.summaries],
        }

    @property
    def sections(self) -> list[Section]:
        """The tables, in order."""
        return [part(self.summaries) for part in (side_by_side, primary_tests_section, cost_section)]

    def to_html(self) -> str:
        """Return the page."""
        sections = self.sections
        return render_page(
            "comparison.html.j2",
            f"Comparison: {self.headline}",
            [figure for part in sections for figure in part.figures],
            heading=HEADING,
            kind=self.kind,
            label=LABELS[self.kind],
            headline=self.headline,
            reasons=self.reasons,
            sections=sections,
            note=NOTE,
        )

    def to_markdown(self) -> str:
        """Return the document."""
        parts = [
            f"# {HEADING}",
            verdict_line(LABELS[self.kind], self.headline),
            bullets(self.reasons),
            *parts_of(self.sections),
            NOTE,
        ]
        return "\n\n".join(parts) + "\n"

    def write(self, folder: Path | str) -> ReportPaths:
        """Write `report.html`, `report.md` and `summary.json` into a folder, each whole or not at all.

        Raises:
            OSError: if the folder cannot be made or written to.
        """
        summary = json.dumps(self.summary(), indent=1, allow_nan=False, ensure_ascii=False)
        return write_report(folder, self.to_html(), self.to_markdown(), summary)


def build_comparison(summaries: Sequence[Summary]) -> Comparison:
    """Compare studies.

    Args:
        summaries: contents of their `summary.json`, in the order to be shown.

    Raises:
        ReportError: if there are none, a study comes twice, or one was written by a version without the figures
            that are compared.
    """
    if not summaries:
        raise ReportError("there is no summary to compare; make the report of a study first")
    names = [s["study"] for s in summaries]
    twice = sorted({n for n in names if names.count(n) > 1})
    if twice:
        raise ReportError(f"studies {twice} come more than once; compare one summary of each")
    incomplete = [s["study"] for s in summaries if "compared" not in s]
    if incomplete:
        raise ReportError(f"the summaries of {incomplete} lack the compared figures; make these reports anew")
    return Comparison(tuple(summaries))
