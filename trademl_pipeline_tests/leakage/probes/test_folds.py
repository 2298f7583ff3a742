from datetime import date, timedelta

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trademl_pipeline.folds import WalkForward
from trademl_pipeline.leakage import AuditInputError, audit_folds
from trademl_pipeline.market.calendar import offset, offset_sessions, sessions

HORIZON, EMBARGO = 5, 3
TEST_START = date(2019, 12, 2)


def labels(horizon: int = HORIZON, symbols: tuple[str, ...] = ("AAA", "BBB")) -> pl.DataFrame:
    days = pl.Series("session", sessions(date(2019, 1, 2), date(2019, 12, 31)))
    rows = pl.DataFrame({"session": days, "label_end": offset_sessions(days, horizon)})
    return (
        pl.DataFrame({"symbol": symbols})
        .join(rows, how="cross")
        .with_columns(label_start="session", horizon=pl.lit(horizon, pl.Int16))
    )


def fold(last_label_end: date, frame: pl.DataFrame | None = None) -> tuple[pl.DataFrame, pl.DataFrame]:
    frame = labels() if frame is None else frame
    return frame.filter(pl.col("label_end") <= last_label_end), frame.filter(pl.col("session") >= TEST_START)


def test_a_fold_with_its_embargo_passes_and_says_how_far_apart_it_is():
    train, test = fold(offset(TEST_START, -EMBARGO - 1))
    report = audit_folds(train, test, embargo=EMBARGO)
    report.assert_clean()
    assert report.coverage["folds"]["sessions_between"] == EMBARGO
    assert report.coverage["folds"]["first_test_decision"] == "2019-12-02"


def test_one_session_short_of_the_embargo_is_refused():
    train, test = fold(offset(TEST_START, -EMBARGO))
    (violation,) = audit_folds(train, test, embargo=EMBARGO).violations
    assert violation.count == 2
    assert violation.max_delta == 1.0
    assert "2 sessions before the first test decision on 2019-12-02" in violation.detail


def test_labels_that_reach_the_test_window_are_refused_even_without_embargo():
    train, test = labels().filter(pl.col("session") < TEST_START), fold(TEST_START)[1]
    (violation,) = audit_folds(train, test, embargo=0).violations
    assert violation.count == 2 * HORIZON
    assert "on or after the first test decision" in violation.detail


def test_calendar_days_are_no_sessions():
    # Thanksgiving lies between: four calendar days are one session less than they look.
    train, test = fold(date(2019, 11, 27))
    assert not audit_folds(train, test, embargo=2).passed
    assert audit_folds(train, test, embargo=1).passed


def test_one_symbol_with_longer_labels_is_found():
    mixed = pl.concat([labels(), labels(20, ("SLOW",))])
    train = mixed.filter(pl.col("session") <= offset(TEST_START, -EMBARGO - 1 - HORIZON))
    report = audit_folds(train, fold(TEST_START)[1], embargo=EMBARGO)
    assert {v.symbol for v in report.violations} == {"SLOW"}


def test_a_symbol_that_is_tested_later_does_not_excuse_the_others():
    train, test = fold(date(2019, 12, 10))
    late = test.filter((pl.col("symbol") == "AAA") | (pl.col("session") >= date(2019, 12, 20)))
    report = audit_folds(train.filter(pl.col("symbol") == "BBB"), late, embargo=EMBARGO)
    assert not report.passed


def test_rows_in_both_sides_are_refused():
    train, test = fold(offset(TEST_START, -EMBARGO - 1))
    both = pl.concat([train, test.head(1)])
    columns = [v.column for v in audit_folds(both, test, embargo=EMBARGO).violations]
    assert "<rows>" in columns
    assert "session" in columns


def test_a_label_end_in_calendar_days_is_found_by_the_horizon():
    train, test = fold(offset(TEST_START, -30))
    short = train.with_columns(label_end=pl.col("session") + pl.duration(days=HORIZON))
    report = audit_folds(short, test, embargo=EMBARGO)
    assert ["sooner" in v.detail for v in report.violations] == [True]
    assert audit_folds(short.drop("horizon"), test, embargo=EMBARGO).passed


