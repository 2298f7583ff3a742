"""The resource that says what symbols are compared with: real series, sectors, and how the index is built."""

import os
from functools import lru_cache
from typing import TYPE_CHECKING

import dagster as dg
import polars as pl
from pydantic import Field

from trademl_pipeline.defs.bars import BarsResource

if TYPE_CHECKING:
    from trademl_pipeline.market.index_builder import IndexSpec
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

    def series(self) -> "BarSource | None":
        """Where real series are read, if that was said."""
        return _series(self.path) if self.path else None

    def sector_map(self, market: "SimulatedMarket | None") -> pl.DataFrame:
        """Symbol, fund, since when."""
        from trademl_pipeline.market.references import sector_map

        return sector_map(market, self.sectors or None)

    def spec(self) -> "IndexSpec":
        """How the synthetic index is weighted."""
        from trademl_pipeline.market.index_builder import IndexSpec

        return IndexSpec(self.weighting or "cap")  # pyright: ignore[reportArgumentType]

    def spells(self, month: str) -> pl.DataFrame | None:
        """Who may be in the index up to the end of a month; None is everyone."""
        from trademl_pipeline.market.calendar import FIRST_DAY, month_bounds
        from trademl_pipeline.market.universes import members

        if self.universe in ("", "ALL"):
            return None
        return members(self.universe, FIRST_DAY, month_bounds(month)[1], membership=self.membership or None)

    def shares_outstanding(self) -> pl.DataFrame | None:
        """Shares by symbol, where a file was given."""
        from trademl_pipeline.market.references import shares_file

        return shares_file(self.shares) if self.shares else None

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
