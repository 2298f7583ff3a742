from itertools import pairwise

import numpy as np
import pytest

from trademl_pipeline.training.ensemble.weights import (
    OutOfFold,
    WeightedEnsemble,
    fit_stacked,
    fit_weights,
    horizon_class,
    out_of_fold,
    weighted_by_horizon,
)
from trademl_pipeline.training.inner_folds import inner_folds
from trademl_pipeline.training.inner_split import FitError
from trademl_pipeline.training.ledger import FitLedger
from trademl_pipeline_tests.training.planted import panel

A, B = np.array([1.0, 2.0]), np.array([3.0, 6.0])


def test_weighted_mean_by_hand_and_over_the_weights_above_zero():
    ensemble = WeightedEnsemble({"a": 3, "b": 1, "unused": 0})
    np.testing.assert_allclose(ensemble.predict({"a": A, "b": B}), [1.5, 3.0])


@pytest.mark.parametrize("weights", [{}, {"a": 0.0}, {"a": -1.0, "b": 2.0}])
def test_weights_that_mean_nothing_are_refused(weights):
    with pytest.raises(ValueError, match="must be >= 0 and not all 0"):
        WeightedEnsemble(weights)


def test_missing_members_and_other_shapes_are_named():
    with pytest.raises(FitError, match=r"estimators \['b'\] gave no predictions"):
        WeightedEnsemble({"a": 1, "b": 1}).predict({"a": A})
    with pytest.raises(FitError, match="different shapes"):
        WeightedEnsemble({"a": 1, "b": 1}).predict({"a": A, "b": A[:1]})


def test_mamba_counts_more_at_short_horizons():
    weights = {"mamba_forecast": 0.5, "lightgbm": 0.5}
    assert weighted_by_horizon(weights, 0.1).weights["mamba_forecast"] == pytest.approx(2.5 / 3.5)
    assert weighted_by_horizon(weights, 1).weights["mamba_forecast"] == pytest.approx(1.2 / 2.2)
    assert weighted_by_horizon(weights, 30).weights["mamba_forecast"] == pytest.approx(0.5)
    assert [horizon_class(s) for s in (0.5, 1, 5, 6)] == ["intraday", "short_term", "short_term", "long_term"]


def test_inner_folds_are_in_time_order_purged_and_do_not_overlap():
    _, keys, _, _ = panel(4, 100, 1, seed=0, horizon=5)
    folds = inner_folds(keys, folds=3, validation_sessions=10, embargo=3)
    sessions, ends = keys["session"].to_numpy(), keys["label_end"].to_numpy()
    for earlier, later in pairwise(folds):
        assert sessions[earlier.validation].max() < sessions[later.validation].min()
    for fold in folds:
        gap = np.unique(
            sessions[(sessions >= ends[fold.train].max()) & (sessions < sessions[fold.validation].min())]
        )
        assert ends[fold.train].max() < sessions[fold.validation].min()
        assert len(gap) >= 3
    assert sessions[folds[-1].validation].max() == sessions.max()
    with pytest.raises(FitError, match="too few for 10 inner folds"):
        inner_folds(keys, folds=10, validation_sessions=10, embargo=3)


def members_of(keys, target, rng):
    """A good member, a noisy one, and one that has memorised its training rows."""
    seen = []

    def good(train, validation):
        seen.append((train, validation))
        return target[validation] + 0.5 * rng.normal(size=len(validation))

    def noisy(train, validation):
        return target[validation] + 2.0 * rng.normal(size=len(validation))

    def overfit(train, validation):
        memory = dict(zip(train.tolist(), target[train].tolist(), strict=True))
        return np.array([memory.get(i, rng.normal()) for i in validation.tolist()])

    return {"good": good, "noisy": noisy, "overfit": overfit}, seen


@pytest.fixture
def stack():
    _, keys, _, rng = panel(20, 120, 1, seed=1)
    target = rng.normal(size=len(keys))
    estimators, seen = members_of(keys, target, rng)
    ledger = FitLedger("2020-06-01")
    oof = out_of_fold(keys, estimators, folds=3, validation_sessions=20, embargo=2, ledger=ledger)
    return keys, target, oof, ledger, seen


def test_out_of_fold_predictions_come_from_members_that_had_not_seen_the_rows(stack):
    _, _, oof, ledger, seen = stack
    assert all(not set(train) & set(validation) for train, validation in seen)
    assert len(np.unique(oof.rows)) == len(oof.rows) == 3 * 20 * 20
    names = ledger.to_frame()["name"].to_list()
    assert names == [f"{m}/inner {i}" for m in ("good", "noisy", "overfit") for i in range(3)]


