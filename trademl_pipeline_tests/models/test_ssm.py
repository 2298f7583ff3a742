import threading

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from trademl_pipeline.models import ssm
from trademl_pipeline.models.ssm import choose_backend, selective_scan, use_backend
from trademl_pipeline_tests.models.reference.scan import sequential_scan

CPU_BACKENDS = ("numba", "torch")


def scan_inputs(batch, channels, length, states, seed, time_major=True):
    g = torch.Generator().manual_seed(seed)

    def steps(width):
        if time_major:
            return torch.randn(batch, length, width, generator=g).transpose(1, 2)
        return torch.randn(batch, width, length, generator=g)

    dt = torch.exp(torch.rand(channels, generator=g) * 4.6 - 6.9)  # as the block draws it: 1e-3 to 0.1
    return {
        "u": steps(channels),
        "delta": 0.5 * steps(channels),
        "A": -torch.arange(1.0, states + 1) * (0.5 + torch.rand(channels, states, generator=g)),
        "B": steps(states),
        "C": steps(states),
        "D": torch.randn(channels, generator=g),
        "z": steps(channels),
        "delta_bias": dt + torch.log(-torch.expm1(-dt)),
    }


def outputs_and_gradients(scan, inputs, softplus, weight, **options):
    leaves = {k: v.detach().clone().requires_grad_() if v is not None else None for k, v in inputs.items()}
    y = scan(*leaves.values(), softplus, **options)
    y.backward(weight.to(y.dtype))
    return y.detach(), {k: v.grad for k, v in leaves.items() if v is not None}


def relative(got, want):
    scale = want.abs().max()
    return float((got.double() - want).abs().max() / scale) if scale > 0 else float(got.abs().max())


def assert_parity(inputs, softplus, backend):
    weight = torch.randn(inputs["u"].shape, generator=torch.Generator().manual_seed(1))
    exact = {k: v.double() if v is not None else None for k, v in inputs.items()}
    want, want_grads = outputs_and_gradients(sequential_scan, exact, softplus, weight)
    got, grads = outputs_and_gradients(selective_scan, inputs, softplus, weight, backend=backend)
    assert relative(got, want) < 1e-6
    errors = {name: relative(grads[name], want_grads[name]) for name in want_grads}
    assert max(errors.values()) < 2e-6, errors


@pytest.mark.parametrize("backend", CPU_BACKENDS)
@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    batch=st.integers(1, 5),
    channels=st.integers(1, 140),
    length=st.integers(1, 200),
    states=st.integers(1, 33),
    seed=st.integers(0, 2**31),
    softplus=st.booleans(),
    time_major=st.booleans(),
    absent=st.sets(st.sampled_from(["D", "z", "delta_bias"])),
)
def test_scan_and_gradients_match_the_float64_reference(
    backend, batch, channels, length, states, seed, softplus, time_major, absent
):
    inputs = scan_inputs(batch, channels, length, states, seed, time_major)
    if not softplus:
        # without softplus a step must come positive, else states grow without bound
        inputs["delta"] = inputs["delta"].abs() * 0.2
        inputs["delta_bias"] = inputs["delta_bias"].exp()
    inputs |= dict.fromkeys(absent)
    assert_parity(inputs, softplus, backend)


@pytest.mark.parametrize("backend", CPU_BACKENDS)
@pytest.mark.parametrize("length", [1, 2, 63, 64, 65, 128, 129, 200])
def test_lengths_around_the_recomputed_spans(backend, length):
    assert_parity(scan_inputs(2, 65, length, 7, seed=length), True, backend)


@pytest.mark.parametrize("backend", CPU_BACKENDS)
@pytest.mark.parametrize(("batch", "channels", "states"), [(70, 16, 4), (33, 17, 3), (2, 15, 256), (1, 1, 1)])
def test_sizes_around_the_shares_blocks_and_tiles(backend, batch, channels, states):
    assert_parity(scan_inputs(batch, channels, 12, states, seed=states), True, backend)


@pytest.mark.parametrize("backend", CPU_BACKENDS)
def test_wide_range_of_step_sizes_neither_overflows_nor_loses_accuracy(backend):
    inputs = scan_inputs(2, 8, 50, 16, seed=3)
    inputs["delta"] = inputs["delta"] * 20  # steps from 1e-9 to 40, decays down to exp(-600)
    assert_parity(inputs, True, backend)


