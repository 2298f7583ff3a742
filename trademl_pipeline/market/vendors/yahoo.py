"""Bars of stocks, funds and indices from Yahoo Finance, through yfinance. No key is needed.

Yahoo adjusts its history for every later split, and so rewrites it with each. The prices as traded are put
together again from the splits that it lists: `as traded = adjusted * product of the splits after that day`
(volumes divided, dividends multiplied by the same). Therefore every fetch asks for a symbol's splits up to
now. Yahoo keeps prices in single precision; seven figures are true.

Yahoo drops names that were delisted, so a history fetched from it alone is biased to survivors. Of 1 h bars
it keeps about two years, of 1 min bars about a month. The capital gains of a fund are in its dividend
already.
"""

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any

import polars as pl

from trademl_pipeline.market.calendar import DEFAULT_CALENDAR, time_zone
from trademl_pipeline.market.errors import (
    VendorError,
    VendorFormatError,
    VendorRateLimitedError,
    VendorUnavailableError,
)
from trademl_pipeline.market.vendors.retry import (
    DEFAULT_RETRY_POLICY,
    RetryPolicy,
    TokenBucket,
    send_with_retry,
)
from trademl_pipeline.market.vendors.vendor import VendorSource, require, with_actions
from trademl_pipeline.tables.bar_tables import DAILY

_FIGURES = {"Open": "open", "High": "high", "Low": "low", "Close": "close", "Volume": "volume"}
_ACTIONS = {"Dividends": "dividend", "Stock Splits": "split_factor"}
_INTERVALS = {DAILY: "1d", "4h": "1h", "1h": "1h", "1min": "1m"}
_SIGNIFICANT_FIGURES = 7
_DATA = "/v8/finance/chart/"
# Yahoo publishes no limit; faster than this has been seen to be refused.
_REQUESTS_A_SECOND = 2.0


