"""A figure of merit as a row: its texts, and the numbers behind them."""

from dataclasses import dataclass

from trademl_pipeline.evaluation.metrics import Score
from trademl_pipeline.reports.text import figure, interval

_BASELINES = {
    "always_up": "always up",
    "always_long": "always long",
    "at_random": "called blindly",
    "none": "by chance",
    "chance": "by chance",
    "frequencies": "class shares",
    "sampling": "from sampling",
    "no_change": "last price",
    "all_signals": "all signals",
    "others": "the others",
}


@dataclass(frozen=True)
class Line:
    """One figure as a row: texts, and the numbers behind them for a small graphic.

    Attributes:
        name: what was measured.
        score: the figure.
        style: "percent", "signed", "points" or "number"; see `text.figure`.
        better: "high" or "low".
        oracle: the oracle's figure on the same rows, if there is one.
        digits: decimals, or None for the style's own.
    """

    name: str
    score: Score
    style: str
    better: str = "high"
    oracle: float | None = None
    digits: int | None = None

    @property
    def value(self) -> str:
        """The figure."""
        return figure(self.score.value, self.style, self.digits)

    @property
    def interval(self) -> str:
        """Its interval."""
        return interval(self.score, self.style, self.digits)

    @property
    def baselines(self) -> str:
        """Its baselines, "52.1 % majority, 47.9 % always up"."""
        by_value = {}
        for name, value in self.score.baselines.items():
            by_value.setdefault(figure(value, self.style, self.digits) if value else "0", []).append(
                _BASELINES.get(name, name)
            )
        return ", ".join(f"{value} {', '.join(names)}" for value, names in by_value.items())

    @property
    def oracle_text(self) -> str:
        """The oracle's figure, or nothing."""
        return "" if self.oracle is None else figure(self.oracle, self.style, self.digits)

    @property
    def text(self) -> str:
        """Figure and interval, "+0.031 (+0.012 to +0.050)", or a dash where there is no figure."""
        return with_interval(self.score, self.style, self.digits)


def with_interval(score: Score | None, style: str, digits: int | None = None) -> str:
    """A figure with its interval in brackets; a dash where there is none.

    An interval without width says that nothing varied in what was drawn, not that the figure is sure: left out.
    """
    if score is None or score.value is None:
        return figure(None)
    flat = score.low is None or score.low == score.high
    between = "" if flat else f" ({interval(score, style, digits)})"
    return figure(score.value, style, digits) + between
