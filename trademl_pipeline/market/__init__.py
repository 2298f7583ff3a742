"""Bars schema, exchange calendars, sources, quality checks and the market simulator."""

from trademl_pipeline.market.adjust import adjusted, total_return
from trademl_pipeline.market.errors import (
    BarsSchemaError,
    CalendarError,
    EmptyMonthError,
    MarketError,
    MissingColumnsError,
    SourceFileError,
    UniverseError,
    UnknownSymbolError,
    VendorError,
)
from trademl_pipeline.market.files import FileSource
from trademl_pipeline.market.quality import SplitBars, split_bars
from trademl_pipeline.market.schema import BAR_DTYPES, conform
from trademl_pipeline.market.simulated import SimulatedMarket
from trademl_pipeline.market.sources import BarSource, fetch_month
from trademl_pipeline.market.universes import members, universe
from trademl_pipeline.market.versions import bars

__all__ = [
    "BAR_DTYPES",
    "BarSource",
    "BarsSchemaError",
    "CalendarError",
    "EmptyMonthError",
    "FileSource",
    "MarketError",
    "MissingColumnsError",
    "SimulatedMarket",
    "SourceFileError",
    "SplitBars",
    "UniverseError",
    "UnknownSymbolError",
    "VendorError",
    "adjusted",
    "bars",
    "conform",
    "fetch_month",
    "members",
    "split_bars",
    "total_return",
    "universe",
]
