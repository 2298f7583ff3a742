"""A study's fold: estimators, ensemble, selection, calibration, and the folder it is kept in."""

from collections import Counter
from dataclasses import replace
from datetime import timedelta

import numpy as np
import polars as pl
import pytest

from trademl_pipeline.tasks import TASKS
from trademl_pipeline.training.estimators import EstimatorSpec, TrainingContext, TrainingPreset, subsampled
from trademl_pipeline.training.fitted_study import load_study
from trademl_pipeline.training.inner_split import FitError
from trademl_pipeline.training.ledger import FitLedger
from trademl_pipeline.training.selection import SelectionPlan
from trademl_pipeline.training.study import TrainingConfig, fit_study
from trademl_pipeline.training.trials import TrialLedger
from trademl_pipeline.training.tuning import Choice
from trademl_pipeline_tests.training.planted import direction_problem, panel, windows_of

FOLD = "2020-06-01"
NAMES = ("a", "b", "c", "d")
SETTING = TrainingContext(NAMES, "small", validation_sessions=15, embargo=2, seed=3)
TREES = EstimatorSpec(
    "trees",
    "lightgbm",
    {"small": TrainingPreset(trials=2)},
    settings={"max_rounds": 30, "early_stopping": 5, "class_weights": "none"},
    lags=(0, 1, 2),
    space={"num_leaves": Choice((4, 8))},
)
NETWORK = EstimatorSpec(
    "network",
    "transformer",
    {"small": TrainingPreset(epochs=2, max_rows=600)},
    settings={"d_model": 16, "heads": 2, "layers": 1, "dropout": 0.0},
    training={"batch_size": 64, "learning_rate": 5e-3},
)


def direction_rows(seed: int = 0):
    """Windows of a direction market, their labels in the keys as the lake's tables have them."""
    windows, _ = direction_problem(symbols=15, sessions=90, features=4, length=6, seed=seed)
    keys = windows.keys.with_columns(
        pl.Series("target", windows.targets["target"]).cast(pl.Int8),
        pl.col("label_end").cast(pl.Datetime("us", "UTC")).alias("knowledge_time"),
    )
    return replace(windows, keys=keys, targets={})


@pytest.fixture(scope="module")
def rows():
    return direction_rows()


@pytest.fixture(scope="module")
def trials(tmp_path_factory):
    return TrialLedger(tmp_path_factory.mktemp("trials") / "trials.jsonl")


def fitted(plan, rows, trials, ledger=None):
    return fit_study(plan, rows, SETTING, ledger=ledger or FitLedger(FOLD), trials=trials)


@pytest.fixture(scope="module")
def weighted(rows, trials):
    ledger = FitLedger(FOLD)
    plan = TrainingConfig(
        "direction", (TREES, NETWORK, replace(NETWORK, name="beside", benchmark=True)), "weighted"
    )
    return fitted(plan, rows, trials, ledger), ledger


def test_a_weighted_ensemble_is_made_of_its_voters(weighted, rows):
    study, _ = weighted
    values = study.estimator_values(rows.take(np.arange(20)))
    assert set(values) == {"trees", "network", "beside"}
    assert set(study.weights[""]) == {"trees", "network"}
    total = sum(study.weights[""].values())
    by_hand = sum(study.weights[""][m] / total * values[m] for m in ("trees", "network"))
    assert np.allclose(study.combine(values), by_hand)


def test_everything_that_was_fitted_is_on_record(weighted, rows):
    _, ledger = weighted
    kinds = {r.kind for r in ledger.records(FOLD)}
    assert {"tuning", "model", "scaler", "early_stopping", "stacking", "ensemble_weights"} <= kinds
    assert all(r.label_end_max <= rows.keys["label_end"].max() for r in ledger.records(FOLD))
    study, _ = weighted
    expected = Counter(study.recorded_fits)
    assert expected == {"model": 3, "scaler": 2, "early_stopping": 2, "ensemble weights": 1}
    assert expected <= Counter(r.name for r in ledger.records(FOLD))


def test_the_search_is_counted(weighted, trials):
    study, _ = weighted
    assert study.estimators["trees"].chosen["num_leaves"] in (4, 8)
    assert trials.count("direction/trees") == 2


