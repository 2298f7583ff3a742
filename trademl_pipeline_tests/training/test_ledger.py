from datetime import UTC, date, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trademl_pipeline.training.ledger import (
    EarlyTestReadError,
    FitLedger,
    FrozenFoldError,
    LedgerError,
    key_hashes,
    row_hash,
)

MONTH = "2020-01-01"


def rows(
    start: date = date(2019, 1, 1), days: int = 10, symbols: tuple[str, ...] = ("A", "B")
) -> pl.DataFrame:
    sessions = [start + timedelta(days=i) for i in range(days)]
    return pl.DataFrame({"symbol": list(symbols)}).join(pl.DataFrame({"session": sessions}), how="cross")


def with_clocks(frame: pl.DataFrame) -> pl.DataFrame:
    closes = pl.col("session").cast(pl.Datetime("us")).dt.replace_time_zone("UTC") + pl.duration(hours=21)
    return frame.with_columns(
        label_end=pl.col("session") + pl.duration(days=7), knowledge_time=closes + pl.duration(minutes=15)
    )


def test_a_fit_is_recorded_and_sees_the_rows_it_was_given():
    ledger = FitLedger(MONTH)
    frame = with_clocks(rows())
    fitted = ledger.fit("scaler", frame, lambda seen: seen.height, kind="preprocessing")
    assert fitted == 20
    (record,) = ledger.records()
    assert (record.name, record.kind, record.fold, record.event, record.n_rows) == (
        "scaler",
        "preprocessing",
        MONTH,
        "fit",
        20,
    )
    assert (record.session_min, record.session_max) == (date(2019, 1, 1), date(2019, 1, 10))
    assert record.label_end_max == date(2019, 1, 17)
    assert record.knowledge_min == datetime(2019, 1, 1, 21, 15, tzinfo=UTC)
    assert record.knowledge_max == datetime(2019, 1, 10, 21, 15, tzinfo=UTC)
    assert record.row_hash == row_hash(frame)


def test_a_fit_that_fails_has_still_seen_its_rows():
    ledger = FitLedger(MONTH)

    def broken(_: pl.DataFrame) -> None:
        raise RuntimeError("singular matrix")

    with pytest.raises(RuntimeError, match="singular"):
        ledger.fit("pca", rows(), broken)
    assert [r.name for r in ledger.records()] == ["pca"]


def test_test_rows_are_refused_before_the_freeze_and_the_attempt_is_kept():
    ledger = FitLedger(MONTH)
    ledger.fit("model", rows(), len)
    with pytest.raises(EarlyTestReadError, match="20 test rows before the fold was frozen"):
        ledger.read_test(rows(date(2020, 1, 1)))
    ledger.freeze()
    frame = rows(date(2020, 1, 1))
    assert ledger.read_test(frame) is frame
    assert ledger.read_test(frame, lambda f: f.height) == 20
    assert [r.event for r in ledger.records()] == ["fit", "refused_read", "freeze", "read", "read"]


def test_nothing_is_fitted_after_the_freeze_and_the_attempt_is_kept():
    ledger = FitLedger(MONTH)
    ledger.fit("model", rows(), len)
    ledger.freeze()
    with pytest.raises(FrozenFoldError, match="'threshold' may not be fitted"):
        ledger.fit("threshold", rows(), len)
    assert ledger.records()[-1].event == "refused_fit"


def test_folds_are_frozen_one_by_one():
    ledger = FitLedger()
    ledger.fit("model", rows(), len, fold="2020-01-01")
    ledger.fit("model", rows(), len, fold="2020-02-01")
    ledger.freeze("2020-01-01")
    assert ledger.is_frozen("2020-01-01")
    assert not ledger.is_frozen("2020-02-01")
    ledger.read_test(rows(date(2020, 1, 1)), fold="2020-01-01")
    with pytest.raises(EarlyTestReadError):
        ledger.read_test(rows(date(2020, 2, 1)), fold="2020-02-01")


def test_a_ledger_without_fold_asks_for_one():
    with pytest.raises(LedgerError, match="no fold is named"):
        FitLedger().fit("model", rows(), len)


