"""The selective scan of Mamba (Gu & Dao 2023, arXiv 2312.00752), on a CPU and on a GPU, by one function.

    x[t] = exp(delta[t] A) x[t-1] + delta[t] B[t] u[t]          per channel, x of N states, x[-1] = 0
    y[t] = C[t] x[t] + D u[t],   returned as y[t] silu(z[t]) where a gate z is given

Backends, chosen by :func:`choose_backend` and overridable per call or by :func:`use_backend`:

``cuda``   mamba-ssm's fused kernels (extra ``gpu``), for CUDA tensors where ``selective_scan_cuda`` imports;
``numba``  fused CPU kernels with a hand-written backward pass (``scan_numba``), the default on a CPU;
``torch``  batch-blocked, states recomputed in the backward pass; any device and any real dtype.

All of them sum in float32 (``torch`` in float64 for float64 inputs). Not for them: complex A, and B or C that
do not change in time.
"""

import contextlib
import math
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from typing import Literal

import torch  # noqa: TID253
import torch.nn.functional as F  # noqa: TID253

Backend = Literal["cuda", "numba", "torch"]
BACKENDS: tuple[Backend, ...] = ("cuda", "numba", "torch")
_BLOCK = 1 << 14  # states (rows x channels x states) of one step held at a time by the torch backend
_LOG2E = math.log2(math.e)
_forced: list[Backend] = []


@cache
def _imports(module: str) -> bool:
    try:
        import_module(module)
    except ImportError:
        return False
    return True


def choose_backend(tensor: torch.Tensor) -> Backend:
    """The backend that a call on ``tensor`` uses when none is named: cuda, else numba, else torch."""
    if _forced:
        return _forced[-1]
    if tensor.is_cuda and _imports("selective_scan_cuda"):
        return "cuda"
    if tensor.device.type == "cpu" and tensor.dtype != torch.float64 and _imports("numba"):
        return "numba"
    return "torch"


@contextlib.contextmanager
def use_backend(backend: Backend) -> Iterator[None]:
    """Force a backend for every scan inside the ``with`` block (for comparisons and for odd machines)."""
    if backend not in BACKENDS:
        raise ValueError(f"unknown scan backend {backend!r}; choose one of {', '.join(BACKENDS)}")
    _forced.append(backend)
    try:
        yield
    finally:
        _forced.pop()


def selective_scan(
    u: torch.Tensor,
    delta: torch.Tensor,
    A: torch.Tensor,
    B: torch.Tensor,
    C: torch.Tensor,
    D: torch.Tensor | None = None,
    z: torch.Tensor | None = None,
    delta_bias: torch.Tensor | None = None,
    delta_softplus: bool = False,
    backend: Backend | None = None,
) -> torch.Tensor:
    """Selective scan with the shapes of mamba-ssm's ``selective_scan_fn``; differentiable in every tensor.

    Fastest on a CPU when u, delta and z are views of time-major memory, ``tensor(b, L, D).transpose(1, 2)``:
    these are not copied.

    Args:
        u: input, (batch, D, L), any D >= 1 and L >= 1.
        delta: step sizes, (batch, D, L); before bias and softplus.
        A: decay rates, (D, N), real, usually negative.
        B: input map, (batch, N, L), or (batch, G, N, L) for G groups of D / G channels.
        C: output map, shaped as B.
        D: skip connection, (D,).
        z: gate, (batch, D, L).
        delta_bias: added to delta, (D,).
        delta_softplus: apply softplus to delta + delta_bias.
        backend: one of ``cuda``, ``numba``, ``torch``; by default :func:`choose_backend`.

    Returns:
        (batch, D, L), in u's dtype.

    Raises:
        ValueError: a shape or dtype does not fit, or the backend is unknown or not usable here.
    """
    _check(u, delta, A, B, C, D, z, delta_bias)
    backend = backend or choose_backend(u)
    if B.dim() == 4 and B.shape[1] == 1:
        B, C = B.squeeze(1), C.squeeze(1)
    if backend == "cuda":
        return _cuda_scan(u, delta, A, B, C, D, z, delta_bias, delta_softplus)
    if B.dim() == 4:
        count = B.shape[1]
        by_group = (
            *(t.chunk(count, 1) for t in (u, delta)),
            A.chunk(count),
            *(t.unbind(1) for t in (B, C)),
            *(
                [None] * count if t is None else t.chunk(count, dim)
                for t, dim in ((D, 0), (z, 1), (delta_bias, 0))
            ),
        )
        groups = (selective_scan(*g, delta_softplus, backend) for g in zip(*by_group, strict=True))  # pyright: ignore
        return torch.cat(list(groups), 1)
    u_, delta_, B_, C_ = (t.transpose(1, 2) for t in (u, delta, B, C))
    z_ = None if z is None else z.transpose(1, 2)
    if backend == "numba":
        if u.device.type != "cpu":
            raise ValueError(
                f"the numba scan runs on the CPU, the input is on {u.device}; use 'cuda' or 'torch'"
            )
        from trademl_pipeline.models.scan_numba import NumbaScan

        y = NumbaScan.apply(u_, delta_, A, B_, C_, D, z_, delta_bias, delta_softplus)
    elif backend == "torch":
        y = _torch_scan(u_, delta_, B_, C_, z_, A, D, delta_bias, delta_softplus)
    else:
        raise ValueError(f"unknown scan backend {backend!r}; choose one of {', '.join(BACKENDS)}")
    return y.transpose(1, 2).to(u.dtype)  # pyright: ignore[reportOptionalMemberAccess]


