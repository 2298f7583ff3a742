"""What a study's fit does with rows that teach little or nothing: a clear error, or sound predictions."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from trademl_pipeline.training.estimators import EstimatorSpec, TrainingPreset
from trademl_pipeline.training.inner_split import FitError
from trademl_pipeline.training.ledger import FitLedger
from trademl_pipeline.training.selection import SelectionPlan
from trademl_pipeline.training.study import TrainingConfig, fit_study
from trademl_pipeline.training.trials import TrialLedger
from trademl_pipeline_tests.training.test_study import (
    FOLD,
    NETWORK,
    SETTING,
    TREES,
    direction_rows,
    forecast_rows,
)

PLAIN = replace(TREES, space={})
PLANS = {
    "trees": TrainingConfig("direction", (PLAIN,)),
    "network": TrainingConfig("direction", (NETWORK,)),
    "weighted": TrainingConfig("direction", (PLAIN, NETWORK), "weighted"),
    "stacked": TrainingConfig("direction", (PLAIN, NETWORK), "stacked"),
    "calibrated": TrainingConfig("direction", (NETWORK,), calibrate=True),
    "selected": TrainingConfig(
        "direction", (NETWORK,), select=SelectionPlan(min_features=2, max_features=3, rounds=10)
    ),
    "searched": TrainingConfig("direction", (TREES,)),
    "linear": TrainingConfig("forecast", (EstimatorSpec("linear", "linear", {"small": TrainingPreset()}),)),
}


def rows_for(plan):
    return forecast_rows()[0] if PLANS[plan].task == "forecast" else direction_rows()


def fitted(plan, rows, tmp_path):
    trials = TrialLedger(tmp_path / "trials.jsonl")
    return fit_study(PLANS[plan], rows, SETTING, ledger=FitLedger(FOLD), trials=trials)


def filled(rows, column, value):
    """The rows with a feature, or all of them, at one value."""
    matrix = rows.matrix.copy()
    matrix[:, column] = value
    return replace(rows, matrix=matrix)


def of_class(rows, target):
    return replace(rows, keys=rows.keys.with_columns(target=pl.lit(target, pl.Int8)))


@pytest.mark.parametrize("plan", PLANS)
def test_an_empty_fold_is_refused(plan, tmp_path):
    rows = rows_for(plan)
    with pytest.raises(FitError, match="the fold has no training rows"):
        fitted(plan, rows.take(np.zeros(len(rows), dtype=bool)), tmp_path)


@pytest.mark.parametrize("plan", [name for name in PLANS if name != "linear"])
def test_a_fold_of_a_single_class_is_refused(plan, tmp_path):
    with pytest.raises(FitError, match="rows are of class 1"):
        fitted(plan, of_class(direction_rows(), 1), tmp_path)


@pytest.mark.parametrize("plan", PLANS)
def test_features_none_of_which_varies_are_refused(plan, tmp_path):
    with pytest.raises(FitError, match=r"none of (4|12) features varies over \d+"):
        fitted(plan, filled(rows_for(plan), slice(None), 1.0), tmp_path)


@pytest.mark.parametrize("plan", [name for name in PLANS if name != "selected"])
def test_infinite_values_are_refused_by_feature(plan, tmp_path):
    rows = rows_for(plan)
    matrix = rows.matrix.copy()
    matrix[5, 1] = np.inf
    with pytest.raises(FitError, match=r"feature (1|'b') holds infinite values"):
        fitted(plan, replace(rows, matrix=matrix), tmp_path)


@pytest.mark.parametrize("plan", PLANS)
def test_gaps_constant_features_and_padding_are_learned_around(plan, tmp_path):
    rows = filled(filled(rows_for(plan), 2, 7.0), 3, np.nan)
    gaps = np.random.default_rng(0).random(len(rows.matrix)) < 0.3
    rows.matrix[gaps, 1] = np.nan
    short = np.arange(len(rows)) % 2 == 0
    rows = replace(rows, n_valid=np.where(short, 1, rows.n_valid))
    study = fitted(plan, rows, tmp_path)
    read = [("a", "b", "c", "d").index(name) for name in study.names]
    found = study.predict(replace(rows, matrix=rows.matrix[:, read]).take(np.arange(0, len(rows), 9)))
    values = np.column_stack(list(found.values()))
    assert np.isfinite(values).all()
    if PLANS[plan].task == "direction":
        np.testing.assert_allclose(values.sum(axis=1), 1.0, rtol=1e-5)


def test_fewer_rows_than_a_batch_train_a_network_and_are_too_few_for_trees(tmp_path):
    rows = direction_rows()
    few = rows.take((rows.keys["symbol"] == "S000").to_numpy())
    config = replace(NETWORK, training={**NETWORK.training, "batch_size": 4096})
    plan = TrainingConfig("direction", (config,))
    study = fit_study(plan, few, SETTING, ledger=FitLedger(FOLD))
    assert np.isfinite(study.combine(study.estimator_values(few))).all()
    with pytest.raises(FitError, match="90 training rows, fewer than min_rows=200"):
        fitted("trees", few, tmp_path)
    with pytest.raises(FitError, match="12 training sessions leave nothing before 15 validation sessions"):
        fitted("network", rows.take((rows.keys["session"].rank("dense") <= 12).to_numpy()), tmp_path)


def test_a_column_without_any_label_is_named(tmp_path):
    rows = rows_for("linear")
    bare = replace(rows, keys=rows.keys.with_columns(return_1=pl.lit(None, pl.Float64)))
    with pytest.raises(FitError, match="no training row has a value of mean_1"):
        fitted("linear", bare, tmp_path)
