import pytest
import torch
from torch import nn

from trademl_pipeline.models.layers import Attention, MaskedBatchNorm, run_lstm
from trademl_pipeline.models.registry import NETWORKS, build, config, count_parameters, describe, presets
from trademl_pipeline.models.xlstm import MLSTMBlock, parallel_mlstm

SMALL = [
    ("mamba_forecast", {"d_model": 16, "d_state": 4, "layers": 2, "expand": 2}),
    ("mamba_attention", {"d_model": 16, "heads": 4, "dense": (16, 8)}),
    ("mamba_attention", {"d_model": 16, "heads": 4, "dense": (16, 8), "body": "bilstm"}),
    ("lstm_backbone", {}),
    ("lstm_attention", {"hidden": 8, "heads": 4, "layers": 2}),
    ("transformer", {"d_model": 16, "heads": 4, "layers": 2}),
    ("xlstm", {"d_model": 16, "layers": ("m", "s")}),
    ("hybrid", {"d_xlstm": 16, "d_transformer": 16, "d_model": 16, "form": "single"}),
    ("hybrid", {"d_xlstm": 16, "d_transformer": 16, "d_model": 16, "form": "efficient"}),
    ("hybrid", {"d_xlstm": 16, "d_transformer": 16, "d_model": 16, "form": "ensemble"}),
]
EACH = pytest.mark.parametrize(("name", "changes"), SMALL, ids=lambda v: v if isinstance(v, str) else "")
FEATURES, LENGTH = 5, 18


def small(name, changes):
    return build(name, FEATURES, seed=3, **changes).eval()


def batch(rows=4, length=LENGTH, seed=0):
    return torch.randn(rows, length, FEATURES, generator=torch.Generator().manual_seed(seed))


def left_padded(counts, length=LENGTH):
    return torch.arange(length).expand(len(counts), -1) >= length - torch.tensor(counts)[:, None]


@EACH
def test_padding_neither_feeds_nor_moves_the_outputs(name, changes):
    network, x = small(name, changes), batch()
    mask = left_padded([18, 11, 5, 1])
    with torch.no_grad():
        out = network(x, mask)
        dirty = x.clone()
        dirty[~mask] = 1e4
        for key, value in network(dirty, mask).items():
            assert torch.equal(value, out[key]), key
        for row, count in enumerate([18, 11, 5, 1]):
            alone = network(x[row : row + 1, LENGTH - count :])
            for key, value in alone.items():
                torch.testing.assert_close(value[0], out[key][row], rtol=1e-4, atol=1e-5)


@EACH
def test_rows_of_a_batch_do_not_touch_each_other(name, changes):
    network, x = small(name, changes), batch()
    other = x.clone()
    other[1:] += 5
    with torch.no_grad():
        for (key, a), b in zip(network(x).items(), network(other).values(), strict=True):
            torch.testing.assert_close(a[0], b[0], rtol=1e-5, atol=1e-6, msg=key)


@EACH
def test_every_parameter_gets_a_gradient(name, changes):
    network = small(name, changes).train()
    out = network(batch(8), left_padded([18, 18, 9, 9, 4, 4, 2, 2]))
    sum(v.square().sum() for v in out.values()).backward()
    assert [n for n, p in network.named_parameters() if p.grad is None] == []


@EACH
def test_same_seed_same_weights_and_the_callers_random_state_is_untouched(name, changes):
    torch.manual_seed(5)
    want = torch.rand(1)
    torch.manual_seed(5)
    one, two = small(name, changes), small(name, changes)
    assert torch.equal(torch.rand(1), want)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))


@EACH
def test_a_window_of_padding_only_gives_finite_outputs(name, changes):
    out = small(name, changes)(batch(2), torch.zeros(2, LENGTH, dtype=torch.bool))
    assert all(v.isfinite().all() for v in out.values())


def test_every_preset_of_every_network_builds_and_tells_its_size():
    sizes = {(n, s): count_parameters(build(n, 60, s)) for n in NETWORKS for s in presets(n)}
    assert (
        sizes["mamba_forecast", "baseline_64"]
        < sizes["mamba_forecast", "base_128"]
        < sizes["mamba_forecast", "large_256"]
    )
    assert (
        sizes["mamba_attention", "small"]
        < sizes["mamba_attention", "base"]
        < sizes["mamba_attention", "large"]
    )
    assert sizes["hybrid", "single"] < sizes["hybrid", "efficient"] < sizes["hybrid", "ensemble"]
    told = describe("transformer", build("transformer", 60, "small"))
    assert told["parameters"] == sizes["transformer", "small"]
    assert told["config"]["d_model"] == 64


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: build("rnn", 3), "unknown network 'rnn'; choose one of mamba_forecast"),
        (lambda: config("xlstm", 3, "huge"), "xlstm has no preset 'huge'; choose one of base, small"),
        (lambda: config("xlstm", 3, width=3), "xlstm has no setting width"),
        (lambda: build("xlstm", 3, layers=("m", "x")), r"unknown xLSTM blocks \['x'\]"),
        (lambda: build("hybrid", 3, form="triple"), "unknown form 'triple'"),
        (lambda: build("transformer", 3, d_model=30, heads=8), "d_model=30 is not a multiple of heads=8"),
    ],
)
def test_wrong_settings_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_recurrent_dropout_path_equals_the_fused_lstm_when_it_drops_nothing():
    network = build("lstm_backbone", FEATURES, recurrent_dropout=1e-12)
    x, mask = batch(), left_padded([18, 11, 5, 1])
    x = x * mask.unsqueeze(-1)
    network.train()
    stepped = network._recurrent(x, mask) * mask.unsqueeze(-1)
    network.eval()
    torch.testing.assert_close(stepped, network._recurrent(x, mask), rtol=1e-5, atol=1e-6)