class YahooSource(VendorSource):
    """Bars by Yahoo's ticker; a `BarSource`.

    Args:
        symbols: as Yahoo writes them: "AAPL", "BRK-B", "^VIX"; a dot in a share class ("BRK.B") is understood.
        timeframe, delay, calendar, now: see `VendorSource`. 4h bars are made of 1h bars, counted from the opening.
        cache: folder for what yfinance keeps (time zones, cookies); None is its own.
        retry_policy: time-outs and retries.

    Raises:
        MissingPackageError: yfinance is not installed.
    """

    name = "yahoo"

    def __init__(
        self,
        symbols: Sequence[str],
        *,
        timeframe: str = DAILY,
        delay: timedelta = timedelta(0),
        calendar: str = DEFAULT_CALENDAR,
        now: datetime | None = None,
        cache: Path | None = None,
        retry_policy: RetryPolicy = DEFAULT_RETRY_POLICY,
    ) -> None:
        require(self.name, "yfinance", "yfinance")
        require(self.name, "curl_cffi", "curl_cffi")
        super().__init__(symbols, timeframe=timeframe, delay=delay, calendar=calendar, now=now)
        self._cache, self._retry_policy = cache, retry_policy
        self._bucket = TokenBucket(_REQUESTS_A_SECOND, burst=4)

    def fetch(self, symbols: Sequence[str] | None, start: date, end: date) -> pl.DataFrame:
        """Bars of the symbols (None: all) in [start, end], both calendar days and inclusive.

        Raises:
            UnknownSymbolError: a symbol is none of this source's. One that Yahoo does not have gives no rows.
            EmptyMonthError: there is no complete bar in the range.
            VendorError: Yahoo is busy, cannot be reached, or responds in another format.
        """
        yfinance = _yfinance(self._cache)
        # yfinance remembers responses about the past; a restated one would never be seen.
        yfinance.data.YfData.cache_get.cache_clear()
        session = _session_class()(self.name, self._retry_policy, self._bucket)
        try:
            frames = [self._symbol(yfinance, session, symbol, start, end) for symbol in self.chosen(symbols)]
        finally:
            session.close()
        return self.dressed(pl.concat(frames, how="diagonal_relaxed"), start, end)

    def _symbol(self, yfinance: Any, session: Any, symbol: str, start: date, end: date) -> pl.DataFrame:
        """One symbol's rows as traded, with `session` and `event_time`."""
        ticker = yfinance.Ticker(symbol.replace(".", "-").upper(), session=session)
        # Else yfinance asks for it, one request more for each symbol.
        ticker._tz = time_zone(self.calendar)
        tomorrow = self.moment().date() + timedelta(days=1)
        daily = self._history(yfinance, ticker, symbol, "1d", start, tomorrow)
        day = pl.col("stamp").dt.convert_time_zone(time_zone(self.calendar)).dt.date().alias("session")
        actions = (
            _actions(daily)
            .with_columns(day)
            .group_by("session")
            .agg(pl.col("split_factor").product(), pl.col("dividend").sum())
        )
        if self.timeframe == DAILY:
            frame = self.with_close(daily.with_columns(day))
        else:
            stop = min(end + timedelta(days=1), tomorrow)
            bars = self._history(yfinance, ticker, symbol, _INTERVALS[self.timeframe], start, stop)
            bars = bars.rename({"stamp": "start"})
            frame = self.stamped(
                _four_hours(bars, self.calendar) if self.timeframe == "4h" else bars, cut=True
            )
        frame = frame.with_columns(pl.lit(symbol).alias("symbol")).select(
            "symbol", "session", "event_time", *_FIGURES.values()
        )
        actions = actions.with_columns(pl.lit(symbol).alias("symbol"))
        return with_actions(_as_traded(frame, actions), _paid_as_traded(actions))

    def _history(
        self, yfinance: Any, ticker: Any, symbol: str, interval: str, start: date, stop: date
    ) -> pl.DataFrame:
        """Rows that yfinance gives for one symbol: `stamp` (UTC) and its columns under our names; none if unknown."""
        from yfinance import exceptions

        config = yfinance.config.debug
        hidden, config.hide_exceptions = config.hide_exceptions, False
        try:
            frame = ticker.history(
                start=start.isoformat(),
                end=stop.isoformat(),
                interval=interval,
                auto_adjust=False,
                actions=True,
                prepost=False,
                # Null prices are for the quality rules to judge, not to be dropped here.
                keepna=True,
                timeout=self._retry_policy.read,
            )
        except (exceptions.YFPricesMissingError, exceptions.YFTzMissingError):
            return _empty()
        except VendorError:
            raise
        except exceptions.YFRateLimitError as error:
            raise VendorRateLimitedError(
                f"yahoo allows no more requests ({error}); run again later"
            ) from None
        except OSError as error:
            raise VendorUnavailableError(f"yahoo cannot be reached for {symbol}: {error}") from error
        except Exception as error:
            # yfinance reads the response without looking, so a changed one fails in any of many ways.
            raise VendorFormatError(
                f"yahoo's response for {symbol} cannot be read ({type(error).__name__}: {str(error)[:200]}); its "
                "interface has changed, or yfinance is too old: pip install -U yfinance. Nothing was taken"
            ) from error
        finally:
            config.hide_exceptions = hidden
        return _polars(frame, symbol)


def _empty() -> pl.DataFrame:
    figures = dict.fromkeys((*_FIGURES.values(), *_ACTIONS.values()), pl.Float64)
    return pl.DataFrame(schema={"stamp": pl.Datetime("us", "UTC"), **figures})


def _polars(frame: Any, symbol: str) -> pl.DataFrame:
    if frame.empty:
        return _empty()
    missing = [name for name in _FIGURES if name not in frame.columns]
    if missing:
        raise VendorFormatError(
            f"yahoo's response for {symbol} lacks {', '.join(missing)}; nothing was taken"
        )
    stamps = frame.index.tz_convert("UTC").tz_localize(None).to_numpy()
    columns = {"stamp": pl.Series(stamps).cast(pl.Datetime("us")).dt.replace_time_zone("UTC")}
    for theirs, ours in (_FIGURES | _ACTIONS).items():
        values = frame[theirs].to_numpy(dtype="float64") if theirs in frame.columns else [0.0] * len(frame)
        columns[ours] = pl.Series(values, dtype=pl.Float64)
    return pl.DataFrame(columns)


def _actions(daily: pl.DataFrame) -> pl.DataFrame:
    """stamp, split_factor (1.0: none) and dividend on the share as Yahoo adjusts it; only days with either."""
    split = pl.col("split_factor").fill_nan(0.0).fill_null(0.0)
    paid = pl.col("dividend").fill_nan(0.0).fill_null(0.0)
    return daily.select(
        "stamp", pl.when(split > 0).then(split).otherwise(1.0).alias("split_factor"), paid.alias("dividend")
    ).filter((pl.col("split_factor") != 1) | (pl.col("dividend") != 0))


