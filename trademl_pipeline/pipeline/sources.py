"""Sources of bars: the simulated market, files, or a vendor, opened as the settings say."""

from dataclasses import dataclass, field
from datetime import timedelta
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trademl_pipeline.settings import DEFAULT_CALENDAR, SOURCES, VENDORS, Settings, SettingsError
from trademl_pipeline.tables.bar_tables import DAILY

if TYPE_CHECKING:
    from trademl_pipeline.market.sources import BarSource
    from trademl_pipeline.simulation import SimulatedMarket

ALL_SYMBOLS = "ALL"


@dataclass(frozen=True)
class BarsFrom:
    """A source of bars that has not been opened.

    Attributes:
        source: simulated, files, alpaca, binance or yahoo.
        path: file or folder, for files.
        columns: our column names to the file's.
        symbols: comma-separated symbols, or a number of them; empty: everyone who ever belonged to the universe, or
            all, which no vendor can give.
        universe: a name, symbols with commas, or a file of membership intervals; empty or ALL: all.
        membership: CSV of the membership of SP500: symbol, start_date, end_date.
        beside: comma-separated symbols that a vendor is asked for too, to compare with.
        calendar: exchange calendar of the sessions.
        seed: of the simulated market.
        revisions: first or latest; empty: as is usual for the source.
        delay: minutes after a bar's end at which a vendor's bar is known.
        feed, url, key_id, secret, cache: of vendors.
    """

    source: str = "simulated"
    path: str = ""
    columns: dict[str, str] = field(default_factory=dict[str, str])
    symbols: str = ""
    universe: str = ""
    membership: str = ""
    beside: str = ""
    calendar: str = DEFAULT_CALENDAR
    seed: int = 7
    revisions: str = ""
    delay: float = 0.0
    feed: str = "iex"
    url: str = ""
    key_id: str = field(default="", repr=False)
    secret: str = field(default="", repr=False)
    cache: str = ""

    @classmethod
    def of(cls, settings: Settings) -> "BarsFrom":
        """Return the source that the settings name."""
        data, vendors = settings.data, settings.vendors
        return cls(
            source=data.source,
            path=data.path,
            columns=dict(data.columns),
            symbols=data.symbols,
            universe=settings.universe.name,
            membership=settings.universe.membership,
            beside=settings.references.symbols,
            calendar=settings.calendar,
            revisions=settings.ingest.revisions,
            delay=settings.ingest.delay_minutes,
            feed=vendors.alpaca_feed,
            url={"alpaca": vendors.alpaca_url, "binance": vendors.binance_url}.get(data.source, ""),
            key_id=vendors.alpaca_key_id.get_secret_value(),
            secret=vendors.alpaca_secret.get_secret_value(),
            cache=vendors.yahoo_cache or str(settings.home / "yfinance"),
        )

    def open(self, timeframe: str = DAILY) -> "BarSource":
        """Open the source of one time frame.

        Raises:
            SettingsError: a setting makes no sense.
            MarketError: a vendor's key or package is missing, or the universe cannot be read.
        """
        if self.revisions not in ("", "first", "latest"):
            raise SettingsError(f"ingest.revisions is {self.revisions!r}; it may be 'first' or 'latest'")
        source = self._vendor(timeframe) if self.source in VENDORS else self._local(timeframe)
        source.revisions = self.revisions or type(source).revisions
        return source

    def _local(self, timeframe: str) -> "BarSource":
        # One object per configuration and process, since it may hold a simulated history.
        columns = tuple(sorted(self.columns.items()))
        source = _opened(self.source, self.path, columns, self.wanted(), self.calendar, self.seed)
        if timeframe != source.timeframe:
            raise SettingsError(f"source {self.source!r} has bars of {source.timeframe}, none of {timeframe}")
        return source

    def _vendor(self, timeframe: str) -> "BarSource":
        from trademl_pipeline.market.vendors import AlpacaSource, BinanceSource, YahooSource
        from trademl_pipeline.market.vendors.binance import URL

        wanted = self.wanted()
        if wanted.isdigit():
            raise SettingsError(
                f"data.symbols is {wanted!r}; a vendor needs names, such as AAPL,MSFT, not a number of them"
            )
        options: dict[str, Any] = {
            "symbols": [symbol for symbol in wanted.split(",") if symbol.strip()],
            "timeframe": timeframe,
            "delay": timedelta(minutes=self.delay),
        }
        if self.source == "alpaca":
            options |= {"key_id": self.key_id, "secret": self.secret}
            return AlpacaSource(**options, feed=self.feed, url=self.url or None)
        if self.source == "binance":
            return BinanceSource(**options, url=self.url or URL)
        return YahooSource(**options, cache=Path(self.cache) if self.cache else None)

    def wanted(self) -> str:
        """Return the symbols that the source is asked for, comma-separated, or how many; empty: all.

        Raises:
            UniverseError: there is no such universe, it needs a file that is missing or wrong, or the bars have nobody
                of it.
        """
        symbols = self.symbols
        if not symbols and self.source != "simulated" and self.universe not in ("", ALL_SYMBOLS):
            symbols = ",".join(self._members())
        if self.source not in VENDORS or symbols.isdigit() or not self.beside:
            return symbols
        return ",".join(dict.fromkeys([*filter(None, symbols.split(",")), *self.beside.split(",")]))

    def _members(self) -> list[str]:
        from trademl_pipeline.market.errors import UniverseError
        from trademl_pipeline.market.universes import universe

        if self.source in VENDORS:
            return universe(self.universe, membership=self.membership or None)
        from trademl_pipeline.market import FileSource

        known = set(FileSource(self.path, columns=self.columns).symbols())
        everyone = universe(self.universe, membership=self.membership or None, known=sorted(known))
        wanted = [symbol for symbol in everyone if symbol in known]
        if not wanted:
            raise UniverseError(f"{self.path} has no symbol of the universe {self.universe}; name another")
        return wanted


def open_source(settings: Settings, timeframe: str = DAILY) -> "BarSource":
    """Open the source of bars that the settings name.

    Args:
        settings: of the data set.
        timeframe: of the bars, such as 1Day.

    Raises:
        SettingsError: a setting makes no sense.
        MarketError: a vendor's key or package is missing, or the universe cannot be read.
    """
    return BarsFrom.of(settings).open(timeframe)


def simulated_market(bars: BarsFrom) -> "SimulatedMarket | None":
    """Return the market behind simulated bars; None for other sources, which need not be opened for that."""
    from trademl_pipeline.simulation import SimulatedMarket

    source = bars.open() if bars.source == "simulated" else None
    return source if isinstance(source, SimulatedMarket) else None


@lru_cache(maxsize=4)
def _opened(
    source: str, path: str, columns: tuple[tuple[str, str], ...], symbols: str, calendar: str, seed: int
) -> "BarSource":
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
            raise SettingsError(
                "data.source is 'files' but data.path is empty: set it to a Parquet or CSV file or folder"
            )
        return FileSource(path, columns=dict(columns), symbols=listed, max_symbols=count, calendar=calendar)
    raise SettingsError(f"data.source is {source!r}; it may be {', '.join(SOURCES)}")
