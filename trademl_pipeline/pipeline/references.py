"""Settings of what symbols are compared with: real series, sectors, and how the index is built."""

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, cast

import polars as pl

from trademl_pipeline.settings import Settings

if TYPE_CHECKING:
    from trademl_pipeline.market.index_builder import IndexSpec, Weighting
    from trademl_pipeline.market.references import ReferenceMarket
    from trademl_pipeline.market.sources import BarSource


@dataclass(frozen=True)
class References:
    """Reference series of a data set; everything empty means: the simulator's own, or funds among the bars.

    Attributes:
        path: Parquet or CSV of SPY, sector funds, ^VIX, ^VIX3M: file or folder.
        sectors: CSV symbol, sector (its fund), start_date; over the built-in map.
        weighting: of the synthetic index: cap, price or equal.
        universe: constituents of the index, such as SP500; empty: all bars.
        membership: CSV of the membership of SP500: symbol, start_date, end_date.
        shares: CSV symbol, shares, start_date: weights by capital.
    """

    path: str = ""
    sectors: str = ""
    weighting: str = "cap"
    universe: str = ""
    membership: str = ""
    shares: str = ""

    @classmethod
    def of(cls, settings: Settings) -> "References":
        """Return the references that the settings name.

        The index is of the universe that one decides on, if nothing else is said: of those that ever belonged to it,
        some were no members yet.
        """
        references = settings.references
        return cls(
            path=references.path,
            sectors=references.sectors,
            weighting=references.index_weighting,
            universe=references.index_universe or settings.universe.name,
            membership=settings.universe.membership,
            shares=references.shares,
        )

    def series(self) -> "BarSource | None":
        """Return the source of the real series; None where no file was named."""
        return _series(self.path) if self.path else None

    def sector_map(self, market: "ReferenceMarket | None") -> pl.DataFrame:
        """Return symbol, fund, since when."""
        from trademl_pipeline.market.references import sector_map

        return sector_map(market, self.sectors or None)

    def spec(self) -> "IndexSpec":
        """Return how the synthetic index is weighted."""
        from trademl_pipeline.market.index_builder import IndexSpec

        return IndexSpec(cast("Weighting", self.weighting or "cap"))

    def membership_intervals(self, month: str) -> pl.DataFrame | None:
        """Return who may be in the index up to the end of a month; None is everyone.

        Args:
            month: month key.
        """
        from trademl_pipeline.market.calendar import FIRST_DAY, month_bounds
        from trademl_pipeline.market.universes import members

        if self.universe in ("", "ALL"):
            return None
        return members(self.universe, FIRST_DAY, month_bounds(month)[1], membership=self.membership or None)

    def shares_outstanding(self) -> pl.DataFrame | None:
        """Return shares by symbol; None where no file was given."""
        from trademl_pipeline.market.references import shares_file

        return shares_file(self.shares) if self.shares else None


@lru_cache(maxsize=2)
def _series(path: str) -> "BarSource":
    from trademl_pipeline.market import FileSource

    return FileSource(path)