def test_a_label_that_ends_before_its_decision_is_refused():
    train, test = fold(offset(TEST_START, -30))
    early = train.drop("horizon").with_columns(label_end=pl.col("session") - timedelta(days=1))
    assert [
        "before its own decision" in v.detail for v in audit_folds(early, test, embargo=0).violations
    ] == [True]


def test_training_on_what_comes_after_the_test_is_refused():
    test = labels().filter(pl.col("session").is_between(date(2019, 6, 3), date(2019, 6, 28)))
    train = labels().filter((pl.col("label_end") < date(2019, 5, 1)) | (pl.col("session") > date(2019, 9, 1)))
    train = train.filter(pl.col("label_end").is_not_null())
    assert {v.column for v in audit_folds(train, test, embargo=EMBARGO).violations} == {
        "label_end",
        "session",
    }


@given(
    horizon=st.integers(1, 25),
    embargo=st.integers(0, 15),
    month=st.sampled_from(["2019-11-01", "2019-12-01", "2019-09-01"]),
)
@settings(max_examples=25, deadline=None)
def test_every_fold_of_the_splitter_passes_and_fails_with_one_more_session(horizon, embargo, month):
    plan = WalkForward(min_train=60, embargo=embargo)
    train, test = plan.split(labels(horizon), plan.fold(month, date(2019, 1, 2)))
    audit_folds(train, test, embargo=embargo).assert_clean()
    assert not audit_folds(train, test, embargo=embargo + 1).passed


def test_the_sessions_can_be_given_as_a_list():
    every_day = [date(2019, 1, 1) + timedelta(days=i) for i in range(365)]
    train, test = fold(date(2019, 11, 27))
    assert audit_folds(train, test, embargo=4, calendar=every_day).passed
    assert audit_folds(train, test, embargo=4, calendar="24/7").passed
    assert not audit_folds(train, test, embargo=4).passed


TRAIN, TEST = fold(offset(TEST_START, -EMBARGO - 1))


@pytest.mark.parametrize(
    ("train", "test", "kwargs", "message"),
    [
        (TRAIN.clear(), TEST, {}, "no training rows"),
        (TRAIN, TEST.clear(), {}, "no test rows"),
        (TRAIN.drop("label_end"), TEST, {}, "no column 'label_end'"),
        (TRAIN.with_columns(label_end=pl.lit(None, pl.Date)), TEST, {}, "nulls"),
        (TRAIN.cast({"label_end": pl.String}), TEST, {}, "must be Date"),
        (TRAIN, TEST, {"embargo": -1}, "embargo is -1"),
        (TRAIN, TEST, {"calendar": []}, "empty list"),
        (TRAIN, TEST, {"calendar": [date(2019, 11, 1), date(2019, 12, 31)]}, "does not cover the rows"),
        (TRAIN.with_columns(horizon=pl.lit("5")), TEST, {}, "number of sessions"),
    ],
)
def test_folds_that_cannot_be_audited_are_an_error(train, test, kwargs, message):
    with pytest.raises(AuditInputError, match=message):
        audit_folds(train, test, **{"embargo": 3, **kwargs})


def test_times_count_as_their_days_and_a_calendar_object_is_as_good_as_its_name():
    import exchange_calendars

    timed = [
        f.with_columns(pl.col("session", *c).cast(pl.Datetime("us")))
        for f, c in ((TRAIN, ["label_end"]), (TEST, []))
    ]
    calendar = exchange_calendars.get_calendar("XNYS", start="2018-01-01", end="2021-01-01")
    assert audit_folds(*timed, embargo=EMBARGO, calendar=calendar).passed
    assert not audit_folds(*timed, embargo=EMBARGO + 1, calendar=calendar).passed
