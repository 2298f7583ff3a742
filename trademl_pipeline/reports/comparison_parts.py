"""Rows, tables and the figure of the comparison of studies."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from trademl_pipeline.reports.figure import Figure, rounded
from trademl_pipeline.reports.section import Section, Table
from trademl_pipeline.reports.text import NONE, count, figure, number, percent
from trademl_pipeline.reports.verdict import LABELS, Kind
from trademl_pipeline.tasks.registry import TASKS

Summary = Mapping[str, Any]


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


def row_of(summary: Summary) -> Row:
    """One study's texts, from its summary."""
    compared = summary["compared"]
    accuracy, ic, net = compared["accuracy"], compared["rank_ic"], summary["books"].get("net")
    gate = summary["gate"]
    share = next(iter(summary["recovered"].values()), None)
    first_passage = TASKS[summary["task"]].report.first_passage
    return Row(
        study=summary["study"],
        kind=summary["verdict"]["kind"],
        headline=summary["verdict"]["headline"],
        accuracy=_with_interval(accuracy, "percent", mark=_of_few(accuracy, summary["scored"])),
        baseline=_baseline(accuracy),
        ic=_with_interval(ic, "signed", mark=" *" if first_passage else ""),
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


def _of_few(accuracy: Mapping[str, Any] | None, scored: int) -> str:
    """How many rows an accuracy is of, where these are the lesser part of the rows scored, such as kept signals."""
    return f" of {count(accuracy['n'])}" if accuracy and 2 * accuracy["n"] < scored else ""


NOTE: Final = (
    "Accuracy is of direction, or where the study calls none, of its classes (breakout) or of the signals it keeps "
    "(pattern): only its distance to the baseline compares. * An outcome that ends at a barrier can be ranked without "
    "skill; that study is judged by mean returns. Each study's own report says how its figures were measured."
)
_PRIMARY_TESTS: Final = {
    "ranking": ("mean daily rank IC", "signed"),
    "direction": ("directional accuracy less the majority's, points", "points"),
    "expected value": ("correlation of expected value and return", "signed"),
    "signals": ("return after signals less after the others, points", "points"),
    "score": ("correlation of score and return", "signed"),
    "filtering": ("return of kept signals less of all, points", "points"),
}
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


def side_by_side(summaries: Sequence[Summary]) -> Section:
    """The table of all studies, with their rank ICs as a figure."""
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
        note="Ranges are 95 % intervals. n counts scored predictions; an accuracy of fewer than half of them says of "
        "how many.",
        left=frozenset({1}),
    )
    figure = _figure(summaries)
    return Section("studies", "The studies side by side", tables=[table], figures=[figure] if figure else [])


def primary_tests_section(summaries: Sequence[Summary]) -> Section:
    """The figures that each verdict rests on."""
    body = []
    for s in summaries:
        for name, score in s["compared"]["looks"].items():
            meaning, style = _PRIMARY_TESTS[name]
            n = count(score["n"]) if score else NONE
            above_zero = bool(score) and score["low"] is not None and score["low"] > 0
            body.append([s["study"], meaning, _with_interval(score, style), n, "yes" if above_zero else "no"])
    return Section(
        "looks",
        "What the verdicts rest on",
        text=[
            "Two figures a study, named before the results were seen. An edge is an interval that lies above 0."
        ],
        tables=[Table(["study", "figure", "value", "n", "surely above 0"], body, left=frozenset({1, 4}))],
    )


def cost_section(summaries: Sequence[Summary]) -> Section:
    """Periods, folds, and what training cost."""
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
    parts = [f"{number(seconds, 0)} s"] if seconds is not None else []
    parts += [f"{count(parameters)} parameters"] if parameters is not None else []
    return ", ".join(parts) or NONE
