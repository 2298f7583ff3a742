"""Do training labels end before the test decisions? (probe "folds")

The property: **every training label ends, with the embargo in whole sessions, before the first decision of
the test.**

It reads the label intervals that the rows declare. Where rows also declare their `horizon`, a `label_end`
that is nearer than the horizon's sessions is found out; a label that reads further than both declare is not.
"""

from collections.abc import Callable
from datetime import date
from typing import Any

import numpy as np
import polars as pl

from trademl_pipeline.leakage.errors import AuditInputError
from trademl_pipeline.leakage.report import AuditReport, Violation
from trademl_pipeline.market.calendar import DEFAULT_CALENDAR, calendar_frame

FOLDS = "folds"
_DAY = np.dtype("datetime64[D]")


def audit_folds(
    train: pl.DataFrame,
    test: pl.DataFrame,
    *,
    embargo: int,
    calendar: Any = DEFAULT_CALENDAR,
) -> AuditReport:
    """Audit the training and test rows of one fold.

    All symbols are held to the first test decision of the fold, since one model learns from all of them.

    Args:
        train: `symbol`, `session`, `label_end` (Date), and where present `label_start` (Date) and `horizon`
            (sessions).
        test: `symbol`, `session` (Date).
        embargo: whole sessions that must lie between the end of a training label and the first test decision.
        calendar: exchange calendar by name, its sessions as a list of dates, or a calendar of
            exchange-calendars.

    Raises:
        AuditInputError: either side is empty, or a column is missing, mistyped or null.
    """
    embargo = _checked_embargo(embargo)
    train = _checked("training", train, ("session", "label_end"))
    test = _checked("test", test, ("session",))
    sessions = _sessions(calendar)
    start: Any = test["session"].min()
    if sessions[0] > _days(train["session"]).min() or sessions[-1] < np.datetime64(start):
        raise AuditInputError(
            f"the calendar goes from {sessions[0]} to {sessions[-1]} and does not cover the rows, from "
            f"{train['session'].min()} to the first test decision on {start}"
        )
    # A decision's place is the number of sessions before it, a label end's the number up to and including it.
    decision = int(np.searchsorted(sessions, np.datetime64(start), side="left"))
    ends = np.searchsorted(sessions, _days(train["label_end"]), side="right") - 1
    gap = decision - ends - 1
    reach = np.where(_days(train["label_end"]) >= np.datetime64(start), -1, gap)
    violations = [
        _violation(
            train,
            reach < embargo,
            "label_end",
            start,
            embargo - reach,
            lambda row, n: (
                f"label of {row['session']} ends {row['label_end']}, {_gap(int(n))} the first test decision "
                f"on {start}; {embargo} sessions of embargo are asked for"
            ),
            reach,
        ),
        _violation(
            train,
            _days(train["session"]) >= np.datetime64(start),
            "session",
            start,
            None,
            lambda row, n: (
                f"training row of {row['session']} is not before the first test decision on {start}"
            ),
        ),
        _violation(
            train,
            (train["label_end"] < train["session"]).to_numpy(),
            "label_end",
            start,
            None,
            lambda row, n: f"label of {row['session']} ends before its own decision, on {row['label_end']}",
        ),
        _shared(train, test, start),
        _understated(train, sessions, start),
    ]
    coverage = {
        "train_rows": train.height,
        "test_rows": test.height,
        "symbols": train["symbol"].n_unique(),
        "first_test_decision": str(start),
        "last_label_end": str(train["label_end"].max()),
        "embargo": embargo,
        "sessions_between": int(reach.min()),
    }
    return AuditReport(tuple(v for v in violations if v is not None), {FOLDS: coverage})


def _shared(train: pl.DataFrame, test: pl.DataFrame, start: date) -> Violation | None:
    both = train.join(test.select("symbol", "session"), on=["symbol", "session"], how="semi")
    if both.is_empty():
        return None
    row = both.sort("session", "symbol").row(0, named=True)
    detail = f"{both.height:,} rows are in training and in test, such as {row['symbol']} {row['session']}"
    return Violation(FOLDS, "<rows>", str(row["symbol"]), start, row["session"], None, detail, both.height)


