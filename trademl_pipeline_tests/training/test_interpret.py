from dataclasses import replace

import numpy as np
import polars as pl
import pytest
import torch

from trademl_pipeline.models.losses import CrossEntropyLoss
from trademl_pipeline.models.registry import build
from trademl_pipeline.training.estimators import EstimatorSpec, TrainingContext, TrainingPreset
from trademl_pipeline.training.interpret import (
    attention_by_window,
    attention_over_time,
    integrated_gradients,
    permutation_importance,
    study_importance,
)
from trademl_pipeline.training.ledger import FitLedger
from trademl_pipeline.training.networks.loop import fit_network
from trademl_pipeline.training.networks.schedule import NetworkTrainingConfig
from trademl_pipeline.training.study import TrainingConfig, fit_study
from trademl_pipeline_tests.training.planted import direction_problem

CONFIG = NetworkTrainingConfig(
    epochs=8, batch_size=128, learning_rate=5e-3, validation_sessions=15, embargo=2
)


@pytest.fixture(scope="module")
def trained():
    windows, _ = direction_problem(symbols=30)
    net = build("transformer", 5, d_model=16, heads=4, layers=1, dropout=0.0)
    return fit_network(
        net, windows, CrossEntropyLoss(), CONFIG, ledger=FitLedger("2020-06-01")
    ).model, windows


def accuracy(outputs, windows):
    return float((outputs["logits"].argmax(1) == windows.targets["target"]).mean())


@pytest.mark.slow
def test_permutation_importance_finds_the_planted_features(trained):
    model, windows = trained
    table = permutation_importance(model, windows, accuracy, list("abcde"), seed=0)
    assert set(table["feature"][:2]) == {"a", "b"}
    assert table["importance"][1] > 5 * abs(table["importance"][2])
    again = permutation_importance(model, windows, accuracy, list("abcde"), seed=0)
    assert again.equals(table)


def test_attention_over_time_is_a_weight_a_step_and_counts_real_windows(trained):
    model, windows = trained
    table = attention_over_time(model, windows)
    assert table["steps_back"].to_list() == list(range(10))
    assert table["windows"][0] == len(windows)
    assert table["windows"][9] == int((windows.n_valid == 10).sum())
    full = attention_over_time(model, windows.take(windows.n_valid == 10))
    assert full["weight"].sum() == pytest.approx(1, abs=1e-5)


def test_attention_by_window_sums_to_one_over_real_steps_and_averages_to_the_other(trained):
    model, windows = trained
    some = windows.take(np.arange(0, len(windows), 7))
    table = attention_by_window(model, some)
    per_window = table.group_by("symbol", "session").agg(pl.col("weight").sum(), pl.len())
    assert per_window["weight"].to_numpy() == pytest.approx(1, abs=1e-5)
    real = some.keys.select("symbol", "session").with_columns(n=pl.Series(some.n_valid.astype(np.int64)))
    joined = per_window.join(real, on=["symbol", "session"])
    assert joined.height == len(some)
    assert (joined["len"].cast(pl.Int64) == joined["n"]).all()
    mean = table.group_by("step").agg(pl.col("weight").mean()).sort("step", descending=True)
    assert mean["weight"].to_numpy() == pytest.approx(
        attention_over_time(model, some)["weight"].to_numpy(), abs=1e-6
    )
    assert attention_by_window(model, windows.take(np.array([], dtype=np.int64))).height == 0


def test_a_network_without_attention_says_so(trained):
    with pytest.raises(ValueError, match="LSTMBackbone has no attention"):
        attention_over_time(torch.nn.ModuleDict({"network": build("lstm_backbone", 5)}), trained[1])


def test_integrated_gradients_add_up_and_point_at_the_planted_steps(trained):
    model, windows = trained
    some = windows.take(np.flatnonzero(windows.n_valid == 10)[:80])
    shares = integrated_gradients(model, some, lambda out: out["logits"][:, 2], steps=64)
    x, mask = some.batch(np.arange(len(some)))
    with torch.no_grad():
        mask_t = torch.from_numpy(mask)
        here = model(torch.from_numpy(x), mask_t)["logits"][:, 2]
        median = model.network(torch.zeros(len(some), 10, 5), mask_t)["logits"][:, 2]
    np.testing.assert_allclose(shares.sum((1, 2)), (here - median).numpy(), atol=0.05)
    size = np.abs(shares).mean(0)
    assert size[-3:, 0].mean() > 3 * size[:-3, 0].mean()
    assert size[-1, 1] > 3 * size[-1, 2:].mean()


@pytest.mark.parametrize("first", ["network", "trees"])
def test_a_study_tells_what_its_first_voter_uses(first):
    estimators = {
        "trees": EstimatorSpec(
            "trees",
            "lightgbm",
            {"small": TrainingPreset()},
            settings={"max_rounds": 30, "class_weights": "none"},
        ),
        "network": EstimatorSpec(
            "network",
            "transformer",
            {"small": TrainingPreset(epochs=6)},
            settings={"d_model": 16, "heads": 4, "layers": 1, "dropout": 0.0},
            training={"batch_size": 128, "learning_rate": 5e-3},
        ),
    }
    windows, _ = direction_problem(symbols=30)
    keys = windows.keys.with_columns(
        pl.Series("target", windows.targets["target"]).cast(pl.Int8),
        pl.col("label_end").cast(pl.Datetime("us", "UTC")).alias("knowledge_time"),
    )
    rows = replace(windows, keys=keys, targets={})
    context = TrainingContext(tuple("abcde"), "small", validation_sessions=15, embargo=2, seed=0)
    plan = TrainingConfig("direction", (estimators[first],))
    fitted = fit_study(plan, rows, context, ledger=FitLedger("2020-06-01"))
    shares = study_importance(fitted, rows, context)
    assert sum(shares.values()) == pytest.approx(1)
    assert set(list(shares)[:2]) == {"a", "b"}
    assert shares["a"] + shares["b"] > 0.6
    assert list(shares.values()) == sorted(shares.values(), reverse=True)
    assert study_importance(fitted, rows, context) == shares
