"""Is everything traded after it was decided, at a price that was there? (probe "execution")

The property: **for every trade, signal time < order time < fill time.** Times, not sessions: the close on
which a signal is computed and the close at which it is filled are one moment, and are refused. With bars, every fill
is one that its bar gave, see `fills`.
"""

from collections.abc import Sequence
from typing import Any

import polars as pl

from trademl_pipeline.leakage.errors import AuditInputError
from trademl_pipeline.leakage.probes.fills import Trades, audit_costs, audit_prices, audit_sizes
from trademl_pipeline.leakage.probes.trade_columns import EXECUTION
from trademl_pipeline.leakage.report import AuditReport, Violation
from trademl_pipeline.market.calendar import DEFAULT_CALENDAR

CLOCKS = {
    "signals": ("signal_time", "decision_time", "time", "timestamp"),
    "orders": ("order_time", "submitted_at", "time", "timestamp"),
    "fills": ("fill_time", "filled_at", "time", "timestamp"),
}
IDS = ("trade_id", "order_id", "signal_id", "id")


def audit_trades(
    signals: pl.DataFrame,
    orders: pl.DataFrame,
    fills: pl.DataFrame,
    *,
    on: str | Sequence[str] | None = None,
    bars: pl.DataFrame | None = None,
    calendar: str = DEFAULT_CALENDAR,
) -> AuditReport:
    """Audit the order of decision, order and fill of every trade, and by bars the prices of the fills.

    Args:
        signals: the key and `signal_time` (or `decision_time`), a Datetime, or a Date where only days are
            known: then a fill must be of a later day; `knowledge_time`, where present, may not be
            later.
        orders: the key and `order_time`, one row per trade; `order_type`, `stop_price`, `limit_price`, `side` and a
            size where given.
        fills: the key and `fill_time`, one row or, for partial fills, several per trade. Beside bars `symbol` and
            `price`; `side`, a size, costs and their `cost_knowledge_time` where given.
        on: columns that identify a trade in all three; None: the first of `trade_id`, `order_id`,
            `signal_id`, `id` that all have, else `symbol` and `session`, else the n-th of each symbol where
            all three have as many.
        bars: as traded, not adjusted: symbol, open, high, low, close; `session` (days of the calendar), or `open_time`
            and `close_time`; `volume` and `split_factor` where given. None: no price is audited, which
            the coverage says.
        calendar: exchange calendar that gives the hours of daily bars.

    Raises:
        AuditInputError: a frame is empty, a column is missing, null or mistyped, a key is not unique, or the kind,
            price or side of an order cannot be told.
    """
    frames = {"signals": signals, "orders": orders, "fills": fills}
    for name, frame in frames.items():
        _check(name, frame)
    clocks = {name: _clock(frame, name) for name, frame in frames.items()}
    types: dict[str, Any] = {name: frames[name].schema[column] for name, column in clocks.items()}
    daily = any(t == pl.Date for t in types.values())
    if not daily and len({t.time_zone for t in types.values()}) > 1:
        raise AuditInputError(f"the times are in different zones: {types}; give all three in UTC")
    frames, key = _keyed(frames, clocks, on)
    signals, orders, fills = frames.values()
    for name in ("signals", "orders"):
        if frames[name].select(pl.struct(key).is_duplicated().any()).item():
            raise AuditInputError(
                f"{name} have several rows for one {', '.join(key)}; name the key of a trade with on="
            )
    extra_columns = ["symbol"] if "symbol" in fills.columns and "symbol" not in key else []
    joined = (
        fills.select(*key, *extra_columns, pl.col(clocks["fills"]).alias("_fill"))
        .join(
            orders.select(*key, pl.col(clocks["orders"]).alias("_order")), on=key, how="full", coalesce=True
        )
        .join(signals.select(*key, pl.col(clocks["signals"]).alias("_signal")), on=key, how="left")
    )
    if daily:
        joined = joined.with_columns(pl.col("_fill", "_order", "_signal").cast(pl.Date))
    fill, order, signal = pl.col("_fill"), pl.col("_order"), pl.col("_signal")
    # Of whole days nothing is known but their order: an order may be given on the day of its signal.
    early, soon = (order < signal, fill < order) if daily else (order <= signal, fill <= order)
    violations = [
        _violation(joined, order.is_null(), "order_time", None, "filled without an order"),
        _violation(joined, signal.is_null(), "signal_time", None, "ordered or filled without a signal"),
        _violation(joined, early, "order_time", signal - order, "ordered at or before the signal"),
        _violation(joined, soon, "fill_time", order - fill, "filled at or before the order"),
        _violation(joined, fill <= signal, "fill_time", signal - fill, "filled at or before the signal"),
    ]
    if "knowledge_time" in signals.columns:
        known = signals.select(*key, pl.col("knowledge_time"), pl.col(clocks["signals"]).alias("_signal"))
        late = pl.col("knowledge_time") > pl.col("_signal")
        violations.append(
            _violation(
                known,
                late,
                "knowledge_time",
                pl.col("knowledge_time") - pl.col("_signal"),
                "known after the signal",
            )
        )
    trades = Trades(fills, orders, key, clocks["fills"], clocks["orders"])
    by_costs, costs = audit_costs(trades)
    by_bars: list[Violation] = []
    looked: dict[str, Any] = {"prices": "not audited: no bars were given"}
    if bars is not None:
        by_bars, looked = audit_prices(trades, bars, calendar)
    coverage = {
        "signals": signals.height,
        "orders": orders.height,
        "fills": fills.height,
        "unfilled_orders": joined["_fill"].null_count(),
        "key": key,
        "costs": costs,
        **looked,
    }
    every = (*violations, *audit_sizes(trades), *by_costs, *by_bars)
    return AuditReport(tuple(v for v in every if v is not None), {EXECUTION: coverage})


