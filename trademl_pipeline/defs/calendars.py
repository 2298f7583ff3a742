"""The calendar on which a data set's sessions are counted, from its bars to its reports."""

import os

from trademl_pipeline.market.calendar import DEFAULT_CALENDAR
from trademl_pipeline.studies import StudySpec

CALENDAR_VARIABLE = "TRADEML_CALENDAR"


def data_calendar() -> str:
    """Name of the data set's calendar, as `workspace.DataSet.environment` says it; XNYS where nothing does."""
    return os.environ.get(CALENDAR_VARIABLE) or DEFAULT_CALENDAR


def calendar_of(study: StudySpec) -> str:
    """The calendar that a study's folds count on: its own if it declares one, else the data set's."""
    return study.folds.calendar or data_calendar()
