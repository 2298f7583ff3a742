"""Figures of the probabilities, the model and the gate."""

from typing import Any

import numpy as np
import polars as pl

from trademl_pipeline.reports.classes import ClassScores
from trademl_pipeline.reports.evaluation import Evaluation
from trademl_pipeline.reports.figure import Figure, plain, rounded
from trademl_pipeline.reports.gate_results import PROBES
from trademl_pipeline.reports.text import interval, month_name, percent, plural

TOP_FEATURES = 20
LETTER, MONTH, MAX_MIN_WIDTH = 7, 14, 720
"""Pixels that a letter of a label and a month take in the gate's figure, and the most it asks for on a phone."""
STAGES = ("raw_bars", "features", "labels", "sequences", "model", "predictions")


_HUES = {
    1: ("@blue",),
    2: ("@blue", "@orange"),
    3: ("@orange", "@muted", "@blue"),
    4: ("@blue", "@orange", "@green", "@red"),
    6: ("@muted", "@yellow", "@green", "@blue", "@violet", "@red"),
}


def calibration(e: Evaluation) -> Figure | None:
    """Observed against predicted frequency of each class; of yes alone where there is only yes and no."""
    if not e.classes:
        return None
    lines: list[dict[str, Any]] = [
        {
            "type": "scatter",
            "mode": "lines",
            "name": "perfect",
            "x": [0, 1],
            "y": [0, 1],
            "line": {"color": "@muted", "width": 1, "dash": "dot"},
            "hoverinfo": "skip",
        }
    ]
    series = _calibration_series(e.classes)
    min_rows = max(20, e.scored // 500)
    largest = 0.0
    for (name, frame, column), colour in zip(series, _HUES[len(series)], strict=True):
        bins = frame.filter(pl.col("series") == column, pl.col("n") >= min_rows).sort("bin")
        if bins.is_empty():
            continue
        largest = max(largest, float(bins.select(pl.max_horizontal("predicted", "observed").max()).item()))
        share = bins["n"].to_numpy() / bins["n"].sum()
        lines.append(
            {
                "type": "scatter",
                "mode": "lines+markers",
                "name": name,
                "x": rounded(bins["predicted"]),
                "y": rounded(bins["observed"]),
                "text": [f"{n:,} rows" for n in bins["n"]],
                "line": {"color": colour, "width": 1.5},
                "marker": {"size": rounded(6 + 16 * np.sqrt(share)), "color": colour, "opacity": 0.85},
                "hovertemplate": "said %{x:.1%}, came %{y:.1%}, %{text}",
            }
        )
    top = min(1.0, 0.05 + largest) if largest else 1.0
    axis = {"range": [0, top], "tickformat": ".0%"}
    return Figure(
        "calibration",
        "Calibration: what was said, and how often it came",
        f"{_errors(e.classes)} "
        f"Larger markers hold more rows; bins under {plural(min_rows, 'row')} are left out.",
        lines,
        {
            "xaxis": {**axis, "title": {"text": "predicted probability"}},
            "yaxis": {**axis, "title": {"text": "observed frequency"}},
            "legend": {"orientation": "h", "y": -0.24},
        },
        height=380 + 20 * (len(series) > 3),
    )


def _calibration_series(classes: tuple[ClassScores, ...]) -> list[tuple[str, pl.DataFrame, str]]:
    if len(classes) == 1 and not classes[0].view.binary:
        view = classes[0].view
        return [(n, classes[0].reliability, c) for n, c in zip(view.labels, view.columns, strict=True)]
    return [(c.view.name, c.reliability, c.view.columns[0]) for c in classes]


def _errors(classes: tuple[ClassScores, ...]) -> str:
    if len(classes) == 1:
        error = classes[0].calibration
        return (
            f"Expected calibration error {percent(error.value)} ({interval(error, 'percent')}); "
            f"even a perfect forecast would show {percent(error.baselines['sampling'])} on as many rows."
        )
    errors = "; ".join(
        f"{c.view.name} {percent(c.calibration.value)} ({percent(c.calibration.baselines['sampling'])})"
        for c in classes
    )
    return f"Expected calibration errors, in brackets what even a perfect forecast would show: {errors}."


def confusion(e: Evaluation) -> Figure | None:
    """Draw what was called, given what came."""
    if not e.classes:
        return None
    one = len(e.classes) == 1
    rows = [
        (f"{c.view.name}: {label}" if c.view.name else label, c.confusion[k])
        for c in e.classes
        for k, label in enumerate(c.view.labels)
    ]
    share = [row / max(1, row.sum()) for _, row in rows]
    heat = {
        "type": "heatmap",
        "x": list(e.classes[0].view.labels),
        "y": [name for name, _ in rows],
        "z": [rounded(r) for r in share],
        "text": [
            [f"{percent(s, 0)}<br>{n:,}" for s, n in zip(a, b, strict=True)]
            for a, (_, b) in zip(share, rows, strict=True)
        ],
        "texttemplate": "%{text}",
        "colorscale": [[0, "@paper"], [1, "@blue"]],
        "zmin": 0,
        "zmax": 1,
        "showscale": False,
        "xgap": 2,
        "ygap": 2,
        "hovertemplate": "came %{y}, called %{x}: %{text}<extra></extra>",
    }
    return Figure(
        "confusion",
        "Confusion: shares of each row sum to 100 %",
        _accuracy(e.classes[0])
        if one
        else "Called yes where the probability is above one half; rows are what came, columns what was called.",
        [heat],
        {
            "xaxis": {"title": {"text": "called"}, "showgrid": False, "type": "category"},
            "yaxis": {
                "title": {"text": "came"},
                "autorange": "reversed",
                "showgrid": False,
                "type": "category",
                "automargin": True,
            },
        },
        height=max(380, 90 + 46 * len(rows)),
    )


def _accuracy(classes: ClassScores) -> str:
    score = classes.accuracy
    return (
        f"The most probable class came in {percent(score.value)} of {score.n:,} rows "
        f"({interval(score, 'percent')}); always saying the commonest would score "
        f"{percent(score.baselines['majority'])}."
    )


def importance(e: Evaluation) -> Figure | None:
    """Mean share over folds, with the range over folds."""
    if e.importance.is_empty():
        return None
    frame = e.importance.head(TOP_FEATURES).reverse()
    mean, low, high = (frame[c].to_numpy() for c in ("mean", "low", "high"))
    folds = int(e.importance["folds"].max())  # pyright: ignore[reportArgumentType]
    dots = {
        "type": "scatter",
        "mode": "markers",
        "y": frame["feature"].to_list(),
        "x": rounded(mean),
        "marker": {"color": "@blue", "size": 9},
        "error_x": {
            "type": "data",
            "symmetric": False,
            "array": rounded(high - mean),
            "arrayminus": rounded(mean - low),
            "color": "@blue",
            "thickness": 1.5,
            "width": 0,
        },
        "hovertemplate": "%{y}: %{x:.1%}<extra></extra>",
    }
    more = e.importance.height - frame.height
    return Figure(
        "importance",
        "Feature importance",
        "Of trees: share of the gain; of networks: share of the rise in inner validation loss when a feature is "
        f"swapped between windows. Mean over {plural(folds, 'fold')}; lines span the least and the greatest fold."
        + (f" {more} weaker features are not drawn." if more else ""),
        [dots],
        {
            "xaxis": {"tickformat": ".0%", "rangemode": "tozero"},
            "yaxis": {"type": "category", "automargin": True},
            "showlegend": False,
        },
        height=90 + 22 * frame.height,
    )


def gate(e: Evaluation) -> Figure | None:
    """Which probe passed which month of which table."""
    cells = e.gate.cells
    if cells.is_empty():
        return None
    months = cells["month"].unique().sort().to_list()
    order = {probe: i for i, probe in enumerate(PROBES)}
    rows = sorted(
        cells.select("table_name", "probe").unique().rows(),
        key=lambda row: (_stage(row[0]), row[0], order.get(row[1], len(order))),
    )
    at = {(t, p, m): (ok, n, seen) for t, m, p, ok, n, seen in cells.select(
        "table_name", "month", "probe", "passed", "refused", "tested").iter_rows()}  # fmt: skip
    z, marks, hover = [], [], []
    for table, probe in reversed(rows):
        results = [at.get((table, probe, month)) for month in months]
        z.append([None if f is None else 1 if f[0] else 0 for f in results])
        marks.append(["" if f is None or f[0] else "✕" for f in results])
        hover.append(["not run" if f is None else f"{_result(f)}<br>{plain(f[2])}" for f in results])
    refused = cells.filter(~pl.col("passed")).height
    heat = {
        "type": "heatmap",
        "x": [month_name(m) for m in months],
        "y": [f"{table} · {probe}" for table, probe in reversed(rows)],
        "z": z,
        "text": marks,
        "texttemplate": "%{text}",
        "textfont": {"color": "@paper"},
        "customdata": hover,
        "colorscale": [[0, "@red"], [0.5, "@red"], [0.5, "@pass"], [1, "@pass"]],
        "zmin": 0,
        "zmax": 1,
        "showscale": False,
        "xgap": 2,
        "ygap": 2,
        "hovertemplate": "%{y}<br>%{x}: %{customdata}<extra></extra>",
    }
    return Figure(
        "gate",
        "Gate results: latest audit of each table and month",
        f"{plural(cells.height - refused, 'audit')} passed, {refused or 'none'} refused (✕). Blank: not run.",
        [heat],
        {
            "xaxis": {"type": "category", "nticks": 12, "showgrid": False},
            "yaxis": {"automargin": True, "showgrid": False},
        },
        height=110 + 24 * len(rows),
        min_width=min(MAX_MIN_WIDTH, LETTER * max(len(f"{t} · {p}") for t, p in rows) + MONTH * len(months)),
    )


def _stage(table: str) -> int:
    """Place of a table in the way of the data."""
    known = [i for i, stage in enumerate(STAGES) if table.startswith(stage)]
    return known[0] if known else len(STAGES)


def _result(result: tuple[bool, int, str]) -> str:
    return "passed" if result[0] else f"refused, {plural(result[1], 'violation')}"
