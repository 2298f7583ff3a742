"""Bars schema, exchange calendars, sources, quality checks and the market simulator."""

from trademl_pipeline.market.errors import (
    BarsSchemaError,
    CalendarError,
    EmptyMonthError,
    MarketError,
    MissingColumnsError,
    SourceFileError,
    UnknownSymbolError,
)
from trademl_pipeline.market.files import FileSource
from trademl_pipeline.market.quality import SplitBars, split_bars
from trademl_pipeline.market.schema import BAR_DTYPES, conform
from trademl_pipeline.market.simulated import SimulatedMarket
from trademl_pipeline.market.sources import BarSource, fetch_month

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
    "UnknownSymbolError",
    "conform",
    "fetch_month",
    "split_bars",
]
