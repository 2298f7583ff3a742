import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from trademl_pipeline.models.losses import CrossEntropyLoss, MultiTaskLoss
from trademl_pipeline.models.registry import build
from trademl_pipeline.training.inner_split import FitError
from trademl_pipeline.training.ledger import FitLedger
from trademl_pipeline.training.networks.loop import fit_network
from trademl_pipeline.training.networks.schedule import Augmentation, NetworkTrainingConfig, Phase
from trademl_pipeline_tests.training.planted import direction_problem

CONFIG = NetworkTrainingConfig(
    epochs=6, batch_size=128, learning_rate=5e-3, validation_sessions=15, embargo=2, seed=4
)


def accuracy(outputs, windows):
    return {"accuracy": float((outputs["logits"].argmax(1) == windows.targets["target"]).mean())}


def network(features=5, seed=1, **changes):
    small = {"d_model": 16, "heads": 4, "layers": 1, "dropout": 0.1}
    return build("transformer", features, seed=seed, **(small | changes))


def fit(windows, config=CONFIG, ledger=None, net=None, loss=None, **options):
    net, loss = net or network(windows.features), loss or CrossEntropyLoss()
    return fit_network(net, windows, loss, config, ledger=ledger or FitLedger("2020-06-01"), **options)


def weights(fitted):
    return torch.cat([p.flatten() for p in fitted.model.state_dict().values()])


@pytest.fixture(scope="module")
def problem():
    return direction_problem()


@pytest.fixture(scope="module")
def unbroken(problem):
    return fit(problem[0], replace(CONFIG, augmentation=Augmentation()), metric=accuracy)


def test_learns_and_keeps_the_best_epoch(problem, unbroken):
    windows, _ = problem
    losses = [r["validation_loss"] for r in unbroken.history]
    assert unbroken.best_epoch == int(np.argmin(losses))
    assert losses[unbroken.best_epoch] < losses[0]
    assert accuracy(unbroken.predict(windows), windows)["accuracy"] > 0.6
    assert all(r["rows_per_second"] > 0 for r in unbroken.history)


def test_the_last_epoch_is_kept_where_validation_is_to_have_no_say(problem):
    windows, _ = problem
    config = replace(CONFIG, epochs=3, patience=0, monitor="against")

    def against(outputs, rows):
        """Best before anything is learned, so that the first epoch would be chosen."""
        return {"against": -accuracy(outputs, rows)["accuracy"]}

    kept = fit(windows, replace(config, keep="last"), metric=against)
    best = fit(windows, config, metric=against)
    assert (kept.best_epoch, best.best_epoch) == (2, 0)
    assert [r["train_loss"] for r in kept.history] == [r["train_loss"] for r in best.history]
    assert not torch.equal(weights(kept), weights(best))


@pytest.mark.parametrize("steered", [{"patience": 3}, {"patience": 0, "schedule": "plateau"}])
def test_the_last_epoch_cannot_be_kept_of_a_run_that_validation_steers(steered):
    with pytest.raises(ValueError, match="keep='last'"):
        replace(CONFIG, keep="last", **steered)


def test_same_seed_same_weights_other_seed_other_weights(problem, unbroken):
    windows, _ = problem
    config = replace(CONFIG, augmentation=Augmentation())
    assert torch.equal(weights(fit(windows, config)), weights(unbroken))
    assert not torch.equal(weights(fit(windows, replace(config, seed=5))), weights(unbroken))


def early(windows, sessions):
    first = windows.keys["session"].unique().sort()[:sessions]
    return windows.take(windows.keys["session"].is_in(first.to_list()).to_numpy())


class Stop(Exception):
    pass


@pytest.mark.slow
@pytest.mark.parametrize("schedule", ["cosine", "restarts", "plateau"])
def test_resumed_run_ends_in_the_same_weights(problem, tmp_path, schedule):
    windows, _ = problem
    config = replace(
        CONFIG, schedule=schedule, restart_epochs=2, plateau_patience=1, augmentation=Augmentation()
    )
    want = fit(windows, config)

    def stop_after(epoch):
        def stop(record):
            if record["epoch"] == epoch:
                raise Stop

        return stop

    for epoch in (1, 3):
        with pytest.raises(Stop):
            fit(windows, config, checkpoint=tmp_path / "run.pt", progress=stop_after(epoch))
    seen = []
    fitted = fit(windows, config, checkpoint=tmp_path / "run.pt", progress=lambda r: seen.append(r["epoch"]))
    assert seen == [4, 5]
    assert torch.equal(weights(fitted), weights(want))
    assert fitted.best_epoch == want.best_epoch
    assert [r["learning_rate"] for r in fitted.history] == [r["learning_rate"] for r in want.history]


KILLED = """
import os, signal, sys
from pathlib import Path
import torch
from trademl_pipeline.models.losses import CrossEntropyLoss
from trademl_pipeline_tests.training.networks import test_loop as t

torch.set_num_threads(1)
kill_at = int(sys.argv[2])
class Loss(CrossEntropyLoss):
    calls = 0
    def forward(self, outputs, targets):
        Loss.calls += 1
        if Loss.calls == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().forward(outputs, targets)
Loss.__name__ = "CrossEntropyLoss"
fitted = t.fit(t.direction_problem()[0], t.CONFIG, loss=Loss(), checkpoint=Path(sys.argv[1], "run.pt"))
torch.save(t.weights(fitted), Path(sys.argv[1], "weights.pt"))
"""


