"""Small figures for the UI, as pictures inside Markdown metadata."""

import base64
import io
from collections.abc import Mapping

import dagster as dg

BLUE, GREY = "#2a6fb0", "#8a8f98"


def bars_figure(
    values: Mapping[str, float], label: str, *, horizontal: bool = False
) -> dg.MarkdownMetadataValue:
    """A bar per name."""
    from matplotlib.figure import Figure

    names, heights = list(values), list(values.values())
    size = (5.2, 0.5 + 0.24 * len(names)) if horizontal else (max(3.2, 0.32 * len(names) + 1.2), 2.2)
    figure = Figure(figsize=size, dpi=110)
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
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    picture = io.BytesIO()
    figure.savefig(picture, format="png", bbox_inches="tight")
    encoded = base64.b64encode(picture.getvalue()).decode()
    return dg.MetadataValue.md(f"![{label}](data:image/png;base64,{encoded})")
