"""Which pages a report has of its task: its own where it is listed here, else the general ones."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

import polars as pl

from trademl_pipeline.reports.inputs import ReportConfig, ReportInputs
from trademl_pipeline.reports.section import Assessment
from trademl_pipeline.reports.tasks import breakout, forecast, general, hybrid, pattern
from trademl_pipeline.reports.tasks.estimators import estimators
from trademl_pipeline.reports.tasks.published import DIRECTION_REPORTED
from trademl_pipeline.reports.tasks.training import cross_validation_section, training_section
from trademl_pipeline.tasks.breakout import Breakout
from trademl_pipeline.tasks.direction import Direction
from trademl_pipeline.tasks.forecast import Forecast
from trademl_pipeline.tasks.hybrid import Hybrid
from trademl_pipeline.tasks.pattern import Pattern

Assessor = Callable[[pl.DataFrame, ReportInputs, ReportConfig], Assessment]


def no_more(rows: pl.DataFrame, inputs: ReportInputs, config: ReportConfig) -> Assessment:
    """Give nothing beside the sections that every report has."""
    return Assessment()


@dataclass(frozen=True)
class TaskPages:
    """The pages of one task.

    Attributes:
        assess: what only this task has, see `Assessment`.
        estimators_title: heading of the models judged one by one.
        reported: what a published design says of its models' class accuracy, by the beginning of their names.
    """

    assess: Assessor = general.assess
    estimators_title: str = "The models, one by one"
    reported: Mapping[str, str] = field(default_factory=dict)


GENERAL: Final = TaskPages()
PAGES: Final[dict[str, TaskPages]] = {
    Direction.name: TaskPages(no_more, reported=DIRECTION_REPORTED),
    Forecast.name: TaskPages(forecast.assess),
    Breakout.name: TaskPages(breakout.assess, estimators_title="The models on the same folds"),
    Pattern.name: TaskPages(pattern.assess),
    Hybrid.name: TaskPages(hybrid.assess, estimators_title="The architectures on the same folds"),
}


def assess(rows: pl.DataFrame, inputs: ReportInputs, config: ReportConfig) -> Assessment:
    """Measure what only this task has, its estimators where they are given, and how training went.

    Args:
        rows: scored predictions, as `inputs.scored_rows` gives them.
        inputs: all frames.
        config: how to measure.
    """
    pages = PAGES.get(config.task, GENERAL)
    assessment = pages.assess(rows, inputs, config)
    more_sections = [
        estimators(rows, inputs, config, title=pages.estimators_title, reported=pages.reported),
        training_section(inputs.folds),
        cross_validation_section(inputs.cross_validation),
    ]
    return replace(
        assessment, sections=[*assessment.sections, *(part for part in more_sections if part is not None)]
    )
