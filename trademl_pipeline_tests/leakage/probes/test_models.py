import numpy as np
import pytest
import torch
from torch import nn

from trademl_pipeline.leakage import AuditInputError, ExtractorError, NonDeterministicError, audit_model

RNG = np.random.default_rng(0)
B, T, F = 6, 10, 4
X = RNG.normal(size=(B, T, F)).astype(np.float32)
VALID = np.array([10, 10, 7, 5, 3, 1])
MASK = np.arange(T)[None, :] >= T - VALID[:, None]
X[~MASK] = 0.0
WEIGHT = RNG.normal(size=(F, 3)).astype(np.float32)


def pooled(x, mask):
    w = mask[..., None]
    return (x * w).sum(axis=1) / w.sum(axis=1) @ WEIGHT


def running_mean(x, mask):
    w = mask[..., None]
    return np.cumsum(x * w, axis=1) / np.maximum(np.cumsum(w, axis=1), 1) @ WEIGHT


CLEAN = {
    "masked mean": (pooled, False),
    "running mean": (running_mean, True),
    "several outputs": (lambda x, m: {"a": pooled(x, m), "b": (running_mean(x, m), pooled(x, m))}, True),
    "both directions, said so": (lambda x, m: running_mean(x, m) + pooled(x, m)[:, None, :], False),
}

LEAKS = {
    "mean over padding": (lambda x, m: x.mean(axis=1) @ WEIGHT, False, "padding"),
    "last step of a left-padded row, from the left": (lambda x, m: x[:, 0] @ WEIGHT, False, "padding"),
    "count of zeros": (lambda x, m: (x == 0).sum(axis=1).astype(float), False, "padding"),
    "normalized over the batch": (
        lambda x, m: pooled((x - x[m].mean(axis=0)) / x[m].std(axis=0), m),
        False,
        "other rows",
    ),
    "ranked within the batch": (
        lambda x, m: np.argsort(np.argsort(pooled(x, m), axis=0), axis=0).astype(float),
        False,
        "other rows",
    ),
    "mixed axis": (lambda x, m: np.cumsum(running_mean(x, m), axis=0), True, "other rows"),
    "state carried along the batch": (
        lambda x, m: pooled(x, m) + np.roll(pooled(x, m), 1, axis=0),
        False,
        "other rows",
    ),
    "reads the whole window": (
        lambda x, m: running_mean(x, m) + pooled(x, m)[:, None, :],
        True,
        "later steps",
    ),
    "next step": (lambda x, m: np.roll(running_mean(x, m), -1, axis=1), True, "later steps"),
    "length of the window": (
        lambda x, m: running_mean(x, m) / m.sum(axis=1)[:, None, None],
        True,
        "later steps",
    ),
}


@pytest.mark.parametrize("name", CLEAN)
def test_a_model_that_looks_where_it_may_passes(name):
    model, causal = CLEAN[name]
    report = audit_model(model, X, MASK, causal=causal)
    report.assert_clean()
    assert report.coverage["model"]["padded_steps"] == int((~MASK).sum())


@pytest.mark.parametrize("name", LEAKS)
def test_a_model_that_looks_elsewhere_is_refused(name):
    model, causal, kind = LEAKS[name]
    report = audit_model(model, X, MASK, causal=causal)
    assert any(v.detail.startswith(kind) for v in report.violations)


def test_without_mask_the_model_is_called_with_the_batch_alone():
    audit_model(lambda x: np.cumsum(x, axis=1), X, causal=True).assert_clean()
    assert not audit_model(lambda x: np.cumsum(x[:, ::-1], axis=1)[:, ::-1], X, causal=True).passed


class Network(nn.Module):
    def __init__(self, *, dropout: float = 0.0, norm: bool = False, masked: bool = True) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.masked = masked
        self.inward = nn.Linear(F, 8)
        self.norm = nn.BatchNorm1d(8) if norm else nn.Identity()
        self.lstm = nn.LSTM(8, 8, batch_first=True)
        self.dropout = nn.Dropout(dropout)
        self.out = nn.Linear(8, 3)

    def forward(self, x, mask):
        h = self.norm(self.inward(x).transpose(1, 2)).transpose(1, 2)
        if self.masked:
            h = h * mask[..., None]
        h, _ = self.lstm(h)
        return self.out(self.dropout(h))


def audited(model):
    return audit_model(model, torch.tensor(X), torch.tensor(MASK), causal=True)


def test_a_masked_causal_network_in_evaluation_mode_passes():
    report = audited(Network(norm=True, dropout=0.5).eval())
    report.assert_clean()
    assert not report.coverage["model"]["training_mode"]


def test_a_network_that_ignores_the_mask_is_refused():
    report = audited(Network(masked=False).eval())
    assert [v.detail[:7] for v in report.violations] == ["padding"]


def test_batch_norm_in_training_mode_mixes_rows():
    report = audited(Network(norm=True).train())
    assert "other rows" in {v.detail.split(":")[0] for v in report.violations}
    assert report.coverage["model"]["training_mode"]


def test_dropout_left_on_is_an_error():
    with pytest.raises(NonDeterministicError, match=r"model\.eval"):
        audited(Network(dropout=0.5).train())


def test_an_attention_that_sees_ahead_is_refused():
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(F, 2, 8, dropout=0.0, batch_first=True).eval()
    upper = torch.triu(torch.ones(T, T, dtype=torch.bool), diagonal=1)
    full = torch.tensor(np.ones_like(MASK))

    def attend(x, mask):
        return layer(x, src_mask=upper, src_key_padding_mask=~mask)

    def see_ahead(x, mask):
        return layer(x, src_key_padding_mask=~mask)

    audit_model(attend, torch.tensor(X), full, causal=True).assert_clean()
    assert not audit_model(see_ahead, torch.tensor(X), full, causal=True).passed


def broken(x, mask):
    raise RuntimeError("shapes do not match")


@pytest.mark.parametrize(
    ("model", "x", "mask", "error", "message"),
    [
        (broken, X, MASK, ExtractorError, "shapes do not match"),
        (lambda x, m: 1.0, X, MASK, AuditInputError, "first axis must be the batch"),
        (lambda x, m: x[:3], X, MASK, AuditInputError, "first axis must be the batch"),
        (lambda x, m: x * np.nan, X, MASK, AuditInputError, "not finite"),
        (pooled, X[0], MASK, AuditInputError, r"\(batch, time, feature\)"),
        (pooled, X[:1], MASK[:1], AuditInputError, "at least two rows"),
        (pooled, X, MASK[:, :5], AuditInputError, "mask has shape"),
        (pooled, X, np.zeros_like(MASK), AuditInputError, "padding throughout"),
    ],
)
def test_a_model_that_cannot_be_audited_is_an_error(model, x, mask, error, message):
    with pytest.raises(error, match=message):
        audit_model(model, x, mask, causal=True)


def test_garbage_that_becomes_infinite_is_a_violation_and_no_error():
    report = audit_model(lambda x, m: np.where(x > 9, np.inf, x).mean(axis=1), X, MASK, causal=False)
    assert any(v.detail.startswith("padding") for v in report.violations)


def test_a_mask_of_numbers_is_given_as_numbers():
    seen = []

    def model(x, mask):
        seen.append(mask.dtype)
        return pooled(x, mask)

    audit_model(model, X, MASK.astype(np.float32), causal=False).assert_clean()
    assert set(seen) == {np.dtype(np.float32)}
