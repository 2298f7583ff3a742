"""A few predictions as they were made, beside what came, and where the model looked."""

from typing import Final

import polars as pl

from trademl_pipeline.reports.figure import Figure, rounded
from trademl_pipeline.reports.inputs import ReportConfig, ReportInputs
from trademl_pipeline.reports.section import Section, Table
from trademl_pipeline.reports.text import number, percent, plural

EACH: Final = 2
_WHY = ("surest, and right", "surest, and wrong", "drawn at random")


def examples(rows: pl.DataFrame, inputs: ReportInputs, config: ReportConfig) -> Section:
    """The surest predictions that were right, the surest that were wrong, and some drawn at random.

    Args:
        rows: scored predictions.
        inputs: attention, whose predictions are preferred where it is given.
        config: task and seed.
    """
    chosen = choose(rows, inputs.attention, config)
    # The expected value of a breakout is its score.
    columns = [
        *config.declared_task.predicted,
        *([] if "ev" in config.declared_task.predicted else ["score"]),
    ]
    body = [
        [
            why,
            row["symbol"],
            str(row["session"]),
            *(_text(c, row[c]) for c in columns),
            *_outcome_cells(row, config),
        ]
        for why, row in chosen
    ]
    head = ["", "symbol", "session", *(c.replace("_", " ") for c in columns), "log return that came"]
    if config.kind.views and len(config.kind.views) == 1:
        head.append("class that came")
    attention_figure = _attention(inputs.attention, chosen) if inputs.attention is not None else None
    return Section(
        "examples",
        "A few predictions as they were made",
        text=[
            "Sure means far from a score of 0. These are illustrations: the surest that were wrong are as typical as "
            "the surest that were right only if the figures above say so."
        ],
        tables=[Table(head, body, left=frozenset({1}))],
        figures=[attention_figure] if attention_figure else [],
    )


def choose(
    rows: pl.DataFrame, attention: pl.DataFrame | None, config: ReportConfig
) -> list[tuple[str, dict]]:
    """The examples as (why it was chosen, row), none twice."""
    pool = rows
    if attention is not None and not attention.is_empty():
        seen = rows.join(attention.select("symbol", "session").unique(), on=["symbol", "session"], how="semi")
        pool = rows if seen.is_empty() else seen
    marked = pool.with_columns(right=_right(config)).sort(
        pl.col("score").abs(), "session", "symbol", descending=[True, False, False]
    )
    chosen = [
        (_WHY[0], marked.filter("right").head(EACH)),
        (_WHY[1], marked.filter(~pl.col("right")).head(EACH)),
    ]
    keys = pl.concat([frame.select("symbol", "session") for _, frame in chosen])
    rest = marked.join(keys, on=["symbol", "session"], how="anti").sort("session", "symbol")
    chosen.append((_WHY[2], rest.sample(min(EACH, rest.height), seed=config.seed)))
    return [(why, row) for why, frame in chosen for row in frame.iter_rows(named=True)]


def _right(config: ReportConfig) -> pl.Expr:
    if config.kind.directional:
        return pl.col("score") * pl.col("forward_return") > 0
    view = config.kind.views[0]
    return pl.concat_list(view.columns).list.arg_max().cast(pl.Int64) == pl.col(view.target).cast(pl.Int64)


def _text(column: str, value: object) -> str:
    if isinstance(value, str):
        return value
    if not isinstance(value, int | float):
        return number(None)
    if column.startswith("p_") or column == "confidence":
        return percent(value, 0)
    if column.startswith(("mean_", "return_", "volatility", "risk")):
        return percent(value, 2, signed=not column.startswith(("volatility", "risk")))
    return number(value, 0 if column == "direction" else 2, signed=True)


def _outcome_cells(row: dict, config: ReportConfig) -> list[str]:
    outcome = [percent(row["forward_return"], 2, signed=True)]
    if len(config.kind.views) == 1:
        view = config.kind.views[0]
        outcome.append(view.labels[int(row[view.target])])
    return outcome


def _attention(attention: pl.DataFrame, chosen: list[tuple[str, dict]]) -> Figure | None:
    """Weights over the window of each example, and their mean over every window given."""
    last = attention["step"].max()
    if last is None:
        return None
    steps = list(range(int(last) + 1))  # pyright: ignore[reportArgumentType]
    windows = attention.select("symbol", "session").unique().height
    mean = attention.group_by("step").agg(pl.col("weight").mean())
    lines = [(f"mean of {plural(windows, 'window')}", dict(mean.iter_rows()))]
    for _, row in chosen:
        weights = attention.filter(pl.col("symbol") == row["symbol"], pl.col("session") == row["session"])
        if not weights.is_empty():
            lines.append(
                (f"{row['symbol']} {row['session']}", dict(weights.select("step", "weight").iter_rows()))
            )
    heat = {
        "type": "heatmap",
        "x": [step - steps[-1] for step in steps],
        "y": [name for name, _ in reversed(lines)],
        "z": [rounded([weights.get(step) for step in steps]) for _, weights in reversed(lines)],
        "colorscale": [[0, "@paper"], [1, "@blue"]],
        "zmin": 0,
        "colorbar": {
            "thickness": 10,
            "outlinewidth": 0,
            "tickformat": ".0%",
            "tickfont": {"color": "@muted"},
        },
        "hovertemplate": "%{y}, %{x} sessions: %{z:.1%}<extra></extra>",
    }
    return Figure(
        "attention",
        "Where the model looked",
        f"Weight of each session of the window; even attention would give {percent(1 / len(steps))} to each. "
        "Attention shows what was weighed, not what decided.",
        [heat],
        {
            "xaxis": {"title": {"text": "sessions before the decision"}, "showgrid": False},
            "yaxis": {"type": "category", "automargin": True, "showgrid": False},
        },
        height=120 + 28 * len(lines),
    )
