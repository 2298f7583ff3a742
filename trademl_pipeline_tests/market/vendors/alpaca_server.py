"""Alpaca's market data interface: bars of stocks and pairs, and corporate actions, in pages by token."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from trademl_pipeline.market.calendar import close_utc, open_utc, sessions
from trademl_pipeline_tests.market.vendors.server import Query, Reply, VendorServer

NEW_YORK = ZoneInfo("America/New_York")
LISTED = ("AAPL", "BRK.B", "MSFT")


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text.replace("Z", "+00:00")).astimezone(UTC)


def bar(at: datetime, price: float) -> dict:
    stamp = at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {
        "t": stamp,
        "o": price,
        "h": price + 2,
        "l": price - 2,
        "c": price + 1,
        "v": 5000,
        "n": 10,
        "vw": price,
    }


def price(symbol: str, day: date) -> float:
    return 100.0 + len(symbol) + day.toordinal() % 20


class Alpaca(VendorServer):
    """`page`: bars in one response; `actions`: corporate actions by kind; `changed`: closes by (symbol, day)."""

    def __init__(self, page: int = 10_000) -> None:
        self.page = page
        self.actions: dict[str, list[dict]] = {}
        self.changed: dict[tuple[str, date], float] = {}
        super().__init__(self.answer)

    def answer(self, path: str, query: Query) -> Reply:
        if path == "/v1/corporate-actions":
            return self.corporate(query)
        if path == "/v2/stocks/bars":
            return self.paged(query, self.stock_bars(query))
        if path == "/v1beta3/crypto/us/bars":
            return self.paged(query, self.crypto_bars(query))
        return Reply({"message": "Not Found"}, status=404)

    def paged(self, query: Query, rows: list[tuple[str, dict]]) -> Reply:
        first = int(query.get("page_token") or 0)
        bars: dict[str, list[dict]] = {}
        for symbol, row in rows[first : first + self.page]:
            bars.setdefault(symbol, []).append(row)
        more = first + self.page
        return Reply({"bars": bars, "next_page_token": str(more) if more < len(rows) else None})

    def stock_bars(self, query: Query) -> list[tuple[str, dict]]:
        start, end = moment(query["start"]), moment(query["end"])
        rows = []
        for symbol in sorted(set(query["symbols"].split(",")) & set(LISTED)):
            for day in sessions(start.date() - timedelta(days=1), end.date()):
                rows += [
                    (symbol, row)
                    for at, row in self.of_day(symbol, day, query["timeframe"])
                    if start <= at <= end
                ]
        return rows

    def of_day(self, symbol: str, day: date, timeframe: str) -> list[tuple[datetime, dict]]:
        base = price(symbol, day)
        if timeframe == "1Day":
            at = datetime.combine(day, datetime.min.time(), tzinfo=NEW_YORK)
            row = bar(at, base)
            row["c"] = self.changed.get((symbol, day), row["c"])
            return [(at, row)]
        step = {"1Hour": timedelta(hours=1), "4Hour": timedelta(hours=4), "1Min": timedelta(minutes=1)}[
            timeframe
        ]
        # Extended hours too: from two hours before the opening to two after the close.
        at = open_utc(day).replace(minute=0) - timedelta(hours=2)
        found = []
        while at < close_utc(day) + timedelta(hours=2):
            found.append((at, bar(at, base)))
            at += step
        return found

    def crypto_bars(self, query: Query) -> list[tuple[str, dict]]:
        start, end = moment(query["start"]), moment(query["end"])
        step = {"1Day": timedelta(days=1), "1Hour": timedelta(hours=1)}[query["timeframe"]]
        rows = []
        for symbol in query["symbols"].split(","):
            at = start
            while at <= end:
                rows.append((symbol, bar(at, 1000.0)))
                at += step
        return rows

    def corporate(self, query: Query) -> Reply:
        asked = set(query["symbols"].split(","))
        kinds = {f"{kind}s" for kind in query["types"].split(",")}
        start, end = date.fromisoformat(query["start"]), date.fromisoformat(query["end"])
        found = [
            (kind, action)
            for kind, actions in sorted(self.actions.items())
            for action in actions
            if kind in kinds
            and action["symbol"] in asked
            and start <= date.fromisoformat(action["process_date"]) <= end
        ]
        first = int(query.get("page_token") or 0)
        page: dict[str, list[dict]] = {}
        # One to a page, so that paging is always at work.
        for kind, action in found[first : first + 1]:
            page.setdefault(kind, []).append(action)
        more = first + 1
        return Reply({"corporate_actions": page, "next_page_token": str(more) if more < len(found) else None})
