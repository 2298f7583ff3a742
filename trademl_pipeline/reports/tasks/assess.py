"""From the task of a report to the figures that only it has."""

from collections.abc import Callable
from dataclasses import replace
from typing import Final

import polars as pl

from trademl_pipeline.reports.inputs import ReportConfig, ReportInputs
from trademl_pipeline.reports.section import Assessment
from trademl_pipeline.reports.tasks import breakout, forecast, hybrid, pattern
from trademl_pipeline.reports.tasks.members import members
from trademl_pipeline.reports.tasks.training import cross_validation_section, training_section

Assessor = Callable[[pl.DataFrame, ReportInputs, ReportConfig], Assessment]

_ASSESSORS: Final[dict[str, Assessor]] = {
    "forecast": forecast.assess,
    "breakout": breakout.assess,
    "pattern": pattern.assess,
    "hybrid": hybrid.assess,
}


def assess(rows: pl.DataFrame, inputs: ReportInputs, config: ReportConfig) -> Assessment:
    """What only this kind of study has, its members where they are given, and how training went.

    Args:
        rows: scored predictions, as `inputs.scored_rows` gives them.
        inputs: all frames.
        config: how to measure.
    """
    own = _ASSESSORS[config.task](rows, inputs, config) if config.task in _ASSESSORS else Assessment()
    after = [
        members(rows, inputs, config),
        training_section(inputs.folds),
        cross_validation_section(inputs.cross_validation),
    ]
    return replace(own, sections=[*own.sections, *(part for part in after if part is not None)])
