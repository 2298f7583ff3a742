"""Stability of results: the same figures quarter by quarter, half against half, and symbol by symbol."""

from collections.abc import Sequence
from dataclasses import replace

import polars as pl

from trademl_pipeline.evaluation.metrics import Score
from trademl_pipeline.reports.inputs import ReportConfig
from trademl_pipeline.reports.lines import with_interval
from trademl_pipeline.reports.section import Section, Table
from trademl_pipeline.reports.text import NONE, count, figure, plural
from trademl_pipeline.tasks.report_spec import Measure

MAX_MEASURES = 4
EXTREMES = 5
_MIN_DRAWS = 100
_LONGEST_BY_QUARTER = 16
_SHORTEST_BY_QUARTER = 4


def consistency(rows: pl.DataFrame, config: ReportConfig) -> Section:
    """Figures by period: months of a short range, quarters of a longer one, years of a long one."""
    measures = config.kind.ranked_measures[:MAX_MEASURES]
    labelled = rows.with_columns(period=_period(rows))
    table, first_scores = [], []
    for (period,), part in labelled.group_by("period", maintain_order=True):
        scores = [m.of(part, config) for m in measures]
        first_scores.append(scores[0])
        table.append(_row(str(period), part, measures, scores))
    first, second = _halves(rows)
    halves = [
        _row(name, part, measures, [m.of(part, config) for m in measures])
        for name, part in (("earlier half", first), ("later half", second))
        if not part.is_empty()
    ]
    head = ["", "sessions", "rows", *(m.name for m in measures)]
    sentences, by_symbol = _by_symbol(rows, config)
    return Section(
        "consistency",
        "Do the results hold over time, and over symbols?",
        text=[_sentence(measures[0], first_scores), *sentences],
        tables=[
            Table(
                head,
                table,
                note="Ranges are 95 % intervals; a period of few sessions has a wide one or none.",
            ),
            Table(head, halves, title="Half against half"),
            *by_symbol,
        ],
    )


def _by_symbol(rows: pl.DataFrame, config: ReportConfig) -> tuple[list[str], list[Table]]:
    """One sentence and one table over symbols, by the first figure that a symbol has by itself."""
    measure = next((m for m in config.kind.ranked_measures if m.by_symbol), None)
    if measure is None or rows["symbol"].n_unique() < 2:
        return [], []
    parts = {str(name): part for (name,), part in rows.group_by("symbol", maintain_order=True)}
    # Intervals only of the symbols shown: there may be thousands.
    plain = {name: measure.of(part, replace(config, draws=_MIN_DRAWS)) for name, part in parts.items()}
    excesses = {
        name: s.value - _level(s) for name, s in plain.items() if s is not None and s.value is not None
    }
    if not excesses:
        return [], []
    order = sorted(excesses, key=lambda name: (-excesses[name], name))
    ends = order if len(order) <= 2 * EXTREMES else [*order[:EXTREMES], *order[-EXTREMES:]]
    body = []
    for name in ends:
        score = measure.of(parts[name], config)
        level = NONE if score is None else figure(_level(score), measure.style)
        body.append([name, count(parts[name].height), with_interval(score, measure.style), level])
    above = sum(excess > 0 for excess in excesses.values())
    text = (
        f"Symbol by symbol, the {measure.name} lies above its baseline in {above} of "
        f"{plural(len(excesses), 'symbol')}. "
        "The best and the worst of many are far apart by luck alone."
    )
    title = (
        "By symbol" if len(ends) == len(order) else f"By symbol: the {EXTREMES} best and the {EXTREMES} worst"
    )
    return [text], [Table(["symbol", "rows", measure.name, "without skill"], body, title=title)]


def _level(score: Score) -> float:
    """The level that the figure has to beat."""
    return max(score.baselines.values(), default=0.0)


def _period(rows: pl.DataFrame) -> pl.Expr:
    day = pl.col("session")
    year = day.dt.year().cast(pl.String)
    quarter = year + "-Q" + day.dt.quarter().cast(pl.String)
    quarters = rows.select(quarter.n_unique()).item()
    if quarters > _LONGEST_BY_QUARTER:
        return year
    return quarter if quarters >= _SHORTEST_BY_QUARTER else day.dt.strftime("%Y-%m")


def _halves(rows: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    sessions = rows["session"].unique().sort()
    middle = sessions[len(sessions) // 2]
    return rows.filter(pl.col("session") < middle), rows.filter(pl.col("session") >= middle)


def _row(name: str, part: pl.DataFrame, measures: Sequence[Measure], scores: list[Score | None]) -> list[str]:
    texts = [with_interval(s, m.style) for m, s in zip(measures, scores, strict=True)]
    return [name, count(part["session"].n_unique()), count(part.height), *texts]


def _sentence(measure: Measure, scores: list[Score | None]) -> str:
    known = [s for s in scores if s is not None and s.value is not None]
    if not known:
        return f"The {measure.name} can be told in no period."
    level = known[0].baselines.get("chance", 0.0)
    above = sum(s.value > level for s in known if s.value is not None)
    surely_above = sum(s.low is not None and s.low > level for s in known)
    surely_below = sum(s.high is not None and s.high < level for s in known)
    return (
        f"The {measure.name} lies above chance in {above} of {plural(len(known), 'period')}, with the whole interval "
        f"above it in {surely_above} and below it in {surely_below}. By luck alone about half lie above, and one in "
        "forty surely."
    )
