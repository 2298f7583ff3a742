"""Compiled CPU kernels of the selective scan: one fused forward pass and one hand-written backward pass.

Layout. Everything is time-major, ``(batch, time, channel)``. A kernel works on one row of the batch and one
block of ``LANES`` channels at a time, so that the vector units run over channels, no sum crosses lanes in the
forward pass, and the states of a block stay in the cache. The backward pass recomputes the states of at most
``SPAN`` steps from a checkpoint that the forward pass left, and sweeps back over them.

Rows of the batch are shared out to a thread pool of ``torch.get_num_threads()`` threads (the kernels release
the GIL). Each row has its own slots in every output, also in the sums over the batch (dA, dD), which are
added up afterwards in a fixed order: results do not depend on the number of threads, and there is nothing
to race for. A pool of our own rather than numba's ``prange``, because numba's threading layers either abort
on concurrent calls (workqueue: a web server) or after a fork (OpenMP).

Exponentials are computed as ``2**t`` by a degree-6 polynomial, which the vector units can run; libm's cannot.
"""

import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch  # noqa: TID253
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

LANES = 64
SPAN = 32
_INLINE_WORK = 1 << 19  # below this many state updates a second thread costs more than it brings
_FAST = {"contract", "reassoc", "nsz", "arcp"}  # not nnan/ninf: NaN inputs must come out as NaN
_JIT = {"nogil": True, "fastmath": _FAST, "error_model": "numpy", "cache": True}

_f = np.float32
_ZERO, _ONE, _HALF, _TWO = _f(0), _f(1), _f(0.5), _f(2)
_LOG2E, _LN2 = _f(1.4426950408889634), _f(0.6931471805599453)
_LN2_HIGH, _LN2_LOW = _f(0.693145751953125), _f(1.42860682030941723212e-6)


@intrinsic
def _round(typingctx, x):  # pyright: ignore
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
def _wide_vectors(typingctx):  # pyright: ignore
    """Let LLVM use 512-bit vectors in the calling function; by default it stops at 256 bits (25 % slower)."""

    def codegen(context, builder, signature, args):
        # llvmlite's own add() accepts enum attributes only; this one is a string attribute
        set.add(builder.function.attributes, '"prefer-vector-width"="512"')
        return context.get_dummy_value()

    return types.none(), codegen


@njit(inline="always", fastmath=_FAST)
def _poly2(r):
    """2**r on [-0.5, 0.5]."""
    p = _f(0.0013333558146428443) + r * _f(1.5403530393381609e-4)
    p = _f(0.009618129107628477) + r * p
    p = _f(0.05550410866482158) + r * p
    p = _f(0.2402265069591007) + r * p
    p = _LN2 + r * p
    return _ONE + r * p


@njit(inline="always", fastmath=_FAST)
def _exp2(t):
    t = min(max(t, _f(-126)), _f(126))
    n = _round(t)  # pyright: ignore
    return _scale(_poly2(t - n), n)


@njit(inline="always", fastmath=_FAST)
def _exp(x):
    # the remainder is taken in two steps, so that large arguments keep their relative accuracy
    n = _round(min(max(x * _LOG2E, _f(-126)), _f(126)))  # pyright: ignore
    r = (x - n * _LN2_HIGH) - n * _LN2_LOW
    r = min(max(r * _LOG2E, _f(-0.6)), _f(0.6))
    return _scale(_poly2(r), n)


@njit(inline="always", fastmath=_FAST)
def _log1p_unit(e):
    """log(1 + e) for e in [0, 1], as 2 artanh(e / (2 + e))."""
    s = e / (_TWO + e)
    q = s * s
    p = _f(1 / 11) + q * _f(1 / 13)
    p = _f(1 / 9) + q * p
    p = _f(1 / 7) + q * p
    p = _f(1 / 5) + q * p
    p = _f(1 / 3) + q * p
    return _TWO * s * (_ONE + q * p)


@njit(inline="always", fastmath=_FAST)
def _sigmoid(x):
    e = _exp(-abs(x))
    return (_ONE if x >= _ZERO else e) / (_ONE + e)


@njit(**_JIT)
def _load_steps(delta, bias, b, t0, steps, d0, width, softplus, step):
    """step[t, j] = softplus(delta + bias) for one block; lanes beyond the width stay 0."""
    _wide_vectors()  # pyright: ignore
    for t in range(steps):
        for j in range(width):
            x = delta[b, t0 + t, d0 + j] + bias[d0 + j]
            if softplus:
                x = max(x, _ZERO) + _log1p_unit(_exp(-abs(x)))
            step[t, j] = x


