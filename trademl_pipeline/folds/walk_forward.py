"""Walk-forward folds by exchange sessions, for long panels.

The property that this module keeps: **no training label reads a price of the embargo or of the test window.**
For every fold, every training row's `label_end` lies at least `embargo` whole sessions before the first test
decision. Sessions are those of the exchange calendar, so a holiday week shortens nothing, and a panel of
1,000 symbols is not purged 1,000 times too little, as it is where rows are counted.

What it does not do: it cannot know whether `label_end` is told rightly. `leakage.audit_folds` checks that
against the declared horizon.
"""

from dataclasses import dataclass
from datetime import date

import polars as pl

from trademl_pipeline.market.calendar import (
    DEFAULT_CALENDAR,
    count_between,
    month_bounds,
    month_key,
    month_range,
    offset,
    offset_month,
    on_or_after,
    sessions,
)

TEST_MONTHS = {"month": 1, "quarter": 3}


class FoldError(ValueError):
    """A fold cannot be built or applied as asked."""


class NotEnoughHistoryError(FoldError):
    """There are fewer training sessions before a fold than the plan asks for.

    Attributes:
        month: month key of the fold.
        have, need: training sessions.
    """

    def __init__(self, message: str, month: str, have: int, need: int) -> None:
        super().__init__(message, month, have, need)
        self.message = message
        self.month = month
        self.have = have
        self.need = need

    def __str__(self) -> str:
        return self.message


@dataclass(frozen=True)
class Fold:
    """One step of a walk-forward: train on what was known before, predict every decision of the test window.

    Attributes:
        month: month key of the first test session, the partition the fold belongs to.
        train_start: first session whose row may train.
        train_end: last admissible `label_end` of a training row.
        test_start: first session of a test decision.
        test_end: last session of a test decision.
        embargo: whole sessions between `train_end` and `test_start`.
    """

    month: str
    train_start: date
    train_end: date
    test_start: date
    test_end: date
    embargo: int


