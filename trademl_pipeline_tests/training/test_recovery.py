"""Can every family learn: 64 rows by heart, and a planted signal nearly as well as its oracle."""

import numpy as np
import polars as pl
import pytest
import torch

from trademl_pipeline.models.losses import (
    AsymmetricLoss,
    CorrelationLoss,
    CrossEntropyLoss,
    FinancialLoss,
    MultiTaskLoss,
)
from trademl_pipeline.models.registry import build
from trademl_pipeline.training.ledger import FitLedger
from trademl_pipeline.training.networks.loop import fit_network
from trademl_pipeline.training.networks.schedule import Augmentation, NetworkTrainingConfig
from trademl_pipeline.training.trees.classes import LightGBMConfig, XGBoostConfig, fit_lightgbm, fit_xgboost
from trademl_pipeline_tests.training.planted import (
    BREAKOUT_VALUES,
    breakout_problem,
    direction_problem,
    planted_returns,
)

CLASSIFIERS = {
    "mamba_attention": {"d_model": 32, "heads": 4, "dense": (32,), "layers": 1, "classes": 3, "dropout": 0.0},
    "mamba_attention bilstm": {
        "d_model": 32,
        "heads": 4,
        "dense": (32,),
        "body": "bilstm",
        "classes": 3,
        "dropout": 0.0,
    },
    "lstm_attention": {"hidden": 16, "layers": 1, "heads": 4, "dropout": 0.0},
    "transformer": {"d_model": 32, "heads": 4, "layers": 1, "dropout": 0.0},
    "xlstm": {"d_model": 32, "layers": ("m", "s"), "dropout": 0.0},
}
FORECASTERS = {
    "mamba_forecast": {"d_model": 32, "d_state": 8, "d_conv": 4, "expand": 2, "layers": 2, "dropout": 0.0},
    "lstm_backbone": {
        "patterns": 2, "recurrent_dropout": 0.0, "dropout": 0.0, "dense_dropout": 0.0, "l2": 0.0,
    },
    "hybrid single": {"form": "single", "d_xlstm": 32, "d_model": 32, "xlstm_layers": ("m",), "dropout": 0.0},
    "hybrid efficient": {
        "form": "efficient", "d_xlstm": 32, "d_transformer": 32, "d_model": 32, "xlstm_layers": ("m",),
        "transformer_layers": 1, "dropout": 0.0,
    },
    "hybrid ensemble": {
        "form": "ensemble", "d_xlstm": 32, "d_transformer": 32, "d_model": 32, "xlstm_layers": ("m",),
        "transformer_layers": 1, "dropout": 0.0,
    },
}  # fmt: skip
LOSSES = {
    "mamba_forecast": lambda w: FinancialLoss(tuple(np.abs(w.targets["forward_return"]).mean(0).tolist())),
    "lstm_backbone": lambda w: CorrelationLoss(),
    "hybrid": lambda w: MultiTaskLoss(tuple(np.abs(w.targets["price"]).mean(0).tolist())),
}


def network(name, features, changes):
    return build(name.split()[0], features, seed=1, **changes)


def by_heart(name, changes, windows, loss, outcome):
    """Gradient steps on 64 rows until ``outcome`` (of the outputs) is met; False after 400."""
    net = network(name, windows.features, changes)
    some = np.random.default_rng(0).choice(
        np.flatnonzero(windows.n_valid == windows.length), 64, replace=False
    )
    x, mask = (torch.from_numpy(a) for a in windows.batch(some))
    targets = {k: torch.as_tensor(v[some]) for k, v in windows.targets.items()}
    optimizer = torch.optim.Adam(net.parameters(), lr=5e-3)
    for step in range(400):
        net.train()
        value = loss(net(x, mask), targets)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        if step % 10 == 9:
            net.eval()
            with torch.no_grad():
                if outcome(net(x, mask), targets):
                    return True
    return False


