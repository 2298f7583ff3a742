"""Boosted trees over values and probabilities."""

from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest

from trademl_pipeline.training.inner_split import FitError, inner_split
from trademl_pipeline.training.ledger import FitLedger
from trademl_pipeline.training.saved import VALUE_TREES, SavedModel, load_model
from trademl_pipeline.training.trees.config import LightGBMConfig, XGBoostConfig
from trademl_pipeline.training.trees.values import Columns, ValueTrees, fit_value_trees

FEATURES = ("signal", "other", "noise")
COLUMNS = Columns(
    ("move", "size", "down", "up", "kept"),
    log_scale=frozenset({"size"}),
    probabilities=frozenset({"down", "up", "kept"}),
    simplexes=(("down", "up"),),
)
DAYS = [date(2020, 1, 1) + timedelta(days=i) for i in range(130)]
SMALL = {"max_rounds": 40, "early_stopping": 5, "validation_sessions": 20, "min_rows": 50}
CONFIGS = {"lightgbm": LightGBMConfig, "xgboost": XGBoostConfig}


def training_rows(seed=0, symbols=15, horizon=5):
    rng = np.random.default_rng(seed)
    rows = [(f"S{s}", DAYS[i], DAYS[i + horizon]) for s in range(symbols) for i in range(len(DAYS) - horizon)]
    keys = pl.DataFrame(rows, schema=["symbol", "session", "label_end"], orient="row")
    x = rng.standard_normal((keys.height, 3))
    move = 0.01 * (x[:, 0] + 0.5 * rng.standard_normal(keys.height))
    size = np.exp(0.5 * x[:, 1] - 4)
    kept = (rng.random(keys.height) < 1 / (1 + np.exp(-2 * x[:, 1]))).astype(float)
    y = np.column_stack([move, size, move < 0, move >= 0, kept]).astype(float)
    y[rng.random(keys.height) < 0.3, 4] = np.nan
    return keys, x, y


def fit(kind, keys, x, y, columns=COLUMNS, ledger=None, seed=1, threads=1, groups=None, **changes):
    ledger = ledger or FitLedger("2020-06-01")
    config = CONFIGS[kind](**(SMALL | changes))
    return fit_value_trees(
        kind,
        keys,
        x,
        y,
        FEATURES,
        columns,
        config,
        seed=seed,
        threads=threads,
        ledger=ledger,
        groups=groups,
    )


@pytest.fixture(params=list(CONFIGS))
def kind(request):
    return request.param


def test_every_column_is_found_and_in_its_own_units(kind):
    model = fit(kind, *training_rows())
    _, x, y = training_rows(seed=9)
    said = model.predict(x)
    assert said.shape == y.shape
    assert np.corrcoef(said[:, 0], y[:, 0])[0, 1] > 0.8
    assert np.corrcoef(np.log(said[:, 1]), np.log(y[:, 1]))[0, 1] > 0.95
    assert 0.5 < np.median(said[:, 1] / y[:, 1]) < 2.0
    assert ((said[:, 2:] > 0) & (said[:, 2:] < 1)).all()
    assert said[:, 2] + said[:, 3] == pytest.approx(1.0)
    known = ~np.isnan(y[:, 4])
    assert said[known & (x[:, 1] > 1), 4].mean() > 0.75 > 0.25 > said[known & (x[:, 1] < -1), 4].mean()


def test_importance_is_the_mean_over_the_columns(kind):
    model = fit(kind, *training_rows())
    assert sum(model.importance.values()) == pytest.approx(1.0)
    assert model.importance["noise"] < min(model.importance["signal"], model.importance["other"])


def test_rounds_are_chosen_column_by_column_or_given(kind):
    chosen = fit(kind, *training_rows(), max_rounds=300)
    assert len({column.rounds for column in chosen.trees}) > 1
    assert all(column.validation_loss is not None for column in chosen.trees)
    given = fit(kind, *training_rows(), early_stopping=0, max_rounds=7)
    assert [column.rounds for column in given.trees] == [7] * 5
    assert all(column.validation_loss is None for column in given.trees)
    assert given.rounds == 35


