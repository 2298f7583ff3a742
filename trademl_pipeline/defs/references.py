"""The resource that says what symbols are compared with: real series, sectors, and how the index is built."""

import os
from functools import lru_cache
from typing import TYPE_CHECKING

import dagster as dg
from pydantic import Field

from trademl_pipeline.defs.bars import BarsResource
from trademl_pipeline.pipeline.references import References

if TYPE_CHECKING:
    from trademl_pipeline.market.sources import BarSource
    from trademl_pipeline.simulation import SimulatedMarket

VARIABLES = {
    "path": "TRADEML_REFERENCE",
    "sectors": "TRADEML_SECTORS",
    "weighting": "TRADEML_INDEX_WEIGHTING",
    "universe": "TRADEML_INDEX_UNIVERSE",
    "membership": "TRADEML_MEMBERSHIP",
    "shares": "TRADEML_SHARES",
}
UNIVERSE_VARIABLE = "TRADEML_UNIVERSE"


class ReferenceResource(dg.ConfigurableResource):
    """Reference series of a data set; everything empty means: the simulator's own, or funds among the bars."""

    path: str = Field(
        default="", description="Parquet or CSV of SPY, sector funds, ^VIX, ^VIX3M: file or folder"
    )
    sectors: str = Field(
        default="", description="CSV symbol, sector (its fund), start_date; over the built-in map"
    )
    weighting: str = Field(default="cap", description="weights of the synthetic index: cap, price or equal")
    universe: str = Field(default="", description="constituents of the index, such as SP500; empty: all bars")
    membership: str = Field(
        default="", description="CSV of the spells of SP500: symbol, start_date, end_date"
    )
    shares: str = Field(default="", description="CSV symbol, shares, start_date: weights by capital")

    def plain(self) -> References:
        """Return the values without Dagster."""
        return References(**{name: getattr(self, name) for name in type(self).model_fields})

    @classmethod
    def from_environment(cls) -> "ReferenceResource":
        """The resource as the environment says now."""
        return cls(**{name: os.environ[var] for name, var in _variables().items()})


def simulated_market(bars: BarsResource) -> "SimulatedMarket | None":
    """The market behind simulated bars; None for other sources, which need not be opened for that."""
    from trademl_pipeline.simulation import SimulatedMarket

    source = bars.open() if bars.source == "simulated" else None
    return source if isinstance(source, SimulatedMarket) else None


@lru_cache(maxsize=2)
def _series(path: str) -> "BarSource":
    from trademl_pipeline.market import FileSource

    return FileSource(path)


def reference_resource() -> ReferenceResource:
    """The resource with its values bound to the environment at run time."""
    return ReferenceResource(**{name: dg.EnvVar(var) for name, var in _variables().items()})


def _variables() -> dict[str, str]:
    """The variables that are set, by field. The index is of the universe that one decides on, if nothing else is said:
    of those that ever belonged to it, some were no members yet."""
    found = {name: var for name, var in VARIABLES.items() if os.environ.get(var)}
    if "universe" not in found and os.environ.get(UNIVERSE_VARIABLE):
        found["universe"] = UNIVERSE_VARIABLE
    return found
