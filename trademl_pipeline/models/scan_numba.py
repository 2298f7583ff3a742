"""Compiled CPU kernels of the selective scan: one fused forward pass and one hand-written backward pass.

Layout. Everything is time-major, ``(batch, time, channel)``. A kernel works on one row of the batch, one block
of ``LANES`` channels and one tile of ``STATES`` states at a time, all lanes of one vector (state by state),
and runs over time with these states in registers; what it keeps of each step stays in the nearest caches.
A, dA and the sums over channels (dB, dC) are laid out in such blocks and tiles; missing channels and states
are 0. The backward pass recomputes the states of at most ``SPAN`` steps from a checkpoint that the forward
pass left, and sweeps back over them.

The batch is shared out to a thread pool of ``torch.get_num_threads()`` threads (the kernels release the GIL).
Sums over the batch (dA, dD, dbias) have a slot for each share, at most ``SHARES``, and are added up
afterwards: results do not depend on the number of threads, and there is nothing to race for. A pool of our
own rather than numba's ``prange``, because numba's threading layers either abort on concurrent calls
(workqueue: a web server) or after a fork (OpenMP).
"""

import numpy as np
import torch  # noqa: TID253
from numba import njit

from trademl_pipeline.models.simd import (
    fold,
    load,
    load_first,
    repeat,
    spread,
    spread_each,
    store,
    store_first,
    sums_of_sixteen,
    wide_vectors,
)
from trademl_pipeline.models.vector_math import (
    JIT,
    LANES,
    LN2,
    LOG2E,
    ONE,
    SHARES,
    ZERO,
    as_array,
    exp2,
    run_shares,
    scratch,
    sigmoid,
    softplus,
)

STATES = 4  # states of a tile
TILE = STATES * LANES
SUMS = 2 * STATES  # of a tile, over the channels: for B and for C
SPAN = 64  # steps whose states the backward pass holds at a time


@njit(**JIT)
def _begin_span(u, delta, skip, shift, positive, b, t0, steps, d, width, step, fed, y):
    """Steps of a span for one block.

    step = delta + bias, through softplus if ``positive``; fed = step * u; y = D * u.
    """
    wide_vectors()
    for k in range(steps):
        v = load_first(u, (b, t0 + k, d), width, LANES)
        dt = load_first(delta, (b, t0 + k, d), width, LANES) + shift
        if positive:
            dt = softplus(dt)
        store(step, (k, 0), dt)
        store(fed, (k, 0), dt * v)
        store(y, (k, 0), skip * v)


