"""Stability of results: the same figures quarter by quarter, half against half, and symbol by symbol."""

from dataclasses import replace

import polars as pl

from trademl_pipeline.evaluation.metrics import Score
from trademl_pipeline.reports.inputs import ReportConfig
from trademl_pipeline.reports.lines import with_interval
from trademl_pipeline.reports.measures import Measure, measures
from trademl_pipeline.reports.section import Section, Table
from trademl_pipeline.reports.text import NONE, count, figure, plural

SHOWN = 4
EXTREMES = 5
_OF_A_SYMBOL = ("AUC over all patterns", "EV correlation", "directional accuracy")
_FEWEST_DRAWS = 100
_LONGEST_BY_QUARTER = 16
_SHORTEST_BY_QUARTER = 4


def consistency(rows: pl.DataFrame, config: ReportConfig) -> Section:
    """Figures by period: months of a short range, quarters of a longer one, years of a long one."""
    shown = measures(config.kind)[:SHOWN]
    labelled = rows.with_columns(period=_period(rows))
    table, found = [], []
    for (period,), own in labelled.group_by("period", maintain_order=True):
        scores = [m.of(own, config) for m in shown]
        found.append(scores[0])
        table.append(_row(str(period), own, shown, scores))
    first, second = _halves(rows)
    halves = [
        _row(name, own, shown, [m.of(own, config) for m in shown])
        for name, own in (("earlier half", first), ("later half", second))
        if not own.is_empty()
    ]
    head = ["", "sessions", "rows", *(m.name for m in shown)]
    said, by_symbol = _by_symbol(rows, config)
    return Section(
        "consistency",
        "Do the results hold over time, and over symbols?",
        text=[_sentence(shown[0], found), *said],
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
    measure = next((m for m in measures(config.kind) if m.name in _OF_A_SYMBOL), None)
    if measure is None or rows["symbol"].n_unique() < 2:
        return [], []
    parts = {str(name): own for (name,), own in rows.group_by("symbol", maintain_order=True)}
    # Intervals only of the symbols shown: there may be thousands.
    plain = {name: measure.of(own, replace(config, draws=_FEWEST_DRAWS)) for name, own in parts.items()}
    leads = {name: s.value - _level(s) for name, s in plain.items() if s is not None and s.value is not None}
    if not leads:
        return [], []
    order = sorted(leads, key=lambda name: (-leads[name], name))
    ends = order if len(order) <= 2 * EXTREMES else [*order[:EXTREMES], *order[-EXTREMES:]]
    body = []
    for name in ends:
        score = measure.of(parts[name], config)
        level = NONE if score is None else figure(_level(score), measure.style)
        body.append([name, count(parts[name].height), with_interval(score, measure.style), level])
    above = sum(lead > 0 for lead in leads.values())
    text = (
        f"Symbol by symbol, the {measure.name} lies above its baseline in {above} of {plural(len(leads), 'symbol')}. "
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


def _row(name: str, own: pl.DataFrame, shown: list[Measure], scores: list[Score | None]) -> list[str]:
    texts = [with_interval(s, m.style) for m, s in zip(shown, scores, strict=True)]
    return [name, count(own["session"].n_unique()), count(own.height), *texts]


def _sentence(measure: Measure, found: list[Score | None]) -> str:
    told = [s for s in found if s is not None and s.value is not None]
    if not told:
        return f"The {measure.name} can be told in no period."
    level = told[0].baselines.get("chance", 0.0)
    above = sum(s.value > level for s in told if s.value is not None)
    sure = sum(s.low is not None and s.low > level for s in told)
    worse = sum(s.high is not None and s.high < level for s in told)
    return (
        f"The {measure.name} lies above chance in {above} of {plural(len(told), 'period')}, with the whole interval "
        f"above it in {sure} and below it in {worse}. By luck alone about half lie above, and one in forty surely."
    )
