"""Could it be had? Prices, sizes and last returns of fills, against their orders and the bars (probe "execution").

The order of times does not show that a fill carries the price of another moment. So each fill is put into the bar
that traded when it was filled: it lies within the bar's low and high, and at the bar's opening it is the opening
price. An order with a price of its own fills no better than the market let it, see `resting`. What was bought is not
left behind in a name that stopped trading.

Not seen: whether a low came before or after an order that was given within the same bar.
"""

from dataclasses import dataclass
from typing import Any

import polars as pl

from trademl_pipeline.leakage.errors import AuditInputError
from trademl_pipeline.leakage.probes.resting import MARKET, audit_resting, kinds_of
from trademl_pipeline.leakage.probes.trade_columns import (
    EXECUTION,
    PRICES,
    SIZES,
    TOLERANCE,
    first_of,
    sign_of,
    violation_of,
)
from trademl_pipeline.leakage.report import Violation
from trademl_pipeline.market.calendar import close_utc, open_utc

COSTS = ("cost", "commission", "fee", "slippage", "spread")
COST_CLOCK = "cost_knowledge_time"


@dataclass(frozen=True)
class Trades:
    """Fills and their orders.

    Attributes:
        fills: as they were given.
        orders: as they were given, one row per trade.
        key: columns that identify a trade in both.
        fill_clock, order_clock: names of their times.
    """

    fills: pl.DataFrame
    orders: pl.DataFrame
    key: list[str]
    fill_clock: str
    order_clock: str

    def signs(self) -> pl.Series | None:
        """1 for each fill that bought and -1 for each that sold, told by fills or orders; None where neither tells."""
        mine = sign_of(self.fills, "fills")
        if mine is not None:
            return mine
        theirs = sign_of(self.orders, "orders")
        if theirs is None:
            return None
        named = self.orders.select(self.key).with_columns(theirs.alias("_sign"))
        return self.fills.select(self.key).join(named, on=self.key, how="left", maintain_order="left")[
            "_sign"
        ]


def audit_sizes(trades: Trades) -> list[Violation]:
    """Return fills against their order's direction, and of more than was ordered, where both have a size.

    Args:
        trades: fills and orders.
    """
    filled, ordered = first_of(trades.fills, SIZES), first_of(trades.orders, SIZES)
    if filled is None or ordered is None:
        return []
    rows = trades.fills.with_columns(pl.col(filled).cast(pl.Float64).alias("_filled"))
    orders = trades.orders.select(*trades.key, pl.col(ordered).cast(pl.Float64).alias("_ordered"))
    signs = [sign_of(frame, what) for frame, what in ((trades.fills, "fills"), (trades.orders, "orders"))]
    if signs[0] is not None and signs[1] is not None:
        rows = rows.with_columns(pl.col("_filled").abs() * signs[0])
        orders = orders.with_columns(pl.col("_ordered").abs() * signs[1])
    else:
        rows, orders = (
            rows.with_columns(pl.col("_filled").abs()),
            orders.with_columns(pl.col("_ordered").abs()),
        )
    joined = rows.join(orders, on=trades.key, how="inner", maintain_order="left")
    one, limit = pl.col("_filled"), pl.col("_ordered").abs() * (1 + TOLERANCE) + TOLERANCE
    against = one * pl.col("_ordered") < 0
    beyond = one.sum().over(trades.key).abs() > limit
    violations = [
        violation_of(joined, against, filled, "against their order's direction", trades.fill_clock),
        violation_of(joined, beyond & ~against, filled, "beyond what was ordered", trades.fill_clock),
    ]
    return [v for v in violations if v is not None]


