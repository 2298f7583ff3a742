"""Fills that could be had pass, by whatever order; one that could not is refused by the column at fault."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trademl_pipeline.leakage import AuditInputError, AuditReport, audit_trades
from trademl_pipeline.leakage.probes.resting import KINDS
from trademl_pipeline.market.calendar import close_utc, open_utc, sessions

Frames = tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame, pl.DataFrame]
SIGNALS, ORDERS, FILLS, BARS = range(4)


def market(seed: int, calendar: str, *, gone: bool = True) -> pl.DataFrame:
    """Daily bars of three symbols with gaps over night; the last one ends early, the second splits four to one."""
    random = np.random.default_rng(seed)
    days = sessions(date(2019, 3, 1), date(2019, 4, 30), calendar)
    rows = []
    for number, symbol in enumerate(("AAA", "SPL", "END")):
        price = 100.0
        for at, day in enumerate(days):
            if gone and symbol == "END" and at > 30:
                break
            factor = 4.0 if symbol == "SPL" and at == 20 else 1.0
            opened = price / factor * float(np.exp(random.normal(0, 0.03)))
            path = opened * np.exp(np.cumsum(random.normal(0, 0.01, 6)))
            low, high = min(opened, *path), max(opened, *path)
            price = float(path[-1])
            rows.append((symbol, day, opened, high, low, price, 1e6 + number, factor))
    names = ["symbol", "session", "open", "high", "low", "close", "volume", "split_factor"]
    return pl.DataFrame(rows, schema=names, orient="row")


def had(kind: str, side: int, price: float, bar: dict) -> float | None:
    """Price at which an order that rests before a bar is filled in it, as an exchange would; None: it is not."""
    opened, low, high = bar["open"], bar["low"], bar["high"]
    if kind == "market":
        return opened
    if kind == "limit":
        if side > 0:
            return min(price, opened) if low <= price else None
        return max(price, opened) if high >= price else None
    if side > 0:
        return max(price, opened) if high >= price else None
    return min(price, opened) if low <= price else None


def traded(seed: int, calendar: str = "XNYS") -> Frames:
    """Orders given after a close and filled in the next bar, each position sold before its symbol ends."""
    random = np.random.default_rng(seed)
    bars = market(seed, calendar)
    signals, orders, fills = [], [], []
    for (symbol,), part in bars.partition_by("symbol", as_dict=True).items():
        days = part.to_dicts()
        shares = 0.0
        for before, bar in pairwise(days):
            shares *= bar["split_factor"]
            last = bar is days[-1]
            side = -1 if last else int(random.choice([1, -1]))
            kind = "market" if last else str(random.choice(["market", "limit", "stop"]))
            size = abs(shares) if last else float(random.integers(1, 50))
            side = -int(np.sign(shares)) if last else side
            if not size:
                continue
            close = before["close"] / bar["split_factor"]
            price = close * float(np.exp(random.normal(0, 0.02)))
            decided = close_utc(before["session"], calendar)
            price_had = had(kind, side, price, bar)
            identity = f"{symbol} {bar['session']}"
            signals.append((identity, decided))
            orders.append(
                (
                    identity,
                    decided + timedelta(minutes=5),
                    kind,
                    price if kind == "limit" else None,
                    price if kind == "stop" else None,
                    "buy" if side > 0 else "sell",
                    size,
                )
            )
            if price_had is None:
                continue
            opens = open_utc(bar["session"], calendar)
            # Where a session ends as the next begins, nothing that is decided at its end is filled at that moment.
            at_open = price_had == bar["open"] and calendar != "24/7"
            fills.append(
                (identity, symbol, opens if at_open else opens + timedelta(hours=2), price_had, size)
            )
            shares += side * size
    utc = pl.Datetime("us", "UTC")
    return (
        pl.DataFrame(signals, {"trade_id": pl.String, "signal_time": utc}, orient="row"),
        pl.DataFrame(
            orders,
            {
                "trade_id": pl.String,
                "order_time": utc,
                "order_type": pl.String,
                "limit_price": pl.Float64,
                "stop_price": pl.Float64,
                "side": pl.String,
                "quantity": pl.Float64,
            },
            orient="row",
        ),
        pl.DataFrame(
            fills,
            {
                "trade_id": pl.String,
                "symbol": pl.String,
                "fill_time": utc,
                "price": pl.Float64,
                "quantity": pl.Float64,
            },
            orient="row",
        ),
        bars,
    )


def audited(frames: Frames, calendar: str = "XNYS") -> AuditReport:
    return audit_trades(*frames[:3], bars=frames[BARS], calendar=calendar)


@settings(max_examples=10)
@given(seed=st.integers(0, 10_000), calendar=st.sampled_from(["XNYS", "XTKS", "24/7"]))
def test_fills_that_an_exchange_would_give_pass(seed: int, calendar: str):
    frames = traded(seed, calendar)
    report = audited(frames, calendar)
    assert report.passed, report.violations
    coverage = report.coverage["execution"]
    assert coverage["fills_in_bars"] == frames[FILLS].height
    assert coverage["fills_of_limit_and_stop_orders"] > 10
    assert coverage["last_returns"] == "of 1 names that stopped trading"


def of_kind(frames: Frames, kind: str, *, side: str = "buy") -> str:
    """A filled order of a kind that the bar's opening did not fill."""
    filled = frames[FILLS].join(frames[ORDERS].drop("quantity"), on="trade_id")
    price = "limit_price" if kind == "limit" else "stop_price"
    inside = filled.filter(
        pl.col("order_type") == kind, pl.col("side") == side, pl.col("price") == pl.col(price)
    )
    return inside["trade_id"][0]


