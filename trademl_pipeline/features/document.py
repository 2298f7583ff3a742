"""Writes docs/features.md from the registry: `python -m trademl_pipeline.features.document`."""

import math
import sys
from pathlib import Path

from trademl_pipeline.features.feature import Feature
from trademl_pipeline.features.registry import FEATURE_SETS, FEATURES, feature_inputs, warmup

PAGE = Path(__file__).resolve().parents[2] / "docs" / "features.md"

INTRODUCTION = """# Features

Written from the registry by `python -m trademl_pipeline.features.document`; a test keeps the two in step.
{count} features in {sets} sets, {columns} columns. Every value at session t is made of the same symbol's
sessions up to t, and of reference series up to t.

- **Sessions** are the symbol's own: a window of 20 holds its last 20 bars. A gap is stepped over, not filled.
- **Prices** are put on the share of the symbol's first session, by the splits up to t; a later split changes
  nothing. All features are free of scale. `wealth` also reinvests dividends on their ex-date; returns are
  made of it.
- **Null** means not known: warming up, not defined (a ratio to a volume of 0), or made of a reference that is
  not there. Nothing is filled.
- **Warm-up** is the number of sessions before t that the value needs. Started there, a recursive feature
  differs from the one started at the symbol's first session by less than 1e-6 relative (or, near zero, 1e-6
  of its usual size); all others are the same.
- **TA-Lib** is the reference of every indicator it has, to 1e-9. Where two moves are equal but for rounding, as
  moves of whole cents often are, +DI, -DI and ADX take the side of the last bit, as TA-Lib does: on the same
  prices in another unit they may take the other.
- **Standard deviations** are the sample's (n - 1), but the population's (n) in Bollinger bands, as in TA-Lib.
- **References**: `index_wealth` (SPY), `sector_wealth` (the sector's fund), `vix`, `vix3m`, each of the same
  session.
"""


def number(x: float) -> str:
    """A bound for people: whole numbers bare, infinity as a sign."""
    if math.isinf(x):
        return "-∞" if x < 0 else "∞"
    return f"{x:.4g}"


def row(feature: Feature) -> str:
    """One line of a set's table."""
    inputs = ", ".join(feature_inputs(feature.name))
    span = f"{number(feature.low)} … {number(feature.high)}"
    formula = feature.formula.replace("|", "\\|")
    cells = (f"`{feature.name}`", formula, inputs, feature.warmup, feature.unit, span, feature.source)
    return f"| {' | '.join(map(str, cells))} |"


def page() -> str:
    """The whole page as Markdown."""
    columns = sum(len(names) for names in FEATURE_SETS.values())
    parts = [INTRODUCTION.format(count=len(FEATURES), sets=len(FEATURE_SETS), columns=columns)]
    for name, features in FEATURE_SETS.items():
        parts.append(
            f"\n## `{name}`: {len(features)} features, warm-up {warmup(name)} sessions\n\n"
            "| name | formula | made of | warm-up | unit | range | source |\n|---|---|---|---|---|---|---|\n"
            + "\n".join(row(FEATURES[n]) for n in features)
            + "\n"
        )
    return "".join(parts)


def main() -> None:
    """Write the page."""
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(page(), encoding="utf-8")
    sys.stdout.write(f"{PAGE}\n")


if __name__ == "__main__":
    main()
