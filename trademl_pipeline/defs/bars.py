"""Sources of bars, one resource for each. Keys come from the environment and are never shown.

The settings say which of them the definitions are bound to, and what its values are by default.
"""

from typing import TYPE_CHECKING, Any

import dagster as dg
from pydantic import Field

from trademl_pipeline import settings as stated
from trademl_pipeline.pipeline.sources import BarsFrom
from trademl_pipeline.tables.bar_tables import DAILY

if TYPE_CHECKING:
    from trademl_pipeline.market.sources import BarSource


class BarsResource(dg.ConfigurableResource):
    """Bars of the simulated market (embedded, no network) or of files (Parquet or CSV at `path`)."""

    source: str = Field(default="simulated", description="simulated or files")
    path: str = Field(default="", description="file or folder, for source=files")
    columns: dict[str, str] = Field(default={}, description="our column names to the file's")
    symbols: str = Field(default="", description="comma-separated symbols, or a number: that many symbols")
    universe: str = Field(
        default="", description="whose bars are read where no symbols are named; empty: all"
    )
    membership: str = Field(
        default="", description="CSV of the membership of SP500: symbol, start_date, end_date"
    )
    seed: int = Field(default=7, description="seed of the simulated market")
    revisions: str = Field(default="", description="first or latest; empty: as is usual for the source")

    def plain(self, calendar: str = stated.DEFAULT_CALENDAR) -> BarsFrom:
        """Return the source on the data set's calendar, unopened, as code that knows no Dagster takes it."""
        known = BarsFrom.__dataclass_fields__
        values = {name: getattr(self, name) for name in type(self).model_fields if name in known}
        return BarsFrom(calendar=calendar, **values)

    def open(self, timeframe: str = DAILY, calendar: str = stated.DEFAULT_CALENDAR) -> "BarSource":
        """Return the source of one time frame.

        Args:
            timeframe: of the bars, such as 1Day.
            calendar: of the data set.

        Raises:
            dg.Failure: a setting makes no sense.
            MarketError: a vendor's key or package is missing, or the universe cannot be read.
        """
        try:
            return self.plain(calendar).open(timeframe)
        except stated.SettingsError as error:
            raise dg.Failure(str(error)) from error


class VendorResource(BarsResource):
    """Fields that all vendors have: they fetch the symbols that are listed."""

    beside: str = Field(default="", description="funds and indices that are asked for too, to compare with")
    delay: float = Field(default=0.0, description="minutes after a bar's end at which the bar is known")


class AlpacaResource(VendorResource):
    """Stocks and crypto pairs from Alpaca; the extra `vendors` has its client library."""

    source: str = Field(default="alpaca", description="alpaca")
    key_id: str = Field(default="", repr=False, description="APCA_API_KEY_ID")
    secret: str = Field(default="", repr=False, description="APCA_API_SECRET_KEY")
    feed: str = Field(default="iex", description="iex (free), sip, delayed_sip or otc")
    url: str = Field(default="", description="another server than Alpaca's own")


class BinanceResource(VendorResource):
    """Crypto pairs from Binance's public market data; needs no key."""

    source: str = Field(default="binance", description="binance")
    url: str = Field(default="", description="another server than Binance's public market data")


class YahooResource(VendorResource):
    """Stocks, funds and indices from Yahoo Finance; needs no key, but the extra `vendors`."""

    source: str = Field(default="yahoo", description="yahoo")
    cache: str = Field(default="", description="folder for yfinance's cookies and time zones")


_RESOURCES: dict[str, type[BarsResource]] = {
    "alpaca": AlpacaResource,
    "binance": BinanceResource,
    "yahoo": YahooResource,
}


def bars_resource() -> BarsResource:
    """Return the resource of the source that the settings name; keys are bound to the environment at run time."""
    settings = stated.current()
    plain, kind = BarsFrom.of(settings), _RESOURCES.get(settings.data.source, BarsResource)
    values: dict[str, Any] = {
        name: getattr(plain, name)
        for name in kind.model_fields
        if name in BarsFrom.__dataclass_fields__ and name not in ("key_id", "secret")
    }
    if kind is AlpacaResource:
        # dg.EnvVar raises on a name that is not set; an unset key is an empty one, which crypto can do without.
        keys = (("key_id", "APCA_API_KEY_ID", plain.key_id), ("secret", "APCA_API_SECRET_KEY", plain.secret))
        values |= {name: dg.EnvVar(variable) for name, variable, given in keys if given}
    return kind(**values)
