"""The resource of the quality checks: what bars are compared with, and when a check fails."""

from typing import TYPE_CHECKING

import dagster as dg
from pydantic import Field

from trademl_pipeline import settings as stated
from trademl_pipeline.pipeline.quality_settings import Quality

if TYPE_CHECKING:
    pass


class QualityResource(dg.ConfigurableResource):
    """What the quality checks compare with, and when they fail."""

    rules: str = Field(default="", description='JSON: {"missing_sessions": "ERROR"}, or severity and limit')
    second: str = Field(default="", description="Parquet or CSV of a second source's bars")
    universe: str = Field(
        default="", description="universe whose members should have prices; SP500 by membership"
    )
    membership: str = Field(
        default="", description="CSV of the membership of SP500: symbol, start_date, end_date"
    )
    calendar: str = Field(default="", description="calendar of the sessions; empty: told by the bars")

    def plain(self) -> Quality:
        """The same, as code that knows no Dagster takes it."""
        return Quality(self.rules, self.second, self.universe, self.membership, self.calendar)

    @classmethod
    def from_environment(cls) -> "QualityResource":
        """The resource as the settings say now."""
        return quality_resource()


def quality_resource() -> QualityResource:
    """The resource as the settings say now."""
    quality = Quality.of(stated.current())
    return QualityResource(
        rules=quality.rules,
        second=quality.second,
        universe=quality.universe,
        membership=quality.membership,
        calendar=quality.calendar,
    )
