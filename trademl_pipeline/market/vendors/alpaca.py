"""Bars of US stocks and crypto pairs from Alpaca, through its own client library alpaca-py.

Stocks come as traded (`adjustment=raw`), and Alpaca's corporate actions give split_factor and dividend on their
ex-dates: splits, stock dividends (a split of 1 + rate) and cash dividends, special ones included. Spin-offs, mergers
and rights are not in these two columns. Ticker changes are followed back by Alpaca itself.

The free feed is `iex`, one exchange with a few per cent of the volume; `sip` is all exchanges and needs a
subscription for the last 15 minutes. Intraday bars hold trades outside the regular session too where a bar reaches
beyond it; bars wholly outside are left out. Crypto ("BTC/USD") trades around the clock and needs a source of its own.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, cast

import polars as pl

from trademl_pipeline.market.bar_times import AROUND_THE_CLOCK
from trademl_pipeline.market.calendar import DEFAULT_CALENDAR, time_zone
from trademl_pipeline.market.errors import (
    MissingKeyError,
    VendorFormatError,
    VendorRefusedError,
)
from trademl_pipeline.market.vendors.http import mount, redactor
from trademl_pipeline.market.vendors.retry import DEFAULT_RETRY_POLICY, RetryPolicy, TokenBucket
from trademl_pipeline.market.vendors.vendor import VendorSource, require, with_actions
from trademl_pipeline.tables.bar_tables import DAILY

KEY_VARIABLES = ("APCA_API_KEY_ID", "APCA_API_SECRET_KEY")
FEEDS = ("iex", "sip", "delayed_sip", "otc")
_FIGURES = {"o": "open", "h": "high", "l": "low", "c": "close", "v": "volume"}
_ACTIONS = ("forward_split", "reverse_split", "stock_dividend", "cash_dividend")
# Actions are listed by the day on which Alpaca processes them, dividends on the day they are paid, which may lie
# months after the ex-date.
_PROCESSED_WITHIN = timedelta(days=120)
# The free plan allows 200 requests a minute.
_REQUESTS_A_SECOND = 3.0


class AlpacaSource(VendorSource):
    """Bars of stocks, or of crypto pairs; a `BarSource`.

    Args:
        symbols: tickers ("AAPL", "BRK-B") or pairs ("BTC/USD"), not both.
        key_id, secret: the account's keys, from https://app.alpaca.markets. Crypto needs none.
        feed: one of `FEEDS`, for stocks.
        timeframe, delay, now: see `VendorSource`.
        url: the server; None is Alpaca's.
        retry_policy: time-outs and retries.

    Raises:
        MissingPackageError: alpaca-py is not installed.
        MissingKeyError: stocks without keys.
        VendorRefusedError: an unknown feed, or stocks and pairs together.
    """

    name = "alpaca"
    batch = 20

    def __init__(
        self,
        symbols: Sequence[str],
        *,
        key_id: str = "",
        secret: str = "",
        feed: str = "iex",
        timeframe: str = DAILY,
        delay: timedelta = timedelta(0),
        now: datetime | None = None,
        url: str | None = None,
        retry_policy: RetryPolicy = DEFAULT_RETRY_POLICY,
    ) -> None:
        require(self.name, "alpaca", "alpaca-py")
        pairs = [s for s in symbols if "/" in s]
        if pairs and len(pairs) < len(symbols):
            raise VendorRefusedError(
                f"alpaca: {pairs[0]} trades around the clock and stocks do not; ingest them one after the other"
            )
        self.crypto = bool(pairs)
        calendar = AROUND_THE_CLOCK if self.crypto else DEFAULT_CALENDAR
        super().__init__(symbols, timeframe=timeframe, delay=delay, calendar=calendar, now=now)
        if feed not in FEEDS:
            raise VendorRefusedError(
                f"alpaca has no feed {feed!r}; set vendors.alpaca_feed to one of {', '.join(FEEDS)}"
            )
        absent = [name for name, value in zip(KEY_VARIABLES, (key_id, secret), strict=True) if not value]
        if absent and not self.crypto:
            raise MissingKeyError(self.name, absent, "keys are free, at https://app.alpaca.markets")
        self.feed, self._url, self._retry_policy = feed, url, retry_policy
        self._key_id, self._secret = key_id or None, secret or None
        self._redact = redactor([key_id, secret])
        self._bucket = TokenBucket(_REQUESTS_A_SECOND, burst=10)

    def fetch(self, symbols: Sequence[str] | None, start: date, end: date) -> pl.DataFrame:
        """Bars of the symbols (None: all) in [start, end], both calendar days and inclusive.

        Raises:
            UnknownSymbolError: a symbol is none of this source's. One that Alpaca does not have gives no rows.
            EmptyMonthError: there is no complete bar in the range.
            VendorError: Alpaca is busy, cannot be reached, refuses, or responds in another format.
        """
        chosen = self.chosen(symbols)
        bars = self._bars(chosen, start, end)
        if self.crypto:
            return self.dressed(self.stamped(bars, cut=False), start, end)
        if self.timeframe == DAILY:
            session = pl.col("start").dt.convert_time_zone(time_zone(self.calendar)).dt.date()
            frame = self.with_close(bars.with_columns(session.alias("session")))
        else:
            frame = self.stamped(bars, cut=False)
        frame = with_actions(frame, self._actions(chosen, start, end))
        return self.dressed(frame, start, end)

    def _bars(self, symbols: list[str], start: date, end: date) -> pl.DataFrame:
        from alpaca.data.enums import Adjustment, DataFeed
        from alpaca.data.requests import CryptoBarsRequest, StockBarsRequest

        theirs = {self._ticker(symbol): symbol for symbol in symbols}
        zone = time_zone(self.calendar)
        arguments: dict[str, Any] = {
            "symbol_or_symbols": list(theirs),
            "timeframe": _timeframe(self.timeframe),
            "start": _midnight(start, zone),
            "end": min(_midnight(end + timedelta(days=1), zone) - timedelta(microseconds=1), self.moment()),
        }
        if arguments["end"] <= arguments["start"]:
            return _frame({}, theirs)
        if self.crypto:
            client = self._client("CryptoHistoricalDataClient")
            response = self._ask(lambda: client.get_crypto_bars(CryptoBarsRequest(**arguments)))
        else:
            client = self._client("StockHistoricalDataClient")
            request = StockBarsRequest(**arguments, adjustment=Adjustment.RAW, feed=DataFeed(self.feed))
            response = self._ask(lambda: client.get_stock_bars(request))
        return _frame(response, theirs)

    def _actions(self, symbols: list[str], start: date, end: date) -> pl.DataFrame:
        """symbol, session (the ex-date), split_factor, dividend; one row for each symbol and ex-date."""
        from alpaca.data.enums import CorporateActionsType
        from alpaca.data.requests import CorporateActionsRequest

        theirs = {self._ticker(symbol): symbol for symbol in symbols}
        client = self._client("CorporateActionsClient")
        request = CorporateActionsRequest(
            symbols=list(theirs),
            types=[CorporateActionsType(kind) for kind in _ACTIONS],
            start=start,
            end=end + _PROCESSED_WITHIN,
            # A limit would be read as the most actions wanted in all, not as the size of a page.
            limit=None,
        )
        actions = _action_frame(self._ask(lambda: client.get_corporate_actions(request)), theirs)
        return actions.filter(pl.col("session").is_between(start, end))

    def _ticker(self, symbol: str) -> str:
        return symbol if self.crypto else symbol.replace("-", ".")

    def _client(self, kind: str) -> Any:
        from alpaca.data import historical
        from alpaca.data.historical.corporate_actions import CorporateActionsClient

        client_class = (
            CorporateActionsClient if kind == "CorporateActionsClient" else getattr(historical, kind)
        )
        client = client_class(self._key_id, self._secret, raw_data=True, url_override=self._url)
        secrets = [self._key_id or "", self._secret or ""]
        mount(client._session, self.name, self._retry_policy, self._bucket, secrets)
        return client

    def _ask(self, call: Any) -> Mapping[str, Any]:
        """Call the client; its errors become ours, without keys."""
        from alpaca.common.exceptions import APIError

        try:
            response = call()
        except APIError as error:
            raise VendorRefusedError(self._refusal(error)) from None
        except (json.JSONDecodeError, ValueError, TypeError, AttributeError, KeyError) as error:
            text = self._redact(f"{type(error).__name__}: {error}")
            raise VendorFormatError(
                f"alpaca's response is not what its interface promises ({text[:200]}); nothing was taken"
            ) from None
        if not isinstance(response, Mapping):
            raise VendorFormatError(
                "alpaca's response names no symbols; its interface has changed, nothing was taken"
            )
        return response

    def _refusal(self, error: Any) -> str:
        status, message = error.status_code, self._redact(str(error))[:300]
        if status in (401, 403) and "subscription" in message:
            return (
                f"alpaca: the account may not have this data (HTTP {status}: {message}). Set vendors.alpaca_feed to "
                f"iex, "
                "or ask for months that lie further back"
            )
        if status in (401, 403):
            return (
                f"alpaca does not accept the keys (HTTP {status}: {message}). Check {' and '.join(KEY_VARIABLES)}: "
                "both from one account, and not revoked"
            )
        return f"alpaca refuses the request: HTTP {status} {message}"


def _timeframe(timeframe: str) -> Any:
    from alpaca.data.timeframe import TimeFrame, TimeFrameUnit

    return {
        DAILY: TimeFrame.Day,
        "4h": TimeFrame(4, cast("Any", TimeFrameUnit.Hour)),
        "1h": TimeFrame.Hour,
        "1min": TimeFrame.Minute,
    }[timeframe]


def _midnight(day: date, zone: str) -> datetime:
    from zoneinfo import ZoneInfo

    return datetime.combine(day, time(), tzinfo=ZoneInfo(zone)).astimezone(UTC)


def _frame(response: Mapping[str, Any], theirs: Mapping[str, str]) -> pl.DataFrame:
    """Bars by ticker as rows: symbol, start (UTC), open, high, low, close, volume."""
    rows = []
    for ticker, bars in response.items():
        if ticker not in theirs:
            raise VendorFormatError(
                f"alpaca sent bars of {ticker!r}, which were not asked for; nothing was taken"
            )
        for bar in bars:
            try:
                rows.append((theirs[ticker], bar["t"], *(float(bar[f]) for f in _FIGURES)))
            except (KeyError, TypeError, ValueError) as error:
                raise VendorFormatError(
                    f"alpaca: a bar of {ticker} lacks t, {', '.join(_FIGURES)} or holds no number there "
                    f"({type(error).__name__}: {error}): {str(bar)[:200]}. Its interface has changed; nothing was taken"
                ) from error
    schema = {"symbol": pl.String, "start": pl.String, **dict.fromkeys(_FIGURES.values(), pl.Float64)}
    frame = pl.DataFrame(rows, schema=schema, orient="row")
    try:
        return frame.with_columns(pl.col("start").str.to_datetime(time_unit="us", time_zone="UTC"))
    except pl.exceptions.PolarsError as error:
        raise VendorFormatError(
            f"alpaca: a bar's time cannot be read ({error}); nothing was taken"
        ) from error


def _action_frame(response: Mapping[str, Any], theirs: Mapping[str, str]) -> pl.DataFrame:
    rows = []
    try:
        for kind, actions in response.items():
            for action in actions:
                if kind in ("forward_splits", "reverse_splits"):
                    figures = (float(action["new_rate"]) / float(action["old_rate"]), 0.0)
                elif kind == "stock_dividends":
                    figures = (1.0 + float(action["rate"]), 0.0)
                elif kind == "cash_dividends":
                    figures = (1.0, float(action["rate"]))
                else:
                    continue
                rows.append((theirs[action["symbol"]], date.fromisoformat(action["ex_date"]), *figures))
    except (KeyError, TypeError, ValueError, ZeroDivisionError) as error:
        raise VendorFormatError(
            f"alpaca: a corporate action cannot be read ({type(error).__name__}: {error}); its interface has changed, "
            "nothing was taken"
        ) from error
    schema = {"symbol": pl.String, "session": pl.Date, "split_factor": pl.Float64, "dividend": pl.Float64}
    frame = pl.DataFrame(rows, schema=schema, orient="row")
    return frame.group_by("symbol", "session").agg(pl.col("split_factor").product(), pl.col("dividend").sum())