def test_a_saved_fold_predicts_the_same_and_a_fold_trained_again_is_the_same(
    weighted, rows, trials, tmp_path
):
    study, _ = weighted
    digest = study.save(tmp_path / "one")
    some = rows.take(np.arange(30))
    loaded = load_study(tmp_path / "one")
    assert np.array_equal(
        loaded.combine(loaded.estimator_values(some)), study.combine(study.estimator_values(some))
    )
    assert {n: (m.lags, m.parameters, m.rows) for n, m in loaded.estimators.items()} == {
        n: (m.lags, m.parameters, m.rows) for n, m in study.estimators.items()
    }
    again = fitted(
        TrainingConfig(
            "direction", (TREES, NETWORK, replace(NETWORK, name="beside", benchmark=True)), "weighted"
        ),
        rows,
        TrialLedger(tmp_path / "trials.jsonl"),
    )
    assert again.save(tmp_path / "two") == digest


def test_a_file_that_was_changed_is_refused(weighted, tmp_path):
    weighted[0].save(tmp_path / "study")
    card = tmp_path / "study" / "trees" / "model.json"
    card.write_text(card.read_text().replace("lightgbm", "xgboost"))
    with pytest.raises(FitError, match="not the file that was saved"):
        load_study(tmp_path / "study")


def test_each_voter_is_calibrated_out_of_fold_before_they_are_combined(rows, trials, tmp_path):
    ledger = FitLedger(FOLD)
    trees = replace(TREES, space={}, rolling_mean_windows=(3, 6))
    last = replace(NETWORK, training={**NETWORK.training, "patience": 0, "keep": "last"})
    plan = TrainingConfig(
        "direction", (last, trees, replace(trees, name="beside", benchmark=True)), "weighted"
    )
    study = fitted(replace(plan, calibrate=True), rows, trials, ledger)
    assert set(study.calibrators) == {"network", "trees"}
    some = rows.take(np.arange(0, len(rows), 5))
    values = study.estimator_values(some)
    mixed = sum(w * study.calibrators[m].apply(values[m]) for m, w in study.weights[""].items())
    np.testing.assert_allclose(study.combine(values), mixed / sum(study.weights[""].values()))
    # The network kept its last epoch, so it is not trained again to be judged; the trees are.
    fits = [r for r in ledger.records(FOLD) if r.kind == "stacking"]
    assert len(fits) == 2
    assert study.estimators["network"].saw_no_validation
    assert not study.estimators["trees"].saw_no_validation
    study.save(tmp_path / "study")
    loaded = load_study(tmp_path / "study")
    np.testing.assert_array_equal(loaded.combine(loaded.estimator_values(some)), study.combine(values))
    raw = fitted(plan, rows, trials)
    assert raw.calibrators == {}


def test_voters_may_count_alike(rows, trials):
    ledger = FitLedger(FOLD)
    trees = replace(TREES, space={})
    base_learners = (
        trees,
        replace(trees, name="other", lags=(0,)),
        replace(trees, name="beside", benchmark=True),
    )
    study = fitted(TrainingConfig("direction", base_learners, "mean"), rows, trials, ledger)
    values = study.estimator_values(rows.take(np.arange(10)))
    np.testing.assert_allclose(study.combine(values), (values["trees"] + values["other"]) / 2)
    assert not [r for r in ledger.records(FOLD) if r.kind == "stacking"]
    network = replace(NETWORK, presets={"small": TrainingPreset(epochs=1, max_rows=300)})
    study = fitted(
        TrainingConfig("direction", (network, *base_learners), "mean", calibrate=True), rows, trials, ledger
    )
    assert set(study.calibrators) == {"network"}
    assert not [r for r in ledger.records(FOLD) if r.kind == "stacking"]


def test_trees_alone_cannot_be_calibrated_on_rows_that_they_learned_from(rows, trials):
    with pytest.raises(FitError, match="no network is among them"):
        fitted(TrainingConfig("direction", (replace(TREES, space={}),), calibrate=True), rows, trials)


def test_a_second_level_is_fitted_on_what_no_member_saw(rows, trials):
    plain = replace(TREES, space={})
    study = fitted(
        TrainingConfig("direction", (plain, replace(plain, name="more", lags=(0,))), "stacked"), rows, trials
    )
    assert study.stacked is not None
    p = study.combine(study.estimator_values(rows.take(np.arange(10))))
    assert np.allclose(p.sum(1), 1.0)


def test_selected_features_are_the_ones_that_are_read(rows, trials):
    plan = TrainingConfig(
        "direction",
        (replace(TREES, space={}),),
        select=SelectionPlan(min_features=2, max_features=2, rounds=10),
    )
    study = fitted(plan, rows, trials)
    assert set(study.names) == {"a", "b"}
    assert set(study.dropped) == {"c", "d"}
    narrow = replace(rows, matrix=rows.matrix[:, :2]).take(np.arange(5))
    assert study.combine(study.estimator_values(narrow)).shape == (5, 3)


