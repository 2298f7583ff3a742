"""The calendar on which a data set's sessions are counted, from its bars to its reports."""

from trademl_pipeline import settings
from trademl_pipeline.studies import StudySpec


def data_calendar() -> str:
    """Name of the data set's calendar, as its settings say; XNYS where nothing does."""
    return settings.current().calendar


def calendar_of(study: StudySpec) -> str:
    """The calendar that a study's folds count on: its own if it declares one, else the data set's."""
    return study.folds.calendar or data_calendar()
