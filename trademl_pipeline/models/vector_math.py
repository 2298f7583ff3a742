"""Vector arithmetic and threads for the compiled CPU kernels.

Exponentials are ``2**t`` by a polynomial of degree 6, which the vector units can run; libm's cannot. NaN
stays NaN.

Numba's disk cache looks at the file of a kernel only: after a change here, delete ``models/__pycache__``.
"""

import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch  # noqa: TID253
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

LANES = 128  # channels of a block; fewer channels cost as much as this many
_INLINE_WORK = 1 << 19  # below this many state updates a second thread costs more than it brings
FAST = {"contract", "reassoc", "nsz", "arcp"}  # not nnan/ninf: NaN inputs must come out as NaN
JIT = {"nogil": True, "fastmath": FAST, "error_model": "numpy", "cache": True}

_f = np.float32
ZERO, ONE, _TWO = _f(0), _f(1), _f(2)
LOG2E, LN2 = _f(1.4426950408889634), _f(0.6931471805599453)
_LN2_HIGH, _LN2_LOW = _f(0.693145751953125), _f(1.42860682030941723212e-6)


@intrinsic
def nearest(typingctx, x):  # pyright: ignore
    """Nearest integer as a float32, in one vector instruction."""

    def codegen(context, builder, signature, args):
        return builder.call(builder.module.declare_intrinsic("llvm.rint", [ir.FloatType()]), args)

    return types.float32(types.float32), codegen


@intrinsic
def _scale(typingctx, p, n):  # pyright: ignore
    """``p * 2**n`` for integral ``n``, by adding n to the exponent bits."""

    def codegen(context, builder, signature, args):
        bits = builder.bitcast(args[0], ir.IntType(32))
        shift = builder.shl(builder.fptosi(args[1], ir.IntType(32)), ir.Constant(ir.IntType(32), 23))
        return builder.bitcast(builder.add(bits, shift), ir.FloatType())

    return types.float32(types.float32, types.float32), codegen


@intrinsic
def wide_vectors(typingctx):  # pyright: ignore
    """Let LLVM use 512-bit vectors in the calling function; by default it stops at 256 bits (25 % slower)."""

    def codegen(context, builder, signature, args):
        # llvmlite's own add() accepts enum attributes only; this one is a string attribute
        set.add(builder.function.attributes, '"prefer-vector-width"="512"')
        return context.get_dummy_value()

    return types.none(), codegen


@njit(inline="always", fastmath=FAST)
def _poly2(r):
    """2**r on [-0.5, 0.5]."""
    p = _f(0.0013333558146428443) + r * _f(1.5403530393381609e-4)
    p = _f(0.009618129107628477) + r * p
    p = _f(0.05550410866482158) + r * p
    p = _f(0.2402265069591007) + r * p
    p = LN2 + r * p
    return ONE + r * p


@njit(inline="always", fastmath=FAST)
def exp2(t):
    """2**t, held within 2**-126 and 2**126."""
    t = min(max(t, _f(-126)), _f(126))
    n = nearest(t)  # pyright: ignore
    return _scale(_poly2(t - n), n)


@njit(inline="always", fastmath=FAST)
def exp(x):
    """e**x, within the same bounds."""
    # the remainder is taken in two steps, so that large arguments keep their relative accuracy
    n = nearest(min(max(x * LOG2E, _f(-126)), _f(126)))  # pyright: ignore
    r = (x - n * _LN2_HIGH) - n * _LN2_LOW
    r = min(max(r * LOG2E, _f(-0.6)), _f(0.6))
    return _scale(_poly2(r), n)


@njit(inline="always", fastmath=FAST)
def log1p_unit(e):
    """log(1 + e) for e in [0, 1], as 2 artanh(e / (2 + e))."""
    s = e / (_TWO + e)
    q = s * s
    p = _f(1 / 11) + q * _f(1 / 13)
    p = _f(1 / 9) + q * p
    p = _f(1 / 7) + q * p
    p = _f(1 / 5) + q * p
    p = _f(1 / 3) + q * p
    return _TWO * s * (ONE + q * p)


@njit(inline="always", fastmath=FAST)
def sigmoid(x):
    """1 / (1 + e**-x), without overflow."""
    e = exp(-abs(x))
    return (ONE if x >= ZERO else e) / (ONE + e)


_pools: dict[tuple[int, int], ThreadPoolExecutor] = {}


def run_rows(kernel, rows: int, work: int, args: tuple) -> None:
    """Call ``kernel(*args, first, last)`` over all rows, shared out to threads where it pays."""
    threads = min(torch.get_num_threads(), rows)
    if threads <= 1 or work < _INLINE_WORK:
        kernel(*args, 0, rows)
        return
    key = (os.getpid(), threads)  # a forked child has no threads of its parent's pool
    if key not in _pools:
        _pools[key] = ThreadPoolExecutor(threads - 1, thread_name_prefix="scan")
    cuts = [rows * i // threads for i in range(threads + 1)]
    others = [_pools[key].submit(kernel, *args, cuts[i], cuts[i + 1]) for i in range(1, threads)]
    kernel(*args, cuts[0], cuts[1])
    for other in others:
        other.result()


def as_array(tensor: torch.Tensor) -> np.ndarray:
    """The tensor as a contiguous float32 array, not copied where it is one."""
    return tensor.detach().to(torch.float32).contiguous().numpy()
