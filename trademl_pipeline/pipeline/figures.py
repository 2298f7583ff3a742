"""Small figures of a month, as pictures inside Markdown."""

import base64
import io
from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from trademl_pipeline.leakage import Violation
from trademl_pipeline.pipeline.shown import Markdown

BLUE, GREY, RED = "#2a6fb0", "#8a8f98", "#b03a2e"
PANELS = 3

# What the value beside the published one was computed on, by probe.
KNOWN = {
    "truncation": "without what came later",
    "perturbation": "with another future",
    "adjustment": "after a later split",
    "incremental": "computed anew",
}


def bars_figure(values: Mapping[str, float], label: str, *, horizontal: bool = False) -> Markdown:
    """Draw a bar per name."""
    names, heights = list(values), list(values.values())
    size = (5.2, 0.5 + 0.24 * len(names)) if horizontal else (max(3.2, 0.32 * len(names) + 1.2), 2.2)
    figure = _figure(size)
    axes = figure.subplots()
    if horizontal:
        axes.barh(names[::-1], heights[::-1], color=BLUE)
        axes.set_xlabel(label)
    else:
        axes.bar(names, heights, color=BLUE)
        axes.axhline(0, color=GREY, linewidth=0.8)
        axes.set_ylabel(label)
        axes.tick_params(axis="x", rotation=90)
    axes.tick_params(labelsize=7)
    return _picture(figure, label)


def lines_figure(values: Mapping[str, Sequence[float]], x: str, y: str) -> Markdown:
    """Draw a line per name, over 1, 2, 3, ..."""
    figure = _figure((5.2, 2.6))
    axes = figure.subplots()
    for name, series in values.items():
        axes.plot(range(1, len(series) + 1), series, label=name, linewidth=1.2, marker=".", markersize=3)
    axes.set_xlabel(x, fontsize=8)
    axes.set_ylabel(y, fontsize=8)
    axes.tick_params(labelsize=7)
    axes.legend(fontsize=6, frameon=False)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    return _picture(figure, f"{y} by {x}")


def leak_figure(violations: Sequence[Violation]) -> Markdown | None:
    """Draw published values around a leak beside those computed on what was known then; None where no probe kept any.

    One panel a column, at most `PANELS`.
    """
    first = {v.column: v for v in reversed(violations) if v.trace is not None}
    shown = list(reversed(first.values()))[:PANELS]
    if not shown:
        return None
    figure = _figure((4.2 * len(shown), 2.6), dpi=100)
    for axes, violation in zip(figure.subplots(1, len(shown), squeeze=False)[0], shown, strict=True):
        trace = violation.trace
        assert trace is not None
        axes.plot(
            trace.sessions, _gaps(trace.published), color=RED, marker="o", markersize=3, label="published"
        )
        axes.plot(
            trace.sessions,
            _gaps(trace.known),
            color=BLUE,
            marker=".",
            linestyle="--",
            label=KNOWN[violation.probe],
        )
        axes.axvline(violation.first_leak, color=GREY, linewidth=0.8, linestyle=":")
        as_of = f", as of {violation.cutoff}" if violation.cutoff else ""
        axes.set_title(
            f"{violation.column}, {violation.symbol}: from {violation.first_leak}{as_of}", fontsize=7
        )
        axes.tick_params(axis="x", rotation=60)
        axes.legend(fontsize=6, frameon=False)
        axes.tick_params(labelsize=6)
    figure.tight_layout()
    return _picture(figure, "values around the leak")


def nights_figure(nights: pl.DataFrame) -> Markdown:
    """Draw months audited, carried over and refused by night, from `leakage.nightly.nights`."""
    figure = _figure((max(3.2, 0.3 * nights.height + 1.5), 2.2))
    axes = figure.subplots()
    names = [f"{at:%m-%d %H:%M}" for at in nights["recorded_at"]]
    below = [0] * nights.height
    for column, colour in (("audited", BLUE), ("carried", GREY), ("refused", RED)):
        heights = nights[column].to_list()
        axes.bar(names, heights, bottom=below, color=colour, label=column)
        below = [a + b for a, b in zip(below, heights, strict=True)]
    axes.set_ylabel("tables x months")
    axes.tick_params(axis="x", rotation=90)
    axes.tick_params(labelsize=6)
    axes.legend(fontsize=6, frameon=False)
    return _picture(figure, "nightly audits")


def _gaps(values: Sequence[float | None]) -> list[float]:
    return [float("nan") if v is None else v for v in values]


def quality_figure(history: pl.DataFrame) -> Markdown:
    """Draw checks by months: how much of what each allows was found; a failed one stands out.

    Args:
        history: month, check, share, limit, passed.
    """
    checks, months = history["check"].unique(maintain_order=True), history["month"].unique().sort()
    figure = _figure((max(3.6, 0.2 * len(months) + 2.2), 0.5 + 0.24 * len(checks)))
    axes = figure.subplots()
    rows = dict(zip(checks, range(len(checks)), strict=True))
    columns = dict(zip(months, range(len(months)), strict=True))
    for failed, color in ((False, BLUE), (True, RED)):
        part = history.filter((pl.col("passed") != failed) & (pl.col("share") > 0))
        sizes = 12 + 70 * (part["share"] / pl.Series([max(x, 1e-3) for x in part["limit"]])).clip(0, 1)
        axes.scatter(
            [columns[m] for m in part["month"]],
            [rows[c] for c in part["check"]],
            s=sizes,
            color=color,
            marker="s",
        )
    axes.set_yticks(range(len(checks)), checks)
    step = max(1, len(months) // 12)
    axes.set_xticks(range(0, len(months), step), [m[:7] for m in months[::step]], rotation=90)
    axes.set_xlim(-0.5, len(months) - 0.5)
    axes.set_ylim(len(checks) - 0.5, -0.5)
    axes.set_title("findings (larger: nearer to the limit; red: beyond it)", fontsize=7, color=GREY)
    axes.tick_params(labelsize=7)
    return _picture(figure, "quality of bars")


def _figure(size: tuple[float, float], dpi: int = 110) -> Any:
    """An empty figure of inches by inches; untyped, since matplotlib says nothing of its methods' options."""
    from matplotlib.figure import Figure

    return Figure(figsize=size, dpi=dpi)


def _picture(figure: Any, label: str) -> Markdown:
    """A figure as an image inside Markdown."""
    for axes in figure.axes:
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
    picture = io.BytesIO()
    figure.savefig(picture, format="png", bbox_inches="tight")
    encoded = base64.b64encode(picture.getvalue()).decode()
    return Markdown(f"![{label}](data:image/png;base64,{encoded})")
