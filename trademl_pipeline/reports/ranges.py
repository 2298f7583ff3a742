"""Small drawings beside a figure: where it lies between its interval, its baselines and the oracle."""

from trademl_pipeline.reports.lines import Line

WIDTH, HEIGHT, EDGE = 180, 20, 8


def _key(drawing: str) -> str:
    return f'<svg class="key range" viewBox="0 0 26 16" aria-hidden="true">{drawing}</svg>'


KEY_FIGURE = _key(
    '<line class="whisker" x1="4" x2="22" y1="8" y2="8"/><circle class="dot" cx="13" cy="8" r="4"/>'
)
KEY_BASELINE = _key('<line class="base" x1="13" x2="13" y1="1" y2="15"/>')
KEY_ORACLE = _key('<path class="oracle" d="M13 3l5 5-5 5-5-5z"/>')


def drawing(line: Line) -> str:
    """An inline SVG of one line, hidden from screen readers as the numbers stand beside it; may be ""."""
    score = line.score
    known = [score.value, score.low, score.high, line.oracle, *score.baselines.values()]
    values = [v for v in known if v is not None]
    if score.value is None or len(values) < 2 or min(values) == max(values):
        return ""
    least, span = min(values), max(values) - min(values)

    def x(value: float) -> str:
        return f"{EDGE + (WIDTH - 2 * EDGE) * (value - least) / span:.1f}"

    parts = [f'<line class="axis" x1="0" x2="{WIDTH}" y1="10" y2="10"/>']
    if score.low is not None and score.high is not None:
        parts.append(f'<line class="whisker" x1="{x(score.low)}" x2="{x(score.high)}" y1="10" y2="10"/>')
    parts += [
        f'<line class="base" x1="{x(b)}" x2="{x(b)}" y1="2" y2="18"/>'
        for b in sorted(set(score.baselines.values()))
    ]
    if line.oracle is not None:
        parts.append(f'<path class="oracle" d="M{x(line.oracle)} 5l5 5-5 5-5-5z"/>')
    parts.append(f'<circle class="dot" cx="{x(score.value)}" cy="10" r="4.5"/>')
    return f'<svg class="range" viewBox="0 0 {WIDTH} {HEIGHT}" aria-hidden="true">{"".join(parts)}</svg>'