def test_same_seed_same_model_another_seed_another(kind):
    rows = training_rows()
    assert fit(kind, *rows).to_text() == fit(kind, *rows).to_text()
    assert fit(kind, *rows).to_text() != fit(kind, *rows, seed=2).to_text()


def test_lightgbm_does_not_depend_on_the_number_of_threads():
    rows = training_rows()
    one, two = (fit("lightgbm", *rows, threads=n, early_stopping=0, max_rounds=4) for n in (1, 2))
    assert (one.predict(rows[1]) == two.predict(rows[1])).all()


def test_a_saved_model_predicts_the_same(kind, tmp_path):
    rows = training_rows()
    model = fit(kind, *rows)
    again = ValueTrees.from_text(model.to_text())
    assert again == model
    SavedModel(VALUE_TREES, kind, FEATURES, 1, {}, {}, model).save(tmp_path / "m")
    loaded = load_model(tmp_path / "m")
    assert (loaded.model.predict(rows[1]) == model.predict(rows[1])).all()
    outputs = loaded.predict(rows[1][:, None, :])
    assert list(outputs) == list(COLUMNS.names)
    assert (outputs["kept"] == model.predict(rows[1])[:, 4]).all()


def test_a_column_that_teaches_nothing_is_predicted_by_its_mean(kind):
    keys, x, y = training_rows()
    y[:, 4] = np.nan
    y[:20, 4], y[5, 4] = 0.0, 1.0  # too few rows
    y[:, 0] = 0.25  # one value
    model = fit(kind, keys, x, y)
    said = model.predict(x)
    assert said[:, 4] == pytest.approx(1 / 20)
    assert said[:, 0] == pytest.approx(0.25)
    assert model.trees[0].booster == model.trees[4].booster == ""


def test_an_empty_month_is_predicted(kind):
    assert fit(kind, *training_rows()).predict(np.empty((0, 3))).shape == (0, 5)


def test_missing_features_are_left_to_the_trees(kind):
    keys, x, y = training_rows()
    x[np.random.default_rng(1).random(len(x)) < 0.2, 0] = np.nan
    assert np.isfinite(fit(kind, keys, x, y).predict(x)).all()


def test_a_label_of_the_validation_rows_changes_the_rounds_alone(kind):
    """Without a second fit, trees know of the validation rows only how many rounds they liked."""
    keys, x, y = training_rows()
    split = inner_split(keys, validation_sessions=20, embargo=5)
    other = y.copy()
    other[split.validation, 0] = np.random.default_rng(3).standard_normal(int(split.validation.sum()))
    settings = {"refit": False, "early_stopping": 40}
    one, two = (fit(kind, keys, x, labels, **settings) for labels in (y, other))
    assert one.trees[0].rounds != two.trees[0].rounds
    assert one.trees[1:] == two.trees[1:]
    assert one.trees[0].mean == two.trees[0].mean


def test_what_was_fitted_is_on_the_ledger_with_the_rows_it_saw(kind):
    keys, x, y = training_rows()
    ledger = FitLedger("2020-06-01")
    fit(kind, keys, x, y, ledger=ledger)
    assert [entry.name for entry in ledger.records()] == ["early_stopping", "model"]
    split = inner_split(keys, validation_sessions=20, embargo=5)
    assert ledger.records()[0].n_rows == int((split.train | split.validation).sum())
    assert ledger.records()[1].n_rows == keys.height


MARKET = Columns(("move", "rose"), probabilities=frozenset({"rose"}))


def market_rows(seed=0, symbols=40):
    """A faint signal of each symbol's own under a market that moves all of them; a feature that names the session."""
    keys, x, _ = training_rows(seed, symbols)
    rng = np.random.default_rng(seed + 100)
    day = keys["session"].rank("dense").to_numpy().astype(int) - 1
    move = x[:, 0] + rng.standard_normal(keys.height) + 4.0 * rng.standard_normal(day.max() + 1)[day]
    x[:, 2] = rng.standard_normal(day.max() + 1)[day]
    return keys, x, np.column_stack([move, move > 0]).astype(float), day