def jumped_over(frames: Frames, *, side: str = "sell") -> str:
    """A stop that the opening has jumped over."""
    filled = frames[FILLS].join(frames[ORDERS].drop("quantity"), on="trade_id")
    gap = filled.filter(
        pl.col("order_type") == "stop", pl.col("side") == side, pl.col("price") != pl.col("stop_price")
    )
    return gap["trade_id"][0]


def changed(frames: Frames, which: int, trade: str, **columns: pl.Expr) -> Frames:
    frame = frames[which].with_columns(
        pl.when(pl.col("trade_id") == trade).then(expression).otherwise(pl.col(name)).alias(name)
        for name, expression in columns.items()
    )
    return (*frames[:which], frame, *frames[which + 1 :])  # pyright: ignore[reportReturnType]


def bar_of(frames: Frames, trade: str) -> dict:
    symbol, day = trade.split(" ")
    return frames[BARS].row(
        by_predicate=(pl.col("symbol") == symbol) & (pl.col("session") == date.fromisoformat(day)), named=True
    )


def at(frames: Frames, trade: str, column: str) -> pl.Expr:
    return pl.lit(bar_of(frames, trade)[column])


def stop_without_a_gap(frames: Frames) -> tuple[Frames, str]:
    """A stop loss is filled at its price although the market opened beyond it."""
    trade = jumped_over(frames)
    stop = frames[ORDERS].filter(pl.col("trade_id") == trade)["stop_price"].item()
    bar = bar_of(frames, trade)
    # The bar came back to the price later on.
    higher = frames[BARS].with_columns(
        pl.when((pl.col("symbol") == bar["symbol"]) & (pl.col("session") == bar["session"]))
        .then(pl.max_horizontal(pl.col("high"), pl.lit(stop)))
        .otherwise("high")
        .alias("high")
    )
    opens = open_utc(bar["session"])
    moved = changed(frames, FILLS, trade, price=pl.lit(stop), fill_time=pl.lit(opens + timedelta(hours=1)))
    return (*moved[:3], higher), "price"


def limit_at_the_low(frames: Frames) -> tuple[Frames, str]:
    trade = of_kind(frames, "limit")
    return changed(frames, FILLS, trade, price=at(frames, trade, "low")), "price"


def limit_worse_than_itself(frames: Frames) -> tuple[Frames, str]:
    trade = of_kind(frames, "limit")
    return changed(frames, FILLS, trade, price=at(frames, trade, "high")), "price"


def stop_that_was_not_touched(frames: Frames) -> tuple[Frames, str]:
    trade = of_kind(frames, "stop")
    above = pl.lit(bar_of(frames, trade)["high"] * 1.01)
    return changed(frames, ORDERS, trade, stop_price=above), "stop_price"


def of_the_session_before(frames: Frames) -> tuple[Frames, str]:
    """The price at which was decided: outside of the next bar, after a gap over night."""
    bars = frames[BARS].with_columns(pl.col("close").shift(1).over("symbol").alias("before"))
    outside = bars.filter((pl.col("before") < pl.col("low")) | (pl.col("before") > pl.col("high")))
    names = outside.select(pl.format("{} {}", "symbol", pl.col("session")).alias("trade_id"), "before")
    trade, price = frames[FILLS].join(names, on="trade_id").select("trade_id", "before").row(0)
    later = frames[FILLS].filter(pl.col("trade_id") == trade)["fill_time"].item() + timedelta(minutes=1)
    return changed(frames, FILLS, trade, price=pl.lit(price), fill_time=pl.lit(later)), "price"


def another_open(frames: Frames) -> tuple[Frames, str]:
    market_orders = frames[ORDERS].filter(pl.col("order_type") == "market")["trade_id"]
    trade = frames[FILLS].filter(pl.col("trade_id").is_in(market_orders.implode()))["trade_id"][0]
    return changed(frames, FILLS, trade, price=at(frames, trade, "close")), "price"


def by_night(frames: Frames) -> tuple[Frames, str]:
    trade = frames[FILLS]["trade_id"][3]
    return changed(frames, FILLS, trade, fill_time=pl.col("fill_time") - pl.duration(hours=9)), "fill_time"


