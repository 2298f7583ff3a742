"""Is everything traded after it was decided? (probe "execution")

The property: **for every trade, signal time < order time < fill time.** Times, not sessions: the close on
which a signal is computed and the close at which it is filled are one moment, and are refused.
"""

from collections.abc import Sequence
from typing import Any

import polars as pl

from trademl_pipeline.leakage.errors import AuditInputError
from trademl_pipeline.leakage.report import AuditReport, Violation

EXECUTION = "execution"
IDS = ("trade_id", "order_id", "signal_id", "id")


def audit_trades(
    signals: pl.DataFrame, orders: pl.DataFrame, fills: pl.DataFrame, *, on: str | Sequence[str] | None = None
) -> AuditReport:
    """Audit the order of decision, order and fill of every trade.

    Args:
        signals: the key and `signal_time` (or `decision_time`); `knowledge_time`, where present, may not be
            later.
        orders: the key and `order_time`, one row per trade.
        fills: the key and `fill_time`, one row or, for partial fills, several per trade.
        on: columns that identify a trade in all three; None: the first of `trade_id`, `order_id`,
            `signal_id`, `id` that all have, or else `symbol` and `session`.

    Raises:
        AuditInputError: a frame is empty, a column is missing, null or mistyped, or a key is not unique.
    """
    frames = {"signals": signals, "orders": orders, "fills": fills}
    key = _key(frames, on)
    clocks = {
        "signals": _clock(signals, "signals", ("signal_time", "decision_time", "time")),
        "orders": _clock(orders, "orders", ("order_time", "time")),
        "fills": _clock(fills, "fills", ("fill_time", "time")),
    }
    zones = {n: str(frames[n].schema[c]) for n, c in clocks.items()}
    if len({getattr(frames[n].schema[c], "time_zone", None) for n, c in clocks.items()}) > 1:
        raise AuditInputError(f"the times are in different zones: {zones}; give all three in UTC")
    for name in ("signals", "orders"):
        if frames[name].select(pl.struct(key).is_duplicated().any()).item():
            raise AuditInputError(
                f"{name} have several rows for one {', '.join(key)}; name the key of a trade with on="
            )
    own = ["symbol"] if "symbol" in fills.columns and "symbol" not in key else []
    joined = (
        fills.select(*key, *own, pl.col(clocks["fills"]).alias("_fill"))
        .join(
            orders.select(*key, pl.col(clocks["orders"]).alias("_order")), on=key, how="full", coalesce=True
        )
        .join(signals.select(*key, pl.col(clocks["signals"]).alias("_signal")), on=key, how="left")
    )
    fill, order, signal = pl.col("_fill"), pl.col("_order"), pl.col("_signal")
    found = [
        _violation(joined, order.is_null(), "order_time", None, "filled without an order"),
        _violation(joined, signal.is_null(), "signal_time", None, "ordered or filled without a signal"),
        _violation(joined, order <= signal, "order_time", signal - order, "ordered at or before the signal"),
        _violation(joined, fill <= order, "fill_time", order - fill, "filled at or before the order"),
        _violation(joined, fill <= signal, "fill_time", signal - fill, "filled at or before the signal"),
    ]
    if "knowledge_time" in signals.columns:
        known = signals.select(*key, pl.col("knowledge_time"), pl.col(clocks["signals"]).alias("_signal"))
        late = pl.col("knowledge_time") > pl.col("_signal")
        found.append(
            _violation(
                known,
                late,
                "knowledge_time",
                pl.col("knowledge_time") - pl.col("_signal"),
                "known after the signal",
            )
        )
    coverage = {
        "signals": signals.height,
        "orders": orders.height,
        "fills": fills.height,
        "unfilled_orders": joined["_fill"].null_count(),
        "key": key,
    }
    return AuditReport(tuple(v for v in found if v is not None), {EXECUTION: coverage})


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


def _key(frames: dict[str, pl.DataFrame], on: str | Sequence[str] | None) -> list[str]:
    for name, frame in frames.items():
        if not isinstance(frame, pl.DataFrame) or frame.is_empty():
            raise AuditInputError(f"there are no {name}; give a pl.DataFrame with rows")
    shared = set.intersection(*(set(f.columns) for f in frames.values()))
    if on is not None:
        key = [on] if isinstance(on, str) else list(on)
        missing = [c for c in key if c not in shared]
        if missing:
            raise AuditInputError(f"not all of signals, orders and fills have {', '.join(missing)}")
        return key
    for name in IDS:
        if name in shared:
            return [name]
    if {"symbol", "session"} <= shared:
        return ["symbol", "session"]
    raise AuditInputError(
        f"nothing identifies a trade in all three: give them {', '.join(IDS)} or symbol and session, or name "
        "it with on="
    )


def _clock(frame: pl.DataFrame, name: str, columns: tuple[str, ...]) -> str:
    column = next((c for c in columns if c in frame.columns), None)
    if column is None:
        raise AuditInputError(
            f"{name} have none of {', '.join(columns)}; they have {', '.join(frame.columns)}"
        )
    if not isinstance(frame.schema[column], pl.Datetime):
        raise AuditInputError(f"{column} of the {name} is {frame.schema[column]}; it must be a Datetime")
    if frame[column].null_count():
        raise AuditInputError(f"{column} of the {name} has {frame[column].null_count()} nulls")
    return column
