"""The resource that says whom one may decide on."""

from dataclasses import asdict

import dagster as dg
from pydantic import Field

from trademl_pipeline import settings as stated
from trademl_pipeline.pipeline.universe import EVERYONE, Universe


class UniverseResource(dg.ConfigurableResource):
    """The universe of a data set: everyone with a bar, a list, or members as of the day."""

    name: str = Field(
        default=EVERYONE,
        description="SP500, TIER_1, ..., symbols with commas, or a file of membership intervals",
    )
    membership: str = Field(
        default="", description="CSV of the membership of SP500: symbol, start_date, end_date"
    )

    def plain(self) -> Universe:
        """Return the same as code that knows no Dagster takes it."""
        return Universe(self.name, self.membership)


def universe_resource() -> UniverseResource:
    """Return the resource as the settings say now."""
    return UniverseResource(**asdict(Universe.of(stated.current())))
