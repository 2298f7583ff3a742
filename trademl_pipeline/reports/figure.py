"""One figure of the HTML report as a plotly specification.

Colours are names such as "@blue", which the page replaces by those of its light or dark theme
(`pages/static/report.css`). Numbers are rounded to six digits to keep the page small.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np
import polars as pl


@dataclass(frozen=True)
class Figure:
    """One figure: its place on the page, what to see in it, and plotly's data and layout.

    Attributes:
        id: of the place, unique on a page.
        title: its heading.
        caption: what to see in it.
        data: plotly's traces. Names and places on the axes are plain text; `text` and `customdata` are plotly's own
            HTML, so what comes from data goes through `plain` first.
        layout: plotly's layout.
        height: in pixels.
        min_width: least, in pixels; on a narrower screen the figure scrolls within its own box. 0 lets it shrink.
    """

    id: str
    title: str
    caption: str
    data: list[dict[str, Any]]
    layout: dict[str, Any]
    height: int = 320
    min_width: int = 0

    def spec(self) -> dict[str, Any]:
        """Return what the page's script draws, with names and axes that plotly shows as they are."""
        traces = [
            {key: _as_plain(value) if key in _PLAIN_KEYS else value for key, value in trace.items()}
            for trace in self.data
        ]
        return {"data": traces, "layout": self.layout, "height": self.height}


_PLAIN_KEYS = frozenset({"name", "x", "y"})


def plain(text: str) -> str:
    """Return a text that plotly shows as it is: no tag in it acts, and none is taken for a colour's name."""
    escaped = escape(text, quote=False)
    return f"&#64;{escaped[1:]}" if escaped.startswith("@") else escaped


def _as_plain(value: Any) -> Any:
    if isinstance(value, str):
        return plain(value)
    return [plain(v) if isinstance(v, str) else v for v in value] if isinstance(value, list) else value


def rounded(values: Sequence[float | None] | Sequence[float] | np.ndarray | pl.Series) -> list[float | None]:
    """Six significant digits; None for what is missing or infinite."""
    return [float(f"{v:.6g}") if v is not None and np.isfinite(v) else None for v in values]


def dates(values: Sequence[Any] | pl.Series) -> list[str]:
    """ISO dates."""
    return [v.isoformat() for v in values]
