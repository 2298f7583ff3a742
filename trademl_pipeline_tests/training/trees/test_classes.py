import subprocess
import sys
from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest

from trademl_pipeline.training.inner_split import inner_split
from trademl_pipeline.training.ledger import FitLedger
from trademl_pipeline.training.trees.classes import (
    FitError,
    LightGBMConfig,
    TreeModel,
    XGBoostConfig,
    fit_lightgbm,
    fit_xgboost,
    shap_values,
)

FEATURES = ("signal", "noise", "gaps")
DAYS = [date(2020, 1, 1) + timedelta(days=i) for i in range(130)]
SMALL = {"max_rounds": 40, "early_stopping": 5, "validation_sessions": 20}
KINDS = {
    "lightgbm": (fit_lightgbm, LightGBMConfig(**SMALL)),
    "xgboost": (fit_xgboost, XGBoostConfig(**SMALL)),
}


def training_rows(seed=0, symbols=15, horizon=5, strength=1.5):
    rng = np.random.default_rng(seed)
    rows = [(f"S{s}", DAYS[i], DAYS[i + horizon]) for s in range(symbols) for i in range(len(DAYS) - horizon)]
    keys = pl.DataFrame(rows, schema=["symbol", "session", "label_end"], orient="row")
    x = rng.standard_normal((keys.height, 3))
    move = strength * x[:, 0] + rng.standard_normal(keys.height)
    x[rng.random(keys.height) < 0.2, 2] = np.nan
    return keys.with_columns(target=pl.Series(np.digitize(move, [-0.6, 0.9])).cast(pl.Int8)), x


def fit(kind, keys, x, ledger=None, seed=1, threads=1, features=FEATURES, groups=None, **changes):
    function, config = KINDS[kind]
    if changes:
        config = type(config)(**{**SMALL, **changes})
    ledger = ledger or FitLedger("2020-06-01")
    return function(keys, x, features, config, seed=seed, threads=threads, ledger=ledger, groups=groups)


@pytest.fixture(params=list(KINDS))
def kind(request):
    return request.param


def test_model_finds_the_planted_signal_and_says_where(kind):
    keys, x = training_rows()
    model = fit(kind, keys, x)
    fresh_keys, fresh = training_rows(seed=9)
    p = model.predict_proba(fresh)
    accuracy = (p.argmax(axis=1) == fresh_keys["target"].to_numpy()).mean()
    majority = fresh_keys["target"].value_counts()["count"].max() / fresh_keys.height
    assert accuracy > majority + 0.15
    assert max(model.importance, key=model.importance.__getitem__) == "signal"
    assert sum(model.importance.values()) == pytest.approx(1.0)
    assert p.shape == (fresh_keys.height, 3)
    assert p.sum(axis=1) == pytest.approx(1.0)


def test_same_seed_same_model_another_seed_another(kind):
    keys, x = training_rows()
    assert fit(kind, keys, x).booster == fit(kind, keys, x).booster
    assert fit(kind, keys, x).booster != fit(kind, keys, x, seed=2).booster


def test_lightgbm_does_not_depend_on_the_number_of_threads():
    keys, x = training_rows()
    one, two = (fit("lightgbm", keys, x, threads=n, early_stopping=0, max_rounds=4) for n in (1, 2))
    assert (one.predict_proba(x) == two.predict_proba(x)).all()


@pytest.mark.slow
def test_text_form_predicts_the_same_in_another_process(tmp_path):
    keys, x = training_rows()
    np.save(tmp_path / "x.npy", x[:20])
    models = {kind: fit(kind, keys, x) for kind in KINDS}
    for kind, model in models.items():
        assert TreeModel.from_text(model.to_text()) == model
        (tmp_path / f"{kind}.json").write_text(model.to_text())
    code = (
        "import numpy as np, sys, pathlib; from trademl_pipeline.training.trees.classes import TreeModel\n"
        "d = pathlib.Path(sys.argv[1]); x = np.load(d / 'x.npy')\n"
        "for f in d.glob('*.json'): np.save(f.with_suffix('.npy'),"
        " TreeModel.from_text(f.read_text()).predict_proba(x))"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True)
    for kind, model in models.items():
        assert (np.load(tmp_path / f"{kind}.npy") == model.predict_proba(x[:20])).all()


def test_frame_columns_are_taken_by_name(kind):
    keys, x = training_rows()
    frame = pl.DataFrame(x, schema=list(FEATURES)).with_columns(pl.all().fill_nan(None))
    shuffled = frame.select(reversed(FEATURES))
    model = fit(kind, keys, frame)
    assert model.booster == fit(kind, keys, x).booster
    assert (model.predict_proba(shuffled) == model.predict_proba(x)).all()