def test_groups_are_the_scans_of_their_channels():
    grouped = scan_inputs(2, 12, 20, 4, seed=5)
    grouped["B"] = torch.stack([grouped["B"], grouped["C"].flip(0)], 1)
    grouped["C"] = grouped["B"].flip(1)
    want = torch.cat(
        [
            sequential_scan(
                *(grouped[k].double()[:, cut] for k in ("u", "delta")),
                grouped["A"].double()[cut],
                grouped["B"].double()[:, group],
                grouped["C"].double()[:, group],
                grouped["D"].double()[cut],
                grouped["z"].double()[:, cut],
                grouped["delta_bias"].double()[cut],
                True,
            )
            for group, cut in enumerate((slice(0, 6), slice(6, 12)))
        ],
        1,
    )
    for backend in CPU_BACKENDS:
        got = selective_scan(*grouped.values(), True, backend=backend)
        assert relative(got, want) < 1e-6


def test_result_does_not_depend_on_threads_or_on_concurrent_calls():
    inputs = scan_inputs(16, 128, 60, 16, seed=7)
    weight = torch.randn(inputs["u"].shape)
    before = torch.get_num_threads()
    results = []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            results.append(outputs_and_gradients(selective_scan, inputs, True, weight, backend="numba"))
    finally:
        torch.set_num_threads(before)

    def work():
        results.append(outputs_and_gradients(selective_scan, inputs, True, weight, backend="numba"))

    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(results) == 7
    for y, grads in results[1:]:
        assert torch.equal(y, results[0][0])
        assert all(torch.equal(grads[k], results[0][1][k]) for k in grads)


@pytest.mark.parametrize("backend", CPU_BACKENDS)
def test_rows_of_the_batch_are_independent_and_time_is_causal(backend):
    inputs = scan_inputs(4, 10, 40, 6, seed=9)
    y = selective_scan(*inputs.values(), True, backend=backend)
    changed = {k: v.clone() for k, v in inputs.items()}
    for name in ("u", "delta", "B", "C", "z"):
        changed[name][1:] += 3.0
        changed[name][0, :, 25:] -= 2.0
    again = selective_scan(*changed.values(), True, backend=backend)
    assert torch.equal(again[0, :, :25], y[0, :, :25])
    assert not torch.allclose(again[0, :, 25:], y[0, :, 25:])


@pytest.mark.parametrize("backend", CPU_BACKENDS)
def test_nan_goes_forward_in_its_own_channel_and_row_only(backend):
    inputs = scan_inputs(2, 5, 20, 4, seed=11)
    inputs["u"][0, 2, 8] = float("nan")
    y = selective_scan(*inputs.values(), True, backend=backend)
    assert y[0, 2, 8:].isnan().all()
    y[0, 2, 8:] = 0
    assert not y.isnan().any()


def test_half_precision_input_is_summed_in_float32():
    inputs = scan_inputs(2, 8, 30, 4, seed=13)
    half = {k: v.bfloat16() if k in ("u", "delta", "z") else v for k, v in inputs.items()}
    for backend in CPU_BACKENDS:
        y = selective_scan(*half.values(), True, backend=backend)
        want = sequential_scan(*(v.double() for v in half.values()), True)
        assert y.dtype == torch.bfloat16
        assert relative(y, want) < 2**-8


def test_backend_choice_and_override():
    x = torch.zeros(1, 2, 3)
    assert choose_backend(x) == "numba"
    assert choose_backend(x.double()) == "torch"
    with use_backend("torch"):
        assert choose_backend(x) == "torch"
    assert choose_backend(x) == "numba"
    with pytest.raises(ValueError, match="unknown scan backend 'fast'"), use_backend("fast"):
        pass


def test_without_numba_the_portable_backend_is_chosen(monkeypatch):
    monkeypatch.setattr(ssm, "_imports", lambda module: False)
    assert choose_backend(torch.zeros(1, 2, 3)) == "torch"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"delta": torch.zeros(2, 4, 6)}, r"delta must be \(2, 4, 5\) to fit u"),
        ({"A": torch.zeros(3, 2)}, r"A must be real and \(D=4, N\)"),
        ({"A": torch.zeros(4, 2, dtype=torch.complex64)}, "A must be real"),
        ({"B": torch.zeros(2, 3, 5)}, r"B must be \(batch, N, L\) = \(2, 2, 5\)"),
        ({"C": torch.zeros(2, 2, 2, 5)}, "B and C must have one shape"),
        ({"D": torch.zeros(5)}, r"D must be \(4,\)"),
        ({"u": torch.zeros(2, 4, 0)}, "not empty"),
        ({"backend": "fast"}, "unknown scan backend 'fast'"),
        ({"backend": "cuda"}, "cuda scan needs CUDA tensors"),
    ],
)
def test_wrong_input_is_named(change, message):
    args = {
        "u": torch.zeros(2, 4, 5),
        "delta": torch.zeros(2, 4, 5),
        "A": torch.zeros(4, 2),
        "B": torch.zeros(2, 2, 5),
        "C": torch.zeros(2, 2, 5),
    }
    with pytest.raises(ValueError, match=message):
        selective_scan(**(args | change))