def _check(u, delta, A, B, C, D, z, delta_bias) -> None:
    if u.dim() != 3 or 0 in u.shape:
        raise ValueError(f"u must be (batch, D, L) and not empty, got {tuple(u.shape)}")
    batch, channels, length = u.shape
    if A.dim() != 2 or A.shape[0] != channels or A.is_complex():
        raise ValueError(f"A must be real and (D={channels}, N), got {A.dtype} {tuple(A.shape)}")
    expected = {
        "delta": (delta, u.shape),
        "z": (z, u.shape),
        "D": (D, (channels,)),
        "delta_bias": (delta_bias, (channels,)),
    }
    for name, (tensor, shape) in expected.items():
        if tensor is not None and tuple(tensor.shape) != tuple(shape):
            raise ValueError(f"{name} must be {tuple(shape)} to fit u, got {tuple(tensor.shape)}")
    flat = (batch, A.shape[1], length)
    for name, tensor in (("B", B), ("C", C)):
        shape = tuple(tensor.shape)
        grouped = len(shape) == 4 and (shape[0], *shape[2:]) == flat and channels % shape[1] == 0
        if shape != flat and not grouped:
            raise ValueError(
                f"{name} must be (batch, N, L) = {flat} or (batch, G, N, L) with G dividing D, got {shape}"
            )
    if B.shape != C.shape:
        raise ValueError(f"B and C must have one shape, got {tuple(B.shape)} and {tuple(C.shape)}")


def _cuda_scan(u, delta, A, B, C, D, z, delta_bias, delta_softplus):
    if not u.is_cuda or not _imports("selective_scan_cuda"):
        raise ValueError(
            "the cuda scan needs CUDA tensors and mamba-ssm built with its kernels (extra 'gpu')"
        )
    if A.shape[1] > 256:
        raise ValueError(
            f"mamba-ssm's kernel takes at most 256 states, got {A.shape[1]}; use backend='torch'"
        )
    from mamba_ssm.ops.selective_scan_interface import selective_scan_fn  # pyright: ignore

    u, delta, B, C = (t.contiguous() for t in (u, delta, B, C))
    z = None if z is None else z.contiguous()
    D, delta_bias = (None if t is None else t.float() for t in (D, delta_bias))
    return selective_scan_fn(u, delta, A.float(), B, C, D, z, delta_bias, delta_softplus)


def _torch_scan(u, delta, B, C, z, A, D, bias, softplus):
    """The torch backend on time-major tensors; everything but the recurrence is left to autograd."""
    work = torch.float64 if u.dtype == torch.float64 else torch.float32
    u, delta, A, B, C = (t.to(work) for t in (u, delta, A, B, C))
    if bias is not None:
        delta = delta + bias.to(work)
    if softplus:
        delta = F.softplus(delta)
    step, fed, B, C = (t.transpose(0, 1).contiguous() for t in (delta, delta * u, B, C))
    y = _TorchScan.apply(step, fed, A, B, C).transpose(0, 1)
    if D is not None:
        y = y + u * D.to(work)
    return y if z is None else y * F.silu(z.to(work))