@pytest.mark.slow
def test_killed_in_the_middle_of_an_epoch_and_resumed_gives_the_same_weights(problem, tmp_path):
    for kill_at, code in ((23, -9), (40, -9), (-1, 0)):
        done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path), str(kill_at)], check=False)
        assert done.returncode == code
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        want = weights(fit(problem[0], CONFIG))
    finally:
        torch.set_num_threads(before)
    assert torch.equal(torch.load(tmp_path / "weights.pt"), want)


def test_checkpoint_of_other_rows_is_refused(problem, tmp_path):
    windows, _ = problem
    fit(windows, replace(CONFIG, epochs=1), checkpoint=tmp_path / "run.pt")
    other = replace(windows, matrix=windows.matrix + 1e-3)
    with pytest.raises(FitError, match="checkpoint of another run"):
        fit(other, replace(CONFIG, epochs=1), checkpoint=tmp_path / "run.pt")


def test_validation_rows_and_targets_do_not_move_the_weights_of_an_epoch(problem):
    windows, _ = problem
    config = replace(CONFIG, epochs=2, patience=0, monitor="never", schedule="constant")

    def later_is_better():
        epochs = iter(range(100))
        return lambda outputs, rows: {"never": next(epochs)}

    want = weights(fit(windows, config, metric=later_is_better()))
    sessions = windows.keys["session"]
    held = (sessions >= sessions.unique().sort()[-15]).to_numpy()
    changed = windows.matrix.copy()
    changed[held] += 3
    target = windows.targets["target"].copy()
    target[held] = 2 - target[held]
    moved = replace(windows, matrix=changed, targets={"target": target})
    assert torch.equal(weights(fit(moved, config, metric=later_is_better())), want)


def test_ledger_holds_every_fit_and_its_rows(problem):
    windows, _ = problem
    ledger = FitLedger("2020-06-01")
    fitted = fit(windows, replace(CONFIG, epochs=1), ledger=ledger, loss=lambda train: CrossEntropyLoss())
    records = ledger.to_frame()
    assert records["name"].to_list() == ["scaler", "loss", "early_stopping", "model"]
    assert records["n_rows"].to_list()[0] == fitted.rows
    assert records["n_rows"].to_list()[2] > fitted.rows
    first_validation = windows.keys["session"].unique().sort()[-15]
    assert records["label_end_max"].to_list()[0] < first_validation


def test_stops_early_after_patience_epochs_without_a_better_score(problem):
    windows, _ = problem
    scores = iter([0.1, 0.5, 0.4, 0.3, 0.2, 0.9])
    config = replace(CONFIG, monitor="score", patience=3, epochs=6)
    fitted = fit(windows, config, metric=lambda outputs, rows: {"score": next(scores)})
    assert len(fitted.history) == 5
    assert fitted.best_epoch == 1


def test_plateau_halves_the_rate_and_never_goes_below_the_last(problem):
    windows, _ = problem
    config = replace(
        CONFIG, schedule="plateau", plateau_patience=1, patience=0, final_learning_rate=1e-3, monitor="score"
    )
    fitted = fit(windows, config, metric=lambda outputs, rows: {"score": 0.0})
    assert [r["learning_rate"] for r in fitted.history] == pytest.approx(
        [5e-3, 5e-3, 2.5e-3, 1.25e-3, 1e-3, 1e-3]
    )


def test_rates_of_the_cosine_and_of_warm_restarts():
    cosine = NetworkTrainingConfig(epochs=10)
    assert cosine.rate(0, 0) == pytest.approx(1e-3)
    assert cosine.rate(5, 0) == pytest.approx((1e-3 + 1e-5) / 2)
    assert cosine.rate(9.999, 0) == pytest.approx(1e-5, rel=1e-2)
    restarts = NetworkTrainingConfig(epochs=10, schedule="restarts", restart_epochs=4)
    assert restarts.rate(4, 0) == pytest.approx(1e-3)
    assert restarts.rate(3.999, 0) == pytest.approx(1e-5, rel=1e-2)


def test_class_balanced_sampling_lifts_a_rare_class(problem):
    windows, _ = problem
    rng = np.random.default_rng(0)
    # class 2 becomes one row in fifty, with a signal that a fifth of the bulk shares
    target = (windows.targets["target"] == 2) & (rng.random(len(windows)) < 0.1)
    rare = replace(windows, targets={"target": target.astype(np.int64)})

    def recall(balanced):
        fitted = fit(
            rare,
            replace(CONFIG, class_balanced=balanced, patience=0, monitor="epoch_is_better"),
            metric=lambda o, w: {"epoch_is_better": 0.0},
        )
        called = fitted.predict(rare)["logits"].argmax(1)
        return (called[target] == 1).mean()

    assert recall(True) > 0.5 > recall(False)