def test_dense_penalty_is_the_l2_of_the_dense_weights():
    network = build("lstm_backbone", FEATURES)
    with torch.no_grad():
        network.dense.weight.fill_(0.5)
    assert float(network.penalty().detach()) == pytest.approx(0.006 * 0.25 * 32 * 16)


def test_run_lstm_starts_at_the_first_real_step_in_both_directions():
    torch.manual_seed(0)
    lstm = nn.LSTM(FEATURES, 4, 2, batch_first=True, bidirectional=True)
    x, counts = batch(3), [18, 7, 1]
    out = run_lstm(lstm, x, left_padded(counts))
    for row, count in enumerate(counts):
        alone = lstm(x[row : row + 1, LENGTH - count :])[0][0]
        torch.testing.assert_close(out[row, LENGTH - count :], alone, rtol=1e-5, atol=1e-6)
        assert (out[row, : LENGTH - count] == 0).all()


def test_attention_equals_its_weights_times_the_values():
    torch.manual_seed(0)
    attention = Attention(8, 1)
    h, mask = torch.randn(2, 6, 8), left_padded([6, 3], 6)
    weights = attention.weights(h, mask)
    value = attention.qkv(h)[..., 16:]
    torch.testing.assert_close(attention(h, mask), attention.out(weights @ value))
    torch.testing.assert_close(weights.sum(-1), torch.ones(2, 6))
    assert (weights[1, :, :3] == 0).all()


@pytest.mark.parametrize("name", ["mamba_attention", "lstm_attention", "transformer", "hybrid"])
def test_attention_over_time_sums_to_one_over_real_steps(name):
    network = build(name, FEATURES, "small").eval()
    mask = left_padded([18, 7])
    weights = network.attention_weights(batch(2), mask)
    torch.testing.assert_close(weights.sum(-1), torch.ones(2))
    assert (weights[1, :11] == 0).all()


def test_hybrid_without_a_transformer_has_no_attention_over_time():
    with pytest.raises(ValueError, match="form 'single' of Hybrid has no attention"):
        small("hybrid", SMALL[7][1]).attention_weights(batch(2))


def test_fusion_weights_cover_the_paths_and_the_position():
    network = small("hybrid", SMALL[8][1])
    weights = network.fusion_weights(batch(3))
    assert weights["fused"].shape == (3, 3)
    torch.testing.assert_close(weights["fused"].sum(-1), torch.ones(3))


def test_position_state_is_heard():
    network, x = small("hybrid", SMALL[7][1]), batch(1)
    long_now = torch.tensor([[1.0, 0.02, 5.0, 0.0]])
    assert not torch.allclose(network(x)["position"], network(x, None, long_now)["position"])
    flat = torch.tensor([[0.0, 0.0, 0.0, 1.0]])
    assert torch.equal(network(x)["position"], network(x, None, flat)["position"])


def test_batch_norm_ignores_padding_and_survives_a_single_step():
    norm = MaskedBatchNorm(3).train()
    h = torch.randn(4, 6, 3)
    mask = left_padded([6, 2, 1, 3], 6)
    norm(h, mask)
    torch.testing.assert_close(norm.norm.running_mean, 0.1 * h[mask].mean(0))
    assert norm(h[:1, :1]).isfinite().all()


def recurrent_mlstm(q, k, v, log_input, log_forget):
    """Equations 19 to 27 of the paper, step by step, unstabilised, in float64."""
    batch_size, heads, length, d = q.shape
    C = q.new_zeros(batch_size, heads, d, d)
    n = q.new_zeros(batch_size, heads, d)
    out = []
    for t in range(length):
        f, i = log_forget[..., t].exp(), log_input[..., t].exp()
        key = k[..., t, :] * d**-0.5
        C = f[..., None, None] * C + i[..., None, None] * v[..., t, :, None] * key[..., None, :]
        n = f[..., None] * n + i[..., None] * key
        query = q[..., t, :]
        scale = (n * query).sum(-1, keepdim=True).abs().clamp(min=1)
        out.append((C @ query.unsqueeze(-1)).squeeze(-1) / scale)
    return torch.stack(out, 2)


def test_parallel_mlstm_is_the_recurrence_of_the_paper():
    g = torch.Generator().manual_seed(1)
    q, k, v = (torch.randn(2, 3, 25, 4, generator=g, dtype=torch.float64) for _ in range(3))
    log_input = torch.randn(2, 3, 25, generator=g, dtype=torch.float64) * 2
    log_forget = nn.functional.logsigmoid(torch.randn(2, 3, 25, generator=g, dtype=torch.float64) + 2)
    want = recurrent_mlstm(q, k, v, log_input, log_forget)
    torch.testing.assert_close(parallel_mlstm(q, k, v, log_input, log_forget), want)


def test_parallel_mlstm_stays_finite_with_extreme_gates():
    q, k, v = (torch.randn(1, 1, 50, 4) for _ in range(3))
    out = parallel_mlstm(q, k, v, torch.full((1, 1, 50), 80.0), torch.full((1, 1, 50), -30.0))
    assert out.isfinite().all()


def test_mlstm_block_is_causal():
    block = MLSTMBlock(8, 2, 4)
    h = torch.randn(1, 20, 8)
    changed = h.clone()
    changed[:, 12:] += 1
    torch.testing.assert_close(block(changed)[:, :12], block(h)[:, :12], rtol=0, atol=1e-6)
