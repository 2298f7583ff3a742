from dataclasses import replace

import numpy as np
import pytest
import torch

from trademl_pipeline.models.losses import CrossEntropyLoss
from trademl_pipeline.models.registry import NETWORKS, build
from trademl_pipeline.training.inner_split import FitError
from trademl_pipeline.training.ledger import FitLedger
from trademl_pipeline.training.networks.fine_tune import (
    OnlineConfig,
    OnlineUpdate,
    fine_tune,
    freeze_backbone,
)
from trademl_pipeline.training.networks.loop import fit_network
from trademl_pipeline.training.networks.schedule import NetworkTrainingConfig
from trademl_pipeline_tests.training.planted import direction_problem

CONFIG = NetworkTrainingConfig(
    epochs=5, batch_size=128, learning_rate=5e-3, validation_sessions=15, embargo=2, seed=4
)


@pytest.fixture(scope="module")
def base():
    windows, _ = direction_problem()
    # symbol S000 is odd: its direction is turned round
    odd = (windows.keys["symbol"] == "S000").to_numpy()
    target = np.where(odd, 2 - windows.targets["target"], windows.targets["target"])
    windows = replace(windows, targets={"target": target})
    net = build("lstm_attention", 5, hidden=16, layers=1, heads=4, dropout=0.0)
    return fit_network(net, windows, CrossEntropyLoss(), CONFIG, ledger=FitLedger("2020-06-01")), windows, odd


def accuracy(fitted, windows):
    return (fitted.predict(windows)["logits"].argmax(1) == windows.targets["target"]).mean()


@pytest.mark.parametrize("name", NETWORKS)
def test_only_the_heads_learn_after_freezing(name):
    network = build(name, 5)
    learning = freeze_backbone(network)
    assert learning
    assert len(learning) < len(list(network.parameters()))
    assert {n.split(".")[0] for n in learning} == set(network.HEADS)


@pytest.mark.slow
def test_fine_tuning_turns_an_odd_symbol_and_leaves_backbone_scaling_and_base_alone(base):
    fitted, windows, odd = base
    before = {k: v.clone() for k, v in fitted.model.state_dict().items()}
    config = replace(CONFIG, epochs=60, learning_rate=3e-2, patience=0)
    tuned = fine_tune(fitted, windows.take(odd), CrossEntropyLoss(), config, ledger=FitLedger("2020-06-01"))
    assert accuracy(tuned, windows.take(odd)) > accuracy(fitted, windows.take(odd)) + 0.3
    after = tuned.model.state_dict()
    for name, value in fitted.model.state_dict().items():
        assert torch.equal(value, before[name])
        head = name.startswith(("network.dense", "network.logits"))
        assert torch.equal(after[name], value) != head, name


def test_the_base_comes_back_where_no_epoch_beats_it(base):
    fitted, windows, odd = base
    config = replace(CONFIG, epochs=2, learning_rate=1.0, schedule="constant")
    tuned = fine_tune(fitted, windows.take(~odd), CrossEntropyLoss(), config, ledger=FitLedger("2020-06-01"))
    assert tuned.best_epoch == -1
    for a, b in zip(tuned.model.state_dict().values(), fitted.model.state_dict().values(), strict=True):
        assert torch.equal(a, b)


def early_late(windows):
    sessions = windows.keys["session"].unique().sort()
    cut = sessions[60]
    return windows.take((windows.keys["label_end"] < cut).to_numpy()), cut


def test_online_updates_learn_a_turned_market_and_keep_the_base(base):
    fitted, windows, odd = base
    rows, cut = early_late(windows.take(odd))
    before = {k: v.clone() for k, v in fitted.model.state_dict().items()}
    online = OnlineUpdate(fitted.model, CrossEntropyLoss(), OnlineConfig(learning_rate=0.3, anchor=0.0))
    losses = [online.update(rows.take(np.arange(i, i + 10)), cut) for i in range(0, 50, 10)]
    assert losses[-1] < losses[0]
    for name, value in fitted.model.state_dict().items():
        assert torch.equal(value, before[name])
    moved = [n for n, v in online.model.state_dict().items() if not torch.equal(v, before[n])]
    assert {n.split(".")[1] for n in moved} == {"dense", "logits"}


def test_online_update_is_reproducible_and_the_anchor_holds_it_back(base):
    fitted, windows, odd = base
    rows, cut = early_late(windows.take(odd))

    def distance(anchor):
        online = OnlineUpdate(
            fitted.model, CrossEntropyLoss(), OnlineConfig(learning_rate=0.1, anchor=anchor)
        )
        for i in range(0, 40, 10):
            online.update(rows.take(np.arange(i, i + 10)), cut)
        new, old = online.model.state_dict(), fitted.model.state_dict()
        return float(sum((new[k] - old[k]).square().sum() for k in new))

    assert distance(0.0) == distance(0.0)
    assert distance(0.5) < 0.5 * distance(0.0)


def test_online_update_refuses_outcomes_that_are_not_known_yet(base):
    fitted, windows, _ = base
    online = OnlineUpdate(fitted.model, CrossEntropyLoss(), OnlineConfig())
    rows, cut = early_late(windows)
    with pytest.raises(FitError, match="labels are not known before"):
        online.update(windows, cut)
    with pytest.raises(FitError, match="at least one row"):
        online.update(rows.take(np.zeros(len(rows), dtype=bool)), cut)