def _understated(train: pl.DataFrame, sessions: np.ndarray, start: date) -> Violation | None:
    """Labels that end nearer than their horizon in sessions.

    They were counted in calendar days, or in rows of a gappy symbol.
    """
    if "horizon" not in train.columns:
        return None
    if train["horizon"].null_count() or not train.schema["horizon"].is_integer():
        raise AuditInputError(
            "column 'horizon' of the training rows must be a number of sessions without nulls"
        )
    starts = np.searchsorted(sessions, _days(train["session"]), side="right") - 1
    ends = np.searchsorted(sessions, _days(train["label_end"]), side="right") - 1
    short = train["horizon"].to_numpy() - (ends - starts)
    return _violation(
        train,
        short > 0,
        "label_end",
        start,
        short,
        lambda row, n: (
            f"label of {row['session']} reads {row['horizon']} sessions ahead but claims to end on "
            f"{row['label_end']}, {int(n)} sessions sooner"
        ),
        short,
    )


def _violation(
    rows: pl.DataFrame,
    bad: np.ndarray,
    column: str,
    start: date,
    size: np.ndarray | None,
    describe: Callable[[dict[str, Any], int], str],
    number: np.ndarray | None = None,
) -> Violation | None:
    """One violation for all bad rows, told by the one that is worst (or else first)."""
    at = np.flatnonzero(bad)
    if not len(at):
        return None
    worst = int(at[np.argmax(size[at])]) if size is not None else int(at[0])
    row = rows.row(worst, named=True)
    first = rows["session"].gather(at).min()
    symbols = rows["symbol"].gather(at).n_unique()
    detail = describe(row, number[worst] if number is not None else 0)
    detail += f"; {len(at):,} of {rows.height:,} rows in {symbols:,} symbols"
    largest = float(size[worst]) if size is not None else None
    return Violation(FOLDS, column, str(row["symbol"]), start, first, largest, detail, len(at))  # pyright: ignore[reportArgumentType]


def _gap(sessions: int) -> str:
    if sessions < 0:
        return "on or after"
    return f"{sessions} sessions before"


def _sessions(calendar: Any) -> np.ndarray:
    if isinstance(calendar, str):
        return calendar_frame(calendar=calendar)["session"].to_numpy().astype(_DAY)
    if hasattr(calendar, "sessions"):
        return np.asarray(calendar.sessions, dtype=_DAY)
    days = np.array(sorted(set(calendar)), dtype=_DAY)
    if not len(days):
        raise AuditInputError("the calendar is an empty list of sessions")
    return days


def _days(dates: pl.Series) -> np.ndarray:
    return dates.to_numpy().astype(_DAY)


def _checked_embargo(embargo: object) -> int:
    if isinstance(embargo, bool) or not isinstance(embargo, int) or embargo < 0:
        raise AuditInputError(f"embargo is {embargo!r}; it must be a number of sessions, 0 or more")
    return embargo


def _checked(name: str, rows: object, dates: tuple[str, ...]) -> pl.DataFrame:
    """The rows with their times as dates."""
    if not isinstance(rows, pl.DataFrame):
        raise AuditInputError(f"the {name} rows are {type(rows).__name__}; give a pl.DataFrame")
    if rows.is_empty():
        raise AuditInputError(f"there are no {name} rows, so the fold cannot be audited")
    for column in ("symbol", *dates):
        if column not in rows.columns:
            raise AuditInputError(
                f"the {name} rows have no column {column!r}; they have {', '.join(rows.columns)}"
            )
        if rows[column].null_count():
            raise AuditInputError(
                f"column {column!r} of the {name} rows has {rows[column].null_count()} nulls"
            )
    for column in dates:
        if not isinstance(rows.schema[column], pl.Date | pl.Datetime):
            raise AuditInputError(
                f"column {column!r} of the {name} rows is {rows.schema[column]}; it must be Date"
            )
    return rows.with_columns(pl.col(c).cast(pl.Date) for c in dates)
