"""Figures that the published designs hope for or report, shown beside ours; none of them states n or an interval."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Target:
    """One row of the target table of the forecast design.

    Attributes:
        name: what is measured.
        baseline: what the design expects without skill, as it writes it.
        target, stretch: what it hopes for, as shares or plain numbers.
        better: "high" or "low".
    """

    name: str
    baseline: str
    target: float
    stretch: float
    better: str = "high"

    def reached(self, value: float | None) -> str:
        """Which of its marks a figure reaches: "stretch", "target" or "no"."""
        if value is None:
            return "–"

        def at(mark: float) -> bool:
            return value >= mark if self.better == "high" else value < mark

        return "stretch" if at(self.stretch) else "target" if at(self.target) else "no"


FORECAST_TARGETS: Final[dict[int, tuple[Target, ...]]] = {
    1: (
        Target("Directional accuracy", "50 %", 0.60, 0.65),
        Target("MAPE of price", "15 to 25 %", 0.05, 0.03, "low"),
        Target("Sharpe of the sign", "0.0", 1.5, 2.0),
        Target("Correlation", "0.1 to 0.3", 0.5, 0.7),
    ),
    30: (
        Target("Directional accuracy", "50 %", 0.55, 0.60),
        Target("MAPE of price", "25 to 40 %", 0.10, 0.08, "low"),
        Target("Sharpe of the sign", "0.0", 1.2, 1.5),
        Target("Correlation", "0.1 to 0.2", 0.4, 0.6),
    ),
}
"""The forecast design, "Target Metrics" of both horizons."""

DIRECTION_REPORTED: Final[dict[str, str]] = {
    "xgboost": "46 to 50 %",
    "lightgbm": "42 to 56 %",
    "lstm": "45 %",
    "transformer": "38 to 42 %",
    "ensemble": "46 to 51 %",
}
"""The direction design, class accuracy of each model, by the beginning of its name."""

BREAKOUT_TARGETS: Final = {"K4 recall": 0.40, "K3+K4 recall": 0.70, "EV correlation": 0.30}
"""What the breakout design aims at."""

PATTERN_ACCURACY: Final = 0.55
"""The least accuracy of pattern detection that the pattern confidence design asks."""