def test_fitted_weights_and_stack_trust_the_good_member_not_the_overfit_one(stack):
    keys, target, oof, ledger, _ = stack
    weighted = fit_weights(oof, target, keys, kind="value", ledger=ledger)
    assert weighted.weights["good"] > 0.6
    assert weighted.weights["overfit"] < 0.15
    stacked = fit_stacked(oof, target, keys, kind="value", ledger=ledger)
    coefficients = dict(zip(stacked.estimators, stacked.coefficients[0], strict=True))
    assert coefficients["good"] > 0.6 > 0.15 > coefficients["overfit"]
    # inverse-variance theory: two unbiased estimators with variances 1/4 and 4
    assert weighted.weights["good"] / weighted.weights["noisy"] == pytest.approx(16, rel=0.5)


def test_weights_of_values_as_small_as_returns_are_those_of_large_ones(stack):
    keys, target, oof, ledger, _ = stack
    small = OutOfFold(oof.rows, {name: 1e-3 * p for name, p in oof.predictions.items()})
    large, tiny = (
        fit_weights(o, scale * target, keys, kind="value", ledger=ledger).weights
        for o, scale in ((oof, 1.0), (small, 1e-3))
    )
    assert tiny == pytest.approx(large, abs=1e-3)


def test_weights_are_drawn_towards_equal_ones(stack):
    keys, target, oof, ledger, _ = stack
    free = fit_weights(oof, target, keys, kind="value", ledger=ledger).weights
    half = fit_weights(oof, target, keys, kind="value", ledger=ledger, equal_share=0.5).weights
    assert half == pytest.approx({name: (w + 1 / 3) / 2 for name, w in free.items()})


def test_a_market_that_moved_does_not_choose_the_member():
    """One estimator tells symbols apart, the other leans the way that few sessions happened to go."""
    _, keys, _, rng = panel(30, 60, 1, seed=2)
    days = keys["session"].rank("dense").to_numpy() - 1
    market = 5.0 * rng.normal(size=int(days.max()) + 1)[days]
    own = rng.normal(size=len(keys))
    target = market + own + rng.normal(size=len(keys))
    predictions = {"apart": 0.5 * own, "leans": 0.3 * market + 0.1 * own}
    oof = OutOfFold(np.arange(len(keys)), predictions)
    ledger = FitLedger("2020-06-01")
    together = fit_weights(oof, target, keys, kind="value", ledger=ledger).weights
    within = fit_weights(oof, target, keys, kind="value", ledger=ledger, within_sessions=True).weights
    assert together["leans"] > 0.95
    assert within["apart"] > 0.95


def test_stacked_classes_improve_on_the_members_and_sum_to_one():
    _, keys, _, rng = panel(30, 100, 1, seed=2)
    target = rng.integers(0, 3, len(keys))

    def estimator(strength):
        logits = strength * np.eye(3)[target] + rng.normal(size=(len(keys), 3))
        e = np.exp(4 * logits)  # overconfident
        return e / e.sum(1, keepdims=True)

    predictions = {"a": estimator(1.5), "b": estimator(1.0)}
    half = np.arange(len(keys)) % 2 == 0
    rows = np.flatnonzero(half)
    oof = OutOfFold(rows, {k: v[rows] for k, v in predictions.items()})
    ledger = FitLedger("2020-06-01")
    stacked = fit_stacked(oof, target, keys, kind="class", ledger=ledger)
    weighted = fit_weights(oof, target, keys, kind="class", ledger=ledger)
    fresh = {k: v[~half] for k, v in predictions.items()}

    def log_loss(p):
        return -np.log(np.clip(p[np.arange(len(p)), target[~half]], 1e-12, None)).mean()

    out = stacked.predict(fresh)
    np.testing.assert_allclose(out.sum(1), 1)
    assert log_loss(out) < log_loss(weighted.predict(fresh)) < min(log_loss(p) for p in fresh.values())


def test_stacking_with_a_missing_class_gives_it_no_probability_and_one_class_is_refused():
    _, keys, _, rng = panel(5, 40, 1, seed=3)
    target = np.where(np.arange(len(keys)) % 2 == 0, 0, 2)
    p = rng.dirichlet(np.ones(3), len(keys))
    oof = OutOfFold(np.arange(len(keys)), {"a": p})
    stacked = fit_stacked(oof, target, keys, kind="class", ledger=FitLedger("2020-06-01"))
    out = stacked.predict({"a": p})
    assert (out[:, 1] == 0).all()
    np.testing.assert_allclose(out.sum(1), 1)
    with pytest.raises(FitError, match="are of class 1; nothing to stack on"):
        fit_stacked(oof, np.ones(len(keys)), keys, kind="class", ledger=FitLedger("2020-06-01"))
