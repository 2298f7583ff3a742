from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest

from trademl_pipeline.training.inner_split import FitError, inner_split

DAYS = [date(2020, 1, 1) + timedelta(days=i) for i in range(60)]


def keys(symbols=("A",), days=DAYS, horizon=5):
    rows = [(s, days[i], days[i + horizon]) for s in symbols for i in range(len(days) - horizon)]
    return pl.DataFrame(rows, schema=["symbol", "session", "label_end"], orient="row")


def test_no_label_reaches_the_embargo_before_validation():
    frame = keys(("A", "B"))
    got = inner_split(frame, validation_sessions=10, embargo=4)
    assert got.first_validation == DAYS[45]
    last = frame.filter(got.train)["label_end"].max()
    # index(label_end) + embargo < index(first validation session): 40 + 4 < 45.
    assert last == DAYS[40]
    assert frame.filter(got.validation)["session"].unique().sort().to_list() == DAYS[45:55]
    assert got.purged == frame.height - got.train.sum() - got.validation.sum()
    assert not (got.train & got.validation).any()


def test_without_embargo_the_label_still_ends_before_validation():
    frame = keys()
    got = inner_split(frame, validation_sessions=10, embargo=0)
    assert frame.filter(got.train)["label_end"].max() == DAYS[44]


def test_symbol_with_missing_sessions_is_purged_in_its_own_sessions():
    sparse = [d for i, d in enumerate(DAYS) if i < 30 or i % 3 == 0]
    frame = pl.concat([keys(("A",)), keys(("B",), sparse, horizon=1)])
    got = inner_split(frame, validation_sessions=10, embargo=4)
    own = [d for d in sparse if d < got.first_validation]
    last = frame.filter(got.train & (frame["symbol"] == "B").to_numpy())["label_end"].max()
    assert own.index(last) + 4 < len(own)
    assert frame.filter(got.train & (frame["symbol"] == "A").to_numpy())["label_end"].max() == DAYS[40]


def test_symbol_that_is_newer_than_the_embargo_does_not_train():
    new = DAYS[46:]
    frame = pl.concat([keys(("A",)), keys(("N",), new, horizon=1)])
    got = inner_split(frame, validation_sessions=10, embargo=4)
    assert not (got.train & (frame["symbol"] == "N").to_numpy()).any()


def test_masks_follow_the_rows_in_any_order():
    frame = keys(("A", "B"))
    order = np.random.default_rng(0).permutation(frame.height)
    got, moved = (inner_split(f, validation_sessions=10, embargo=4) for f in (frame, frame[order]))
    assert (moved.train == got.train[order]).all()
    assert (moved.validation == got.validation[order]).all()


def test_too_short_a_history_is_named():
    with pytest.raises(FitError, match="15 training sessions leave nothing before 10 validation sessions"):
        inner_split(keys(days=DAYS[:20]), validation_sessions=10, embargo=5)
    with pytest.raises(FitError, match="every training label reaches"):
        inner_split(keys(days=DAYS[:40], horizon=20), validation_sessions=10, embargo=5)
