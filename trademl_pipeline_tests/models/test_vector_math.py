import numpy as np
import pytest
from numba import njit

from trademl_pipeline.models import vector_math
from trademl_pipeline.models.simd import load, store
from trademl_pipeline.models.vector_math import LANES


def over(function, x):
    """The function of vectors at every element of x."""

    @njit
    def kernel(x, out):
        for i in range(0, len(x), LANES):
            store(out, (i,), function(load(x, (i,), LANES)))

    padded = np.resize(np.asarray(x, np.float32), -(-len(x) // LANES) * LANES)
    out = np.zeros_like(padded)
    kernel(padded, out)
    return out[: len(x)]


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


@pytest.mark.parametrize(
    ("name", "exact", "low", "high", "units"),
    [
        ("exp2", np.exp2, -125.9, 125.9, 0.75),
        ("exp", np.exp, -87, 87, 1),
        ("sigmoid", sigmoid, -87, 87, 2),
        ("softplus", lambda x: np.logaddexp(0, x), -87, 87, 3),
    ],
)
def test_functions_are_exact_to_some_units_in_the_last_place(name, exact, low, high, units):
    x = np.concatenate([np.linspace(low, high, 200_000), np.linspace(-2, 2, 200_000)]).astype(np.float32)
    want = exact(x.astype(np.float64))
    assert np.abs(over(getattr(vector_math, name), x) / want - 1).max() < units * np.finfo(np.float32).eps


def test_a_step_without_decay_is_one():
    assert over(vector_math.exp2, [0.0, -0.0]).tolist() == [1.0, 1.0]


def test_exponentials_are_held_within_their_bounds():
    x = [-np.inf, -1e30, -127, 127, 1e30, np.inf]
    np.testing.assert_allclose(over(vector_math.exp2, x), [2.0**-126] * 3 + [2.0**126] * 3, rtol=1e-6)


@pytest.mark.parametrize("name", ["exp2", "exp", "sigmoid", "softplus"])
def test_nan_of_any_bits_stays_nan(name):
    bits = np.array([0x7FC00000, 0x7FC00001, 0x7FFFFFFF, 0xFFC00001, 0xFFFFFFFF, 0x7FC001FF], np.uint32)
    assert np.isnan(over(getattr(vector_math, name), bits.view(np.float32))).all()


def test_scratch_begins_at_a_cache_line():
    @njit
    def kernel():
        memory = vector_math.scratch(3, LANES)
        return memory.ctypes.data, memory

    for _ in range(8):
        address, memory = kernel()
        assert address % 64 == 0
        assert memory.shape == (3, LANES)
        assert not memory.any()