def _later_splits(frame: pl.DataFrame, actions: pl.DataFrame) -> pl.Series:
    """For each row's session the product of all splits after it."""
    splits = actions.filter(pl.col("split_factor") != 1).sort("session")
    factor = pl.Series("factor", [1.0] * frame.height)
    for session, ratio in splits.select("session", "split_factor").iter_rows():
        factor = (
            factor * pl.select(pl.when(frame["session"] < session).then(ratio).otherwise(1.0)).to_series()
        )
    return factor.alias("factor")


def _as_traded(frame: pl.DataFrame, actions: pl.DataFrame) -> pl.DataFrame:
    prices = [c for c in _FIGURES.values() if c != "volume"]
    return (
        frame.with_columns(_later_splits(frame, actions))
        .with_columns(
            *((pl.col(c) * pl.col("factor")).round_sig_figs(_SIGNIFICANT_FIGURES) for c in prices),
            (pl.col("volume") / pl.col("factor")).round(),
        )
        .drop("factor")
    )


def _paid_as_traded(actions: pl.DataFrame) -> pl.DataFrame:
    paid = actions.with_columns(_later_splits(actions, actions))
    return paid.with_columns(
        (pl.col("dividend") * pl.col("factor")).round_sig_figs(_SIGNIFICANT_FIGURES)
    ).drop("factor")


def _four_hours(bars: pl.DataFrame, calendar: str) -> pl.DataFrame:
    """1 h bars put together by four, counted from the first of each day."""
    day = pl.col("start").dt.convert_time_zone(time_zone(calendar)).dt.date()
    since = pl.col("start") - pl.col("start").min().over("day")
    return (
        bars.sort("start")
        .with_columns(day.alias("day"))
        .with_columns((since.dt.total_minutes() // 240).alias("part"))
        .group_by("day", "part", maintain_order=True)
        .agg(
            pl.col("start", "open").first(),
            pl.col("high").max(),
            pl.col("low").min(),
            pl.col("close").last(),
            pl.col("volume").sum(),
        )
    )


@lru_cache
def _yfinance(cache: Path | None) -> Any:
    import logging

    import yfinance

    # Its own log tells errors that are ours to raise.
    logging.getLogger("yfinance").setLevel(logging.CRITICAL)
    if cache is not None:
        cache.mkdir(parents=True, exist_ok=True)
        yfinance.set_tz_cache_location(str(cache))
    return yfinance


def _check_chart(response: Any) -> None:
    """Refuse a response that is no chart: yfinance would take it for a symbol without prices."""
    try:
        chart = response.json()["chart"]
        known = "result" in chart and "error" in chart
    except (ValueError, KeyError, TypeError):
        known = False
    if response.status_code == 200 and not known:
        raise VendorFormatError(
            f"yahoo's response is no chart with result and error: {response.text[:200]!r}. Its interface has changed; "
            "nothing was taken"
        )


@lru_cache
def _session_class() -> Any:
    """A curl_cffi session, the one kind that Yahoo lets in, that asks by a retry policy for data."""
    from curl_cffi import requests as curl

    class RetrySession(curl.Session):
        def __init__(self, vendor: str, retry_policy: RetryPolicy, bucket: TokenBucket) -> None:
            super().__init__(impersonate="chrome")
            self._retry_policy_of = (vendor, retry_policy, bucket)

        def request(self, method: Any, url: str, **options: Any) -> Any:  # type: ignore[override]
            vendor, retry_policy, bucket = self._retry_policy_of
            options["timeout"] = (retry_policy.connect, retry_policy.read)

            def send() -> Any:
                return super(RetrySession, self).request(method, url, **options)

            if _DATA not in url:
                # Cookies: yfinance has other ways where one of these fails.
                return send()
            response = send_with_retry(
                send,
                vendor=vendor,
                retry_policy=retry_policy,
                bucket=bucket,
                transient=(curl.exceptions.RequestException,),
                redact=lambda text: text,
            )
            _check_chart(response)
            return response

    return RetrySession
