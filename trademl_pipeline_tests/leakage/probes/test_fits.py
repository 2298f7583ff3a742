from datetime import date

import polars as pl
import pytest

from trademl_pipeline.folds import Fold, WalkForward
from trademl_pipeline.leakage import AuditInputError, audit_access, audit_fit_ledger
from trademl_pipeline.market.calendar import close_utc, offset_sessions, sessions
from trademl_pipeline.training.ledger import EarlyTestReadError, FitLedger, FrozenFoldError

PLAN = WalkForward(min_train=60, embargo=5)
MONTH = "2019-06-01"
FOLD: Fold = PLAN.fold(MONTH, date(2019, 1, 2))


def panel() -> pl.DataFrame:
    days = pl.Series("session", sessions(date(2019, 1, 2), date(2019, 7, 31)))
    rows = pl.DataFrame(
        {"session": days, "label_end": offset_sessions(days, 5), "knowledge_time": close_utc(days)}
    )
    return pl.DataFrame({"symbol": ["AAA", "BBB"]}).join(rows, how="cross")


ALL = panel()
TRAIN, TEST = PLAN.split(ALL, FOLD)


def ledger(*fits: tuple[str, pl.DataFrame], freeze: bool = True) -> FitLedger:
    record = FitLedger(MONTH)
    for name, frame in fits:
        record.fit(name, frame, len)
    if freeze:
        record.freeze()
    return record


def test_fits_on_training_rows_pass():
    record = ledger(("scaler", TRAIN), ("rounds", TRAIN.head(40)), ("model", TRAIN))
    report = audit_fit_ledger(record, FOLD, TRAIN, expected=["scaler", "model"])
    report.assert_clean()
    coverage = report.coverage["fit_ledger"]
    assert (coverage["fits"], coverage["objects"]) == (3, ["model", "rounds", "scaler"])
    assert coverage["digest"] == record.digest(MONTH)


def test_a_scaler_fitted_on_all_rows_is_refused():
    everything = ALL.filter(pl.col("label_end").is_not_null())
    report = audit_fit_ledger(ledger(("scaler", everything), ("model", TRAIN)), FOLD, TRAIN)
    assert {v.column for v in report.violations} == {"scaler"}
    details = " ".join(v.detail for v in report.violations)
    assert "rows of 2019-07-" in details
    assert "labels that end on" in details
    assert "rows that are not training rows" in details
    assert "when the test had begun" in details


def test_a_threshold_chosen_on_the_test_rows_is_refused_without_knowing_the_training_rows():
    report = audit_fit_ledger(ledger(("model", TRAIN), ("threshold", TEST)), FOLD)
    assert {v.column for v in report.violations} == {"threshold"}


def test_a_row_that_was_purged_is_no_training_row():
    purged = ALL.filter(
        pl.col("session").is_between(FOLD.train_start, FOLD.train_end)
        & (pl.col("label_end") > FOLD.train_end)
    )
    features_only = pl.concat([TRAIN, purged]).select("symbol", "session")
    report = audit_fit_ledger(ledger(("scaler", features_only)), FOLD, TRAIN)
    (violation,) = report.violations
    assert violation.count == purged.height


def test_rows_from_before_a_sliding_window_are_refused():
    plan = WalkForward(min_train=40, window=40)
    fold = plan.fold(MONTH, date(2019, 1, 2))
    report = audit_fit_ledger(ledger(("pca", TRAIN)), fold)
    assert "training window starts" in report.violations[0].detail


def test_a_restated_row_that_became_known_in_the_test_month_is_refused():
    late = TRAIN.with_columns(
        knowledge_time=pl.when(pl.int_range(pl.len()) == 3)
        .then(pl.lit(close_utc(FOLD.test_start)).cast(pl.Datetime("us", "UTC")))
        .otherwise("knowledge_time")
    )
    (violation,) = audit_fit_ledger(ledger(("model", late)), FOLD, TRAIN).violations
    assert violation.first_leak == FOLD.test_start


def test_a_model_without_label_ends_is_not_believed():
    bare = TRAIN.select("symbol", "session")
    assert not audit_fit_ledger(ledger(("model", bare)), FOLD).passed
    assert audit_fit_ledger(ledger(("scaler", bare)), FOLD).passed
    assert audit_fit_ledger(ledger(("model", bare)), FOLD, TRAIN).passed


def test_an_object_that_is_not_on_record_is_missed():
    report = audit_fit_ledger(ledger(("model", TRAIN)), FOLD, TRAIN, expected=["model", "calibrator"])
    assert [v.column for v in report.violations] == ["calibrator"]