class _TorchScan(torch.autograd.Function):
    """x[t] = exp(delta[t] A) x[t-1] + fed[t] B[t], y[t] = C[t] x[t]; blocks of rows, states recomputed.

    States lie as (L, rows, N, D), so that the long axis is the contiguous one: sums over n are then products
    with a row vector, which BLAS is quick at. Sums over d are not written as products, since a product with a
    column vector takes ten times as long.
    """

    @staticmethod
    def forward(ctx, delta, fed, A, B, C):  # pyright: ignore
        """delta, fed (L, b, D); A (D, N); B, C (L, b, N). Returns (L, b, D)."""
        ctx.save_for_backward(delta, fed, A, B, C)
        rates = A.t().contiguous()
        y = torch.empty_like(delta)
        for rows, (decay, x) in _blocks(delta, rates, 2):
            _states(delta[:, rows], fed[:, rows], rates, B[:, rows], decay, x)
            y[:, rows] = (C[:, rows].unsqueeze(-2) @ x).squeeze(-2)
        return y

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, dy):  # pyright: ignore
        """Sweeps each block of rows back over its recomputed states."""
        delta, fed, A, B, C = ctx.saved_tensors
        rates = A.t().contiguous()
        ddelta, dfed, dA, dB, dC = (torch.empty_like(t) for t in (delta, fed, rates, B, C))
        dA.zero_()
        for rows, (decay, x, dx) in _blocks(delta, rates, 3):
            dt, f, b, c, g = (t[:, rows] for t in (delta, fed, B, C, dy))
            _states(dt, f, rates, b, decay, x)
            torch.sum(torch.mul(x, g.unsqueeze(-2), out=dx), -1, out=dC[:, rows])
            torch.mul(g.unsqueeze(-2), c.unsqueeze(-1), out=dx)
            step, decays = dx.unbind(0), decay.unbind(0)
            for t in range(len(step) - 2, -1, -1):
                step[t].addcmul_(decays[t + 1], step[t + 1])
            dfed[:, rows] = (b.unsqueeze(-2) @ dx).squeeze(-2)
            # d/d(delta A) = dx * decay * previous state; the state before the first step is 0
            decay[0] = 0
            decay[1:].mul_(x[:-1])
            torch.sum(torch.mul(dx, f.unsqueeze(-2), out=x), -1, out=dB[:, rows])
            dx.mul_(decay)
            dA += torch.mul(dx, dt.unsqueeze(-2), out=x).sum((0, 1))
            torch.sum(dx.mul_(rates), -2, out=ddelta[:, rows])
        return ddelta, dfed, dA.t(), dB, dC


def _blocks(
    delta: torch.Tensor, rates: torch.Tensor, buffers: int
) -> Iterator[tuple[slice, tuple[torch.Tensor, ...]]]:
    """Slices of the batch, each with buffers (L, rows, N, D); the memory is the same for all blocks."""
    length, batch, _ = delta.shape
    rows = min(batch, max(1, _BLOCK // rates.numel()))
    memory = delta.new_empty((buffers, length * rows * rates.numel()))
    for first in range(0, batch, rows):
        n = min(rows, batch - first)
        shape = (length, n, *rates.shape)
        yield slice(first, first + n), tuple(m[: length * n * rates.numel()].view(shape) for m in memory)


def _states(delta, fed, rates, B, decay, x) -> None:
    """Fills ``decay`` and ``x``, each (L, rows, N, D), with the decays and states of a block of rows."""
    # not exp, which MKL computes at a third of the speed on AMD processors
    torch.mul(delta.unsqueeze(-2), rates * _LOG2E, out=decay).exp2_()
    torch.mul(fed.unsqueeze(-2), B.unsqueeze(-1), out=x)
    states, decays = x.unbind(0), decay.unbind(0)
    for t in range(1, len(states)):
        states[t].addcmul_(decays[t], states[t - 1])