def test_shuffled_targets_teach_nothing(rows, trials):
    rng = np.random.default_rng(5)
    shuffled = rows.keys.with_columns(pl.col("target").shuffle(seed=int(rng.integers(1000))).over("session"))
    study = fitted(
        TrainingConfig("direction", (replace(TREES, space={}),)), replace(rows, keys=shuffled), trials
    )
    test = direction_rows(seed=1)
    y = test.keys["target"].to_numpy()
    accuracy = (study.combine(study.estimator_values(test)).argmax(1) == y).mean()
    baseline = np.bincount(y).max() / len(y)
    assert accuracy < baseline + 2 * np.sqrt(0.25 / len(y)) + 0.02
    real = fitted(TrainingConfig("direction", (replace(TREES, space={}),)), rows, trials)
    assert (real.combine(real.estimator_values(test)).argmax(1) == y).mean() > baseline + 0.15


def test_heads_of_a_symbols_own_serve_that_symbol_alone(rows, trials, tmp_path):
    twice = replace(NETWORK, presets={"small": TrainingPreset(epochs=1, max_rows=300)})
    many = replace(rows, keys=rows.keys.with_columns(pl.col("symbol").replace("S001", "S000")))
    plan = TrainingConfig("direction", (twice,), fine_tune=("S002", "nobody"))
    study = fitted(plan, rows, trials)
    assert study.fine_tuned == {}
    plan = replace(plan, fine_tune=("S000",))
    own = many.keys.filter(pl.col("symbol") == "S000").height
    assert own >= 100
    ledger = FitLedger(FOLD)
    study = fitted(plan, many, trials, ledger)
    assert set(study.fine_tuned) == {"S000"}
    assert Counter(study.recorded_fits) <= Counter(r.name for r in ledger.records(FOLD))
    some = many.take(np.arange(0, len(many), 7))
    values = study.estimator_values(some)["network"]
    shared = replace(study, fine_tuned={}).estimator_values(some)["network"]
    tuned = (some.keys["symbol"] == "S000").to_numpy()
    assert np.array_equal(values[~tuned], shared[~tuned])
    study.save(tmp_path / "study")
    assert np.array_equal(load_study(tmp_path / "study").estimator_values(some)["network"], values)


def forecast_rows():
    matrix, keys, age, rng = panel(12, 90, 4, 0)
    signal = matrix[:, 0]
    returns = 0.01 * (signal + rng.normal(size=len(signal)))
    keys = keys.with_columns(
        pl.Series("return_1", returns),
        pl.Series("volatility_1", np.abs(returns) + 1e-4),
        pl.Series("return_30", 3 * returns),
        pl.Series("volatility_30", np.full(len(returns), 0.01)),
        (pl.col("session").cast(pl.Datetime("us", "UTC")) + timedelta(days=1)).alias("knowledge_time"),
    )
    return windows_of(matrix, keys, age, 6, {}), signal


def test_members_of_a_forecast_are_weighted_horizon_by_horizon(trials):
    rows, signal = forecast_rows()
    mamba = EstimatorSpec(
        "mamba_forecast",
        "mamba_forecast",
        {"small": TrainingPreset(epochs=1, max_rows=300)},
        settings={"d_model": 8, "d_state": 4, "d_conv": 2, "expand": 1, "layers": 1},
    )
    linear = EstimatorSpec("linear", "linear", {"small": TrainingPreset()})
    study = fitted(TrainingConfig("forecast", (mamba, linear), "horizon"), rows, trials)
    assert set(study.weights) == set(TASKS["forecast"].columns)
    values = study.combine(study.estimator_values(rows))
    assert np.corrcoef(values[:, 0], signal)[0, 1] > 0.9
    assert (values[:, [1, 3]] > 0).all()


