"""A part of a report that is the same in every form: sentences, tables and figures."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from trademl_pipeline.evaluation.metrics import Score
from trademl_pipeline.reports.figure import Figure
from trademl_pipeline.reports.lines import Line


@dataclass(frozen=True)
class Table:
    """A table of texts; its first column names the rows.

    Attributes:
        head: headings.
        rows: one text a cell.
        title: a heading above the table, or "".
        note: what a reader must know to read it, or "".
        left: numbers of the columns that hold words rather than figures.
    """

    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    title: str = ""
    note: str = ""
    left: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Section:
    """A titled part.

    Attributes:
        id: name of the part in `summary.json`.
        title: its heading.
        text: paragraphs before the tables.
        tables: tables in order.
        figures: drawings, of the page only.
        code: a block shown as it is, or "".
        scores: the figures with their intervals, for `summary.json`.
        data: what else programs should find in `summary.json`, plain values.
    """

    id: str
    title: str
    text: Sequence[str] = ()
    tables: Sequence[Table] = ()
    figures: Sequence[Figure] = ()
    code: str = ""
    scores: Mapping[str, Score] = field(default_factory=dict)
    data: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Texts, tables, scores and data as plain values."""
        return {
            "title": self.title,
            "text": list(self.text),
            "tables": [
                {"title": t.title, "head": list(t.head), "rows": [list(r) for r in t.rows]}
                for t in self.tables
            ],
            **({"code": self.code} if self.code else {}),
            "scores": {name: score.to_dict() for name, score in self.scores.items()},
            **self.data,
        }


@dataclass(frozen=True)
class Assessment:
    """A task's additions to the figures that all tasks have.

    Attributes:
        sections: the task's own parts of the report.
        lines: figures of merit for the table at the top.
        primary_tests: figures whose interval above 0 makes an edge: name -> score. None leaves ranking and direction.
        sentences: reasons for the verdict, weightiest first.
        alarms: reasons to suspect a leak.
        accuracy: what the comparison of studies shows as accuracy, with a baseline in it; None leaves the
            directional accuracy.
        skill_without_edge: what is told better than chance though it shows no edge, as a clause; "" where nothing is.
    """

    sections: Sequence[Section] = ()
    lines: Sequence[Line] = ()
    primary_tests: Mapping[str, Score | None] | None = None
    sentences: Sequence[str] = ()
    alarms: Sequence[str] = ()
    accuracy: Score | None = None
    skill_without_edge: str = ""
