"""The resource of the quality checks: what bars are compared with, and when a check fails."""

from dataclasses import asdict

import dagster as dg
from pydantic import Field

from trademl_pipeline import settings as stated
from trademl_pipeline.pipeline.quality_settings import Quality


class QualityResource(dg.ConfigurableResource):
    """Rules of the quality checks, and what bars are compared with."""

    rules: str = Field(default="", description='JSON: {"missing_sessions": "ERROR"}, or severity and limit')
    second: str = Field(default="", description="Parquet or CSV of a second source's bars")
    universe: str = Field(
        default="", description="universe whose members should have prices; SP500 by membership"
    )
    membership: str = Field(
        default="", description="CSV of the membership of SP500: symbol, start_date, end_date"
    )

    def plain(self, calendar: str) -> Quality:
        """Return the same, on the data set's calendar, as code that knows no Dagster takes it."""
        return Quality(**{name: getattr(self, name) for name in type(self).model_fields}, calendar=calendar)


def quality_resource() -> QualityResource:
    """Return the resource as the settings say now."""
    quality = asdict(Quality.of(stated.current()))
    # The calendar is the data set's, in each run.
    return QualityResource(**{name: quality[name] for name in QualityResource.model_fields})