def audit_prices(trades: Trades, bars: pl.DataFrame, calendar: str) -> tuple[list[Violation], dict[str, Any]]:
    """Return fills that could not be had, and what was looked at.

    Args:
        trades: fills and orders.
        bars: as traded, not adjusted: symbol, open, high, low, close; `session` (days of the calendar), or `open_time`
            and `close_time` in UTC; `volume` and `split_factor` where given.
        calendar: exchange calendar that gives the hours of daily bars.

    Raises:
        AuditInputError: a column is missing, or the kind, the price or the side of an order cannot be told.
    """
    _require("bars", bars, ("symbol", "open", "high", "low", "close"))
    _require("fills", trades.fills, ("symbol",))
    price, clock = first_of(trades.fills, PRICES), trades.fill_clock
    if price is None:
        raise AuditInputError(f"the fills have none of {', '.join(PRICES)}: bars say nothing of them")
    rows = _in_their_bars(trades, bars, calendar)
    traded, value = pl.col("open").is_not_null(), pl.col(price)
    inside = (value >= pl.col("low") * (1 - TOLERANCE)) & (value <= pl.col("high") * (1 + TOLERANCE))
    as_opened = (value - pl.col("open")).abs() <= TOLERANCE * pl.col("open").abs()
    checks = [
        (~traded, clock, "without a bar that traded then"),
        (traded & ~inside.fill_null(False), price, "outside of their bar's low and high"),
        (
            traded & inside & pl.col("_at_open") & ~as_opened,
            price,
            "at the opening, at another price than its",
        ),
    ]
    if "volume" in bars.columns:
        checks.append(
            (traded & ~(pl.col("volume") > 0).fill_null(False), "volume", "where nothing was traded")
        )
    violations = [violation_of(rows, bad, column, what, clock) for bad, column, what in checks]
    resting = rows.filter(pl.col("_kind") != MARKET, traded)
    if resting["_sign"].null_count():
        raise AuditInputError(
            "limit and stop orders need a side (buy, sell) or signed sizes, in orders or fills"
        )
    left, looked = _left_behind(trades, bars)
    coverage = {
        "fills_in_bars": rows["open"].count(),
        "fills_of_limit_and_stop_orders": resting.height,
        **looked,
    }
    every = [*(v for v in violations if v is not None), *audit_resting(resting, price, clock), *left]
    return every, coverage


def audit_costs(trades: Trades) -> tuple[list[Violation], str]:
    """Return fills whose costs are of what became known after them, and what was looked at.

    Args:
        trades: fills; `cost_knowledge_time` tells when what their costs are made of became known.
    """
    named = [c for c in COSTS if c in trades.fills.columns]
    if COST_CLOCK not in trades.fills.columns:
        return (
            [],
            f"not audited: no {COST_CLOCK} tells when {', '.join(named)} was known"
            if named
            else "none given",
        )
    late = (pl.col(COST_CLOCK) > pl.col(trades.fill_clock)).fill_null(True)
    bad = violation_of(trades.fills, late, COST_CLOCK, "with costs of a later moment", trades.fill_clock)
    return [] if bad is None else [bad], f"{COST_CLOCK} <= {trades.fill_clock}"


def _require(what: str, frame: pl.DataFrame, columns: tuple[str, ...]) -> None:
    missing = [c for c in columns if c not in frame.columns]
    if missing:
        raise AuditInputError(
            f"the {what} have no {', '.join(missing)}; they have {', '.join(frame.columns)}"
        )


def _in_their_bars(trades: Trades, bars: pl.DataFrame, calendar: str) -> pl.DataFrame:
    """Fills with the bar that traded at their time, null where none did, and with the kind of their order."""
    clock, known = trades.fill_clock, [c for c in ("open", "high", "low", "volume") if c in bars.columns]
    fills = trades.fills.drop([c for c in known if c in trades.fills.columns])
    signs = trades.signs()
    fills = fills.with_columns(
        pl.lit(None, pl.Int64).alias("_sign") if signs is None else signs.alias("_sign")
    )
    orders = trades.orders.select(*trades.key, pl.col(trades.order_clock).alias("_ordered_at"))
    fills = fills.join(
        orders.hstack(kinds_of(trades.orders)), on=trades.key, how="left", maintain_order="left"
    ).with_columns(pl.col("_kind").fill_null(MARKET))
    if fills.schema[clock] == pl.Date:
        _require("bars", bars, ("session",))
        daily = bars.select("symbol", pl.col("session").alias(clock), *known)
        joined = fills.join(daily, on=["symbol", clock], how="left", maintain_order="left")
        rested = pl.col("_ordered_at").cast(pl.Date) < pl.col(clock)
        return joined.with_columns(pl.lit(False).alias("_at_open"), rested.fill_null(True).alias("_rested"))
    hours = _hours(bars, calendar, fills.schema[clock]).select("symbol", "_opens", "_closes", *known)
    joined = fills.sort(clock, maintain_order=True).join_asof(
        hours.sort("_opens"), left_on=clock, right_on="_opens", by="symbol", check_sortedness=False
    )
    over = (pl.col(clock) > pl.col("_closes")).fill_null(True)
    return joined.with_columns(
        *(pl.when(~over).then(pl.col(c)).alias(c) for c in known),
        (pl.col(clock) == pl.col("_opens")).fill_null(False).alias("_at_open"),
        (pl.col("_ordered_at") <= pl.col("_opens")).fill_null(True).alias("_rested"),
    )


