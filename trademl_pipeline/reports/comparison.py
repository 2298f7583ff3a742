"""The studies side by side, from their summaries: which to trust how far.

    report = build_comparison([json.loads(path.read_text()) for path in summaries])
    paths = report.write(folder)

Studies of different kinds share few figures: an accuracy with its baseline, the mean daily rank IC, the Sharpe ratio
of their book, the gate's verdict, and what training cost. All others are in the reports of the studies.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any, Final

from trademl_pipeline.reports.elements import document, section_html, verdict_html
from trademl_pipeline.reports.figure import Figure, rounded
from trademl_pipeline.reports.inputs import ReportError
from trademl_pipeline.reports.markdown import bullets, parts_of
from trademl_pipeline.reports.section import Section, Table
from trademl_pipeline.reports.tasks import TASKS
from trademl_pipeline.reports.text import NONE, count, figure, number, percent
from trademl_pipeline.reports.verdict import LABELS, Kind
from trademl_pipeline.reports.writing import ReportPaths, write_report

Summary = Mapping[str, Any]
FALSE_EDGE: Final = 0.05
"""Share of reports on worthless models that show an edge by luck: two looks at 2.5 %."""


@dataclass(frozen=True)
class Row:
    """One study as texts: the same for the page, Markdown and the terminal."""

    study: str
    kind: Kind
    headline: str
    accuracy: str
    baseline: str
    ic: str
    n: str
    recovered: str
    sharpe: str
    gate: str
    cost: str


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
        """What to know before the table is read."""
        n = len(self.summaries)
        said = [f"{s['study']}: {s['verdict']['headline']}" for s in self.summaries]
        if n > 1:
            luck = 1 - (1 - FALSE_EDGE) ** n
            said.append(
                f"Luck: of {n} worthless studies at least one shows an edge in about {percent(luck, 0)} of cases, were "
                "they independent. Choosing the best after the fact needs a new test on later data."
            )
        if any(s["simulated"] for s in self.summaries):
            said.append(
                "Simulated: signals were planted. The figures show whether the pipeline finds them, not what would be "
                "earned."
            )
        return said

    def summary(self) -> dict[str, Any]:
        """Headline and rows as plain values."""
        return {
            "verdict": {"kind": self.kind, "headline": self.headline, "reasons": self.reasons},
            "studies": [vars(row_of(s)) for s in self.summaries],
        }

    def to_html(self) -> str:
        """The page."""
        part = _section(self.summaries)
        body = (
            "<header><p>Comparison of studies</p><h1>Which study to trust, and how far</h1></header>\n"
            f"{verdict_html(self.kind, LABELS[self.kind], self.headline, self.reasons)}\n"
            f"{section_html(part)}\n{section_html(_cost_section(self.summaries))}\n"
            f'<p class="note">{escape(_NOTE)}</p>'
        )
        return document(f"Comparison: {self.headline}", body, part.figures)

    def to_markdown(self) -> str:
        """The document."""
        parts = [
            "# Which study to trust, and how far",
            f"**{LABELS[self.kind].upper()}: {self.headline}**",
            bullets(self.reasons),
            *parts_of([_section(self.summaries), _cost_section(self.summaries)]),
            _NOTE,
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
    old = [s["study"] for s in summaries if "compared" not in s]
    if old:
        raise ReportError(f"the summaries of {old} lack the compared figures; make these reports anew")
    return Comparison(tuple(summaries))


def row_of(summary: Summary) -> Row:
    """One study's texts, from its summary."""
    compared = summary["compared"]
    accuracy, ic, net = compared["accuracy"], compared["rank_ic"], summary["books"].get("net")
    gate = summary["gate"]
    shares = summary["recovered"]
    share = shares.get("rank IC", shares.get("lead in direction"))
    race = TASKS[summary["task"]].race
    return Row(
        study=summary["study"],
        kind=summary["verdict"]["kind"],
        headline=summary["verdict"]["headline"],
        accuracy=_with_interval(accuracy, "percent"),
        baseline=_baseline(accuracy),
        ic=_with_interval(ic, "signed", mark=" *" if race else ""),
        n=count(summary["scored"]),
        recovered=percent(share, 0),
        sharpe=_with_interval(net["sharpe"] if net else None, "number", 2),
        gate="no audit"
        if not gate["audited"]
        else f"{len(gate['refused'])} refused"
        if gate["refused"]
        else f"{gate['passed']:,} passed",
        cost=_cost(compared["cost"]),
    )


