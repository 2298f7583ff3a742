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
"""

import numpy as np
import torch  # noqa: TID253
from numba import njit

from trademl_pipeline.models.vector_math import (
    JIT,
    LANES,
    LN2,
    LOG2E,
    ONE,
    ZERO,
    as_array,
    exp,
    exp2,
    log1p_unit,
    run_rows,
    sigmoid,
    wide_vectors,
)

SPAN = 32  # steps whose states the backward pass holds at a time


@njit(**JIT)
def _load_steps(delta, bias, b, t0, steps, d0, width, softplus, step):
    """step[t, j] = softplus(delta + bias) for one block; lanes beyond the width are not used."""
    wide_vectors()  # pyright: ignore
    for t in range(steps):
        for j in range(width):
            step[t, j] = delta[b, t0 + t, d0 + j] + bias[d0 + j]
    if softplus:
        for t in range(steps):
            for j in range(LANES):
                step[t, j] = max(step[t, j], ZERO) + log1p_unit(exp(-abs(step[t, j])))


@njit(**JIT)
def _forward(u, delta, A2, B, C, D, z, bias, softplus, gated, out, saved, first, last):
    """Rows first..last of the scan. u, delta, z, out (b, L, D); A2 (N, D) = A log2 e; B, C (b, L, N).

    ``saved`` (b, spans - 1, N, D) takes the state at the start of every span but the first; empty: not kept.
    """
    wide_vectors()  # pyright: ignore
    length, channels, states = u.shape[1], u.shape[2], A2.shape[0]
    rate = np.zeros((states, LANES), np.float32)
    x = np.zeros((states, LANES), np.float32)
    step = np.zeros((SPAN, LANES), np.float32)
    dt = np.zeros(LANES, np.float32)
    fed = np.zeros(LANES, np.float32)
    gate = np.zeros(LANES, np.float32)
    y = np.zeros(LANES, np.float32)
    for b in range(first, last):
        for d0 in range(0, channels, LANES):
            width = min(LANES, channels - d0)
            rate[:] = ZERO
            x[:] = ZERO
            step[:] = ZERO
            fed[:] = ZERO
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
                    dt[:] = step[k]
                    for j in range(width):
                        fed[j] = dt[j] * u[b, t, d0 + j]
                        y[j] = u[b, t, d0 + j] * D[d0 + j]
                    for n in range(states):
                        bn, cn = B[b, t, n], C[b, t, n]
                        for j in range(LANES):
                            s = exp2(dt[j] * rate[n, j]) * x[n, j] + fed[j] * bn
                            x[n, j] = s
                            y[j] += cn * s
                    if gated:
                        for j in range(width):
                            gate[j] = z[b, t, d0 + j]
                        for j in range(LANES):
                            y[j] *= gate[j] * sigmoid(gate[j])
                    for j in range(width):
                        out[b, t, d0 + j] = y[j]


@njit(**JIT)
def _backward(
    u, delta, A2, B, C, D, z, bias, softplus, gated, saved, dout,
    du, ddelta, dA, dB, dC, dD, dz, dbias, first, last,
):  # fmt: skip
    """Gradients of rows first..last. dA (b, N, D), dD and dbias (b, D) hold each row's share."""
    wide_vectors()  # pyright: ignore
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
                scratch[:] = ZERO
            sum_D[:] = ZERO
            sum_bias[:] = ZERO
            x[0] = ZERO
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
                    x[0] = ZERO
                for k in range(steps):
                    t = t0 + k
                    for j in range(width):
                        fed[k, j] = step[k, j] * u[b, t, d0 + j]
                        y[j] = u[b, t, d0 + j] * D[d0 + j]
                    for n in range(states):
                        bn, cn = B[b, t, n], C[b, t, n]
                        for j in range(LANES):
                            a = exp2(step[k, j] * rate[n, j])
                            s = a * x[k, n, j] + fed[k, j] * bn
                            decay[k, n, j] = a
                            x[k + 1, n, j] = s
                            y[j] += cn * s
                    if gated:
                        for j in range(width):
                            gate = z[b, t, d0 + j]
                            sig = sigmoid(gate)
                            g = dout[b, t, d0 + j]
                            gy[k, j] = g * gate * sig
                            dz[b, t, d0 + j] = g * y[j] * sig * (ONE + gate * (ONE - sig))
                    else:
                        for j in range(width):
                            gy[k, j] = dout[b, t, d0 + j]
                for k in range(steps - 1, -1, -1):
                    t = t0 + k
                    dfed[:] = ZERO
                    dstep[:] = ZERO
                    for n in range(states):
                        bn, cn = B[b, t, n], C[b, t, n]
                        sum_B, sum_C = ZERO, ZERO
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
                        ds = dstep[j] * LN2 + dfed[j] * v
                        if softplus:
                            ds *= sigmoid(delta[b, t, d0 + j] + bias[d0 + j])
                        sum_bias[j] += ds
                        ddelta[b, t, d0 + j] = ds
            for n in range(states):
                for j in range(width):
                    dA[b, n, d0 + j] = sum_A[n, j]
            for j in range(width):
                dD[b, d0 + j] = sum_D[j]
                dbias[b, d0 + j] = sum_bias[j]


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
        arrays = [as_array(t) for t in (u, delta)]
        arrays.append(np.ascontiguousarray((as_array(A) * LOG2E).T))
        arrays += [as_array(B), as_array(C)]
        arrays.append(as_array(D) if D is not None else np.zeros(channels, np.float32))
        arrays.append(as_array(z) if gated else np.zeros((1, 1, 1), np.float32))
        arrays.append(as_array(bias) if bias is not None else np.zeros(channels, np.float32))
        kept = (length - 1) // SPAN if any(ctx.needs_input_grad) else 0
        saved = np.empty((rows, kept, states, channels), np.float32)
        out = np.empty((rows, length, channels), np.float32)
        work = rows * length * channels * states
        run_rows(_forward, rows, work, (*arrays, softplus, gated, out, saved))
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
        args = (u, delta, A2, B, C, D, z, bias, softplus, gated, ctx.saved, as_array(dout), *grads)
        run_rows(_backward, rows, work, args)
        du, ddelta, dA, dB, dC, dD, dz, dbias = (torch.from_numpy(g) for g in grads)
        full = (du, ddelta, dA.sum(0).T, dB, dC, dD.sum(0), dz, dbias.sum(0))
        typed = (g.to(t) if t is not None else None for g, t in zip(full, ctx.dtypes, strict=True))
        return (*typed, None)