@njit(**JIT)
def _forward(u, delta, rates, B, C, D, z, bias, positive, gated, out, saved, first, last):
    """Rows first..last of the scan.

    u, delta, z, out (b, L, D); rates (blocks, tiles, TILE) holds A log2 e; B, C (b, L, N); ``positive``:
    apply softplus to the steps.

    ``saved`` (b, spans - 1, blocks, tiles, TILE) takes the states at the start of every span but the first;
    empty: not kept.
    """
    wide_vectors()
    length, channels, tiles = u.shape[1], u.shape[2], rates.shape[1]
    step, fed, y = scratch(SPAN, LANES), scratch(SPAN, LANES), scratch(SPAN, LANES)
    states = scratch(tiles, TILE)
    for b in range(first, last):
        for block in range(len(rates)):
            d = block * LANES
            width = min(LANES, channels - d)
            skip, shift = load_first(D, (d,), width, LANES), load_first(bias, (d,), width, LANES)
            states[:] = ZERO
            for t0 in range(0, length, SPAN):
                steps = min(SPAN, length - t0)
                _begin_span(u, delta, skip, shift, positive, b, t0, steps, d, width, step, fed, y)
                for i in range(tiles):
                    rate, x = load(rates, (block, i, 0), TILE), load(states, (i, 0), TILE)
                    if t0 > 0 and saved.shape[1] > 0:
                        store(saved, (b, t0 // SPAN - 1, block, i, 0), x)
                    for k in range(steps):
                        bn = spread_each(B, (b, t0 + k, i * STATES), STATES, LANES)
                        cn = spread_each(C, (b, t0 + k, i * STATES), STATES, LANES)
                        decay = exp2(repeat(load(step, (k, 0), LANES), STATES) * rate)
                        x = decay * x + repeat(load(fed, (k, 0), LANES), STATES) * bn
                        store(y, (k, 0), load(y, (k, 0), LANES) + fold(cn * x, STATES))
                    store(states, (i, 0), x)
                for k in range(steps):
                    result = load(y, (k, 0), LANES)
                    if gated:
                        gate = load_first(z, (b, t0 + k, d), width, LANES)
                        result = result * (gate * sigmoid(gate))
                    store_first(out, (b, t0 + k, d), width, result)


@njit(**JIT)
def _recompute(B, C, b, t0, steps, i, rate, x, step, fed, y, states, decays):
    """States and decays of tile i in a span that begins with the states x; adds what is seen of them to y."""
    wide_vectors()
    store(states, (0, 0), x)
    for k in range(steps):
        bn = spread_each(B, (b, t0 + k, i * STATES), STATES, LANES)
        cn = spread_each(C, (b, t0 + k, i * STATES), STATES, LANES)
        decay = exp2(repeat(load(step, (k, 0), LANES), STATES) * rate)
        x = decay * x + repeat(load(fed, (k, 0), LANES), STATES) * bn
        store(decays, (k, 0), decay)
        store(states, (k + 1, 0), x)
        store(y, (k, 0), load(y, (k, 0), LANES) + fold(cn * x, STATES))


@njit(**JIT)
def _sweep(B, C, b, t0, steps, i, rate, carry, sum_A, step, fed, gy, states, decays, dfed, dstep, dBC):
    """Back over a span of tile i, from the gradient ``carry`` of its last states.

    Adds to dfed, dstep, dBC; returns the gradient of the states before the span, and sum_A with what the span
    adds to it.
    """
    wide_vectors()
    for k in range(steps - 1, -1, -1):
        bn = spread_each(B, (b, t0 + k, i * STATES), STATES, LANES)
        cn = spread_each(C, (b, t0 + k, i * STATES), STATES, LANES)
        dy = repeat(load(gy, (k, 0), LANES), STATES)
        g = carry + dy * cn  # gradient of the states after step k
        through_B, through_C = (
            g * repeat(load(fed, (k, 0), LANES), STATES),
            dy * load(states, (k + 1, 0), TILE),
        )
        sums = load(dBC, (b, t0 + k, i, 0), SUMS) + sums_of_sixteen(through_B, through_C)
        store(dBC, (b, t0 + k, i, 0), sums)
        store(dfed, (k, 0), load(dfed, (k, 0), LANES) + fold(g * bn, STATES))
        carry = load(decays, (k, 0), TILE) * g
        h = carry * load(states, (k, 0), TILE)  # gradient of the decay's exponent
        store(dstep, (k, 0), load(dstep, (k, 0), LANES) + fold(h * rate, STATES))
        sum_A = sum_A + h * repeat(load(step, (k, 0), LANES), STATES)
    return carry, sum_A


@njit(**JIT)
def _backward(
    u, delta, rates, B, C, D, z, bias, positive, gated, saved, dout,
    du, ddelta, dA, dBC, dD, dz, dbias, first, last,
):  # fmt: skip
    """Gradients of the rows of shares first..last.

    Added to dA (shares, blocks, tiles, TILE), dBC (b, L, tiles, SUMS), which holds B's and then C's, and dD
    and dbias (shares, D); those begin as 0.
    """
    wide_vectors()
    rows, length, channels, tiles = u.shape[0], u.shape[1], u.shape[2], rates.shape[1]
    span = min(SPAN, length)
    step, fed, y, gy = scratch(span, LANES), scratch(span, LANES), scratch(span, LANES), scratch(span, LANES)
    dstep, dfed = scratch(span, LANES), scratch(span, LANES)
    states = scratch(span + 1, TILE)  # states[k]: before step k of the span
    decays = scratch(span, TILE)
    state_gradient = scratch(tiles, TILE)  # decay * gradient of the state, from the step after
    for share in range(first, last):
        for b in range(rows * share // len(dA), rows * (share + 1) // len(dA)):
            for block in range(len(rates)):
                d = block * LANES
                width = min(LANES, channels - d)
                skip, shift = load_first(D, (d,), width, LANES), load_first(bias, (d,), width, LANES)
                sum_D = load_first(dD, (share, d), width, LANES)
                sum_bias = load_first(dbias, (share, d), width, LANES)
                state_gradient[:] = ZERO
                for t0 in range((length - 1) // SPAN * SPAN, -1, -SPAN):
                    steps = min(SPAN, length - t0)
                    _begin_span(u, delta, skip, shift, positive, b, t0, steps, d, width, step, fed, y)
                    for k in range(steps):
                        g = load_first(dout, (b, t0 + k, d), width, LANES)
                        if gated:
                            gate = load_first(z, (b, t0 + k, d), width, LANES)
                            g = g * (gate * sigmoid(gate))
                        store(gy, (k, 0), g)
                    dstep[:] = ZERO
                    dfed[:] = ZERO
                    for i in range(tiles):
                        rate, x = load(rates, (block, i, 0), TILE), spread(ZERO, TILE)
                        if t0 > 0:
                            x = load(saved, (b, t0 // SPAN - 1, block, i, 0), TILE)
                        _recompute(B, C, b, t0, steps, i, rate, x, step, fed, y, states, decays)
                        carry, sum_A = (
                            load(state_gradient, (i, 0), TILE),
                            load(dA, (share, block, i, 0), TILE),
                        )
                        carry, sum_A = _sweep(
                            B, C, b, t0, steps, i, rate, carry, sum_A,
                            step, fed, gy, states, decays, dfed, dstep, dBC,
                        )  # fmt: skip
                        store(state_gradient, (i, 0), carry)
                        store(dA, (share, block, i, 0), sum_A)
                    for k in range(steps):
                        v, g = load_first(u, (b, t0 + k, d), width, LANES), load(gy, (k, 0), LANES)
                        df = load(dfed, (k, 0), LANES)
                        ds = load(dstep, (k, 0), LANES) * LN2 + df * v
                        if positive:
                            ds = ds * sigmoid(load_first(delta, (b, t0 + k, d), width, LANES) + shift)
                        if gated:
                            gate = load_first(z, (b, t0 + k, d), width, LANES)
                            slope = sigmoid(gate)
                            slope = slope * (ONE + gate * (ONE - slope))
                            slope = slope * load_first(dout, (b, t0 + k, d), width, LANES)
                            store_first(dz, (b, t0 + k, d), width, load(y, (k, 0), LANES) * slope)
                        store_first(du, (b, t0 + k, d), width, df * load(step, (k, 0), LANES) + g * skip)
                        store_first(ddelta, (b, t0 + k, d), width, ds)
                        sum_D = sum_D + g * v
                        sum_bias = sum_bias + ds
                store_first(dD, (share, d), width, sum_D)
                store_first(dbias, (share, d), width, sum_bias)


def _padded(x: np.ndarray, *multiples: int) -> np.ndarray:
    """x with zeros after it, to bring its last axes to multiples of these lengths; x itself if they are."""
    others = x.ndim - len(multiples)
    missing = [-n % m for n, m in zip(x.shape[others:], multiples, strict=True)]
    return np.pad(x, [(0, m) for m in [0] * others + missing]) if any(missing) else x


def _blocks_of(A: np.ndarray) -> np.ndarray:
    """A (D, N) -> (blocks, tiles, TILE), the lanes of a tile state by state."""
    A = _padded(A, LANES, STATES)
    tiles = A.reshape(len(A) // LANES, LANES, -1, STATES).transpose(0, 2, 3, 1)
    return np.ascontiguousarray(tiles).reshape(*tiles.shape[:2], TILE)


def _from_blocks(blocks: np.ndarray) -> np.ndarray:
    """Result of :func:`_blocks_of`, as (D, N) again, padding included."""
    tiles = blocks.reshape(*blocks.shape[:2], STATES, LANES).transpose(0, 3, 1, 2)
    return tiles.reshape(len(blocks) * LANES, -1)


class NumbaScan(torch.autograd.Function):
    """Differentiable selective scan on the CPU, time-major; see :func:`ssm.selective_scan` for the meaning."""

    @staticmethod
    def forward(ctx, u, delta, A, B, C, D, z, bias, positive):  # pyright: ignore
        """Scan the batch; keeps only its inputs and the states at the start of every span for the way back.

        Args:
            u, delta: input and step sizes, (batch, time, channels).
            A: decay rates, (channels, states).
            B, C: input and output map, (batch, time, states).
            D: skip connection, (channels,); None: none.
            z: gate, (batch, time, channels); None: none.
            bias: added to delta, (channels,); None: none.
            positive: apply softplus to delta + bias.

        Returns:
            (batch, time, channels) float32.
        """
        rows, length, channels = u.shape
        gated = z is not None
        rates = _blocks_of(as_array(A) * LOG2E)
        arrays = [as_array(u), as_array(delta), rates]
        arrays += [_padded(as_array(t), STATES) for t in (B, C)]
        arrays.append(as_array(D) if D is not None else np.zeros(channels, np.float32))
        arrays.append(as_array(z) if gated else np.zeros((1, 1, 1), np.float32))
        arrays.append(as_array(bias) if bias is not None else np.zeros(channels, np.float32))
        checkpoints = (length - 1) // SPAN if any(ctx.needs_input_grad) else 0
        saved = np.empty((rows, checkpoints, *rates.shape), np.float32)
        out = np.empty((rows, length, channels), np.float32)
        work = out.size * A.shape[1]
        run_shares(_forward, rows, work, (*arrays, positive, gated, out, saved))
        ctx.arrays, ctx.saved, ctx.options = arrays, saved, (positive, gated)
        ctx.work, ctx.states = work, A.shape[1]
        ctx.dtypes = [None if t is None else t.dtype for t in (u, delta, A, B, C, D, z, bias)]
        return torch.from_numpy(out)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, dout):  # pyright: ignore
        """Gradients of every tensor input, in the inputs' dtypes."""
        u, delta, rates, B, C, D, z, bias = ctx.arrays
        gated = ctx.options[1]
        rows, length, channels = u.shape
        shares, tiles = min(rows, SHARES), rates.shape[1]
        # one allocation: malloc gives three back to the system and fetches them page by page at the next call
        du, ddelta, *rest = np.empty((2 + gated, *u.shape), np.float32)
        dz = rest[0] if gated else z
        dA = np.zeros((shares, *rates.shape), np.float32)
        dBC = np.zeros((rows, length, tiles, SUMS), np.float32)
        dD, dbias = (np.zeros((shares, channels), np.float32) for _ in range(2))
        grads = (du, ddelta, dA, dBC, dD, dz, dbias)
        inputs = (u, delta, rates, B, C, D, z, bias, *ctx.options, ctx.saved, as_array(dout))
        run_shares(_backward, shares, ctx.work, (*inputs, *grads))
        dA = _from_blocks(dA.sum(0))[:channels, : ctx.states]
        dB, dC = (
            dBC[..., of : of + STATES].reshape(rows, length, -1)[..., : ctx.states] for of in (0, STATES)
        )
        full = (du, ddelta, dA, dB, dC, dD.sum(0), dz, dbias.sum(0))
        typed = (
            None if t is None else torch.from_numpy(g).to(t) for g, t in zip(full, ctx.dtypes, strict=True)
        )
        return (*typed, None)