_NOTE: Final = (
    "Accuracy is of direction, or where the study calls none, of its classes (breakout) or of the signals it keeps "
    "(pattern): only its distance to the baseline compares. * An outcome that ends at a barrier can be ranked without "
    "skill; that study is judged by mean returns. Each study's own report says how its figures were measured."
)
_HEAD: Final = (
    "study",
    "verdict",
    "accuracy",
    "without skill",
    "rank IC",
    "n",
    "of the oracle",
    "Sharpe after costs",
    "gate",
)


def _section(summaries: Sequence[Summary]) -> Section:
    rows = [row_of(s) for s in summaries]
    simulated = any(r.recovered != NONE for r in rows)
    body = [
        [r.study, LABELS[r.kind].lower(), r.accuracy, r.baseline, r.ic, r.n, r.recovered, r.sharpe, r.gate]
        for r in rows
    ]
    drop = set() if simulated else {_HEAD.index("of the oracle")}
    head = [h for i, h in enumerate(_HEAD) if i not in drop]
    table = Table(
        head,
        [[c for i, c in enumerate(row) if i not in drop] for row in body],
        note="Ranges are 95 % intervals. n counts scored predictions.",
        left=frozenset({1}),
    )
    drawn = _figure(summaries)
    return Section("studies", "The studies side by side", tables=[table], figures=[drawn] if drawn else [])


def _cost_section(summaries: Sequence[Summary]) -> Section:
    body = [
        [
            s["study"],
            f"{s['period']['first']} to {s['period']['last']}",
            count(len(s["folds"])),
            count(s["symbols"]),
            count(s["compared"]["cost"]["parameters"]),
            number(s["compared"]["cost"]["train_seconds"], 0),
        ]
        for s in summaries
    ]
    periods = {(s["period"]["first"], s["period"]["last"]) for s in summaries}
    text = (
        "The studies cover different periods: part of any difference is the market's."
        if len(periods) > 1
        else "All studies cover the same period."
    )
    head = ["study", "period", "folds", "symbols", "parameters", "seconds to train, all folds"]
    return Section("cost", "What they rest on, and what they cost", text=[text], tables=[Table(head, body)])


def _figure(summaries: Sequence[Summary]) -> Figure | None:
    known = [(s["study"], s["verdict"]["kind"], s["compared"]["rank_ic"]) for s in reversed(summaries)]
    known = [(name, kind, ic) for name, kind, ic in known if ic and ic["value"] is not None]
    if not known:
        return None
    colours = {"edge": "@green", "no edge": "@blue", "alarm": "@red"}
    value = [ic["value"] for *_, ic in known]
    dots = {
        "type": "scatter",
        "mode": "markers",
        "x": rounded(value),
        "y": [name for name, *_ in known],
        "marker": {"size": 11, "color": [colours[kind] for _, kind, _ in known]},
        "error_x": {
            "type": "data",
            "symmetric": False,
            "array": rounded([0.0 if ic["high"] is None else ic["high"] - ic["value"] for *_, ic in known]),
            "arrayminus": rounded(
                [0.0 if ic["low"] is None else ic["value"] - ic["low"] for *_, ic in known]
            ),
            "color": "@muted",
            "thickness": 2,
            "width": 0,
        },
        "hovertemplate": "%{y}: %{x:+.3f}<extra></extra>",
    }
    return Figure(
        "studies",
        "Mean daily rank IC of each study, with 95 % intervals",
        "0 is chance. Green: an edge; blue: none; red: an alarm.",
        [dots],
        {
            "xaxis": {"tickformat": "+.2f", "zeroline": True},
            "yaxis": {"type": "category", "automargin": True},
            "showlegend": False,
        },
        height=100 + 36 * len(known),
    )


def _with_interval(
    score: Mapping[str, Any] | None, style: str, digits: int | None = None, mark: str = ""
) -> str:
    if score is None or score["value"] is None:
        return NONE
    text = figure(score["value"], style, digits) + mark
    if score["low"] is None:
        return text
    low, high = (figure(score[end], style, digits) for end in ("low", "high"))
    return f"{text} ({low.removesuffix(' %')} to {high})"


def _baseline(score: Mapping[str, Any] | None) -> str:
    if score is None or not score["baselines"]:
        return NONE
    name, value = next(iter(score["baselines"].items()))
    return f"{percent(value)} {name.replace('_', ' ')}"


def _cost(cost: Mapping[str, float | None]) -> str:
    seconds, parameters = cost["train_seconds"], cost["parameters"]
    said = [f"{number(seconds, 0)} s"] if seconds is not None else []
    said += [f"{count(parameters)} parameters"] if parameters is not None else []
    return ", ".join(said) or NONE