def test_what_the_market_did_is_taken_out_of_values_and_chances(kind):
    settings = {"columns": MARKET, "early_stopping": 0, "max_rounds": 60}
    keys, x, y, day = market_rows()
    plain = fit(kind, keys, x, y, **settings)
    apart = fit(kind, keys, x, y, groups=day, **settings)
    fresh = market_rows(seed=7)[1]
    for i in range(2):
        one, two = (np.corrcoef(m.predict(fresh)[:, i], fresh[:, 0])[0, 1] for m in (plain, apart))
        assert two > 0.75 > 0.5 > one
    said = apart.predict(fresh)
    assert said[:, 0].mean() == pytest.approx(y[:, 0].mean(), abs=0.1)
    assert said[:, 1].mean() == pytest.approx(y[:, 1].mean(), abs=0.05)
    assert ValueTrees.from_text(apart.to_text()) == apart


def test_groups_of_few_rows_keep_their_values():
    keys, x, y, _ = market_rows(symbols=4)
    settings = {"columns": MARKET, "early_stopping": 0, "max_rounds": 5}
    plain = fit("lightgbm", keys, x, y, **settings)
    alone = fit("lightgbm", keys, x, y, groups=np.arange(keys.height), **settings)
    assert alone.trees[0] == plain.trees[0]


def test_no_group_is_taken_out_with_rows_that_are_not_learned_from(kind):
    """With groups, too, trees know of the validation rows only how many rounds they liked."""
    keys, x, y, day = market_rows()
    split = inner_split(keys, validation_sessions=20, embargo=5)
    other = y.copy()
    other[~split.train] = np.random.default_rng(3).random((int((~split.train).sum()), 2)).round()
    one, two = (
        fit(
            kind,
            keys,
            x,
            labels,
            columns=MARKET,
            groups=day // 40,  # groups that reach from one side to the other
            refit=False,
            early_stopping=1000,
            max_rounds=12,
        )
        for labels in (y, other)
    )
    shorter = min(one.trees[1].rounds, two.trees[1].rounds)
    assert shorter > 0
    assert one.trees[1].offset == two.trees[1].offset
    assert one.trees[0].mean == two.trees[0].mean
    if one.trees[1].rounds == two.trees[1].rounds:
        assert one.trees[1].booster == two.trees[1].booster


def test_rounds_are_chosen_with_groups_as_without(kind):
    keys, x, y, day = market_rows()
    model = fit(kind, keys, x, y, columns=MARKET, groups=day)
    assert all(0 < column.rounds <= 40 for column in model.trees)
    assert 0.4 < model.trees[1].validation_loss < 0.8


def refused(match, kind="lightgbm", change=None, **changes):
    keys, x, y = training_rows()
    keys, x, y = (change or (lambda *rows: rows))(keys, x, y)
    with pytest.raises(FitError, match=match):
        fit(kind, keys, x, y, **changes)


def test_rows_that_cannot_be_learned_from_are_refused():
    def no_label(keys, x, y):
        y[:, 1] = np.nan
        return keys, x, y

    def infinite_label(keys, x, y):
        y[3, 0] = np.inf
        return keys, x, y

    def infinite_feature(keys, x, y):
        x[3, 1] = np.inf
        return keys, x, y

    def no_chance(keys, x, y):
        y[3, 4] = 1.5
        return keys, x, y

    def unjudged(keys, x, y):
        y[inner_split(keys, validation_sessions=20, embargo=5).validation, 4] = np.nan
        return keys, x, y

    refused("no training row has a label of size", change=no_label)
    refused("labels of move hold infinite", change=infinite_label)
    refused("'other' holds infinite", change=infinite_feature)
    refused("labels of kept run from 0 to 1.5", change=no_chance)
    refused("no inner validation row has a label of kept", change=unjudged)
    refused("fewer than min_rows=5000", min_rows=5000)
    refused("align them first", change=lambda keys, x, y: (keys, x, y[:, :2]))