def test_every_fitted_object_is_on_record_with_the_rows_it_saw(kind):
    keys, x = training_rows()
    ledger = FitLedger("2020-06-01")
    fit(kind, keys, x, ledger)
    records = {r.name: r for r in ledger.records()}
    assert list(records) == ["early_stopping", "class_weights", "model"]
    assert records["model"].n_rows == records["class_weights"].n_rows == keys.height
    split = inner_split(keys, validation_sessions=20, embargo=5)
    assert records["early_stopping"].n_rows == split.train.sum() + split.validation.sum() < keys.height
    assert records["model"].label_end_max == keys["label_end"].max()


def test_without_refit_the_model_has_seen_the_inner_training_rows_only(kind):
    keys, x = training_rows()
    ledger = FitLedger("2020-06-01")
    model = fit(kind, keys, x, ledger, refit=False)
    split = inner_split(keys, validation_sessions=20, embargo=5)
    assert model.rows == split.train.sum()
    assert ledger.records()[-1].session_max < split.first_validation


def test_rows_between_training_and_validation_do_not_choose_the_rounds(kind):
    keys, x = training_rows()
    split = inner_split(keys, validation_sessions=20, embargo=5)
    purged = ~(split.train | split.validation)
    assert purged.any()
    spoilt = np.where(purged[:, None], 99.0, x)
    clean, dirty = fit(kind, keys, x, refit=False), fit(kind, keys, spoilt, refit=False)
    assert (clean.rounds, clean.validation_loss) == (dirty.rounds, dirty.validation_loss)


def test_early_stopping_stops_on_noise_and_can_be_turned_off(kind):
    keys, x = training_rows(strength=0.0)
    assert fit(kind, keys, x).rounds < 40
    off = fit(kind, keys, x, early_stopping=0, max_rounds=12)
    assert off.rounds == 12
    assert off.validation_loss is None


def test_class_that_no_row_has_gets_probability_zero(kind):
    keys, x = training_rows()
    keep = (keys["target"] != 1).to_numpy()
    model = fit(kind, keys.filter(keep), x[keep])
    p = model.predict_proba(x)
    assert model.classes == (0, 2)
    assert (p[:, 1] == 0).all()
    assert p.sum(axis=1) == pytest.approx(1.0)


def test_class_that_only_validation_rows_have_does_not_break_the_choice_of_rounds(kind):
    keys, x = training_rows()
    late = keys["session"] >= DAYS[105]
    keys = keys.with_columns(target=pl.when((pl.col("target") == 2) & ~late).then(1).otherwise("target"))
    model = fit(kind, keys, x)
    assert model.classes == (0, 1, 2)
    assert np.isfinite(model.validation_loss)


def test_single_class_is_refused(kind):
    keys, x = training_rows()
    with pytest.raises(FitError, match="are of class 1; a classifier needs two classes"):
        fit(kind, keys.with_columns(target=pl.lit(1, pl.Int8)), x)


def test_empty_and_too_small_folds_are_refused(kind):
    keys, x = training_rows()
    with pytest.raises(FitError, match="0 training rows, fewer than min_rows=200"):
        fit(kind, keys.clear(), x[:0])
    with pytest.raises(FitError, match="150 training rows, fewer than min_rows=200"):
        fit(kind, keys[:150], x[:150])


def test_constant_and_missing_features_are_named_and_unused(kind):
    keys, x = training_rows()
    wide = np.column_stack([x, np.full(len(x), 3.0), np.full(len(x), np.nan)])
    model = fit(kind, keys, wide, features=(*FEATURES, "constant", "absent"))
    assert model.unused == ("constant", "absent")
    assert model.importance["constant"] == model.importance["absent"] == 0.0
    with pytest.raises(FitError, match="none of 2 features varies"):
        fit(kind, keys, wide[:, 3:], features=("constant", "absent"))


def test_infinite_values_are_refused_by_name(kind):
    keys, x = training_rows()
    x[3, 1] = np.inf
    with pytest.raises(FitError, match="'noise' holds infinite"):
        fit(kind, keys, x)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda k, x: (k.drop("label_end"), x), "label_end"),
        (lambda k, x: (k, x[:-1]), "align them"),
        (lambda k, x: (k, x[:, :2]), r"must be \(rows, 3\)"),
        (lambda k, x: (k.with_columns(target=pl.lit(5)), x), "outside 0 … 2"),
        (lambda k, x: (k.with_columns(target=pl.lit(None, pl.Int8)), x), "nulls"),
        (lambda k, x: (k, pl.DataFrame(x, schema=["signal", "noise", "other"])), "gaps"),
    ],
)
def test_wrong_inputs_are_named(spoil, message):
    with pytest.raises(FitError, match=message):
        fit("lightgbm", *spoil(*training_rows()))


