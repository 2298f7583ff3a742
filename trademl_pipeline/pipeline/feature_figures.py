"""A month of features beside the months before it: missing values, distributions, drift."""

import base64
from collections.abc import Sequence
from typing import cast

import polars as pl

from trademl_pipeline.features import feature_inputs
from trademl_pipeline.features.diagnostics import Values, drift, summary
from trademl_pipeline.features.references import REFERENCE_COLUMNS
from trademl_pipeline.lake.schema import TableSchema
from trademl_pipeline.lake.view import LakeReader
from trademl_pipeline.market.calendar import month_expr, offset_month
from trademl_pipeline.pipeline.shown import Markdown, Metadata
from trademl_pipeline.pipeline.stage import Inputs

# Months back that stand for what a model learned from: one of each quarter of the year before. Some rows of each are
# enough for the shape of a distribution.
BACK = (1, 4, 7, 10)
ROWS_A_MONTH, ROWS_NOW = 500, 2000
SHIFTED = 0.25
WORST = 8
ROW_HEIGHT, LABEL_WIDTH, BAND_WIDTH = 13, 190, 260
BEFORE_COLOUR, NOW_COLOUR, SHIFTED_COLOUR = "#c3c8d0", "#2a6fb0", "#b03a2e"


class FeatureFigures:
    """The figures of each month of one run.

    What was sampled for one month is kept for the next, so that a range reads every month once.
    """

    def __init__(self, schema: TableSchema, names: Sequence[str]) -> None:
        self.schema = schema
        self.names = list(names)
        self._sampled: dict[str, pl.DataFrame] = {}

    def __call__(self, earlier: LakeReader, inputs: Inputs, frame: pl.DataFrame, month: str) -> Metadata:
        """Return the figures of a month that has just been published."""
        lookback = self._before(earlier, month)
        self._sampled[month] = sample(frame, ROWS_A_MONTH).select(self.names)
        now, before = (Values.of(x, self.names) for x in (sample(frame, ROWS_NOW), lookback))
        shape, moved = summary(now), drift(before, now).drop("null_share_change")
        # What is the same for all symbols of a session moves from month to month by nature.
        shared = [name for name in self.names if not reads_the_symbol(name)]
        moved = moved.with_columns(
            pl.when(~pl.col("feature").is_in(shared)).then(c).alias(c) for c in ("psi", "ks", "mean_shift")
        )
        shifted = moved.filter(pl.col("psi") > SHIFTED)
        metadata: Metadata = {
            "null_share": float(cast(float, shape["null_share"].mean() or 0.0)),
            "columns_without_values": int((shape["null_share"] == 1).sum()),
            "columns": Markdown(columns_table(shape, moved)),
        }
        if before.rows == 0:
            return metadata
        return {
            **metadata,
            "columns_shifted": int(shifted.height),
            "worst_drift": Markdown(worst_table(moved)),
            "distributions": distributions(shape, summary(before), set(shifted["feature"])),
        }

    def _before(self, earlier: LakeReader, month: str) -> pl.DataFrame:
        """A sample of the months before, as they are published."""
        wanted = [offset_month(month, -back) for back in BACK]
        oldest = offset_month(month, -max(BACK))
        self._sampled = {m: rows for m, rows in self._sampled.items() if m >= oldest}
        unread = [m for m in wanted if m not in self._sampled]
        if unread:
            rows = earlier.read(self.schema, months=unread, columns=["session", *self.names])
            parts = rows.with_columns(month_expr()).partition_by("month", as_dict=True)
            self._sampled |= dict.fromkeys(unread, rows.clear().select(self.names))
            self._sampled |= {
                str(key): sample(part, ROWS_A_MONTH).select(self.names) for (key,), part in parts.items()
            }
        return pl.concat([self._sampled[m] for m in wanted])


