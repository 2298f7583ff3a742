"""Causal depthwise convolution followed by SiLU, as one CPU kernel forward and one backward.

oneDNN's depthwise convolution takes most of a Mamba block's time at the widths and lengths used here; this is
about ten times quicker. Layout and threads as in ``scan_numba``: time-major, a row of the batch at a time.
"""

import numpy as np
import torch  # noqa: TID253
from numba import njit

from trademl_pipeline.models.scan_numba import (
    _JIT,
    _ONE,
    _ZERO,
    LANES,
    _numpy,
    _run,
    _sigmoid,
    _wide_vectors,
)


@njit(**_JIT)
def _activations(x, w, bias, b, t, d0, width, pre):
    """pre[j] = bias + the taps that end at step t, for one block of channels."""
    _wide_vectors()  # pyright: ignore
    taps = w.shape[0]
    for j in range(width):
        pre[j] = bias[d0 + j]
    for k in range(max(0, taps - 1 - t), taps):
        for j in range(width):
            pre[j] += w[k, d0 + j] * x[b, t - taps + 1 + k, d0 + j]


@njit(**_JIT)
def _forward(x, w, bias, out, first, last):
    """x, out (b, L, D); w (taps, D); bias (D,)."""
    _wide_vectors()  # pyright: ignore
    pre = np.zeros(LANES, np.float32)
    for b in range(first, last):
        for d0 in range(0, x.shape[2], LANES):
            width = min(LANES, x.shape[2] - d0)
            for t in range(x.shape[1]):
                _activations(x, w, bias, b, t, d0, width, pre)
                for j in range(width):
                    out[b, t, d0 + j] = pre[j] * _sigmoid(pre[j])


@njit(**_JIT)
def _backward(x, w, bias, dout, dx, dw, dbias, first, last):
    """dx is added to and starts at 0; dw (b, taps, D) and dbias (b, D) hold each row's share, starting at
    0."""
    _wide_vectors()  # pyright: ignore
    taps = w.shape[0]
    pre = np.zeros(LANES, np.float32)
    for b in range(first, last):
        for d0 in range(0, x.shape[2], LANES):
            width = min(LANES, x.shape[2] - d0)
            for t in range(x.shape[1]):
                _activations(x, w, bias, b, t, d0, width, pre)
                for j in range(width):
                    sig = _sigmoid(pre[j])
                    pre[j] = dout[b, t, d0 + j] * sig * (_ONE + pre[j] * (_ONE - sig))
                    dbias[b, d0 + j] += pre[j]
                for k in range(max(0, taps - 1 - t), taps):
                    for j in range(width):
                        dx[b, t - taps + 1 + k, d0 + j] += pre[j] * w[k, d0 + j]
                        dw[b, k, d0 + j] += pre[j] * x[b, t - taps + 1 + k, d0 + j]


class NumbaConvSilu(torch.autograd.Function):
    """silu(causal depthwise convolution): x (b, L, D), weight (D, 1, taps), bias (D,) -> (b, L, D)
    float32."""

    @staticmethod
    def forward(ctx, x, weight, bias):  # pyright: ignore
        """Convolve; keeps its inputs only."""
        arrays = (_numpy(x), np.ascontiguousarray(_numpy(weight)[:, 0].T), _numpy(bias))
        out = np.empty_like(arrays[0])
        work = x.numel()
        _run(_forward, len(x), work, (*arrays, out))
        ctx.arrays, ctx.work = arrays, work
        ctx.dtypes = [t.dtype for t in (x, weight, bias)]
        return torch.from_numpy(out)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, dout):  # pyright: ignore
        """Gradients in the inputs' dtypes."""
        x, w, bias = ctx.arrays
        dx = np.full(x.shape, _ZERO)
        dw, dbias = np.full((len(x), *w.shape), _ZERO), np.full((len(x), len(bias)), _ZERO)
        _run(_backward, len(x), ctx.work, (x, w, bias, _numpy(dout), dx, dw, dbias))
        full = (
            torch.from_numpy(dx),
            torch.from_numpy(dw).sum(0).T.unsqueeze(1),
            torch.from_numpy(dbias).sum(0),
        )
        return tuple(g.to(t) for g, t in zip(full, ctx.dtypes, strict=True))
