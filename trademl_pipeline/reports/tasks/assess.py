"""From the task of a report to the figures that only it has."""

from collections.abc import Callable

import polars as pl

from trademl_pipeline.reports.inputs import ReportConfig, ReportInputs
from trademl_pipeline.reports.section import Assessment, Section

Assessor = Callable[[pl.DataFrame, ReportInputs, ReportConfig], Assessment]


def assess(rows: pl.DataFrame, inputs: ReportInputs, config: ReportConfig) -> Assessment:
    """What only this kind of study has.

    Args:
        rows: scored predictions, as `inputs.scored_rows` gives them.
        inputs: all frames.
        config: how to measure.
    """
    return Assessment()


def examples(rows: pl.DataFrame, inputs: ReportInputs, config: ReportConfig) -> Section | None:
    """A few predictions as they were made, beside what came."""
    return None
