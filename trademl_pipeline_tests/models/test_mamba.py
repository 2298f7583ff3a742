import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from trademl_pipeline.models.mamba import Mamba, MambaConfig
from trademl_pipeline.models.ssm import use_backend
from trademl_pipeline_tests.models.reference import real_mamba

FORECASTER = MambaConfig(d_model=128, d_state=32, d_conv=8, expand=4)


def test_parameters_are_those_of_mamba_ssm():
    block = Mamba(FORECASTER)
    assert {name: tuple(p.shape) for name, p in block.state_dict().items()} == {
        "A_log": (512, 32),
        "D": (512,),
        "in_proj.weight": (1024, 128),
        "conv1d.weight": (512, 1, 8),
        "conv1d.bias": (512,),
        "x_proj.weight": (72, 512),
        "dt_proj.weight": (512, 8),
        "dt_proj.bias": (512,),
        "out_proj.weight": (128, 512),
    }
    assert sum(p.numel() for p in block.parameters()) == 259_584


def test_initialisation_is_that_of_mamba_ssm():
    torch.manual_seed(0)
    block = Mamba(FORECASTER)
    assert torch.equal(block.A_log, torch.log(torch.arange(1.0, 33)).repeat(512, 1))
    assert torch.equal(block.D, torch.ones(512))
    assert block.dt_proj.weight.abs().max() <= 8**-0.5
    step = torch.nn.functional.softplus(block.dt_proj.bias)
    assert step.min() >= 1e-3 * 0.999
    assert step.max() <= 0.1 * 1.001
    # log-uniform: the middle of the range on a log scale is the median
    assert abs(float(step.detach().log().median()) - math.log(1e-2)) < 0.25
    assert block.A_log._no_weight_decay
    assert block.D._no_weight_decay


@pytest.mark.parametrize("backend", ["numba", "torch"])
def test_output_and_gradients_equal_stored_values_of_the_real_block(backend):
    stored = np.load(real_mamba.STORED)
    block = Mamba(MambaConfig(**real_mamba.SHAPE))
    weights = {
        n.removeprefix("weight."): torch.from_numpy(stored[n])
        for n in stored.files
        if n.startswith("weight.")
    }
    block.load_state_dict(weights, strict=True)
    with use_backend(backend):
        got = real_mamba.values_of(block, torch.from_numpy(stored["h"]), torch.from_numpy(stored["g"]))
    assert set(got) == {n for n in stored.files if n == "out" or n.startswith("grad.")}
    for name, value in got.items():
        assert np.abs(value - stored[name]).max() <= 2e-6 * max(1.0, np.abs(stored[name]).max()), name


@pytest.mark.skipif(not real_mamba.available(), reason="mamba_ssm's files and einops are not on the path")
def test_weights_move_to_the_real_block_and_back():
    torch.manual_seed(3)
    shape = {"d_model": 128, "d_state": 32, "d_conv": 8, "expand": 4}
    ours, real = Mamba(MambaConfig(**shape)), real_mamba.real_mamba(**shape)
    h, g = torch.randn(2, 60, 128), torch.randn(2, 60, 128)
    real.load_state_dict(ours.state_dict(), strict=True)
    want, got = real_mamba.values_of(real, h, g), real_mamba.values_of(ours, h, g)
    back = Mamba(MambaConfig(**shape))
    back.load_state_dict(real.state_dict(), strict=True)
    for name, value in got.items():
        assert np.abs(value - want[name]).max() <= 2e-6 * max(1.0, np.abs(want[name]).max()), name
    assert torch.equal(back(h), ours(h))


@settings(max_examples=15, deadline=None, derandomize=True)
@given(
    length=st.integers(1, 70), padding=st.integers(0, 40), seed=st.integers(0, 999), taps=st.integers(1, 8)
)
def test_left_padding_changes_nothing(length, padding, seed, taps):
    torch.manual_seed(seed)
    block = Mamba(MambaConfig(d_model=8, d_state=4, d_conv=taps, expand=2))
    h = torch.randn(2, length, 8)
    padded = torch.cat([torch.randn(2, padding, 8) * 100, h], 1)
    mask = torch.arange(padding + length).expand(2, -1) >= padding
    out = block(padded, mask)
    torch.testing.assert_close(out[:, padding:], block(h), rtol=1e-5, atol=1e-6)
    assert (out[:, :padding] == 0).all()


def test_padded_steps_get_no_gradient():
    block = Mamba(MambaConfig(d_model=8))
    h = torch.randn(1, 10, 8, requires_grad=True)
    block(h, torch.arange(10).expand(1, -1) >= 4).square().sum().backward()
    assert h.grad is not None
    assert (h.grad[:, :4] == 0).all()
    assert (h.grad[:, 4:] != 0).any()


def test_later_steps_do_not_reach_earlier_outputs():
    block = Mamba(MambaConfig(d_model=8, d_conv=8))
    h = torch.randn(1, 30, 8)
    changed = h.clone()
    changed[:, 20:] += 1
    torch.testing.assert_close(block(changed)[:, :20], block(h)[:, :20], rtol=0, atol=0)


@pytest.mark.parametrize(("length", "channels", "taps"), [(1, 3, 8), (5, 64, 8), (60, 70, 4), (33, 130, 1)])
@pytest.mark.parametrize("batch", [3, 40])
def test_fused_convolution_equals_torch_in_values_and_gradients(batch, length, channels, taps):
    from trademl_pipeline.models.conv_numba import NumbaConvSilu

    conv = torch.nn.Conv1d(channels, channels, taps, groups=channels, padding=taps - 1)
    x, g = torch.randn(batch, length, channels), torch.randn(batch, length, channels)
    exact = [t.detach().double().requires_grad_() for t in (x, conv.weight, conv.bias)]
    want = torch.nn.functional.conv1d(
        exact[0].transpose(1, 2), exact[1], exact[2], padding=taps - 1, groups=channels
    )[..., :length]
    want = torch.nn.functional.silu(want).transpose(1, 2)
    want.backward(g.double())
    leaves = [t.detach().clone().requires_grad_() for t in (x, conv.weight, conv.bias)]
    got = NumbaConvSilu.apply(*leaves)
    got.backward(g)
    torch.testing.assert_close(got.double(), want, rtol=1e-5, atol=1e-6)
    for a, b in zip(leaves, exact, strict=True):
        assert (a.grad.double() - b.grad).abs().max() < 2e-6 * b.grad.abs().max()