def test_a_fold_is_frozen_once_and_only_after_a_fit():
    ledger = FitLedger(MONTH)
    with pytest.raises(LedgerError, match="nothing was fitted"):
        ledger.freeze()
    ledger.fit("model", rows(), len)
    ledger.freeze()
    with pytest.raises(LedgerError, match="frozen already"):
        ledger.freeze()


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (rows().clear(), "was given no rows"),
        (rows().drop("session"), "no column 'session'"),
        (rows().with_columns(symbol=pl.lit(None, pl.String)), "column 'symbol' has 20 null"),
        (rows().with_columns(session=pl.lit(1)), "must be a Date"),
        (rows().with_columns(label_end=pl.lit(None, pl.Date)), "'label_end' has 20 null"),
        (rows().with_columns(knowledge_time=pl.lit("noon")), "must be a Datetime"),
    ],
)
def test_rows_without_a_fit_window_are_refused(frame, message):
    with pytest.raises(LedgerError, match=message):
        FitLedger(MONTH).fit("model", frame, len)


@given(seed=st.integers(0, 2**32 - 1), days=st.integers(1, 40))
@settings(max_examples=25, deadline=None)
def test_the_row_hash_ignores_order_and_other_columns_but_no_row(seed, days):
    frame = rows(days=days)
    shuffled = frame.sample(fraction=1.0, shuffle=True, seed=seed).with_columns(x=pl.lit(1.0))
    assert row_hash(shuffled) == row_hash(frame)
    assert row_hash(frame.head(frame.height - 1)) != row_hash(frame)
    assert row_hash(pl.concat([frame, frame.head(1)])) != row_hash(frame)
    moved = frame.with_columns(session=pl.col("session") + pl.duration(days=1))
    assert row_hash(moved) != row_hash(frame)


def test_the_row_hash_is_the_same_on_every_machine():
    assert (
        row_hash(pl.DataFrame({"symbol": ["SPY"], "session": [date(2019, 12, 31)]}))
        == "b03205a58334249a79c3e87ba4cf888c"
    )


def test_swapping_symbols_between_sessions_changes_the_hash():
    a = pl.DataFrame({"symbol": ["A", "B"], "session": [date(2020, 1, 1), date(2020, 1, 2)]})
    b = pl.DataFrame({"symbol": ["B", "A"], "session": [date(2020, 1, 1), date(2020, 1, 2)]})
    assert row_hash(a) != row_hash(b)


def test_no_two_keys_of_a_large_panel_share_a_hash():
    frame = rows(days=2_000, symbols=tuple(f"S{i}" for i in range(200)))
    assert len(np.unique(key_hashes(frame))) == frame.height


def test_a_ledger_survives_its_table_and_keeps_its_digest():
    ledger = FitLedger(MONTH)
    ledger.fit("model", with_clocks(rows()), len)
    ledger.freeze()
    ledger.read_test(rows(date(2020, 1, 1)))
    again = FitLedger.from_frame(ledger.to_frame())
    assert again.records() == ledger.records()
    assert again.digest() == ledger.digest()
    assert again.is_frozen(MONTH)


def test_the_digest_moves_with_the_rows_and_with_the_order_of_events():
    def digest(frames: list[pl.DataFrame]) -> str:
        ledger = FitLedger(MONTH)
        for frame in frames:
            ledger.fit("model", frame, len)
        return ledger.digest()

    one, two = rows(), rows(days=9)
    assert digest([one, two]) == digest([one.reverse(), two])
    assert len({digest([one, two]), digest([two, one]), digest([one, one])}) == 3


def test_a_table_that_is_no_ledger_is_refused():
    with pytest.raises(LedgerError, match="no column sequence"):
        FitLedger.from_frame(rows())
    ledger = FitLedger(MONTH)
    ledger.fit("model", rows(), len)
    with pytest.raises(LedgerError, match="unknown ledger events"):
        FitLedger.from_frame(ledger.to_frame().with_columns(event=pl.lit("guess")))
