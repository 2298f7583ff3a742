"""The resource that says whom one may decide on."""

import os

import dagster as dg
from pydantic import Field

from trademl_pipeline.pipeline.universe import Universe

VARIABLES = {"name": "TRADEML_UNIVERSE", "membership": "TRADEML_MEMBERSHIP"}
EVERYONE = "ALL"


class UniverseResource(dg.ConfigurableResource):
    """The universe of a data set: everyone with a bar, a list, or members as of the day."""

    name: str = Field(
        default=EVERYONE, description="SP500, TIER_1, ..., symbols with commas, or a file of spells"
    )
    membership: str = Field(
        default="", description="CSV of the spells of SP500: symbol, start_date, end_date"
    )

    def plain(self) -> Universe:
        """Return the values without Dagster."""
        return Universe(**{name: getattr(self, name) for name in type(self).model_fields})

    @classmethod
    def from_environment(cls) -> "UniverseResource":
        """The resource as the environment says now."""
        return cls(**{name: os.environ[var] for name, var in VARIABLES.items() if os.environ.get(var)})


def universe_resource() -> UniverseResource:
    """The resource with its values bound to the environment at run time."""
    bound = {name: dg.EnvVar(var) for name, var in VARIABLES.items() if os.environ.get(var)}
    return UniverseResource(**bound)
