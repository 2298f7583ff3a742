"""Yahoo's chart interface: history adjusted for every later split, in single precision, with the events beside it."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np

from trademl_pipeline.market.calendar import close_utc, open_utc, sessions
from trademl_pipeline_tests.market.vendors.server import Query, Reply, VendorServer

LISTED = ("AAPL", "BRK-B", "^VIX")
STEPS = {"1h": timedelta(hours=1), "1m": timedelta(minutes=1)}


def traded(symbol: str, day: date) -> float:
    """Close as traded, before any split."""
    return 100.0 + len(symbol) + day.toordinal() % 20 + 0.25


class Yahoo(VendorServer):
    """`splits` and `dividends` (as paid) by (symbol, ex-date); `changed`: closes as traded by (symbol, day)."""

    def __init__(self) -> None:
        self.splits: dict[tuple[str, date], float] = {}
        self.dividends: dict[tuple[str, date], float] = {}
        self.changed: dict[tuple[str, date], float] = {}
        self.holes: set[tuple[str, date]] = set()
        super().__init__(self.answer)
        # Cookies and crumbs are asked for too; faults are for the data.
        self.faulty = lambda path, query: "/finance/chart/" in path and "period1" in query

    def answer(self, path: str, query: Query) -> Reply:
        if path.startswith("/v8/finance/chart/"):
            return self.chart(path.rsplit("/", 1)[1].replace("%5E", "^"), query)
        if path == "/v1/test/getcrumb":
            return Reply("crumb", headers={"Content-Type": "text/plain"})
        return Reply("", status=404, headers={"Content-Type": "text/html"})

    def factor(self, symbol: str, day: date) -> float:
        """Product of the splits after a day."""
        later = [ratio for (name, ex), ratio in self.splits.items() if name == symbol and ex > day]
        return float(np.prod(later)) if later else 1.0

    def price(self, symbol: str, day: date) -> float:
        before = [ratio for (name, ex), ratio in self.splits.items() if name == symbol and ex <= day]
        return self.changed.get((symbol, day), traded(symbol, day) / float(np.prod(before or [1.0])))

    def chart(self, symbol: str, query: Query) -> Reply:
        if symbol not in LISTED:
            error = {"code": "Not Found", "description": "No data found, symbol may be delisted"}
            return Reply({"chart": {"result": None, "error": error}}, status=404)
        if "range" in query:
            return Reply({"chart": {"result": [{"meta": meta(symbol, [])}], "error": None}})
        start, end = (datetime.fromtimestamp(int(query[k]), UTC) for k in ("period1", "period2"))
        days = [d for d in sessions(start.date(), end.date()) if start <= open_utc(d) < end]
        stamps, rows = self.bars(symbol, days, query["interval"])
        columns: dict[str, list[Any]] = {
            name: [row[name] for row in rows] for name in ("open", "high", "low", "close", "volume")
        }
        result: dict[str, Any] = {
            "meta": meta(symbol, days),
            "timestamp": stamps,
            "indicators": {"quote": [columns]},
        }
        if query["interval"] == "1d":
            result["indicators"]["adjclose"] = [{"adjclose": columns["close"]}]
        events = self.events(symbol, days)
        if events:
            result["events"] = events
        if not stamps:
            del result["timestamp"]
            result["indicators"] = {"quote": [{}], "adjclose": [{}]}
        return Reply({"chart": {"result": [result], "error": None}})

    def bars(self, symbol: str, days: list[date], interval: str) -> tuple[list[int], list[dict[str, Any]]]:
        stamps, rows = [], []
        for day in days:
            factor = self.factor(symbol, day)
            close = self.price(symbol, day)
            figures = {"open": close - 0.5, "high": close + 1, "low": close - 1, "close": close}
            row: dict[str, Any] = {k: float(np.float32(v / factor)) for k, v in figures.items()}
            row["volume"] = int(1_000_000 * factor)
            if (symbol, day) in self.holes:
                row = dict.fromkeys(row)
            at = open_utc(day)
            while at < close_utc(day):
                stamps.append(int(at.timestamp()))
                rows.append(row)
                if interval == "1d":
                    break
                at += STEPS[interval]
        return stamps, rows

    def events(self, symbol: str, days: list[date]) -> dict[str, Any]:
        stamp = {day: int(open_utc(day).timestamp()) for day in days}
        dividends = {
            str(stamp[ex]): {"amount": paid / self.factor(symbol, ex), "date": stamp[ex]}
            for (name, ex), paid in self.dividends.items()
            if name == symbol and ex in stamp
        }
        splits = {
            str(stamp[ex]): {
                "date": stamp[ex],
                "numerator": ratio,
                "denominator": 1,
                "splitRatio": f"{ratio}:1",
            }
            for (name, ex), ratio in self.splits.items()
            if name == symbol and ex in stamp
        }
        return {k: v for k, v in (("dividends", dividends), ("splits", splits)) if v}


def meta(symbol: str, days: list[date]) -> dict[str, Any]:
    def period(day: date) -> dict[str, Any]:
        start, end = int(open_utc(day).timestamp()), int(close_utc(day).timestamp())
        return {"timezone": "EST", "start": start, "end": end, "gmtoffset": -18000}

    some = period(days[-1] if days else date(2021, 12, 1))
    return {
        "currency": "USD",
        "symbol": symbol,
        "instrumentType": "EQUITY",
        "exchangeTimezoneName": "America/New_York",
        "timezone": "EST",
        "gmtoffset": -18000,
        "priceHint": 2,
        "firstTradeDate": 0,
        "regularMarketTime": some["end"],
        "currentTradingPeriod": {"pre": some, "regular": some, "post": some},
        "tradingPeriods": [[period(day)] for day in days],
        "dataGranularity": "1d",
        "validRanges": ["1d", "5d", "1mo", "max"],
    }