@njit(**_JIT)
def _forward(u, delta, A2, B, C, D, z, bias, softplus, gated, out, saved, first, last):
    """Rows first..last of the scan. u, delta, z, out (b, L, D); A2 (N, D) = A log2 e; B, C (b, L, N).

    ``saved`` (b, spans - 1, N, D) takes the state at the start of every span but the first; empty: not kept.
    """
    _wide_vectors()  # pyright: ignore
    length, channels, states = u.shape[1], u.shape[2], A2.shape[0]
    rate = np.zeros((states, LANES), np.float32)
    x = np.zeros((states, LANES), np.float32)
    step = np.zeros((SPAN, LANES), np.float32)
    fed = np.zeros(LANES, np.float32)
    y = np.zeros(LANES, np.float32)
    for b in range(first, last):
        for d0 in range(0, channels, LANES):
            width = min(LANES, channels - d0)
            rate[:] = _ZERO
            x[:] = _ZERO
            step[:] = _ZERO
            fed[:] = _ZERO
            for n in range(states):
                for j in range(width):
                    rate[n, j] = A2[n, d0 + j]
            for t0 in range(0, length, SPAN):
                steps = min(SPAN, length - t0)
                _load_steps(delta, bias, b, t0, steps, d0, width, softplus, step)
                if t0 > 0 and saved.shape[1] > 0:
                    for n in range(states):
                        for j in range(width):
                            saved[b, t0 // SPAN - 1, n, d0 + j] = x[n, j]
                for k in range(steps):
                    t = t0 + k
                    for j in range(width):
                        fed[j] = step[k, j] * u[b, t, d0 + j]
                        y[j] = u[b, t, d0 + j] * D[d0 + j]
                    for n in range(states):
                        bn, cn = B[b, t, n], C[b, t, n]
                        for j in range(LANES):
                            s = _exp2(step[k, j] * rate[n, j]) * x[n, j] + fed[j] * bn
                            x[n, j] = s
                            y[j] += cn * s
                    if gated:
                        for j in range(width):
                            gate = z[b, t, d0 + j]
                            out[b, t, d0 + j] = y[j] * gate * _sigmoid(gate)
                    else:
                        for j in range(width):
                            out[b, t, d0 + j] = y[j]


@njit(**_JIT)
def _backward(
    u, delta, A2, B, C, D, z, bias, softplus, gated, saved, dout,
    du, ddelta, dA, dB, dC, dD, dz, dbias, first, last,
):  # fmt: skip
    """Gradients of rows first..last. dA (b, N, D), dD and dbias (b, D) hold each row's share."""
    _wide_vectors()  # pyright: ignore
    length, channels, states = u.shape[1], u.shape[2], A2.shape[0]
    span = min(SPAN, length)
    rate = np.zeros((states, LANES), np.float32)
    x = np.zeros((span + 1, states, LANES), np.float32)  # x[k]: the state before step k of the span
    decay = np.zeros((span, states, LANES), np.float32)
    step = np.zeros((span, LANES), np.float32)
    fed = np.zeros((span, LANES), np.float32)
    gy = np.zeros((span, LANES), np.float32)
    y = np.zeros(LANES, np.float32)
    carry = np.zeros((states, LANES), np.float32)  # decay * gradient of the state, from the step after
    sum_A = np.zeros((states, LANES), np.float32)
    sum_D = np.zeros(LANES, np.float32)
    sum_bias = np.zeros(LANES, np.float32)
    dfed = np.zeros(LANES, np.float32)
    dstep = np.zeros(LANES, np.float32)
    for b in range(first, last):
        for d0 in range(0, channels, LANES):
            width = min(LANES, channels - d0)
            for scratch in (rate, step, fed, gy, carry, sum_A):
                scratch[:] = _ZERO
            sum_D[:] = _ZERO
            sum_bias[:] = _ZERO
            x[0] = _ZERO
            for n in range(states):
                for j in range(width):
                    rate[n, j] = A2[n, d0 + j]
            for t0 in range((length - 1) // SPAN * SPAN, -1, -SPAN):
                steps = min(SPAN, length - t0)
                _load_steps(delta, bias, b, t0, steps, d0, width, softplus, step)
                if t0 > 0:
                    for n in range(states):
                        for j in range(width):
                            x[0, n, j] = saved[b, t0 // SPAN - 1, n, d0 + j]
                else:
                    x[0] = _ZERO
                for k in range(steps):
                    t = t0 + k
                    for j in range(width):
                        fed[k, j] = step[k, j] * u[b, t, d0 + j]
                        y[j] = u[b, t, d0 + j] * D[d0 + j]
                    for n in range(states):
                        bn, cn = B[b, t, n], C[b, t, n]
                        for j in range(LANES):
                            a = _exp2(step[k, j] * rate[n, j])
                            s = a * x[k, n, j] + fed[k, j] * bn
                            decay[k, n, j] = a
                            x[k + 1, n, j] = s
                            y[j] += cn * s
                    if gated:
                        for j in range(width):
                            gate = z[b, t, d0 + j]
                            sig = _sigmoid(gate)
                            g = dout[b, t, d0 + j]
                            gy[k, j] = g * gate * sig
                            dz[b, t, d0 + j] = g * y[j] * sig * (_ONE + gate * (_ONE - sig))
                    else:
                        for j in range(width):
                            gy[k, j] = dout[b, t, d0 + j]
                for k in range(steps - 1, -1, -1):
                    t = t0 + k
                    dfed[:] = _ZERO
                    dstep[:] = _ZERO
                    for n in range(states):
                        bn, cn = B[b, t, n], C[b, t, n]
                        sum_B, sum_C = _ZERO, _ZERO
                        for j in range(LANES):
                            g = carry[n, j] + cn * gy[k, j]
                            sum_B += g * fed[k, j]
                            sum_C += gy[k, j] * x[k + 1, n, j]
                            dfed[j] += g * bn
                            ag = decay[k, n, j] * g
                            h = ag * x[k, n, j]
                            dstep[j] += h * rate[n, j]
                            sum_A[n, j] += h * step[k, j]
                            carry[n, j] = ag
                        dB[b, t, n] += sum_B
                        dC[b, t, n] += sum_C
                    for j in range(width):
                        v = u[b, t, d0 + j]
                        du[b, t, d0 + j] = dfed[j] * step[k, j] + gy[k, j] * D[d0 + j]
                        sum_D[j] += gy[k, j] * v
                        ds = dstep[j] * _LN2 + dfed[j] * v
                        if softplus:
                            ds *= _sigmoid(delta[b, t, d0 + j] + bias[d0 + j])
                        sum_bias[j] += ds
                        ddelta[b, t, d0 + j] = ds
            for n in range(states):
                for j in range(width):
                    dA[b, n, d0 + j] = sum_A[n, j]
            for j in range(width):
                dD[b, d0 + j] = sum_D[j]
                dbias[b, d0 + j] = sum_bias[j]


_pools: dict[tuple[int, int], ThreadPoolExecutor] = {}


def _run(kernel, rows: int, work: int, args: tuple) -> None:
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


def _numpy(tensor: torch.Tensor) -> np.ndarray:
    return tensor.detach().to(torch.float32).contiguous().numpy()


class NumbaScan(torch.autograd.Function):
    """Differentiable selective scan on the CPU, time-major; see :func:`ssm.selective_scan` for the meaning.

    u, delta, z (b, L, D); A (D, N); B, C (b, L, N); D, bias (D,) or None; z or None. Returns (b, L, D)
    float32.
    """

    @staticmethod
    def forward(ctx, u, delta, A, B, C, D, z, bias, softplus):  # pyright: ignore
        """Scan the batch; keeps only its inputs and one state per span for the way back."""
        rows, length, channels = u.shape
        states = A.shape[1]
        gated = z is not None
        arrays = [_numpy(t) for t in (u, delta)]
        arrays.append(np.ascontiguousarray((_numpy(A) * _LOG2E).T))
        arrays += [_numpy(B), _numpy(C)]
        arrays.append(_numpy(D) if D is not None else np.zeros(channels, np.float32))
        arrays.append(_numpy(z) if gated else np.zeros((1, 1, 1), np.float32))
        arrays.append(_numpy(bias) if bias is not None else np.zeros(channels, np.float32))
        kept = (length - 1) // SPAN if any(ctx.needs_input_grad) else 0
        saved = np.empty((rows, kept, states, channels), np.float32)
        out = np.empty((rows, length, channels), np.float32)
        work = rows * length * channels * states
        _run(_forward, rows, work, (*arrays, softplus, gated, out, saved))
        ctx.arrays, ctx.saved, ctx.options = arrays, saved, (softplus, gated, work)
        ctx.dtypes = [None if t is None else t.dtype for t in (u, delta, A, B, C, D, z, bias)]
        return torch.from_numpy(out)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, dout):  # pyright: ignore
        """Gradients of every tensor input, in the inputs' dtypes."""
        u, delta, A2, B, C, D, z, bias = ctx.arrays
        softplus, gated, work = ctx.options
        rows, _, channels = u.shape
        grads = [np.empty_like(u), np.empty_like(u), np.empty((rows, *A2.shape), np.float32)]
        grads += [np.zeros_like(B), np.zeros_like(C), np.empty((rows, channels), np.float32)]
        grads += [np.empty_like(z), np.empty((rows, channels), np.float32)]
        args = (u, delta, A2, B, C, D, z, bias, softplus, gated, ctx.saved, _numpy(dout), *grads)
        _run(_backward, rows, work, args)
        du, ddelta, dA, dB, dC, dD, dz, dbias = (torch.from_numpy(g) for g in grads)
        full = (du, ddelta, dA.sum(0).T, dB, dC, dD.sum(0), dz, dbias.sum(0))
        typed = (g.to(t) if t is not None else None for g, t in zip(full, ctx.dtypes, strict=True))
        return (*typed, None)
