"""Drift of the predictions themselves from what they were."""

import math

import numpy as np
import polars as pl

from trademl_pipeline.reports.figure import Figure, rounded
from trademl_pipeline.reports.section import Section, Table
from trademl_pipeline.reports.text import count, number, plural

MODERATE, HIGH = 0.10, 0.25
"""Usual marks of the population stability index."""
BINS = 10
_QUANTILES = {"p05": 0.05, "p25": 0.25, "p50": 0.5, "p75": 0.75, "p95": 0.95}


def drift_by_fold(predictions: pl.DataFrame) -> pl.DataFrame:
    """Population stability index of each fold's scores against those of all folds before it.

    PSI = sum over bins of (share - reference share) ln(share / reference share), bins being the tenths of the
    reference; a share of 0 counts as half a row.

    Args:
        predictions: fold, score.

    Returns:
        fold, n, psi (null for the first fold), sampling (what independent rows of one distribution would show:
        (bins - 1)(1/n + 1/reference rows)), p05 … p95 of the score.
    """
    rows, previous_scores = [], np.array([])
    for (fold,), fold_rows in predictions.sort("fold").group_by("fold", maintain_order=True):
        score = fold_rows["score"].to_numpy().astype(np.float64)
        psi = sampling = None
        if len(previous_scores):
            psi, bins = stability(previous_scores, score)
            sampling = (bins - 1) * (1 / len(score) + 1 / len(previous_scores))
        quantiles = np.quantile(score, list(_QUANTILES.values()))
        rows.append((fold, len(score), psi, sampling, *map(float, quantiles)))
        previous_scores = np.concatenate([previous_scores, score])
    figures = dict.fromkeys(("psi", "sampling", *_QUANTILES), pl.Float64)
    return pl.DataFrame(rows, schema={"fold": pl.String, "n": pl.Int64, **figures}, orient="row")


def stability(reference: np.ndarray, sample: np.ndarray) -> tuple[float, int]:
    """Population stability index of a sample against a reference, and the number of bins it has."""
    edges = np.unique(np.quantile(reference, np.linspace(0, 1, BINS + 1)[1:-1]))
    bins = len(edges) + 1
    was, now = (
        np.maximum(np.bincount(np.searchsorted(edges, x, side="right"), minlength=bins), 0.5) / len(x)
        for x in (reference, sample)
    )
    return float(((now - was) * np.log(now / was)).sum()), bins


def level(psi: float | None, sampling: float | None) -> str:
    """In words; what sampling alone would show counts as none."""
    if psi is None or not math.isfinite(psi):
        return "the first"
    if psi < MODERATE or (sampling is not None and psi <= sampling):
        return "low"
    return "moderate" if psi < HIGH else "high"


def drift(predictions: pl.DataFrame) -> Section:
    """The part of a report on drift of the predictions."""
    frame = drift_by_fold(predictions)
    folds_with_level = [(r, level(r["psi"], r["sampling"])) for r in frame.iter_rows(named=True)]
    rows = [
        [
            r["fold"][:7],
            count(r["n"]),
            number(r["psi"]),
            number(r["sampling"]),
            word,
            *(number(r[q], signed=True) for q in ("p05", "p50", "p95")),
        ]
        for r, word in folds_with_level
    ]
    later = [word for _, word in folds_with_level[1:]]
    sentence = (
        f"Of {plural(len(later), 'month')} after the first, the scores of {later.count('high')} drift much and of "
        f"{later.count('moderate')} moderately from all months before (population stability index above {HIGH} and "
        f"{MODERATE}). Drift is no error: it says that the model meets inputs, or is itself, other than before."
        if later
        else "One month only: there is nothing to drift from."
    )
    head = ["month", "predictions", "PSI", "from sampling", "drift", "score, 5 %", "median", "95 %"]
    return Section(
        "drift",
        "Do the predictions drift?",
        text=[sentence],
        tables=[Table(head, rows, left=frozenset({4}))],
        figures=[_figure(frame)] if frame.height > 1 else [],
        data={"psi": dict(frame.select("fold", "psi").rows())},
    )


def _figure(frame: pl.DataFrame) -> Figure:
    months = frame["fold"].to_list()

    def line(column: str, name: str, width: float, dash: str = "solid") -> dict:
        return {
            "type": "scatter",
            "mode": "lines",
            "name": name,
            "x": months,
            "y": rounded(frame[column]),
            "line": {"color": "@blue", "width": width, "dash": dash},
            "hovertemplate": "%{x|%Y-%m}: %{y:.3g}",
        }

    return Figure(
        "drift",
        "The scores of each month: median, middle half and 90 %",
        "Lines that wander or fan out are drift.",
        [
            line("p95", "95 %", 1, "dot"),
            line("p75", "75 %", 1),
            line("p50", "median", 2.5),
            line("p25", "25 %", 1),
            line("p05", "5 %", 1, "dot"),
        ],
        {
            "xaxis": {"type": "date"},
            "yaxis": {"tickformat": ".3~g"},
            "legend": {"orientation": "h", "y": -0.18},
        },
    )
