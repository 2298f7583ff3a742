"""Numbers as a reader meets them."""

import math
from typing import Any

from trademl_pipeline.evaluation.metrics import Score

NONE = "–"


def number(value: float | None, digits: int = 3, *, signed: bool = False) -> str:
    """0.0481 -> "0.048"; a true minus sign; an en dash for no value."""
    if value is None or not math.isfinite(value):
        return NONE
    text = f"{value:{'+' if signed else ''}.{digits}f}"
    if float(text) == 0:
        text = text.lstrip("+-")
    return text.replace("-", "−")


def percent(value: float | None, digits: int = 1, *, signed: bool = False) -> str:
    """0.531 -> "53.1 %"."""
    if value is None or not math.isfinite(value):
        return NONE
    return f"{number(100 * value, digits, signed=signed)} %"


def points(value: float | None, digits: int = 1) -> str:
    """0.017 -> "+1.7", percentage points."""
    return number(None if value is None else 100 * value, digits, signed=True)


def count(value: Any) -> str:
    """14820 -> "14,820"."""
    return NONE if value is None else f"{int(value):,}"


def plural(n: int, noun: str, many: str | None = None) -> str:
    """1 -> "1 month", 3 -> "3 months"; `many` where an s does not do: "3 studies"."""
    return f"{n:,} {noun if n == 1 else many or noun + 's'}"


def interval(score: Score | None, style: str = "number", digits: int | None = None) -> str:
    """The 95 % interval, "0.031 to 0.066", in the style "number", "signed", "percent" or "points"."""
    if score is None or score.low is None or score.high is None:
        return "no interval"
    low, high = (figure(end, style, digits) for end in (score.low, score.high))
    return f"{low.removesuffix(' %')} to {high}"


def figure(value: float | None, style: str = "number", digits: int | None = None) -> str:
    """A figure in one of the styles of `interval`."""
    if style == "percent":
        return percent(value, 1 if digits is None else digits)
    if style == "points":
        return points(value, 1 if digits is None else digits)
    return number(value, 3 if digits is None else digits, signed=style == "signed")


def month_name(month: str) -> str:
    """ "2016-01-01" -> "2016-01"."""
    return str(month)[:7]
