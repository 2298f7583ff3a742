"""Bars of crypto pairs from Binance's public klines. No key is needed.

Plain HTTP rather than ccxt: one public endpoint is all that is wanted; ccxt is a package of many megabytes with
compiled dependencies that loads every market of an exchange before the first bar, and hides the response headers by
which Binance says how much of its limit is used.

A kline is stamped by its opening, our bar by its end. The day is the UTC day, the calendar "24/7". Outages of the
exchange are gaps in its klines; they are kept as gaps.
"""

from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import polars as pl

from trademl_pipeline.market.bar_times import AROUND_THE_CLOCK
from trademl_pipeline.market.errors import VendorFormatError, VendorRefusedError
from trademl_pipeline.market.vendors.retry import DEFAULT_RETRY_POLICY, RetryPolicy, TokenBucket
from trademl_pipeline.market.vendors.vendor import LENGTHS, VendorSource
from trademl_pipeline.tables.bar_tables import DAILY

URL = "https://data-api.binance.vision"
PAGE = 1000
_INTERVALS = {DAILY: "1d", "4h": "4h", "1h": "1h", "1min": "1m"}
_FIELDS = ("start", "open", "high", "low", "close", "volume")
_INVALID_SYMBOL = -1121
# 6,000 units a minute are allowed to one address, a request of klines costs 2; half of that leaves room for others.
_REQUESTS_A_SECOND = 25.0


class BinanceSource(VendorSource):
    """Klines of spot pairs; a `BarSource`.

    Args:
        symbols: pairs as Binance writes them, "BTCUSDT"; "BTC/USDT" and "BTC-USDT" are understood.
        timeframe, delay, now: see `VendorSource`.
        url: the server; the default gives out public market data and nothing else.
        retry_policy: time-outs and retries.
    """

    name = "binance"

    def __init__(
        self,
        symbols: Sequence[str],
        *,
        timeframe: str = DAILY,
        delay: timedelta = timedelta(0),
        now: datetime | None = None,
        url: str = URL,
        retry_policy: RetryPolicy = DEFAULT_RETRY_POLICY,
    ) -> None:
        super().__init__(symbols, timeframe=timeframe, delay=delay, calendar=AROUND_THE_CLOCK, now=now)
        self._url, self._retry_policy = url.rstrip("/"), retry_policy
        self._bucket = TokenBucket(_REQUESTS_A_SECOND, burst=10)

    def fetch(self, symbols: Sequence[str] | None, start: date, end: date) -> pl.DataFrame:
        """Bars of the symbols (None: all) that start in [start, end], both calendar days in UTC and inclusive.

        Raises:
            UnknownSymbolError: a symbol is none of this source's.
            EmptyMonthError: there is no complete bar in the range.
            VendorError: Binance is busy, cannot be reached, refuses, or responds in another format.
        """
        import requests

        from trademl_pipeline.market.vendors.http import mount

        with requests.Session() as session:
            mount(session, self.name, self._retry_policy, self._bucket)
            frames = [self._pages(session, symbol, start, end) for symbol in self.chosen(symbols)]
        frame = self.stamped(pl.concat(frames), cut=False)
        return self.dressed(frame, start, end)

    def _pages(self, session: Any, symbol: str, start: date, end: date) -> pl.DataFrame:
        step = int(LENGTHS[self.timeframe].total_seconds() * 1000)
        at = _milliseconds(start)
        last = min(_milliseconds(end + timedelta(days=1)), int(self.moment().timestamp() * 1000)) - 1
        rows: list[list] = []
        while at <= last:
            page = self._page(session, symbol, at, last)
            rows += page
            if len(page) < PAGE:
                break
            at = int(page[-1][0]) + step
        return self._frame(symbol, rows)

    def _page(self, session: Any, symbol: str, start: int, end: int) -> list[list]:
        response = session.get(
            f"{self._url}/api/v3/klines",
            params={
                "symbol": _pair(symbol),
                "interval": _INTERVALS[self.timeframe],
                "startTime": start,
                "endTime": end,
                "limit": PAGE,
            },
        )
        try:
            page = response.json()
        except ValueError:
            page = None
        if response.status_code != 200:
            error = page if isinstance(page, dict) else {}
            if error.get("code") == _INVALID_SYMBOL:
                raise VendorRefusedError(
                    f"binance does not know the pair {symbol!r}; it writes pairs like BTCUSDT, base before quote"
                )
            raise VendorRefusedError(
                f"binance refuses klines of {symbol}: HTTP {response.status_code} "
                f"{error.get('msg') or response.text[:200]}"
            )
        if not isinstance(page, list) or not all(isinstance(row, list) and len(row) >= 6 for row in page):
            raise VendorFormatError(
                f"binance: klines of {symbol} are not lists of {', '.join(_FIELDS)}, ...: {response.text[:200]!r}. "
                "Its interface has changed; nothing was taken"
            )
        return page

    def _frame(self, symbol: str, rows: list[list]) -> pl.DataFrame:
        schema = {"start": pl.Int64, **dict.fromkeys(_FIELDS[1:], pl.Float64)}
        try:
            columns = {
                name: [kind(row[i]) for row in rows]
                for i, (name, kind) in enumerate(zip(_FIELDS, (int, *[float] * 5), strict=True))
            }
        except (TypeError, ValueError) as error:
            raise VendorFormatError(
                f"binance: a kline of {symbol} holds no number where one is promised ({error}); nothing was taken"
            ) from error
        return pl.DataFrame(columns, schema=schema).with_columns(
            pl.lit(symbol).alias("symbol"),
            pl.from_epoch("start", time_unit="ms").dt.replace_time_zone("UTC").dt.cast_time_unit("us"),
        )


def _pair(symbol: str) -> str:
    return symbol.replace("/", "").replace("-", "").upper()


def _milliseconds(day: date) -> int:
    return int(datetime.combine(day, time(), tzinfo=UTC).timestamp() * 1000)
