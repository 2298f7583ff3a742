"""The calendar on which a data set's sessions are counted, from its bars to its reports."""

from trademl_pipeline import settings


def data_calendar() -> str:
    """Name of the data set's calendar, as its settings say; XNYS where nothing does."""
    return settings.current().calendar
