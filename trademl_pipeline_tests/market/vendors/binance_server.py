"""Binance's klines, made of a formula: every pair trades from its first day on, with no gaps but those asked for."""

from datetime import UTC, datetime, timedelta

from trademl_pipeline_tests.market.vendors.server import Query, Reply, VendorServer

STEPS = {
    "1d": timedelta(days=1),
    "4h": timedelta(hours=4),
    "1h": timedelta(hours=1),
    "1m": timedelta(minutes=1),
}
LISTED = {"BTCUSDT": datetime(2021, 1, 1, tzinfo=UTC), "ETHUSDT": datetime(2021, 1, 15, tzinfo=UTC)}


def kline(pair: str, at: int, step: int) -> list:
    """One kline as Binance sends it: numbers as text, times in milliseconds."""
    base = 100 + len(pair) + at // step % 50
    return [
        at,
        f"{base:.8f}",
        f"{base + 2:.8f}",
        f"{base - 2:.8f}",
        f"{base + 1:.8f}",
        f"{1000 + at // step % 7:.8f}",
        at + step - 1,
        "0",
        10,
        "0",
        "0",
        "0",
    ]


class Binance(VendorServer):
    """`gaps`: (pair, opening in ms) that it does not have; `changed`: closes other than the formula's."""

    def __init__(self, limit: int = 1000) -> None:
        self.limit = limit
        self.gaps: set[tuple[str, int]] = set()
        self.changed: dict[tuple[str, int], str] = {}
        super().__init__(self.klines)

    def klines(self, path: str, query: Query) -> Reply:
        pair = query["symbol"]
        if pair not in LISTED:
            return Reply({"code": -1121, "msg": "Invalid symbol."}, status=400)
        step = int(STEPS[query["interval"]].total_seconds() * 1000)
        at = max(int(query["startTime"]), int(LISTED[pair].timestamp() * 1000))
        at = -(-at // step) * step
        rows = []
        while at <= int(query["endTime"]) and len(rows) < min(int(query["limit"]), self.limit):
            if (pair, at) not in self.gaps:
                row = kline(pair, at, step)
                row[4] = self.changed.get((pair, at), row[4])
                rows.append(row)
            at += step
        return Reply(rows)