def _violation(
    rows: pl.DataFrame, bad: pl.Expr, column: str, lag: pl.Expr | None, what: str
) -> Violation | None:
    late = rows.filter(bad)
    if late.is_empty():
        return None
    size = None
    if lag is not None:
        seconds = late.select(lag.dt.total_microseconds() / 1e6).to_series()
        size = float(seconds[int(seconds.arg_max() or 0)])
        late = late.sort(lag, descending=True)
    first = late.row(0, named=True)
    times = ", ".join(
        f"{n.lstrip('_')} {first[n]}" for n in ("_signal", "_order", "_fill") if first.get(n) is not None
    )
    detail = f"{late.height:,} of {rows.height:,} trades {what}, such as: {times}"
    symbol = first.get("symbol")
    when: Any = first.get("session") or first.get("_fill") or first.get("_order")
    return Violation(
        EXECUTION, column, None if symbol is None else str(symbol), None, when, size, detail, late.height
    )


def _check(name: str, frame: object) -> None:
    if not isinstance(frame, pl.DataFrame) or frame.is_empty():
        raise AuditInputError(f"there are no {name}; give a pl.DataFrame with rows")


def _keyed(
    frames: dict[str, pl.DataFrame], clocks: dict[str, str], on: str | Sequence[str] | None
) -> tuple[dict[str, pl.DataFrame], list[str]]:
    """The frames and the columns that identify a trade in all of them."""
    shared = set[str].intersection(*(set(f.columns) for f in frames.values()))
    if on is not None:
        key = [on] if isinstance(on, str) else list(on)
        missing = [c for c in key if c not in shared]
        if missing:
            raise AuditInputError(f"not all of signals, orders and fills have {', '.join(missing)}")
        return frames, key
    for name in IDS:
        if name in shared:
            return frames, [name]
    if {"symbol", "session"} <= shared:
        return frames, ["symbol", "session"]
    counts = [f.group_by("symbol").len().sort("symbol") for f in frames.values() if "symbol" in f.columns]
    if len(counts) == len(frames) and all(c.equals(counts[0]) for c in counts):
        numbered = {
            name: frame.sort(clocks[name], maintain_order=True).with_columns(
                pl.int_range(pl.len()).over("symbol").alias("_number")
            )
            for name, frame in frames.items()
        }
        return numbered, ["symbol", "_number"]
    raise AuditInputError(
        f"nothing identifies a trade in all three: give them {', '.join(IDS)}, or symbol and session, or as "
        "many rows of each symbol in all, or name the key with on="
    )


def _clock(frame: pl.DataFrame, name: str) -> str:
    columns = CLOCKS[name]
    column = next((c for c in columns if c in frame.columns), None)
    if column is None:
        raise AuditInputError(
            f"{name} have none of {', '.join(columns)}; they have {', '.join(frame.columns)}"
        )
    if not isinstance(frame.schema[column], pl.Datetime | pl.Date):
        raise AuditInputError(
            f"{column} of the {name} is {frame.schema[column]}; it must be a Datetime or Date"
        )
    if frame[column].null_count():
        raise AuditInputError(f"{column} of the {name} has {frame[column].null_count()} nulls")
    return column
