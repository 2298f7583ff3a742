"""Causal depthwise convolution followed by SiLU, as one CPU kernel forward and one backward.

oneDNN's depthwise convolution takes most of a Mamba block's time at the widths and lengths used here; this is
three to six times quicker (AMD EPYC of the Zen 4 kind, one core, 4 and 8 taps). Layout and threads as in
``scan_numba``: time-major, a row of the batch and a block of channels at a time, sums over the batch by shares.
"""

import numpy as np
import torch  # noqa: TID253
from numba import njit

from trademl_pipeline.models.simd import load, load_first, spread, store, store_first, wide_vectors
from trademl_pipeline.models.vector_math import (
    JIT,
    LANES,
    ONE,
    SHARES,
    ZERO,
    as_array,
    run_shares,
    scratch,
    sigmoid,
)


@njit(**JIT)
def _load_block(x, w, b, d, width, xs, ws):
    """Copy one block of channels to scratch, x behind as many zeros as there are taps before the last."""
    wide_vectors()
    taps = len(w)
    for k in range(taps):
        store(ws, (k, 0), load_first(w, (k, d), width, LANES))
    for t in range(x.shape[1]):
        store(xs, (t + taps - 1, 0), load_first(x, (b, t, d), width, LANES))


@njit(**JIT)
def _convolved(xs, ws, bias, t):
    """The convolution at step t."""
    y = bias
    for k in range(len(ws)):
        y = y + load(ws, (k, 0), LANES) * load(xs, (t + k, 0), LANES)
    return y


@njit(**JIT)
def _forward(x, w, bias, out, first, last):
    """x, out (b, L, D); w (taps, D); bias (D,)."""
    wide_vectors()
    taps, length, channels = len(w), x.shape[1], x.shape[2]
    xs, ws = scratch(length + taps - 1, LANES), scratch(taps, LANES)
    for b in range(first, last):
        for d in range(0, channels, LANES):
            width = min(LANES, channels - d)
            _load_block(x, w, b, d, width, xs, ws)
            shift = load_first(bias, (d,), width, LANES)
            for t in range(length):
                y = _convolved(xs, ws, shift, t)
                store_first(out, (b, t, d), width, y * sigmoid(y))


@njit(**JIT)
def _backward(x, w, bias, dout, dx, dw, dbias, first, last):
    """Gradients of the rows of shares first..last, added to dw (shares, taps, D) and dbias (shares, D).

    Both begin as 0.
    """
    wide_vectors()
    taps, rows, length, channels = len(w), x.shape[0], x.shape[1], x.shape[2]
    xs, ws = scratch(length + taps - 1, LANES), scratch(taps, LANES)
    gs = scratch(length + taps - 1, LANES)  # gradient before the SiLU; 0 after the last step
    for share in range(first, last):
        for b in range(rows * share // len(dw), rows * (share + 1) // len(dw)):
            for d in range(0, channels, LANES):
                width = min(LANES, channels - d)
                _load_block(x, w, b, d, width, xs, ws)
                shift = load_first(bias, (d,), width, LANES)
                total = load_first(dbias, (share, d), width, LANES)
                for t in range(length):
                    y = _convolved(xs, ws, shift, t)
                    slope = sigmoid(y)
                    slope = slope * (ONE + y * (ONE - slope))
                    g = load_first(dout, (b, t, d), width, LANES) * slope
                    store(gs, (t, 0), g)
                    total = total + g
                store_first(dbias, (share, d), width, total)
                for k in range(taps):
                    total = load_first(dw, (share, k, d), width, LANES)
                    for t in range(length):
                        total = total + load(gs, (t, 0), LANES) * load(xs, (t + k, 0), LANES)
                    store_first(dw, (share, k, d), width, total)
                for t in range(length):
                    g = spread(ZERO, LANES)
                    for k in range(taps):
                        g = g + load(gs, (t + taps - 1 - k, 0), LANES) * load(ws, (k, 0), LANES)
                    store_first(dx, (b, t, d), width, g)


class NumbaConvSilu(torch.autograd.Function):
    """silu(causal depthwise convolution): x (b, L, D), weight (D, 1, taps), bias (D,) -> (b, L, D) float32."""

    @staticmethod
    def forward(ctx, x, weight, bias):  # pyright: ignore
        """Convolve; keeps its inputs only."""
        arrays = (as_array(x), np.ascontiguousarray(as_array(weight)[:, 0].T), as_array(bias))
        out = np.empty_like(arrays[0])
        work = x.numel()
        run_shares(_forward, len(x), work, (*arrays, out))
        ctx.arrays, ctx.work = arrays, work
        ctx.dtypes = [t.dtype for t in (x, weight, bias)]
        return torch.from_numpy(out)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, dout):  # pyright: ignore
        """Gradients in the inputs' dtypes."""
        x, w, bias = ctx.arrays
        shares = min(len(x), SHARES)
        dx, dw = np.empty_like(x), np.zeros((shares, *w.shape), np.float32)
        dbias = np.zeros((shares, len(bias)), np.float32)
        run_shares(_backward, shares, ctx.work, (x, w, bias, as_array(dout), dx, dw, dbias))
        full = (dx, dw.sum(0).T[:, None], dbias.sum(0))
        return tuple(torch.from_numpy(g).to(t) for g, t in zip(full, ctx.dtypes, strict=True))