def test_undone_weights_leave_probabilities_near_the_frequencies(kind):
    keys, x = training_rows(strength=0.5)
    rare = keys.with_columns(
        target=pl.Series(np.where(x[:, 0] + x[:, 1] > 2.2, 2, keys["target"].to_numpy() % 2))
    )
    share = (rare["target"] == 2).mean()
    undone = fit(kind, rare, x).predict_proba(x)[:, 2].mean()
    weighted = fit(kind, rare, x, undo_weights=False).predict_proba(x)[:, 2].mean()
    assert share < 0.1
    assert abs(undone - share) < 0.03 < weighted - share


def test_weight_one_a_class_must_be_complete():
    with pytest.raises(ValueError, match="class_weights must be 3 numbers"):
        LightGBMConfig(class_weights=(1.0, 2.0))


def test_no_rows_to_predict_give_no_predictions(kind):
    keys, x = training_rows()
    assert fit(kind, keys, x).predict_proba(x[:0]).shape == (0, 3)


def test_shap_values_sum_to_the_raw_score_of_each_class(kind):
    keys, x = training_rows()
    model = fit(kind, keys, x, class_weights="none")
    values = shap_values(model, x[:30])
    assert values.shape == (30, 3, 3)
    assert np.abs(values).mean(axis=(0, 2)).argmax() == 0
    # Score minus contributions is the same constant in every row, up to the float32 of the libraries.
    raw = np.log(model.predict_proba(x[:30]))
    rest = (raw - raw[:, :1]) - (values.sum(axis=1) - values.sum(axis=1)[:, :1])
    assert np.ptp(rest, axis=0) == pytest.approx(0, abs=1e-4)


def market_rows(seed=0, symbols=40):
    """A faint signal of each symbol's own under a market that moves all of them; a feature that names the session."""
    keys, x = training_rows(seed, symbols)
    rng = np.random.default_rng(seed + 100)
    day = keys["session"].rank("dense").to_numpy().astype(int) - 1
    move = x[:, 0] + rng.standard_normal(keys.height) + 4.0 * rng.standard_normal(day.max() + 1)[day]
    x[:, 2] = rng.standard_normal(day.max() + 1)[day]
    return keys.with_columns(target=pl.Series(np.digitize(move, [-1.0, 1.0])).cast(pl.Int8)), x, day


@pytest.mark.parametrize("weights", ["none", "balanced"])
def test_what_the_market_did_is_taken_out_of_the_classes(kind, weights):
    settings = {"early_stopping": 0, "max_rounds": 40, "class_weights": weights}
    keys, x, day = market_rows()
    plain = fit(kind, keys, x, **settings)
    apart = fit(kind, keys, x, groups=day, **settings)
    fresh = market_rows(seed=7)[1]

    def told(model):
        p = model.predict_proba(fresh)
        assert p.sum(axis=1) == pytest.approx(1.0)
        return np.corrcoef(p[:, 2] - p[:, 0], fresh[:, 0])[0, 1]

    assert told(apart) > 0.75 > 0.5 > told(plain)
    shares = np.bincount(keys["target"], minlength=3) / keys.height
    assert apart.predict_proba(x).mean(axis=0) == pytest.approx(shares, abs=0.06)
    assert np.exp(apart.prior) == pytest.approx(shares)
    assert plain.prior == ()
    assert TreeModel.from_text(apart.to_text()) == apart


def test_rounds_are_chosen_and_a_class_may_be_missing_with_groups(kind):
    keys, x, day = market_rows()
    keys = keys.with_columns(target=pl.col("target").replace(1, 2))
    model = fit(kind, keys, x, groups=day, n_classes=3)
    assert model.classes == (0, 2)
    assert (model.predict_proba(x)[:, 1] == 0).all()
    assert model.validation_loss is not None


def test_a_model_kept_before_there_were_groups_is_read(kind):
    import json

    keys, x = training_rows()
    model = fit(kind, keys, x)
    text = json.loads(model.to_text())
    del text["prior"]
    assert TreeModel.from_text(json.dumps(text)) == model
