"""One figure of the HTML report as a plotly specification.

Colours are names such as "@blue", which the page replaces by those of its light or dark theme
(style.COLOURS). Numbers are rounded to six digits to keep the page small.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl


@dataclass(frozen=True)
class Figure:
    """One figure: its place on the page, what to see in it, and plotly's data and layout."""

    id: str
    title: str
    caption: str
    data: list[dict[str, Any]]
    layout: dict[str, Any]
    height: int = 320


def rounded(values: Sequence[float | None] | Sequence[float] | np.ndarray | pl.Series) -> list[float | None]:
    """Six significant digits; None for what is missing or infinite."""
    return [float(f"{v:.6g}") if v is not None and np.isfinite(v) else None for v in values]


def dates(values: Sequence[Any] | pl.Series) -> list[str]:
    """ISO dates."""
    return [v.isoformat() for v in values]