class WalkForward:
    """Walk-forward splitter that purges by label interval and embargoes in sessions.

    Each fold tests one calendar month (or quarter) of sessions and trains on rows before it. A training row
    is kept only if the last price its label reads (`label_end`) is at least `embargo` sessions before the
    first test session. Training sets either expand from the first session of the data or slide with a fixed
    length. There is no setting in which labels may reach the test window; an embargo of zero still purges
    them, and must be asked for.

    Parameters
    ----------
    calendar : str, default "XNYS"
        Exchange calendar whose sessions are counted, as named by exchange-calendars ("24/7" for crypto).
    min_train : int, default 252
        Least length of the training range, in sessions from `train_start` to `train_end`, both inclusive.
        Folds with less are refused with `NotEnoughHistoryError`.
    window : int or None, default None
        Length of a sliding training range in sessions. None: the range expands from the first session.
    embargo : int, default 5
        Whole sessions dropped between the last price that a training label reads and the first test decision.
    test : {"month", "quarter"}, default "month"
        Length of the test window. A quarter starts in the month it is asked for, whichever that is.

    Examples
    --------
    Monthly retraining on all history, one week of embargo: `WalkForward()`.

    Three years of training, quarterly retraining, a month of embargo: `WalkForward(window=756, embargo=21,
    test="quarter")`.

    Crypto, every day a session, at least a year: `WalkForward(calendar="24/7", min_train=365)`.

    >>> plan = WalkForward(min_train=252, embargo=5)
    >>> fold = plan.fold("2020-01-01", first_session=date(2018, 1, 2))
    >>> fold.train_end, fold.test_start
    (datetime.date(2019, 12, 23), datetime.date(2020, 1, 2))
    """

    def __init__(
        self,
        calendar: str = DEFAULT_CALENDAR,
        min_train: int = 252,
        window: int | None = None,
        embargo: int = 5,
        test: str = "month",
    ) -> None:
        if min_train < 1:
            raise ValueError(f"min_train is {min_train}; it must be at least 1 session")
        if embargo < 0:
            raise ValueError(f"embargo is {embargo}; it must be 0 or more sessions")
        if window is not None and window < min_train:
            raise ValueError(
                f"window is {window} sessions, less than min_train ({min_train}); a sliding window must hold "
                "at least the minimal training range"
            )
        if test not in TEST_MONTHS:
            raise ValueError(f"test is {test!r}; it must be one of {', '.join(map(repr, TEST_MONTHS))}")
        self.calendar = calendar
        self.min_train = min_train
        self.window = window
        self.embargo = embargo
        self.test = test

    def __repr__(self) -> str:
        return (
            f"WalkForward(calendar={self.calendar!r}, min_train={self.min_train}, window={self.window}, "
            f"embargo={self.embargo}, test={self.test!r})"
        )

    def fold(self, month: str, first_session: date) -> Fold:
        """The fold that tests the window starting with a month.

        Args:
            month: month key "YYYY-MM-01".
            first_session: first day of the data; training starts at the first session on or after it.

        Raises:
            NotEnoughHistoryError: fewer than `min_train` sessions of training labels lie before the embargo.
            FoldError: the month holds no session.
        """
        first_day = month_bounds(month)[0]
        last_day = month_bounds(offset_month(month_key(first_day), TEST_MONTHS[self.test] - 1))[1]
        test_sessions = sessions(first_day, last_day, self.calendar)
        if not test_sessions:
            raise FoldError(f"{self.calendar} has no session between {first_day} and {last_day}")
        test_start = test_sessions[0]
        first = on_or_after(first_session, self.calendar)
        train_end = offset(test_start, -self.embargo - 1, self.calendar)
        train_start = first
        if self.window is not None:
            train_start = max(first, offset(train_end, 1 - self.window, self.calendar))
        have = max(count_between(train_start, train_end, self.calendar) + 1, 0)
        if have < self.min_train:
            raise NotEnoughHistoryError(
                f"fold {month}: {have} training sessions, {self.min_train} needed. Data start on {first}, "
                f"and after an embargo of {self.embargo} sessions before {test_start} labels may end on "
                f"{train_end} at the latest. The first month with enough history is "
                f"{self.first_month(first)}; start there, give earlier data, or lower min_train",
                month,
                have,
                self.min_train,
            )
        return Fold(month_key(first_day), train_start, train_end, test_start, test_sessions[-1], self.embargo)

    def first_month(self, first_session: date) -> str:
        """Key of the first month with enough history for data that start at `first_session`."""
        first = on_or_after(first_session, self.calendar)
        # The earliest test start that leaves min_train sessions and the embargo; a later month unless it is a
        # first.
        earliest = offset(first, self.min_train + self.embargo, self.calendar)
        month = month_key(earliest)
        opening = on_or_after(month_bounds(month)[0], self.calendar)
        return month if opening >= earliest else offset_month(month, 1)

    def folds(self, start_month: str, end_month: str, first_session: date) -> list[Fold]:
        """The folds whose test windows start in [start_month, end_month], in order and without overlap.

        Raises:
            NotEnoughHistoryError: as `fold`, for the first of them.
            FoldError: `end_month` lies before `start_month`.
        """
        months = month_range(start_month, end_month)[:: TEST_MONTHS[self.test]]
        if not months:
            raise FoldError(f"no month from {start_month} to {end_month}")
        return [self.fold(month, first_session) for month in months]

    def split(self, labels: pl.DataFrame, fold: Fold) -> tuple[pl.DataFrame, pl.DataFrame]:
        """Training and test rows of a fold out of a long panel.

        Args:
            labels: one row per (symbol, session) with `symbol`, `session` (Date), `label_end` (Date) and any
                other columns. A null `label_end` is a label not yet known: such a row may be tested, never
                    trained on.
            fold: from `fold`.

        Returns:
            (train, test), with all columns of `labels`, sorted by symbol and session. Training rows have
            `session >= fold.train_start` and `label_end <= fold.train_end`; test rows have their session
            within the test window.

        Raises:
            FoldError: a column is missing or mistyped, a key occurs twice, a label ends before its own
                decision, or either side is empty.
        """
        _check_labels(labels)
        ordered = labels.sort("symbol", "session")
        inside = (pl.col("session") >= fold.train_start) & (pl.col("session") < fold.test_start)
        train = ordered.filter(inside & (pl.col("label_end") <= fold.train_end).fill_null(False))
        test = ordered.filter(pl.col("session").is_between(fold.test_start, fold.test_end))
        for name, rows, low, high in (
            ("training", train, fold.train_start, fold.train_end),
            ("test", test, fold.test_start, fold.test_end),
        ):
            if rows.is_empty():
                span = (
                    f"{labels['session'].min()} to {labels['session'].max()}"
                    if labels.height
                    else "no session"
                )
                raise FoldError(
                    f"fold {fold.month}: no {name} row between {low} and {high}; the labels span {span}"
                )
        return train, test


def _check_labels(labels: pl.DataFrame) -> None:
    for column, dtype in (("symbol", None), ("session", pl.Date), ("label_end", pl.Date)):
        if column not in labels.columns:
            raise FoldError(f"the labels have no column {column!r}; they have {', '.join(labels.columns)}")
        if dtype is not None and labels.schema[column] != dtype:
            raise FoldError(f"column {column!r} of the labels is {labels.schema[column]}; it must be {dtype}")
    doubled = labels.select(pl.struct("symbol", "session").is_duplicated()).to_series()
    if doubled.any():
        row = labels.filter(doubled).row(0, named=True)
        raise FoldError(
            f"{doubled.sum()} label rows share a key, such as {row['symbol']} {row['session']}; keys must be "
            "unique"
        )
    backwards = labels.filter(pl.col("label_end") < pl.col("session"))
    if backwards.height:
        row = backwards.row(0, named=True)
        raise FoldError(
            f"{backwards.height} labels end before their own decision, such as {row['symbol']} "
            f"{row['session']} (label_end {row['label_end']})"
        )
