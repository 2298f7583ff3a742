import json
from dataclasses import replace

import numpy as np
import pytest

from trademl_pipeline.models.losses import CrossEntropyLoss
from trademl_pipeline.models.registry import build
from trademl_pipeline.training.inner_split import FitError
from trademl_pipeline.training.ledger import FitLedger
from trademl_pipeline.training.networks.loop import fit_network
from trademl_pipeline.training.networks.schedule import NetworkTrainingConfig
from trademl_pipeline.training.saved import TREES, SavedModel, load_model, saved_network
from trademl_pipeline.training.trees.classes import LightGBMConfig, fit_lightgbm
from trademl_pipeline_tests.training.planted import direction_problem

NAMES = tuple("abcde")
CONFIG = NetworkTrainingConfig(epochs=1, validation_sessions=15, embargo=2)


@pytest.fixture(scope="module")
def trained():
    windows, _ = direction_problem()
    net = build("mamba_attention", 5, d_model=16, heads=4, dense=(8,), classes=3)
    fitted = fit_network(net, windows, CrossEntropyLoss(), CONFIG, ledger=FitLedger("2020-06-01"))
    return fitted, windows


def test_saved_network_predicts_the_same_from_raw_features_with_gaps_and_padding(trained, tmp_path):
    fitted, windows = trained
    matrix = windows.matrix.copy()
    matrix[np.random.default_rng(0).random(matrix.shape) < 0.1] = np.nan
    windows = replace(windows, matrix=matrix).take(np.arange(0, 200, 3))
    saved = saved_network("mamba_attention", fitted, NAMES, windows.length, {"fold": "2020-06-01"})
    saved.save(tmp_path / "m")
    loaded = load_model(tmp_path / "m")
    x, mask = windows.batch(np.arange(len(windows)))
    x[~mask] = np.nan
    np.testing.assert_allclose(
        loaded.predict(x)["logits"], fitted.predict(windows)["logits"], rtol=1e-4, atol=1e-5
    )
    assert loaded.metadata == {"fold": "2020-06-01"}
    assert loaded.features == NAMES
    card = json.loads((tmp_path / "m" / "model.json").read_text())
    assert card["parameters"] == sum(p.numel() for p in fitted.model.network.parameters())


def test_saved_trees_predict_the_same(tmp_path):
    windows, _ = direction_problem()
    keys = windows.keys.with_columns(target=windows.targets["target"])
    config = LightGBMConfig(max_rounds=5, early_stopping=0)
    model = fit_lightgbm(
        keys, windows.matrix, NAMES, config, seed=0, threads=1, ledger=FitLedger("2020-06-01")
    )
    SavedModel(TREES, model.kind, model.features, 1, {}, {}, model).save(tmp_path / "m")
    loaded = load_model(tmp_path / "m")
    want = model.predict_proba(windows.matrix[:20])
    np.testing.assert_array_equal(loaded.predict(windows.matrix[:20])["probabilities"], want)
    np.testing.assert_array_equal(loaded.predict(windows.matrix[:20, None])["probabilities"], want)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x: x[:, 1:], r"takes \(batch, 10, 5\) features, got \(4, 9, 5\)"),
        (lambda x: np.where(np.arange(5) == 2, np.inf, x), "infinite values"),
        (lambda x: np.where(np.arange(4)[:, None, None] == 2, np.nan, x), "window 2 holds no real step"),
    ],
)
def test_input_that_cannot_be_judged_is_refused(trained, change, message):
    saved = saved_network("mamba_attention", trained[0], NAMES, 10, {})
    x = np.random.default_rng(0).normal(size=(4, 10, 5))
    with pytest.raises(FitError, match=message):
        saved.predict(change(x))


def test_no_rows_in_no_rows_out(trained):
    saved = saved_network("mamba_attention", trained[0], NAMES, 10, {})
    assert saved.predict(np.zeros((0, 10, 5)))["logits"].shape == (0, 3)


def test_inputs_and_names_are_checked(trained):
    saved = saved_network("mamba_attention", trained[0], NAMES, 10, {})
    with pytest.raises(FitError, match=r"has no inputs \['position'\]"):
        saved.predict(np.zeros((1, 10, 5)), position=np.zeros((1, 4)))
    with pytest.raises(FitError, match="4 feature names for a network of 5 features"):
        saved_network("mamba_attention", trained[0], NAMES[1:], 10, {})


def test_a_folder_is_never_overwritten_and_a_wrong_one_is_named(trained, tmp_path):
    saved = saved_network("mamba_attention", trained[0], NAMES, 10, {})
    saved.save(tmp_path / "m")
    with pytest.raises(FileExistsError, match="already holds a model"):
        saved.save(tmp_path / "m")
    with pytest.raises(FileNotFoundError, match="not a saved model"):
        load_model(tmp_path / "nothing")
    card = json.loads((tmp_path / "m" / "model.json").read_text())
    (tmp_path / "m" / "model.json").write_text(json.dumps(card | {"format": 99}))
    with pytest.raises(ValueError, match="has format 99"):
        load_model(tmp_path / "m")
