"""What symbols are compared with: real series, sectors, and how the index is built."""

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import polars as pl

if TYPE_CHECKING:
    from trademl_pipeline.market.index_builder import IndexSpec
    from trademl_pipeline.market.references import ReferenceMarket
    from trademl_pipeline.market.sources import BarSource


@dataclass(frozen=True)
class References:
    """Reference series of a data set; everything empty means: the simulator's own, or funds among the bars."""

    path: str = ""
    sectors: str = ""
    weighting: str = "cap"
    universe: str = ""
    membership: str = ""
    shares: str = ""

    def series(self) -> "BarSource | None":
        """Where real series are read, if that was said."""
        return _series(self.path) if self.path else None

    def sector_map(self, market: "ReferenceMarket | None") -> pl.DataFrame:
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


@lru_cache(maxsize=2)
def _series(path: str) -> "BarSource":
    from trademl_pipeline.market import FileSource

    return FileSource(path)
