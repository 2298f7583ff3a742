"""Small drawings that show where a figure lies between its interval, its baselines and the oracle."""

from dataclasses import dataclass

from trademl_pipeline.reports.lines import Line

WIDTH, HEIGHT, EDGE = 180, 20, 8


@dataclass(frozen=True)
class Range:
    """Places on the drawing's axis, in its own units from 0 to WIDTH, as text.

    Attributes:
        figure: of the figure itself.
        ends: of its interval, or None.
        baselines: of the forecasts without skill.
        oracle: of the oracle, or None.
    """

    figure: str
    ends: tuple[str, str] | None
    baselines: tuple[str, ...]
    oracle: str | None
    width: int = WIDTH
    height: int = HEIGHT


def drawing(line: Line) -> Range | None:
    """Return the places of one line; None where there is nothing to compare its figure with."""
    score = line.score
    known = [score.value, score.low, score.high, line.oracle, *score.baselines.values()]
    values = [v for v in known if v is not None]
    if score.value is None or len(values) < 2 or min(values) == max(values):
        return None
    low, span = min(values), max(values) - min(values)

    def x(value: float) -> str:
        return f"{EDGE + (WIDTH - 2 * EDGE) * (value - low) / span:.1f}"

    return Range(
        x(score.value),
        None if score.low is None or score.high is None else (x(score.low), x(score.high)),
        tuple(x(b) for b in sorted(set(score.baselines.values()))),
        None if line.oracle is None else x(line.oracle),
    )
