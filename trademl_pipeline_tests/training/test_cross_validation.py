"""Cross-validation by symbol: where the splits lie, what a model may know, and that a planted signal shows."""

from dataclasses import replace
from datetime import date

import numpy as np
import polars as pl
import pytest
from sklearn.model_selection import TimeSeriesSplit

from trademl_pipeline.folds import WalkForward
from trademl_pipeline.leakage import audit_fit_ledger, audit_folds
from trademl_pipeline.market.calendar import count_between, offset_sessions, sessions
from trademl_pipeline.sequences.windows import Windows
from trademl_pipeline.studies import STUDIES, StudySpecError
from trademl_pipeline.tasks import TASKS
from trademl_pipeline.tasks.pattern import PATTERNS
from trademl_pipeline.training.cross_validation import (
    GappedSplits,
    cross_validate,
    gapped_splits,
    known_before,
)
from trademl_pipeline.training.estimators import EstimatorSpec, TrainingContext, TrainingPreset
from trademl_pipeline.training.inner_split import FitError
from trademl_pipeline.training.ledger import FitLedger
from trademl_pipeline_tests.training.planted import windows_of

HORIZON, SYMBOLS, LATE = 5, 6, 130
DAYS = sessions(date(2013, 1, 1), date(2014, 4, 30))
PLAN = GappedSplits(min_rows=100)
SETTING = TrainingContext(("a", "b"), "small", validation_sessions=60, embargo=2, seed=3)
NETWORK = EstimatorSpec(
    "lstm_backbone",
    "lstm_backbone",
    {"small": TrainingPreset("small", epochs=8, max_rows=1_000)},
    settings={"dropout": 0.0, "dense_dropout": 0.0, "recurrent_dropout": 0.0, "l2": 0.0},
    training={"batch_size": 64, "learning_rate": 1e-2},
)


@pytest.fixture(scope="module")
def rows() -> Windows:
    """Six symbols, the last listed late. Feature `a` tells how the patterns of the first three end, none of others'."""
    rng = np.random.default_rng(0)
    parts, age = [], []
    for i in range(SYMBOLS):
        days = DAYS[LATE:] if i == SYMBOLS - 1 else DAYS
        parts.append(pl.DataFrame({"symbol": f"S{i}", "session": days}))
        age.append(np.arange(len(days)))
    keys = pl.concat(parts).with_columns(
        label_end=offset_sessions(pl.concat(parts)["session"], HORIZON),
        knowledge_time=pl.col("session").cast(pl.Datetime("us", "UTC")),
    )
    matrix = rng.normal(size=(keys.height, 2))
    told = matrix[:, 0] + 0.5 * rng.normal(size=keys.height) > 0
    chance = rng.random(keys.height) < 0.5
    outcome = np.where(keys["symbol"].is_in(["S0", "S1", "S2"]).to_numpy(), told, chance)
    for name in PATTERNS:
        fired = rng.random(keys.height) < 0.7
        keys = keys.with_columns(pl.Series(name, np.where(fired, outcome.astype(float), np.nan)))
    return windows_of(matrix, keys, np.concatenate(age), 4, {})


def test_test_rows_are_those_of_the_library_and_lie_a_gap_behind_what_is_known(rows):
    splits = gapped_splits(rows.keys, PLAN)
    assert len(splits) == 3 * SYMBOLS
    for split in splits:
        own = np.flatnonzero((rows.keys["symbol"] == split.symbol).to_numpy())
        expected = list(TimeSeriesSplit(n_splits=3, gap=5).split(own))[split.number]
        assert np.array_equal(split.test, own[expected[1]])
        train = rows.keys.filter(pl.Series(known_before(rows.keys, split.cut, PLAN.gap)))
        mine = train.filter(pl.col("symbol") == split.symbol)
        # Within what the library would train on, and purged: no label reaches a test row.
        assert set(mine["session"]) <= set(rows.keys["session"].gather(own[expected[0]]))
        assert train["label_end"].max() < split.start
        assert count_between(train["session"].max(), split.start) - 1 >= PLAN.gap


def test_a_symbol_with_few_rows_is_left_out(rows):
    listed = len(DAYS) - LATE
    assert "S5" in {s.symbol for s in gapped_splits(rows.keys, replace(PLAN, min_rows=listed))}
    assert "S5" not in {s.symbol for s in gapped_splits(rows.keys, replace(PLAN, min_rows=listed + 1))}


@pytest.fixture(scope="module")
def done(rows):
    ledger = FitLedger("2014-06-01")
    return (*cross_validate(NETWORK, TASKS["pattern"], rows, SETTING, PLAN, ledger=ledger), ledger)


@pytest.mark.slow
def test_symbols_that_can_be_told_are_told_and_others_are_not(done):
    scores, _, _ = done
    assert scores.group_by("symbol").len()["len"].to_list() == [3] * SYMBOLS
    late = scores.filter(pl.col("split") == 2)
    planted = late.filter(pl.col("symbol").is_in(["S0", "S1", "S2"]))
    assert planted["auc"].min() > 0.75
    assert (planted["accuracy"] > planted["majority"]).all()
    assert planted["correlation"].min() > 0.3
    noise = late.filter(~pl.col("symbol").is_in(["S0", "S1", "S2"]))
    assert abs(noise["auc"].mean() - 0.5) < 0.12


@pytest.mark.slow
def test_evidence_and_record_pass_the_gate_and_a_leak_in_them_does_not(done, rows):
    scores, evidence, ledger = done
    assert len(evidence) == scores.height
    assert all(audit_folds(train, test, embargo=0).passed for train, test in evidence)
    train, test = evidence[0]
    late = rows.keys.filter(pl.col("label_end") >= test["session"].min()).head(1).select(train.columns)
    assert not audit_folds(pl.concat([train, late]), test, embargo=0).passed
    fold = WalkForward(min_train=100).fold("2014-06-01", DAYS[0])
    assert audit_fit_ledger(ledger, fold, train=rows.keys).passed
    assert {r.kind for r in ledger.records()} == {"cross_validation"}
    assert not audit_fit_ledger(ledger, fold, train=rows.keys.filter(pl.col("symbol") != "S0")).passed


@pytest.mark.slow
def test_symbols_whose_test_begins_in_one_month_share_a_model(done):
    scores, _, ledger = done
    starts = scores["test_start"].dt.truncate("1mo").n_unique()
    assert len(ledger.records()) == starts < scores.height


def test_a_task_without_calls_is_refused(rows):
    with pytest.raises(FitError, match="task forecast has no outcomes of 0 and 1"):
        cross_validate(NETWORK, TASKS["forecast"], rows, SETTING, PLAN, ledger=FitLedger("2014-06-01"))
    study = STUDIES["direction"]
    with pytest.raises(StudySpecError, match=r"training\.cross_validate scores outcomes"):
        replace(study, training=replace(study.training, cross_validate=PLAN))