def sample(frame: pl.DataFrame, rows: int) -> pl.DataFrame:
    """Return about so many rows, spread over symbols and sessions; all where there are no more."""
    return frame.gather_every(max(frame.height // rows, 1))


def reads_the_symbol(name: str) -> bool:
    """Return whether a feature reads the symbol's own prices or volumes, not the calendar or references alone."""
    return bool(set(feature_inputs(name)) - {"session", *REFERENCE_COLUMNS})


def _number(value: float | None, form: str = ".3g") -> str:
    return "" if value is None else format(value, form)


def columns_table(shape: pl.DataFrame, moved: pl.DataFrame) -> str:
    """Return every column as Markdown: share of missing values, distribution, drift against the months before."""
    lines = [
        "| column | missing | mean | std | 5 % | median | 95 % | PSI | KS |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in shape.join(moved, on="feature", how="left", maintain_order="left").iter_rows(named=True):
        figures = (row[c] for c in ("mean", "std", "q05", "q50", "q95"))
        cells = (
            f"`{row['feature']}`",
            _number(row["null_share"], ".1%"),
            *(_number(x) for x in figures),
            _number(row["psi"], ".2f"),
            _number(row["ks"], ".2f"),
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def worst_table(moved: pl.DataFrame) -> str:
    """Return the columns that lie farthest from the months before, as Markdown."""
    lines = [
        f"Against a sample of four months of the year before; PSI above {SHIFTED} is a shift by rule of thumb. "
        "Columns that are the same for all symbols of a session are not judged.",
        "",
        "| column | PSI | KS | shift of the mean, in standard deviations |",
        "|---|---|---|---|",
    ]
    worst = moved.drop_nulls("psi").sort("psi", descending=True).head(WORST)
    for name, psi, ks, shift in worst.select("feature", "psi", "ks", "mean_shift").iter_rows():
        lines.append(f"| `{name}` | {psi:.2f} | {ks:.2f} | {_number(shift, '+.2f')} |")
    return "\n".join(lines)


def distributions(now: pl.DataFrame, before: pl.DataFrame, shifted: set[str]) -> Markdown:
    """Draw a row per column: 5 to 95 % and the quartiles of the month, over those of the months before.

    Each row spans the 1 and 99 % of both. It is written as SVG, at a hundredth of what a plotting library takes for
    that many panels.
    """
    spans = ("q01", "q05", "q25", "q50", "q75", "q95", "q99")
    both = now.select("feature", *spans).join(
        before.select("feature", *spans), on="feature", suffix="_before"
    )
    both = both.drop_nulls()
    parts, y = list[str](), 22
    for row in both.iter_rows(named=True):
        low = min(row["q01"], row["q01_before"])
        width = max(row["q99"], row["q99_before"]) - low
        scale = BAND_WIDTH / width if width > 0 else 0.0

        def at(value: float, low: float = low, scale: float = scale) -> float:
            return LABEL_WIDTH + (value - low) * scale

        colour = SHIFTED_COLOUR if row["feature"] in shifted else NOW_COLOUR
        parts.append(f'<text x="{LABEL_WIDTH - 6}" y="{y + 3}" text-anchor="end">{row["feature"]}</text>')
        parts += _band({c: at(row[f"{c}_before"]) for c in spans}, y, BEFORE_COLOUR, 7)
        parts += _band({c: at(row[c]) for c in spans}, y, colour, 3)
        y += ROW_HEIGHT
    width = LABEL_WIDTH + BAND_WIDTH + 12
    legend = (
        '<text x="6" y="10">this month: 5-95 %, quartiles, median; grey: four months of the year '
        "before; red: shifted</text>"
    )
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{y + 2}" font-family="sans-serif" '
        f'font-size="8"><rect width="100%" height="100%" fill="#fff"/>{legend}{"".join(parts)}</svg>'
    )
    encoded = base64.b64encode(svg.encode()).decode()
    return Markdown(f"![distributions](data:image/svg+xml;base64,{encoded})")


def _band(x: dict[str, float], y: int, colour: str, height: int) -> list[str]:
    return [
        f'<line x1="{x["q05"]:.1f}" x2="{x["q95"]:.1f}" y1="{y}" y2="{y}" stroke="{colour}"/>',
        f'<rect x="{x["q25"]:.1f}" y="{y - height / 2}" width="{x["q75"] - x["q25"]:.1f}" height="{height}" '
        f'fill="{colour}"/>',
        f'<line x1="{x["q50"]:.1f}" x2="{x["q50"]:.1f}" y1="{y - 4}" y2="{y + 4}" stroke="{colour}"/>',
    ]
