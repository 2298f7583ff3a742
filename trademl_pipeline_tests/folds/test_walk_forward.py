import itertools
from datetime import date, timedelta

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trademl_pipeline.folds import FoldError, NotEnoughHistoryError, WalkForward
from trademl_pipeline.market.calendar import month_sessions, offset, offset_sessions, session_index, sessions

START = date(2017, 1, 3)


def label_panel(
    symbols: list[str],
    horizon: int,
    *,
    start: date = START,
    end: date = date(2020, 3, 31),
    calendar: str = "XNYS",
) -> pl.DataFrame:
    days = pl.Series("session", sessions(start, end, calendar))
    rows = pl.DataFrame({"session": days, "label_end": offset_sessions(days, horizon, calendar)})
    return pl.DataFrame({"symbol": symbols}).join(rows, how="cross")


def test_the_fold_before_new_year_counts_sessions_not_days():
    fold = WalkForward(embargo=5).fold("2020-01-01", first_session=START)
    assert fold.test_start == date(2020, 1, 2)
    assert fold.test_end == date(2020, 1, 31)
    # 24, 26, 27, 30 and 31 December are the five sessions between; Christmas and a weekend are not.
    assert fold.train_end == date(2019, 12, 23)
    assert session_index(fold.test_start) - session_index(fold.train_end) - 1 == 5


def test_a_sliding_window_has_exactly_the_sessions_asked_for():
    fold = WalkForward(window=300).fold("2019-06-01", first_session=START)
    assert session_index(fold.train_end) - session_index(fold.train_start) + 1 == 300


def test_an_expanding_window_starts_with_the_data():
    assert WalkForward().fold("2019-06-01", first_session=date(2017, 1, 1)).train_start == START


def test_a_quarter_tests_three_months_and_folds_step_by_three():
    folds = WalkForward(test="quarter").folds("2019-01-01", "2019-12-01", START)
    assert [f.month for f in folds] == ["2019-01-01", "2019-04-01", "2019-07-01", "2019-10-01"]
    assert folds[0].test_end == month_sessions("2019-03-01")[-1]
    assert all(a.test_end < b.test_start for a, b in itertools.pairwise(folds))


def test_too_short_a_history_names_what_there_is_and_what_is_needed():
    with pytest.raises(NotEnoughHistoryError, match=r"99 training sessions, 252 needed") as caught:
        WalkForward().fold("2018-06-01", first_session=date(2018, 1, 2))
    assert (caught.value.have, caught.value.need, caught.value.month) == (99, 252, "2018-06-01")
    assert "2019-02-01" in str(caught.value)


@given(
    first=st.dates(date(1995, 1, 1), date(2020, 1, 1)),
    min_train=st.integers(1, 600),
    embargo=st.integers(0, 40),
    calendar=st.sampled_from(["XNYS", "24/7"]),
)
@settings(max_examples=60, deadline=None)
def test_the_first_month_named_is_the_first_that_works(first, min_train, embargo, calendar):
    plan = WalkForward(calendar, min_train=min_train, embargo=embargo)
    month = plan.first_month(first)
    assert plan.fold(month, first).month == month
    before = (date.fromisoformat(month) - timedelta(days=1)).replace(day=1)
    with pytest.raises(NotEnoughHistoryError):
        plan.fold(before.isoformat(), first)


@given(
    month=st.sampled_from(["2018-07-01", "2018-12-01", "2019-01-01", "2019-09-01", "2020-01-01"]),
    horizon=st.integers(1, 30),
    embargo=st.integers(0, 25),
    window=st.none() | st.integers(260, 400),
)
@settings(max_examples=40, deadline=None)
def test_purge_and_embargo_leave_no_training_label_near_the_test_window(month, horizon, embargo, window):
    plan = WalkForward(embargo=embargo, window=window)
    fold = plan.fold(month, START)
    labels = label_panel(["A", "B"], horizon)
    train, test = plan.split(labels, fold)
    first = session_index(test["session"].min())
    gaps = [first - session_index(d) - 1 for d in train["label_end"].unique()]
    assert min(gaps) == embargo
    assert train["session"].min() >= fold.train_start
    assert train["session"].max() < test["session"].min()
    # Nothing more than needed is dropped: the latest training row is one horizon before the last admissible
    # label.
    assert train["session"].max() == offset(fold.train_end, -horizon)
    assert set(test["session"].unique()) == set(month_sessions(month))


def test_each_symbol_is_purged_by_its_own_labels():
    labels = pl.concat([label_panel(["SHORT"], 1), label_panel(["LONG"], 20)])
    plan = WalkForward(embargo=3)
    fold = plan.fold("2019-05-01", START)
    train, _ = plan.split(labels, fold)
    last = dict(train.group_by("symbol").agg(pl.col("session").max()).iter_rows())
    assert last == {"SHORT": offset(fold.train_end, -1), "LONG": offset(fold.train_end, -20)}


def test_a_row_with_an_unknown_label_is_tested_but_never_trained_on():
    labels = label_panel(["A"], 5).with_columns(
        label_end=pl.when(pl.col("session") >= date(2018, 6, 1)).then(None).otherwise("label_end")
    )
    plan = WalkForward()
    train, test = plan.split(labels, plan.fold("2019-01-01", START))
    assert train["session"].max() < date(2018, 6, 1)
    assert test["label_end"].null_count() == test.height == len(month_sessions("2019-01-01"))


def test_weekends_are_sessions_where_the_calendar_says_so():
    fold = WalkForward("24/7", min_train=30, embargo=2).fold("2020-03-01", date(2020, 1, 1))
    assert (fold.test_start, fold.train_end) == (date(2020, 3, 1), date(2020, 2, 27))


def test_the_embargo_is_never_zero_unless_asked_for():
    assert WalkForward().embargo > 0


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"embargo": -1}, "embargo is -1"),
        ({"min_train": 0}, "min_train is 0"),
        ({"window": 100}, "less than min_train"),
        ({"test": "week"}, "'month', 'quarter'"),
    ],
)
def test_settings_that_cannot_work_are_refused(kwargs, message):
    with pytest.raises(ValueError, match=message):
        WalkForward(**kwargs)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: f.drop("label_end"), "no column 'label_end'"),
        (lambda f: f.with_columns(pl.col("session").cast(pl.Datetime)), "it must be Date"),
        (lambda f: pl.concat([f, f.head(3)]), "6 label rows share a key"),
        (lambda f: f.with_columns(label_end=pl.col("session") - pl.duration(days=1)), "end before their own"),
        (lambda f: f.filter(pl.col("session") < date(2019, 1, 1)), "no test row"),
        (lambda f: f.filter(pl.col("session") >= date(2019, 1, 1)), "no training row"),
        (lambda f: f.clear(), "no session"),
    ],
)
def test_labels_that_cannot_be_split_are_refused(change, message):
    plan = WalkForward()
    with pytest.raises(FoldError, match=message):
        plan.split(change(label_panel(["A"], 5)), plan.fold("2019-01-01", START))


def test_no_month_in_the_range_is_refused():
    with pytest.raises(FoldError, match="no month from"):
        WalkForward().folds("2019-05-01", "2019-04-01", START)
