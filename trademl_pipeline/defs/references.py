"""The resource that says what symbols are compared with: real series, sectors, and how the index is built."""

from dataclasses import asdict

import dagster as dg
from pydantic import Field

from trademl_pipeline import settings as stated
from trademl_pipeline.pipeline.references import References


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
        default="", description="CSV of the membership of SP500: symbol, start_date, end_date"
    )
    shares: str = Field(default="", description="CSV symbol, shares, start_date: weights by capital")

    def plain(self) -> References:
        """Return the same as code that knows no Dagster takes it."""
        return References(**{name: getattr(self, name) for name in type(self).model_fields})


def reference_resource() -> ReferenceResource:
    """Return the resource as the settings say now."""
    return ReferenceResource(**asdict(References.of(stated.current())))
