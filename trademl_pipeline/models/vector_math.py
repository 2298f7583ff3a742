"""Functions of vectors, scratch memory and threads for the compiled CPU kernels.

Exponentials are ``2**t`` by a polynomial, which the vector units can run; libm's cannot. NaN stays NaN.

Numba's disk cache looks at the file of a kernel only: after a change here or in ``simd``, delete
``models/__pycache__``.
"""

import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch  # noqa: TID253
from numba import njit

from trademl_pipeline.models.simd import at_least, at_most, magnitude, power_of_two, where_positive

LANES = 16  # channels of a block; fewer channels cost as much as this many
SHARES = 32  # slots for sums over the batch; more threads than this have nothing to do
_INLINE_WORK = 1 << 19  # below this many state updates a second thread costs more than it brings
JIT = {"nogil": True, "error_model": "numpy", "cache": True}

_f = np.float32
ZERO, ONE, _TWO = _f(0), _f(1), _f(2)
LOG2E, LN2 = _f(1.4426950408889634), _f(0.6931471805599453)
_LN2_HIGH, _LN2_LOW = _f(0.693145751953125), _f(1.42860682030941723212e-6)
_ROUND = _f(1.5 * 2**23 + 127)  # a float32 this large has no fraction; see power_of_two for the 127


@njit
def _poly2(r):
    """2**r on [-0.5, 0.5], within 4e-9: the minimax polynomial of degree 6 among those 1 + r ln 2 near 0.

    One of degree 5 comes within 1.1e-7 and makes the scan 4 % faster, but the errors of many steps' decays
    add up: the gradient of A was four times less accurate.
    """
    p = _f(0.0013390957610681653) + r * _f(0.00015324314881581813)
    p = _f(0.009618517942726612) + r * p
    p = _f(0.05550359562039375) + r * p
    p = _f(0.24022647738456726) + r * p
    p = LN2 + r * p
    return ONE + r * p


@njit
def exp2(t):
    """2**t, held within 2**-126 and 2**126."""
    t = at_most(at_least(t, _f(-126)), _f(126))
    k = t + _ROUND
    return _poly2(t - (k - _ROUND)) * power_of_two(k)


@njit
def exp(x):
    """e**x, within the same bounds."""
    # the remainder is taken in two steps, so that large arguments keep their relative accuracy
    k = at_most(at_least(x * LOG2E, _f(-126)), _f(126)) + _ROUND
    n = k - _ROUND
    r = (x - n * _LN2_HIGH) - n * _LN2_LOW
    r = at_most(at_least(r * LOG2E, _f(-0.6)), _f(0.6))
    return _poly2(r) * power_of_two(k)


@njit
def _log1p_unit(e):
    """log(1 + e) for e in [0, 1], as 2 artanh(e / (2 + e))."""
    s = e / (_TWO + e)
    q = s * s
    p = _f(1 / 11) + q * _f(1 / 13)
    p = _f(1 / 9) + q * p
    p = _f(1 / 7) + q * p
    p = _f(1 / 5) + q * p
    p = _f(1 / 3) + q * p
    return _TWO * s * (ONE + q * p)


@njit
def sigmoid(x):
    """1 / (1 + e**-x), without overflow."""
    e = exp(ZERO - magnitude(x))
    return where_positive(x, ONE, e) / (ONE + e)


@njit
def softplus(x):
    """log(1 + e**x), without overflow."""
    return at_least(x, ZERO) + _log1p_unit(exp(ZERO - magnitude(x)))


@njit
def scratch(rows, width):
    """Zeros (rows, width) that begin at a multiple of 64 bytes, so that no load spans two cache lines."""
    memory = np.zeros(rows * width + 16, np.float32)
    start = (-memory.ctypes.data % 64) // 4
    return memory[start : start + rows * width].reshape(rows, width)


_pools: dict[tuple[int, int], ThreadPoolExecutor] = {}


def run_shares(kernel, shares: int, work: int, args: tuple) -> None:
    """Call ``kernel(*args, first, last)`` over all shares, dealt out to threads where it pays.

    Args:
        kernel: compiled, without the interpreter's lock; writes its results into arrays among `args`.
        shares: number of independent parts, such as rows of a batch.
        work: state updates in all; few of them stay on one thread.
        args: of every call.
    """
    threads = min(torch.get_num_threads(), shares)
    if threads <= 1 or work < _INLINE_WORK:
        kernel(*args, 0, shares)
        return
    key = (os.getpid(), threads)  # a forked child has no threads of its parent's pool
    if key not in _pools:
        _pools[key] = ThreadPoolExecutor(threads - 1, thread_name_prefix="scan")
    cuts = [shares * i // threads for i in range(threads + 1)]
    others = [_pools[key].submit(kernel, *args, cuts[i], cuts[i + 1]) for i in range(1, threads)]
    kernel(*args, cuts[0], cuts[1])
    for other in others:
        other.result()


def as_array(tensor: torch.Tensor) -> np.ndarray:
    """The tensor as a contiguous float32 array, not copied where it is one."""
    return tensor.detach().to(torch.float32).contiguous().numpy()
