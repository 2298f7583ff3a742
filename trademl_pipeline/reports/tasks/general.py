"""The part that stands in for pages of a task's own: its measures beside their baselines, its primary metric first."""

from typing import Final

import polars as pl

from trademl_pipeline.evaluation import metrics
from trademl_pipeline.evaluation.metrics import Score
from trademl_pipeline.reports.inputs import ReportConfig, ReportInputs
from trademl_pipeline.reports.lines import Line
from trademl_pipeline.reports.section import Assessment, Section, Table
from trademl_pipeline.reports.text import count
from trademl_pipeline.tasks.measures import AT_THE_TOP
from trademl_pipeline.tasks.report_spec import Measure

_HEAD: Final = ("", "figure", "95 % interval", "without skill", "n")


def assess(rows: pl.DataFrame, inputs: ReportInputs, config: ReportConfig) -> Assessment:
    """Measure what the task declares.

    Args:
        rows: scored predictions.
        inputs: all frames.
        config: how to measure.

    Returns:
        One section with every measure; those that no report shows otherwise also among the figures of merit. Where
        outcomes are first passages, ranks show no skill: the look is then the correlation of score and simple return.
    """
    scored = [(measure, measure.of(rows, config)) for measure in config.kind.ranked_measures]
    lines = {m.name: _line(m, s) for m, s in scored if s is not None and s.value is not None}
    primary = config.kind.primary.name
    sentence = _sentence(primary, lines.get(primary))
    section = Section(
        "scores",
        "What the task is judged by",
        text=[sentence],
        tables=[
            Table(
                _HEAD, [[x.name, x.value, x.interval, x.baselines, count(x.score.n)] for x in lines.values()]
            )
        ]
        if lines
        else [],
        scores={name: line.score for name, line in lines.items()},
    )
    return Assessment(
        sections=[section],
        lines=[line for name, line in lines.items() if name not in AT_THE_TOP],
        primary_tests={"score": _paying(rows, config)} if config.kind.first_passage else None,
        sentences=[sentence],
    )


def _line(measure: Measure, score: Score) -> Line:
    name = f"{measure.name[0].upper()}{measure.name[1:]}"
    return Line(name, score, measure.style, measure.better)


def _sentence(primary: str, line: Line | None) -> str:
    if line is None:
        return f"Primary metric: the {primary} cannot be told from these rows."
    beside = f"; without skill {line.baselines}" if line.baselines else ""
    return f"Primary metric: the {primary} is {line.text}{beside}, over {count(line.score.n)} rows."


def _paying(rows: pl.DataFrame, config: ReportConfig) -> Score:
    return metrics.correlation(
        rows.with_columns(gain=pl.col("forward_return").exp() - 1),
        config.bootstrap,
        predicted="score",
        actual="gain",
        name="score and return, correlation",
    )