def all_classes_right(outputs, targets):
    return bool((outputs["logits"].argmax(1) == targets["target"]).all())


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_classifiers_overfit_64_rows(name):
    windows, _ = direction_problem(noise=3.0)
    assert by_heart(name, CLASSIFIERS[name], windows, CrossEntropyLoss(), all_classes_right)


def correlation(a, b):
    return float(torch.corrcoef(torch.stack([a.double(), b.double()]))[0, 1])


RIGHT = {
    "mamba_forecast": lambda o, t: correlation(o["mean"][:, 0], t["forward_return"][:, 0]) > 0.99,
    "lstm_backbone": lambda o, t: bool(
        ((o["confidence"] > 0) == (t["confidence"] > 0.5))[~t["confidence"].isnan()].all()
    ),
    "hybrid": lambda o, t: (
        bool((o["direction"].argmax(1) == t["direction"]).all())
        and correlation(o["price"][:, 0], t["price"][:, 0]) > 0.99
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", FORECASTERS)
def test_forecasters_overfit_64_rows(name):
    windows, _ = planted_returns(name.split()[0], noise=3.0)
    kind = name.split()[0]
    loss = LOSSES[kind](windows)
    if kind == "hybrid":
        loss.with_weights({"price": 0.5, "direction": 0.5})
    assert by_heart(name, FORECASTERS[name], windows, loss, RIGHT[kind])


def split_by_time(windows, sessions):
    days = windows.keys["session"]
    before = (days < days.unique().sort()[sessions]).to_numpy()
    return windows.take(before), windows.take(~before), ~before


CONFIG = NetworkTrainingConfig(
    epochs=8, batch_size=128, learning_rate=5e-3, validation_sessions=20, embargo=2, patience=0, seed=2
)


def recovered(score, oracle, baseline):
    """Share of what the oracle is above knowing nothing."""
    return (score - baseline) / (oracle - baseline)


@pytest.mark.slow
@pytest.mark.parametrize("name", CLASSIFIERS)
def test_classifiers_recover_the_planted_signal(name):
    windows, oracle = direction_problem(symbols=50, sessions=220, features=4, length=8)
    train, test, held = split_by_time(windows, 160)
    net = network(name, 4, CLASSIFIERS[name])
    fitted = fit_network(net, train, CrossEntropyLoss(), CONFIG, ledger=FitLedger("2020-06-01"))
    y = test.targets["target"]
    accuracy = (fitted.predict(test)["logits"].argmax(1) == y).mean()
    assert recovered(accuracy, (oracle[held] == y).mean(), np.bincount(y).max() / len(y)) >= 0.9


@pytest.mark.slow
@pytest.mark.parametrize("library", ["lightgbm", "xgboost"])
def test_trees_recover_the_planted_signal(library):
    windows, oracle = direction_problem(symbols=50, sessions=220, features=4, length=8)
    x, mask = windows.batch(np.arange(len(windows)))
    x[~mask] = np.nan
    flat = x[:, -3:].reshape(len(windows), -1)
    keys = windows.keys.with_columns(target=windows.targets["target"])
    held = (keys["session"] >= keys["session"].unique().sort()[160]).to_numpy()
    common = {"max_rounds": 200, "validation_sessions": 20, "embargo": 2, "class_weights": "none"}
    fit, config = {
        "lightgbm": (fit_lightgbm, LightGBMConfig(**common)),
        "xgboost": (fit_xgboost, XGBoostConfig(**common, max_depth=4)),
    }[library]
    names = [f"{f}@{lag}" for lag in (2, 1, 0) for f in "abcd"]
    ledger = FitLedger("2020-06-01")
    model = fit(keys.filter(pl.Series(~held)), flat[~held], names, config, seed=0, threads=1, ledger=ledger)
    y = windows.targets["target"][held]
    accuracy = (model.predict_proba(flat[held]).argmax(1) == y).mean()
    assert recovered(accuracy, (oracle[held] == y).mean(), np.bincount(y).max() / len(y)) >= 0.9


def rank_correlation(a, b):
    return float(np.corrcoef(np.argsort(np.argsort(a)), np.argsort(np.argsort(b)))[0, 1])


@pytest.mark.slow
@pytest.mark.parametrize("name", FORECASTERS)
def test_forecasters_recover_the_planted_signal(name):
    kind = name.split()[0]
    windows, oracle = planted_returns(kind, symbols=50, sessions=220, noise=2.0)
    train, test, held = split_by_time(windows, 160)
    net = network(name, windows.features, FORECASTERS[name])
    fitted = fit_network(net, train, LOSSES[kind], CONFIG, ledger=FitLedger("2020-06-01"))
    out = fitted.predict(test)
    if kind == "lstm_backbone":
        y_true, score = test.targets["confidence"][:, 0], out["confidence"][:, 0]
        got = ((score > 0) == (y_true > 0.5)).mean()
        best = ((oracle[held] > 0) == (y_true > 0.5)).mean()
        assert recovered(got, best, max(y_true.mean(), 1 - y_true.mean())) >= 0.9
    else:
        key = {"mamba_forecast": ("mean", "forward_return"), "hybrid": ("price", "price")}[kind]
        for horizon in range(out[key[0]].shape[1]):
            y_true = test.targets[key[1]][:, horizon]
            got = rank_correlation(out[key[0]][:, horizon], y_true)
            assert recovered(got, rank_correlation(oracle[held], y_true), 0.0) >= 0.9
    if kind == "hybrid":
        y_true = test.targets["direction"]
        got = (out["direction"].argmax(1) == y_true).mean()
        best = (np.digitize(oracle[held], [-0.8, 0.8]) == y_true).mean()
        assert recovered(got, best, np.bincount(y_true.astype(int)).max() / len(y_true)) >= 0.9


def breakout_figures(loss, probabilities, seed, **changes):
    """K4 recall and EV correlation on a fresh market of a MambaAttention trained with ``loss``."""
    windows, _ = breakout_problem(symbols=120, seed=0)
    test, _ = breakout_problem(symbols=60, seed=1)

    def figures(outputs, rows):
        y = rows.targets["target"]
        p = probabilities(torch.from_numpy(outputs["logits"])).numpy()
        ev = float(np.corrcoef(p @ BREAKOUT_VALUES, BREAKOUT_VALUES[y])[0, 1])
        k4 = float((p.argmax(1)[y == 4] == 4).mean())
        return {"k4_recall": k4, "ev_correlation": ev, "both": k4 + ev}

    shape = {"d_model": 16, "heads": 4, "dense": (16,), "layers": 1, "dropout": 0.1}
    settings = {"epochs": 4, "batch_size": 256, "learning_rate": 5e-3, "weight_decay": 1e-2, "patience": 0}
    settings |= {"validation_sessions": 40, "embargo": 2, "seed": seed}
    config = NetworkTrainingConfig(**(settings | changes))
    net = build("mamba_attention", 6, seed=seed, **shape)
    fitted = fit_network(net, windows, loss, config, ledger=FitLedger("2020-06-01"), metric=figures)
    share = (test.targets["target"] == 4).mean()
    assert share == pytest.approx(0.004)
    return figures(fitted.predict(test), test)


@pytest.mark.slow
def test_rare_breakouts_are_found_with_the_asymmetric_loss_and_never_without():
    def one_vs_rest(logits):
        p = torch.sigmoid(logits)
        return p / p.sum(-1, keepdim=True)

    asymmetric = breakout_figures(
        AsymmetricLoss(), one_vs_rest, 0, monitor="both", augmentation=Augmentation(noise=0.5)
    )
    plain = breakout_figures(CrossEntropyLoss(), lambda logits: logits.softmax(-1), 0)
    assert asymmetric["k4_recall"] > 0.40
    assert asymmetric["ev_correlation"] > 0.30
    assert plain["k4_recall"] == 0.0
