import numpy as np
import pytest
from numba import njit
from numba.core.errors import TypingError

from trademl_pipeline.models import simd

WIDTH, PARTS, EIGHTH = 64, 4, 8


def numbers(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def lanewise(function):
    """The kernel that applies the function to the lanes of two arrays."""

    @njit
    def kernel(x, y, out):
        simd.store(out, (0,), function(simd.load(x, (0,), WIDTH), simd.load(y, (0,), WIDTH)))

    def run(x, y):
        out = np.zeros(WIDTH, np.float32)
        kernel(x, y, out)
        return out

    return run


@pytest.mark.parametrize(
    ("function", "want"),
    [
        (lambda x, y: x - y, lambda x, y: x - y),
        (lambda x, y: x / y, lambda x, y: x / y),
        (lambda x, y: 2 * x + y, lambda x, y: 2 * x + y),
        (lambda x, y: 1 - x, lambda x, y: 1 - x),
        (lambda x, y: simd.at_least(x, y), np.maximum),
        (lambda x, y: simd.at_most(x, y), np.minimum),
        (lambda x, y: simd.magnitude(x), lambda x, y: np.abs(x)),
        (lambda x, y: simd.where_positive(x, y, 3), lambda x, y: np.where(x >= 0, y, np.float32(3))),
    ],
    ids=["sub", "div", "scalar on the left", "int", "at_least", "at_most", "magnitude", "where_positive"],
)
def test_arithmetic_works_lane_by_lane_and_takes_scalars(function, want):
    x, y = numbers(WIDTH), numbers(WIDTH, seed=1)
    np.testing.assert_allclose(lanewise(njit(function))(x, y), want(x, y), rtol=2e-6, atol=1e-6)


def test_bounds_leave_nan_alone():
    x, y = np.full(WIDTH, np.nan, np.float32), numbers(WIDTH)
    assert np.isnan(lanewise(njit(lambda x, y: simd.at_least(simd.at_most(x, 1), y)))(x, y)).all()


@pytest.mark.parametrize("count", [0, 1, 15, 63, 64])
def test_partial_loads_and_stores_touch_only_the_first_lanes(count):
    @njit
    def kernel(x, count, whole, part):
        lanes = simd.load_first(x, (1, 2), count, WIDTH)
        simd.store(whole, (0,), lanes)
        simd.store_first(part, (0,), count, lanes + 1)

    x, whole, part = numbers(2, 66), np.full(WIDTH, 9, np.float32), np.full(WIDTH, 9, np.float32)
    kernel(x, count, whole, part)
    np.testing.assert_array_equal(whole[:count], x[1, 2 : 2 + count])
    assert (whole[count:] == 0).all()
    np.testing.assert_array_equal(part[:count], x[1, 2 : 2 + count] + 1)
    assert (part[count:] == 9).all()


def test_repeating_spreading_and_folding():
    @njit
    def kernel(x, repeated, each, folded):
        simd.store(repeated, (0,), simd.repeat(simd.load(x, (0,), EIGHTH), PARTS))
        simd.store(each, (0,), simd.spread_each(x, (1,), PARTS, EIGHTH))
        simd.store(folded, (0,), simd.fold(simd.load(x, (0,), WIDTH), PARTS))

    x = np.arange(WIDTH, dtype=np.float32)
    repeated, each = np.zeros((2, PARTS * EIGHTH), np.float32)
    folded = np.zeros(WIDTH // PARTS, np.float32)
    kernel(x, repeated, each, folded)
    np.testing.assert_array_equal(repeated, np.tile(x[:EIGHTH], PARTS))
    np.testing.assert_array_equal(each, np.repeat(x[1 : 1 + PARTS], EIGHTH))
    np.testing.assert_array_equal(folded, x.reshape(PARTS, -1).sum(0))


def test_sums_of_sixteen_lanes_come_in_order():
    @njit
    def kernel(x, y, out):
        simd.store(out, (0,), simd.sums_of_sixteen(simd.load(x, (0,), WIDTH), simd.load(y, (0,), WIDTH)))

    x, y = np.arange(WIDTH, dtype=np.float32), np.arange(WIDTH, dtype=np.float32)[::-1] ** 2
    out = np.zeros(8, np.float32)
    kernel(x, np.ascontiguousarray(y), out)
    np.testing.assert_array_equal(out, np.concatenate([x, y]).reshape(8, 16).sum(1))


def test_unknown_widths_and_other_arrays_are_refused_when_compiled():
    @njit
    def of_width(x, width):
        simd.store(x, (0,), simd.load(x, (0,), width))

    with pytest.raises(TypingError, match="must be constants"):
        of_width(numbers(64), 64)

    @njit
    def of_array(x):
        simd.store(x, (0,), simd.load(x, (0,), WIDTH))

    for wrong in (np.zeros(64), numbers(128)[::2]):
        with pytest.raises(TypingError, match="C-ordered float32"):
            of_array(wrong)
