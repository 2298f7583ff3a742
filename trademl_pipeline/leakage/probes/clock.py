"""Was everything known when it was used? (probe "knowledge")

The property: **for every row, knowledge_time <= decision_time.**

What it deliberately does not catch: a clock that is told wrongly. Where the frame also says which session a
row belongs to, a calendar shows some of that: a bar that claims to be known before its session has closed is
stamped at its opening or in the wrong time zone.
"""

from typing import Any

import polars as pl

from trademl_pipeline.leakage.errors import AuditInputError
from trademl_pipeline.leakage.report import AuditReport, Violation
from trademl_pipeline.market.calendar import close_utc

KNOWLEDGE = "knowledge"


def audit_knowledge(
    frame: pl.DataFrame,
    decision_time: str = "decision_time",
    knowledge_time: str = "knowledge_time",
    *,
    calendar: str | None = None,
) -> AuditReport:
    """Audit, row by row, that nothing is decided with what is not yet known.

    Args:
        frame: any table with both columns (Datetime, both with a time zone or both without, or both Date);
            `symbol` and `session` are named in violations where present. Where it has `event_time`, nothing
            may be known before it happened.
        decision_time: column of the moment at which the row is decided on.
        knowledge_time: column of the moment at which the latest of its inputs became known.
        calendar: name of an exchange calendar such as "XNYS". If given, a row may not claim to be known
            before its `session` has closed, and its session must be one of the calendar's.

    Raises:
        AuditInputError: the frame is empty, or a column is missing, mistyped or null.
    """
    frame = _checked(frame, decision_time, knowledge_time, calendar)
    known, decided = pl.col(knowledge_time), pl.col(decision_time)
    violations = [
        _late(frame, known > decided, knowledge_time, known - decided, f"known after {decision_time}")
    ]
    coverage: dict[str, Any] = {"rows": frame.height, "clock": f"{knowledge_time} <= {decision_time}"}
    if "event_time" in frame.columns and "event_time" not in (decision_time, knowledge_time):
        _check_time(frame, "event_time", knowledge_time)
        event = pl.col("event_time")
        violations.append(
            _late(frame, known < event, "event_time", event - known, "claims to be known before it happened")
        )
        coverage["events"] = f"event_time <= {knowledge_time}"
    if calendar is not None:
        coverage["calendar"] = calendar
        violations += _against_calendar(frame, knowledge_time, calendar)
    return AuditReport(tuple(v for v in violations if v is not None), {KNOWLEDGE: coverage})


def _against_calendar(frame: pl.DataFrame, knowledge_time: str, calendar: str) -> list[Violation | None]:
    closes = close_utc(frame["session"], calendar)
    if getattr(frame.schema[knowledge_time], "time_zone", None) is None:
        closes = closes.dt.replace_time_zone(None)
    timed = frame.with_columns(closes.alias("_close"))
    close, known = pl.col("_close"), pl.col(knowledge_time)
    return [
        _late(timed, close.is_null(), "session", None, f"is no session of {calendar}"),
        _late(
            timed,
            (known < close).fill_null(False),
            knowledge_time,
            close - known,
            f"claims to be known before the session closed on {calendar}: stamped at the opening, or in "
            "another zone",
        ),
    ]


def _late(frame: pl.DataFrame, bad: pl.Expr, column: str, lag: pl.Expr | None, what: str) -> Violation | None:
    """One violation for all rows that break a rule, told by the first and the largest."""
    rows = frame.filter(bad)
    if rows.is_empty():
        return None
    if "session" in rows.columns:
        rows = rows.sort("session", maintain_order=True)
    first = rows.row(0, named=True)
    detail = f"{rows.height:,} of {frame.height:,} rows: {column} {first[column]} {what}"
    largest = None
    if lag is not None:
        seconds = rows.select(lag.dt.total_microseconds() / 1e6).to_series()
        largest = float(seconds.max())  # pyright: ignore[reportArgumentType]
        at = rows.row(int(seconds.arg_max() or 0), named=True)
        where = " ".join(str(at[c]) for c in ("symbol", "session") if c in at)
        detail += f"; {_duration(float(seconds[0]))} too early, at most {_duration(largest)}"
        detail += f" ({where})" if where else ""
    symbol, session = first.get("symbol"), first.get("session")
    return Violation(
        KNOWLEDGE,
        column,
        None if symbol is None else str(symbol),
        session,
        session,
        largest,
        detail,
        rows.height,
    )


def _duration(seconds: float) -> str:
    for size, unit in ((86_400, "days"), (3_600, "hours"), (60, "minutes")):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds:.3g} seconds"


def _checked(frame: object, decision_time: str, knowledge_time: str, calendar: str | None) -> pl.DataFrame:
    """The frame, with a clock of whole days turned into times if both its columns are dates."""
    if not isinstance(frame, pl.DataFrame):
        raise AuditInputError(f"the frame is {type(frame).__name__}; give a pl.DataFrame")
    if frame.is_empty():
        raise AuditInputError("the frame has no rows, so there is no clock to audit")
    for column in (decision_time, knowledge_time):
        if column not in frame.columns:
            raise AuditInputError(f"the frame has no column {column!r}; it has {', '.join(frame.columns)}")
    if frame.schema[decision_time] == frame.schema[knowledge_time] == pl.Date:
        frame = frame.with_columns(pl.col(decision_time, knowledge_time).cast(pl.Datetime("us")))
    _check_time(frame, decision_time, decision_time)
    _check_time(frame, knowledge_time, decision_time)
    if calendar is not None and frame.schema.get("session") != pl.Date:
        raise AuditInputError("a calendar needs the column 'session' (Date) to check against")
    return frame


def _check_time(frame: pl.DataFrame, column: str, like: str) -> None:
    dtype: Any = frame.schema[column]
    other: Any = frame.schema[like]
    if not isinstance(dtype, pl.Datetime):
        raise AuditInputError(f"column {column!r} is {dtype}; it must be a Datetime")
    if frame[column].null_count():
        raise AuditInputError(
            f"column {column!r} has {frame[column].null_count()} nulls; an unknown clock never passes"
        )
    if isinstance(other, pl.Datetime) and (dtype.time_zone is None) != (other.time_zone is None):
        raise AuditInputError(
            f"column {column!r} is {dtype} and {like!r} is {other}: give both a time zone, UTC, or neither"
        )
