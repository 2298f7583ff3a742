"""Causal depthwise convolution followed by SiLU, as one CPU kernel forward and one backward.

oneDNN's depthwise convolution takes most of a Mamba block's time at the widths and lengths used here; this is
about ten times quicker. Layout and threads as in ``scan_numba``: time-major, a row of the batch at a time.
"""

import numpy as np
import torch  # noqa: TID253
from numba import njit

from trademl_pipeline.models.vector_math import (
    JIT,
    LANES,
    ONE,
    ZERO,
    as_array,
    run_rows,
    sigmoid,
    wide_vectors,
)


@njit(**JIT)
def _load_block(x, w, bias, b, d0, width, xs, ws, bs):
    """Copy one block of channels to scratch; steps before the first stay 0, lanes beyond the width are not
    used."""
    wide_vectors()  # pyright: ignore
    taps = w.shape[0]
    for k in range(taps):
        for j in range(width):
            ws[k, j] = w[k, d0 + j]
    for j in range(width):
        bs[j] = bias[d0 + j]
    for t in range(x.shape[1]):
        for j in range(width):
            xs[t + taps - 1, j] = x[b, t, d0 + j]


@njit(**JIT)
def _forward(x, w, bias, out, first, last):
    """x, out (b, L, D); w (taps, D); bias (D,)."""
    wide_vectors()  # pyright: ignore
    taps, length = w.shape[0], x.shape[1]
    xs = np.zeros((length + taps, LANES), np.float32)
    ws = np.zeros((taps, LANES), np.float32)
    bs = np.zeros(LANES, np.float32)
    pre = np.zeros(LANES, np.float32)
    for b in range(first, last):
        for d0 in range(0, x.shape[2], LANES):
            width = min(LANES, x.shape[2] - d0)
            _load_block(x, w, bias, b, d0, width, xs, ws, bs)
            for t in range(length):
                for j in range(LANES):
                    pre[j] = bs[j]
                for k in range(taps):
                    for j in range(LANES):
                        pre[j] += ws[k, j] * xs[t + k, j]
                for j in range(LANES):
                    pre[j] *= sigmoid(pre[j])
                for j in range(width):
                    out[b, t, d0 + j] = pre[j]


@njit(**JIT)
def _backward(x, w, bias, dout, dx, dw, dbias, first, last):
    """dw (b, taps, D) and dbias (b, D) hold each row's share."""
    wide_vectors()  # pyright: ignore
    taps, length = w.shape[0], x.shape[1]
    xs = np.zeros((length + taps, LANES), np.float32)
    ws = np.zeros((taps, LANES), np.float32)
    bs = np.zeros(LANES, np.float32)
    pre = np.zeros(LANES, np.float32)
    sum_w = np.zeros((taps, LANES), np.float32)
    sum_b = np.zeros(LANES, np.float32)
    g = np.zeros((length + taps, LANES), np.float32)  # gradient before the SiLU; 0 after the last step
    for b in range(first, last):
        for d0 in range(0, x.shape[2], LANES):
            width = min(LANES, x.shape[2] - d0)
            _load_block(x, w, bias, b, d0, width, xs, ws, bs)
            sum_w[:] = ZERO
            sum_b[:] = ZERO
            for t in range(length):
                for j in range(width):
                    g[t, j] = dout[b, t, d0 + j]
                for j in range(LANES):
                    pre[j] = bs[j]
                for k in range(taps):
                    for j in range(LANES):
                        pre[j] += ws[k, j] * xs[t + k, j]
                for j in range(LANES):
                    sig = sigmoid(pre[j])
                    g[t, j] *= sig * (ONE + pre[j] * (ONE - sig))
                    sum_b[j] += g[t, j]
                for k in range(taps):
                    for j in range(LANES):
                        sum_w[k, j] += g[t, j] * xs[t + k, j]
            for t in range(length):
                pre[:] = ZERO
                for k in range(taps):
                    for j in range(LANES):
                        pre[j] += g[t + taps - 1 - k, j] * ws[k, j]
                for j in range(width):
                    dx[b, t, d0 + j] = pre[j]
            for j in range(width):
                dbias[b, d0 + j] = sum_b[j]
            for k in range(taps):
                for j in range(width):
                    dw[b, k, d0 + j] = sum_w[k, j]


class NumbaConvSilu(torch.autograd.Function):
    """silu(causal depthwise convolution): x (b, L, D), weight (D, 1, taps), bias (D,) -> (b, L, D)
    float32."""

    @staticmethod
    def forward(ctx, x, weight, bias):  # pyright: ignore
        """Convolve; keeps its inputs only."""
        arrays = (as_array(x), np.ascontiguousarray(as_array(weight)[:, 0].T), as_array(bias))
        out = np.empty_like(arrays[0])
        work = x.numel()
        run_rows(_forward, len(x), work, (*arrays, out))
        ctx.arrays, ctx.work = arrays, work
        ctx.dtypes = [t.dtype for t in (x, weight, bias)]
        return torch.from_numpy(out)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, dout):  # pyright: ignore
        """Gradients in the inputs' dtypes."""
        x, w, bias = ctx.arrays
        dx, dw = np.empty_like(x), np.empty((len(x), *w.shape), np.float32)
        dbias = np.empty((len(x), len(bias)), np.float32)
        run_rows(_backward, len(x), ctx.work, (x, w, bias, as_array(dout), dx, dw, dbias))
        full = (
            torch.from_numpy(dx),
            torch.from_numpy(dw).sum(0).T.unsqueeze(1),
            torch.from_numpy(dbias).sum(0),
        )
        return tuple(g.to(t) for g, t in zip(full, ctx.dtypes, strict=True))