def _hours(bars: pl.DataFrame, calendar: str, clock: Any) -> pl.DataFrame:
    """Bars with the moments between which each traded."""
    closes = first_of(bars, ("close_time", "event_time"))
    if "open_time" in bars.columns and closes is not None:
        return bars.with_columns(
            pl.col("open_time").cast(clock).alias("_opens"), pl.col(closes).cast(clock).alias("_closes")
        )
    if bars.schema.get("session") != pl.Date:
        raise AuditInputError(
            "the bars have neither a session (Date) nor open_time and close_time: when did they trade?"
        )
    opens, closed = open_utc(bars["session"], calendar), close_utc(bars["session"], calendar)
    if opens.null_count():
        raise AuditInputError(
            f"{opens.null_count()} bars are of no session of the calendar {calendar}; name theirs"
        )
    return bars.with_columns(opens.cast(clock).alias("_opens"), closed.cast(clock).alias("_closes"))


def _left_behind(trades: Trades, bars: pl.DataFrame) -> tuple[list[Violation], dict[str, Any]]:
    """Positions left in names that stopped trading while others went on: their last return is missing."""
    size = first_of(trades.fills, [s for s in SIZES if s != "weight_change"])
    day = first_of(bars, ("session", "open_time"))
    signs = trades.signs()
    if size is None or day is None or signs is None:
        return [], {
            "last_returns": "not audited: the fills have no quantity, or nothing tells bought from sold"
        }
    ends = bars.group_by("symbol").agg(pl.col(day).cast(pl.Date).max().alias("_end"))
    gone = ends.filter(pl.col("_end") < pl.col("_end").max())
    rows = trades.fills.select(
        "symbol",
        pl.col(trades.fill_clock).cast(pl.Date).alias("_day"),
        (pl.col(size).cast(pl.Float64).abs() * signs).alias("_signed"),
    ).with_row_index("_row")
    if "split_factor" in bars.columns:
        # In shares as they are after all splits that came later.
        splits = bars.filter(pl.col("split_factor").fill_null(1.0) != 1.0)
        later = (
            rows.join(
                splits.select("symbol", pl.col(day).cast(pl.Date).alias("_split"), "split_factor"),
                on="symbol",
            )
            .filter(pl.col("_split") > pl.col("_day"))
            .group_by("_row")
            .agg(pl.col("split_factor").product().alias("_factor"))
        )
        rows = rows.join(later, on="_row", how="left").with_columns(
            pl.col("_signed") * pl.col("_factor").fill_null(1.0)
        )
    still = (
        rows.join(gone, on="symbol")
        .group_by("symbol", "_end")
        .agg(pl.col("_signed").sum().alias("_left"), pl.col("_signed").abs().sum().alias("_traded"))
        .filter(pl.col("_left").abs() > 1e-6 * pl.col("_traded"))
        .sort("symbol")
    )
    looked = {"last_returns": f"of {gone.height} names that stopped trading"}
    if still.is_empty():
        return [], looked
    first = still.row(0, named=True)
    detail = (
        f"{still.height} positions are left in names that stopped trading, such as {first['_left']:g} of "
        f"{first['symbol']} after its last bar {first['_end']}: what became of it is in no account"
    )
    return [
        Violation(EXECUTION, size, first["symbol"], None, first["_end"], None, detail, still.height)
    ], looked
