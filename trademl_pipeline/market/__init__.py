"""Bars schema, exchange calendars, sources, quality checks."""

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
from trademl_pipeline.market.files.source import FileSource
from trademl_pipeline.market.ingest.versions import bars
from trademl_pipeline.market.quality.rows import SplitBars, split_bars
from trademl_pipeline.market.schema import BAR_DTYPES, conform
from trademl_pipeline.market.sources import BarSource, fetch_month
from trademl_pipeline.market.universes import members, universe

__all__ = [
    "BAR_DTYPES",
    "BarSource",
    "BarsSchemaError",
    "CalendarError",
    "EmptyMonthError",
    "FileSource",
    "MarketError",
    "MissingColumnsError",
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