def test_trees_of_values_vote_and_are_kept(trials, tmp_path):
    rows, signal = forecast_rows()
    settings = {"max_rounds": 40, "early_stopping": 0, "min_leaf": 20}
    kinds = ("lightgbm", "xgboost")
    trees = [
        EstimatorSpec(
            kind,
            kind,
            {"small": TrainingPreset(max_rows=900)},
            settings=chosen,
            lags=(0, 1),
            rolling_mean_windows=(3,),
        )
        for kind, chosen in zip(kinds, (settings, {"max_rounds": 40, "early_stopping": 0}), strict=True)
    ]
    ledger = FitLedger(FOLD)
    study = fitted(TrainingConfig("forecast", tuple(trees), "weighted"), rows, trials, ledger)
    assert {r.kind for r in ledger.records()} == {"model", "stacking", "ensemble_weights"}
    values = study.estimator_values(rows)
    for kind in kinds:
        assert np.corrcoef(values[kind][:, 0], signal)[0, 1] > 0.8
        assert max(study.estimators[kind].importance, key=study.estimators[kind].importance.get) == "a"
        assert study.estimators[kind].parameters > 0
        assert study.estimators[kind].rows == 900
    study.save(tmp_path / "fold")
    assert np.array_equal(load_study(tmp_path / "fold").combine(values), study.combine(values))
    again = load_study(tmp_path / "fold").estimator_values(rows)
    assert all(np.array_equal(again[kind], values[kind]) for kind in kinds)


def hybrid_rows():
    rows, signal = forecast_rows()
    rng = np.random.default_rng(4)
    returns = 0.01 * (signal + rng.normal(size=len(signal)))
    labels = {
        "return_1": returns,
        "return_4": 2 * returns,
        "return_24": 3 * returns,
        "threshold": np.full(len(signal), 0.01),
        "target": np.digitize(3 * returns, [-0.01, 0.01]),
        "position": np.clip(50 * returns, -1, 1),
        "volatility_24": np.full(len(signal), 0.02),
        "drawdown_24": np.minimum(returns, 0.0),
    }
    keys = rows.keys.drop(set(labels) & set(rows.keys.columns))
    return replace(rows, keys=keys.with_columns(pl.Series(n, v) for n, v in labels.items())), signal


def test_weights_of_their_own_leave_classes_that_sum_to_one(trials):
    rows, signal = hybrid_rows()
    trees = [
        EstimatorSpec(
            name,
            "lightgbm",
            {"small": TrainingPreset()},
            settings={"max_rounds": n, "early_stopping": 0, "min_leaf": 20},
        )
        for name, n in (("few", 5), ("many", 40))
    ]
    study = fitted(TrainingConfig("hybrid", tuple(trees), "weighted"), rows, trials)
    columns = list(TASKS["hybrid"].columns)
    own = [columns.index(c) for c in ("p_sell", "p_hold", "p_buy")]
    assert len({study.weights[c]["few"] for c in ("p_sell", "p_hold", "p_buy")}) > 1
    values = study.combine(study.estimator_values(rows))
    assert np.allclose(values[:, own].sum(axis=1), 1)
    for column, sign in (("return_1", 1), ("p_buy", 1), ("p_sell", -1), ("position", 1), ("risk", 1)):
        assert sign * np.corrcoef(values[:, columns.index(column)], signal)[0, 1] > 0.7
    assert np.abs(values[:, columns.index("position")]).max() <= 1.05
    assert np.allclose(values[:, columns.index("volatility")], 0.02)


@pytest.mark.parametrize(
    ("plan", "named"),
    [
        (
            TrainingConfig("hybrid", (EstimatorSpec("linear", "linear", {"small": TrainingPreset()}),)),
            "has probabilities beside them",
        ),
        (TrainingConfig("forecast", (TREES,)), "searches hyper-parameters"),
        (TrainingConfig("direction", (replace(TREES, benchmark=True),)), "benchmarks"),
        (
            TrainingConfig("direction", (replace(TREES, presets={"base": TrainingPreset()}),)),
            "no preset 'small'",
        ),
    ],
)
def test_a_plan_that_cannot_work_says_why(plan, named, rows, trials):
    source = {"forecast": forecast_rows, "hybrid": hybrid_rows}.get(plan.task, lambda: (rows,))()[0]
    with pytest.raises(FitError, match=named):
        fitted(plan, source, trials)


def test_a_linear_member_votes_on_classes(rows, trials):
    plan = TrainingConfig(
        "direction",
        (replace(TREES, space={}), EstimatorSpec("linear", "linear", {"small": TrainingPreset()})),
        "weighted",
    )
    study = fitted(plan, rows, trials)
    values = study.estimator_values(rows)["linear"]
    assert np.allclose(values.sum(axis=1), 1)
    right = (values.argmax(axis=1) == rows.keys["target"].to_numpy()).mean()
    assert right > 0.45
    assert set(study.weights[""]) == {"trees", "linear"}


def test_rows_are_drawn_without_repetition_and_in_order(rows):
    some = subsampled(rows, 100, seed=1)
    assert len(some) == 100
    assert (np.diff(some.row) > 0).all()
    assert subsampled(rows, None, seed=1) is rows
