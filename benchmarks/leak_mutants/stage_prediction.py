"""Mutants of prediction: what a model looks at, and what is done with its test month."""

from functools import cache

import numpy as np
import polars as pl
from mutant import DAYS, Mutant
from stage_training import FOLD, MONTH, TEST, TRAIN

from trademl_pipeline.leakage import audit_access, audit_fit_ledger, audit_model, audit_statistics
from trademl_pipeline.training.ledger import FitLedger

GITHUB = "https://github.com/"
B, T, F = 6, 9, 3


@cache
def batch():
    import torch

    rng = np.random.default_rng(0)
    valid = np.array([9, 9, 7, 5, 3, 2])
    mask = np.arange(T)[None, :] >= T - valid[:, None]
    x = np.where(mask[..., None], rng.normal(size=(B, T, F)), 0.0).astype(np.float32)
    return torch.tensor(x), torch.tensor(mask)


def network(*, norm: str = "none", masked: bool = True, causal: bool = True, carry: bool = False):
    """A small recurrent or attention network with one fault or none."""
    import torch
    from torch import nn

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inward = nn.Linear(F, 8)
            self.norm = nn.BatchNorm1d(8)
            self.lstm = nn.LSTM(8, 8, batch_first=not carry)
            self.out = nn.Linear(8, 2)

        def forward(self, x, mask):
            h = self.inward(x)
            if norm == "layer":
                h = self.norm(h.transpose(1, 2)).transpose(1, 2)
            if norm == "batch":
                h = (h - h.mean(dim=0)) / (h.std(dim=0) + 1e-3)
            if masked:
                h = h * mask[..., None]
            if not causal:
                h = h + h.sum(dim=1, keepdim=True)
            return self.out(self.lstm(h)[0])

    torch.manual_seed(0)
    return Net().eval()


def model_mutant(name: str, title: str, origin: str, leaky, clean=lambda: network()) -> Mutant:
    def audit(is_leaky: bool):
        x, mask = batch()
        return audit_model(leaky() if is_leaky else clean(), x, mask, causal=True)

    return Mutant(name, title, origin, frozenset({"model"}), audit)


def fit_on_test(fitted: str):
    def audit(leaky: bool):
        ledger = FitLedger(MONTH)
        ledger.fit("model", TRAIN, len)
        ledger.fit(fitted, TEST if leaky else TRAIN.tail(300), len)
        ledger.freeze()
        return audit_fit_ledger(ledger, FOLD, TRAIN, expected=[fitted])

    return audit


def looked_twice(leaky: bool):
    ledger = FitLedger(MONTH)
    ledger.fit("model", TRAIN, len)
    ledger.freeze()
    for _ in range(2 if leaky else 1):
        ledger.read_test(TEST)
    return audit_access(ledger, FOLD)


KEYS = pl.DataFrame({"symbol": [f"S{i:02d}" for i in range(30)]}).join(
    pl.DataFrame({"session": DAYS}), how="cross"
)
TARGETS = KEYS.with_columns(
    forward_return=pl.Series(np.random.default_rng(4).normal(0, 0.02, KEYS.height)),
)
NOISE = pl.Series(np.random.default_rng(5).normal(0, 1, KEYS.height))


def scored(strength: float, targets: pl.DataFrame = TARGETS) -> pl.DataFrame:
    noise = NOISE.head(targets.height)
    return targets.select("symbol", "session", score=strength * pl.col("forward_return") / 0.02 + noise)


def target_among_inputs(leaky: bool):
    return audit_statistics(scored(0.6 if leaky else 0.02), TARGETS)


def targets_by_another_way(leaky: bool):
    """A pipeline that finds its targets whatever they are, at a strength that raises no alarm by itself."""

    def refit(targets: pl.DataFrame) -> pl.DataFrame:
        return scored(0.3 if leaky else 0.0, targets)

    return audit_statistics(scored(0.02), TARGETS, refit=refit)


MUTANTS = [
    model_mutant(
        "prediction/batch_norm_in_training_mode",
        "a network left in training mode normalizes by its batch",
        f"{GITHUB}zorzi-s/PolyWorldPretrainedNetwork/issues/3",
        lambda: network(norm="layer").train(),
        lambda: network(norm="layer"),
    ),
    model_mutant(
        "prediction/batch_statistics",
        "predictions from the statistics of the batch they are in",
        f"{GITHUB}keras-team/keras/issues/3085",
        lambda: network(norm="batch"),
    ),
    model_mutant(
        "prediction/padding_ignored",
        "padded steps take part",
        f"{GITHUB}timeseriesAI/tsai/issues/79 and {GITHUB}facebookresearch/CovidPrognosis/issues/16",
        lambda: network(masked=False),
    ),
    model_mutant(
        "prediction/later_steps",
        "a causal mask that is silently dropped",
        f"{GITHUB}keras-team/keras/issues/23038",
        lambda: network(causal=False),
    ),
    model_mutant(
        "prediction/mixed_axis",
        "a recurrent layer that runs along the batch",
        f"{GITHUB}hyunwoongko/transformer/pull/40: a mask on the wrong axis",
        lambda: network(carry=True),
    ),
    Mutant(
        "prediction/calibrated_on_test",
        "probabilities calibrated on the month they are for",
        f"{GITHUB}FT-ZHOU-ZZZ/CMTA/issues/8: one set to choose and to report",
        frozenset({"fit_ledger"}),
        fit_on_test("calibration"),
    ),
    Mutant(
        "prediction/ensemble_on_test",
        "ensemble weights found on the test month",
        f"{GITHUB}DearCaat/RRT-MIL/issues/22: the best weights by the test set",
        frozenset({"fit_ledger"}),
        fit_on_test("ensemble"),
    ),
    Mutant(
        "prediction/looked_twice",
        "the test month read again for another choice",
        f"{GITHUB}LunaBlack/KGAT-pytorch/issues/29",
        frozenset({"access"}),
        looked_twice,
    ),
    Mutant(
        "prediction/target_among_inputs",
        "accuracy that no market gives",
        f"{GITHUB}twopirllc/pandas-ta/issues/60: models with it were 99 to 100 % accurate",
        frozenset({"statistics"}),
        target_among_inputs,
    ),
    Mutant(
        "prediction/targets_by_another_way",
        "a pipeline that predicts permuted targets",
        "Kapoor & Narayanan, https://arxiv.org/abs/2207.07048: features that encode the answer",
        frozenset({"statistics"}),
        targets_by_another_way,
    ),
]