def test_an_object_that_was_fitted_beside_the_ledger_is_missed_among_others_of_its_name():
    record = ledger(("scaler", TRAIN), ("model", TRAIN))
    (violation,) = audit_fit_ledger(record, FOLD, TRAIN, expected=["model", "model"]).violations
    assert violation.column == "model"
    assert "on record 1 of 2 times" in violation.detail
    audit_fit_ledger(record, FOLD, TRAIN, expected=["model", "scaler"]).assert_clean()


def test_a_ledger_read_back_is_compared_as_far_as_it_knows():
    swapped = pl.concat([TRAIN.head(TRAIN.height - 1), TRAIN.head(1).with_columns(symbol=pl.lit("ZZZ"))])
    table = ledger(("scaler", swapped), ("model", TRAIN), ("rounds", TRAIN.head(10))).to_frame()
    report = audit_fit_ledger(table, FOLD, TRAIN)
    assert {v.column for v in report.violations} == {"scaler"}
    assert report.coverage["fit_ledger"]["fits_not_compared_row_by_row"] == 1


def test_a_ledger_without_the_fold_is_an_error():
    with pytest.raises(AuditInputError, match=r"no fit of fold 2019-06-01.*no fold"):
        audit_fit_ledger(FitLedger(), FOLD)
    with pytest.raises(AuditInputError, match="give a FitLedger"):
        audit_fit_ledger([], FOLD)


def test_fit_freeze_read_is_the_order():
    record = ledger(("model", TRAIN))
    record.read_test(TEST)
    report = audit_access(record, FOLD)
    report.assert_clean()
    (blind,) = report.coverage["access"]["blind_spots"]
    assert "partial_fit" in blind
    assert report.coverage["access"] == {"folds": 1, "events": 3, "test_reads": 1, "blind_spots": [blind]}


def test_reading_the_test_rows_to_choose_is_refused_and_stays_visible():
    record = ledger(("model", TRAIN), freeze=False)
    with pytest.raises(EarlyTestReadError):
        record.read_test(TEST, name="early_stopping")
    record.freeze()
    record.read_test(TEST)
    (violation,) = audit_access(record).violations
    assert violation.column == "early_stopping"
    assert "before the fold was frozen" in violation.detail


def test_fitting_after_the_freeze_is_refused_and_stays_visible():
    record = ledger(("model", TRAIN))
    with pytest.raises(FrozenFoldError):
        record.fit("threshold", TRAIN, len)
    assert [v.column for v in audit_access(record).violations] == ["threshold"]


def test_a_second_look_at_the_test_rows_is_refused():
    record = ledger(("model", TRAIN))
    record.read_test(TEST)
    record.read_test(TEST.reverse(), name="again")
    assert [v.column for v in audit_access(record).violations] == ["again"]


def test_parts_of_the_test_rows_may_be_read_one_after_another_and_no_row_twice():
    record = ledger(("model", TRAIN))
    record.read_test(TEST.head(20), name="first")
    record.read_test(TEST.slice(20), name="second")
    assert audit_access(record).passed
    record.read_test(TEST.slice(15, 10), name="third")
    violation = audit_access(record).violations[0]
    assert violation.column == "third"
    assert "10 of 10 test rows again" in violation.detail


def test_a_forged_order_in_a_stored_ledger_is_found():
    record = ledger(("model", TRAIN))
    record.read_test(TEST)
    table = record.to_frame()
    moved = table.with_columns(sequence=pl.Series([2, 1, 0]))
    details = [v.detail for v in audit_access(moved).violations]
    assert any("before the fold was frozen" in d for d in details)
    assert any("fitted after" in d for d in details)


def test_an_empty_ledger_is_an_error():
    with pytest.raises(AuditInputError, match="no record"):
        audit_access(FitLedger())
    with pytest.raises(AuditInputError, match="of fold 2019-07-01"):
        audit_access(ledger(("model", TRAIN)), "2019-07-01")


def test_what_the_ledger_does_not_see_is_named_in_the_report():
    record = ledger(("model", TRAIN))
    record.read_test(TEST)
    text = (audit_fit_ledger(record, FOLD, TRAIN) + audit_access(record)).to_markdown()
    assert "Not seen by these probes:" in text
    assert text.count("- fit_ledger: in-sample meta-labels") == 1
    assert "- access: what happens inside one read: a partial_fit" in text
    assert "blind spots" not in text