def without_volume(frames: Frames) -> tuple[Frames, str]:
    bar = bar_of(frames, frames[FILLS]["trade_id"][3])
    there = (pl.col("symbol") == bar["symbol"]) & (pl.col("session") == bar["session"])
    still = frames[BARS].with_columns(pl.when(there).then(0.0).otherwise("volume").alias("volume"))
    return (*frames[:3], still), "volume"


def left_in_a_dead_name(frames: Frames) -> tuple[Frames, str]:
    """The last day of a name, a fall to little, is left out."""
    last = frames[FILLS].filter(pl.col("symbol") == "END")["trade_id"][-1]
    kept = frames[FILLS].filter(pl.col("trade_id") != last)
    return (*frames[:2], kept, frames[BARS]), "quantity"


def more_than_ordered(frames: Frames) -> tuple[Frames, str]:
    twice = pl.concat([frames[FILLS].head(1), frames[FILLS].head(1), frames[FILLS].slice(1)])
    return (*frames[:2], twice, frames[BARS]), "quantity"


def costs_of_later(frames: Frames) -> tuple[Frames, str]:
    """The spread that a cost is made of is the mean of the month."""
    month = pl.lit(datetime(2019, 4, 30, 20, tzinfo=UTC))
    costly = frames[FILLS].with_columns(cost=pl.lit(0.01), cost_knowledge_time=month)
    return (*frames[:2], costly, frames[BARS]), "cost_knowledge_time"


LEAKS = [
    stop_without_a_gap,
    limit_at_the_low,
    limit_worse_than_itself,
    stop_that_was_not_touched,
    of_the_session_before,
    another_open,
    by_night,
    without_volume,
    left_in_a_dead_name,
    more_than_ordered,
    costs_of_later,
]


@pytest.mark.parametrize("leak", LEAKS, ids=lambda leak: leak.__name__)
def test_a_fill_that_could_not_be_had_is_refused_by_its_column(leak: Callable[[Frames], tuple[Frames, str]]):
    frames, column = leak(traded(7))
    report = audited(frames)
    assert column in {v.column for v in report.violations}, report.violations
    with_times_alone = audit_trades(*frames[:3])
    seen_by_bars_alone = leak not in (more_than_ordered, costs_of_later, by_night)
    assert not seen_by_bars_alone or with_times_alone.passed


def test_without_bars_no_price_is_called_audited():
    coverage = audit_trades(*traded(7)[:3]).coverage["execution"]
    assert coverage["prices"] == "not audited: no bars were given"
    assert coverage["costs"] == "none given"
    costly = traded(7)[FILLS].with_columns(commission=pl.lit(1.0))
    told = audit_trades(*traded(7)[:2], costly).coverage["execution"]["costs"]
    assert told == "not audited: no cost_knowledge_time tells when commission was known"


def test_whole_days_and_bars_of_minutes_are_understood():
    signals, orders, fills, bars = traded(7)
    days = [
        f.with_columns(pl.col(f.columns[k]).cast(pl.Date)) for f, k in ((signals, 1), (orders, 1), (fills, 2))
    ]
    assert audited((*days, bars)).passed  # pyright: ignore[reportArgumentType]
    minutes = bars.with_columns(
        open_utc(bars["session"]).alias("open_time"), close_utc(bars["session"]).alias("close_time")
    ).drop("session")
    assert audited((signals, orders, fills, minutes)).passed


@pytest.mark.parametrize(
    ("which", "change", "message"),
    [
        (BARS, lambda f: f.drop("low"), "the bars have no low"),
        (BARS, lambda f: f.drop("session"), "when did they trade"),
        (
            BARS,
            lambda f: f.with_columns(session=pl.lit(date(2019, 3, 2))),
            "of no session of the calendar XNYS",
        ),
        (FILLS, lambda f: f.drop("price"), "none of price, fill_price"),
        (FILLS, lambda f: f.drop("symbol"), "the fills have no symbol"),
        (ORDERS, lambda f: f.with_columns(order_type=pl.lit("iceberg")), "order_type of the orders: iceberg"),
        (ORDERS, lambda f: f.with_columns(side=pl.lit("up")), "side of the orders: up"),
        (ORDERS, lambda f: f.drop("side"), "need a side"),
        (ORDERS, lambda f: f.drop("stop_price"), "orders of the kind stop have no stop_price"),
    ],
)
def test_what_cannot_be_told_is_an_error_and_no_pass(which: int, change: Callable, message: str):
    frames = list(traded(7))
    frames[which] = change(frames[which])
    with pytest.raises(AuditInputError, match=message):
        audited(tuple(frames))  # pyright: ignore[reportArgumentType]


def test_kinds_of_orders_are_told_by_their_prices_where_no_type_is_given():
    signals, orders, fills, bars = traded(7)
    assert audited((signals, orders.drop("order_type"), fills, bars)).passed
    frames, column = limit_at_the_low((signals, orders, fills, bars))
    again = (frames[SIGNALS], frames[ORDERS].drop("order_type"), frames[FILLS], frames[BARS])
    assert column in {v.column for v in audited(again).violations}
    assert set(KINDS.values()) == {"market", "limit", "stop", "stop_limit"}