def test_curriculum_changes_the_weights_and_is_judged_by_the_last_phase(problem):
    windows, _ = problem
    n = len(windows)
    targets = {
        "direction": windows.targets["target"].astype(float),
        "confidence": np.ones(n),
        "position": np.zeros(n),
    }
    targets |= {"price": np.zeros((n, 3)), "volatility": np.ones(n), "risk": np.zeros(n)}
    seen = []

    class Loss(MultiTaskLoss):
        def forward(self, outputs, targets):
            seen.append((torch.is_grad_enabled(), dict(self.weights)))
            return super().forward(outputs, targets)

    phases = (
        Phase(1, {"direction": 1.0}),
        Phase(1, {"direction": 0.5, "price": 0.5}),
        Phase(1, {"price": 1.0}),
    )
    net = build(
        "hybrid", 5, d_xlstm=8, d_transformer=8, d_model=8, heads=2, form="single", xlstm_layers=("m",)
    )
    config = replace(CONFIG, epochs=4, curriculum=phases, batch_size=1000)
    fit(replace(windows, targets=targets), config, net=net, loss=Loss((1.0, 1.0, 1.0)))
    used = [w for training, w in seen if training]
    assert [w["direction"] for w in used][:: len(used) // 4] == [1.0, 0.5, 0.0, 0.0]
    assert all(w == {**dict.fromkeys(w, 0.0), "price": 1.0} for training, w in seen if not training)
    with pytest.raises(FitError, match="no task weights for a curriculum"):
        fit(windows, config)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w: w.take(np.zeros(len(w), dtype=bool)), "no training rows"),
        (lambda w: replace(w, targets={"target": np.ones(len(w), dtype=int)}), "all rows are of class 1"),
        (lambda w: replace(w, targets={"target": np.full(len(w), np.nan)}), "no row has a class"),
        (lambda w: replace(w, matrix=np.ones_like(w.matrix)), "none of 5 features varies"),
        (lambda w: replace(w, matrix=np.full_like(w.matrix, np.nan)), "none of 5 features varies"),
        (lambda w: replace(w, matrix=np.where(w.matrix > 2, np.inf, w.matrix)), "infinite values"),
        (lambda w: early(w, 16), "leave nothing before"),
        (lambda w: replace(w, targets={"target": w.targets["target"][1:]}), "rows but there are"),
        (lambda w: replace(w, n_valid=w.n_valid * 0), "window 0 has 0 real steps"),
    ],
)  # fmt: skip
def test_rows_that_cannot_be_trained_on_are_refused(problem, change, message):
    with pytest.raises(FitError, match=message):
        fit(change(problem[0]))


def test_unknown_monitor_is_named(problem):
    with pytest.raises(FitError, match="monitor 'f1' is not among the figures of an epoch: loss, train_loss"):
        fit(problem[0], replace(CONFIG, monitor="f1"))


def test_diverging_loss_is_an_error(problem):
    windows = problem[0]
    bad = replace(windows, targets={"target": windows.targets["target"]})

    class Broken(CrossEntropyLoss):
        def forward(self, outputs, targets):
            return super().forward(outputs, targets) * float("nan")

    with pytest.raises(FitError, match="training loss is nan in epoch 0"):
        fit(bad, loss=Broken())


def test_fewer_rows_than_a_batch_is_one_batch(problem):
    windows, _ = problem
    few = windows.take(windows.keys["symbol"].is_in(["S000"]).to_numpy())
    fitted = fit(few, replace(CONFIG, batch_size=4096, epochs=2))
    assert fitted.rows < 80
    assert len(fitted.history) == 2


def test_missing_and_constant_features_are_filled_and_told(problem):
    windows, _ = problem
    matrix = windows.matrix.copy()
    matrix[:, 3] = 7.0
    matrix[:, 4] = np.nan
    matrix[np.random.default_rng(0).random(len(matrix)) < 0.2, 0] = np.nan
    fitted = fit(replace(windows, matrix=matrix))
    assert fitted.scaling.unused == (3, 4)
    outputs = fitted.predict(replace(windows, matrix=matrix))["logits"]
    assert np.isfinite(outputs).all()


def test_prediction_of_nothing_has_the_right_shape_and_wrong_width_is_named(problem, unbroken):
    windows, _ = problem
    assert unbroken.predict(windows.take(np.zeros(len(windows), dtype=bool)))["logits"].shape == (0, 3)
    with pytest.raises(FitError, match="the model takes 5 features, the windows have 4"):
        unbroken.predict(replace(windows, matrix=windows.matrix[:, :4]))


def test_prediction_does_not_depend_on_the_batch_size(problem, unbroken):
    windows, _ = problem
    some = windows.take(np.arange(50))
    np.testing.assert_allclose(
        unbroken.predict(some)["logits"], unbroken.predict(some, batch_size=7)["logits"], rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize(
    "bad", [{"epochs": 0}, {"learning_rate": 1e-6}, {"clip_norm": 0.0}, {"batch_size": 0}]
)
def test_settings_out_of_range_are_refused(bad):
    with pytest.raises(ValueError, match=r"must be|must obey"):
        NetworkTrainingConfig(**bad)
