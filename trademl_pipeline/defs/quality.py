"""The resource of the quality checks: what bars are compared with, and when a check fails."""

import os
from typing import TYPE_CHECKING

import dagster as dg
from pydantic import Field

from trademl_pipeline.pipeline.quality_settings import Quality

if TYPE_CHECKING:
    pass

VARIABLES = {
    "rules": "TRADEML_QUALITY",
    "second": "TRADEML_CROSSCHECK",
    "universe": "TRADEML_UNIVERSE",
    "membership": "TRADEML_MEMBERSHIP",
    "calendar": "TRADEML_CALENDAR",
}


class QualityResource(dg.ConfigurableResource):
    """What the quality checks compare with, and when they fail."""

    rules: str = Field(default="", description='JSON: {"missing_sessions": "ERROR"}, or severity and limit')
    second: str = Field(default="", description="Parquet or CSV of a second source's bars")
    universe: str = Field(
        default="", description="universe whose members should have prices; SP500 by membership"
    )
    membership: str = Field(
        default="", description="CSV of the spells of SP500: symbol, start_date, end_date"
    )
    calendar: str = Field(default="", description="calendar of the sessions; empty: told by the bars")

    def plain(self) -> Quality:
        """Return the values without Dagster."""
        return Quality(**{name: getattr(self, name) for name in type(self).model_fields})

    @classmethod
    def from_environment(cls) -> "QualityResource":
        """The resource as the environment says now."""
        return cls(**{name: os.environ[var] for name, var in VARIABLES.items() if os.environ.get(var)})


def quality_resource() -> QualityResource:
    """The resource with its values bound to the environment at run time."""
    bound = {name: dg.EnvVar(var) for name, var in VARIABLES.items() if os.environ.get(var)}
    return QualityResource(**bound)
