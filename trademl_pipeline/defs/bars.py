"""Where bars come from: one resource for each source. Keys come from the environment and are never shown.

`TRADEML_SOURCE` says which of them the definitions are bound to.
"""

import json
import os
from datetime import timedelta
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
from pydantic import Field

from trademl_pipeline.tables.bar_tables import DAILY

if TYPE_CHECKING:
    from trademl_pipeline.market.sources import BarSource


class BarsResource(dg.ConfigurableResource):
    """Bars of the simulated market (embedded, no network) or of files (Parquet or CSV at `path`)."""

    source: str = Field(default="simulated", description="simulated or files")
    path: str = Field(default="", description="file or folder, for source=files")
    columns: str = Field(default="{}", description='JSON map of our names to the file\'s, {"close": "Close"}')
    symbols: str = Field(default="", description="comma-separated symbols, or a number: that many symbols")
    calendar: str = Field(default="XNYS", description="exchange calendar of the sessions; 24/7 for crypto")
    seed: int = Field(default=7, description="seed of the simulated market")
    revisions: str = Field(default="", description="first or latest; empty: as is usual for the source")

    def open(self, timeframe: str = DAILY) -> "BarSource":
        """The source of one time frame.

        Raises:
            dg.Failure: a setting makes no sense.
            MarketError: a vendor's key or package is missing.
        """
        if self.revisions not in ("", "first", "latest"):
            raise dg.Failure(f"TRADEML_REVISIONS is {self.revisions!r}; it may be 'first' or 'latest'")
        source = self._make(timeframe)
        source.revisions = self.revisions or type(source).revisions
        return source

    def _make(self, timeframe: str) -> "BarSource":
        # One object per configuration and process, since it may hold a simulated history.
        source = _local(self.source, self.path, self.columns, self.symbols, self.calendar, self.seed)
        if timeframe != source.timeframe:
            raise dg.Failure(f"source {self.source!r} has bars of {source.timeframe}, none of {timeframe}")
        return source


class VendorResource(BarsResource):
    """What the vendors have in common: they fetch the symbols that are listed."""

    delay: float = Field(default=0.0, description="minutes after a bar's end at which the bar is known")

    def _asked(self, timeframe: str) -> dict[str, Any]:
        if self.symbols.isdigit():
            raise dg.Failure(
                f"TRADEML_SYMBOLS is {self.symbols!r}; a vendor needs names, such as AAPL,MSFT, not a number of them"
            )
        named = [symbol for symbol in self.symbols.split(",") if symbol.strip()]
        return {"symbols": named, "timeframe": timeframe, "delay": timedelta(minutes=self.delay)}


class AlpacaResource(VendorResource):
    """Stocks and crypto pairs from Alpaca; the extra `vendors` has its client library."""

    source: str = "alpaca"
    key_id: str = Field(default="", repr=False, description="APCA_API_KEY_ID")
    secret: str = Field(default="", repr=False, description="APCA_API_SECRET_KEY")
    feed: str = Field(default="iex", description="iex (free), sip, delayed_sip or otc")
    url: str = Field(default="", description="another server than Alpaca's own")

    def _make(self, timeframe: str) -> "BarSource":
        from trademl_pipeline.market.vendors import AlpacaSource

        asked = self._asked(timeframe)
        return AlpacaSource(
            **asked, key_id=self.key_id, secret=self.secret, feed=self.feed, url=self.url or None
        )


class BinanceResource(VendorResource):
    """Crypto pairs from Binance's public market data; needs no key."""

    source: str = "binance"
    url: str = Field(default="", description="another server than Binance's public market data")

    def _make(self, timeframe: str) -> "BarSource":
        from trademl_pipeline.market.vendors import BinanceSource
        from trademl_pipeline.market.vendors.binance import URL

        return BinanceSource(**self._asked(timeframe), url=self.url or URL)


class YahooResource(VendorResource):
    """Stocks, funds and indices from Yahoo Finance; needs no key, but the extra `vendors`."""

    source: str = "yahoo"
    cache: str = Field(default="", description="folder for yfinance's cookies and time zones")

    def _make(self, timeframe: str) -> "BarSource":
        from trademl_pipeline.market.vendors import YahooSource

        return YahooSource(**self._asked(timeframe), cache=Path(self.cache) if self.cache else None)


def bars_resource() -> BarsResource:
    """The resource that TRADEML_SOURCE names, its values bound to the environment at run time."""

    def given(**variables: str) -> dict[str, Any]:
        # dg.EnvVar raises on a name that is not set; an unset one means the field's default.
        return {field: dg.EnvVar(name) for field, name in variables.items() if os.environ.get(name)}

    source = os.environ.get("TRADEML_SOURCE", "simulated")
    shared = given(symbols="TRADEML_SYMBOLS", revisions="TRADEML_REVISIONS")
    if source not in ("alpaca", "binance", "yahoo"):
        local = given(
            source="TRADEML_SOURCE",
            path="TRADEML_DATA",
            columns="TRADEML_COLUMNS",
            calendar="TRADEML_CALENDAR",
        )
        return BarsResource(**shared, **local)
    # A number cannot be bound to a variable without its being set.
    shared["delay"] = float(os.environ.get("TRADEML_DELAY_MINUTES") or 0)
    if source == "alpaca":
        keys = given(key_id="APCA_API_KEY_ID", secret="APCA_API_SECRET_KEY")
        return AlpacaResource(**shared, **keys, **given(feed="TRADEML_ALPACA_FEED", url="TRADEML_ALPACA_URL"))
    if source == "binance":
        return BinanceResource(**shared, **given(url="TRADEML_BINANCE_URL"))
    return YahooResource(**shared, **given(cache="TRADEML_YAHOO_CACHE"))


@lru_cache(maxsize=4)
def _local(source: str, path: str, columns: str, symbols: str, calendar: str, seed: int) -> "BarSource":
    from trademl_pipeline.market import FileSource
    from trademl_pipeline.simulation import SimulatedMarket

    count = int(symbols) if symbols.isdigit() else None
    named = [s.strip() for s in symbols.split(",") if s.strip()]
    listed = named if named and count is None else None
    if source == "simulated":
        if count is None:
            return SimulatedMarket(seed=seed, calendar=calendar)
        return SimulatedMarket(seed=seed, n_symbols=count, calendar=calendar)
    if source == "files":
        if not path:
            raise dg.DagsterInvalidConfigError(
                "TRADEML_SOURCE is 'files' but TRADEML_DATA is empty: set it to a Parquet or CSV file or folder",
                [],
                {},
            )
        try:
            mapping = json.loads(columns)
        except json.JSONDecodeError as error:
            raise dg.Failure(
                f'TRADEML_COLUMNS is not JSON ({error}); write e.g. {{"close": "Close"}}'
            ) from error
        return FileSource(path, columns=mapping, symbols=listed, max_symbols=count, calendar=calendar)
    raise dg.Failure(
        f"TRADEML_SOURCE is {source!r}; it may be 'simulated', 'files', 'alpaca', 'binance' or 'yahoo'"
    )
