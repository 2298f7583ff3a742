"""The resource that says whom one may decide on."""

import os

import dagster as dg
import polars as pl
from pydantic import Field

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

    def spells(self, first: str, last: str) -> pl.DataFrame | None:
        """Who belonged to it in some months, as known at their end; None is everyone.

        Raises:
            UniverseError: there is no such universe, or it needs a file that is missing or wrong.
        """
        if self.name in ("", EVERYONE):
            return None
        from trademl_pipeline.market.calendar import month_bounds
        from trademl_pipeline.market.universes import members

        days = month_bounds(first)[0], month_bounds(last)[1]
        return members(self.name, *days, membership=self.membership or None)

    @classmethod
    def from_environment(cls) -> "UniverseResource":
        """The resource as the environment says now."""
        return cls(**{name: os.environ[var] for name, var in VARIABLES.items() if os.environ.get(var)})


def universe_resource() -> UniverseResource:
    """The resource with its values bound to the environment at run time."""
    bound = {name: dg.EnvVar(var) for name, var in VARIABLES.items() if os.environ.get(var)}
    return UniverseResource(**bound)
