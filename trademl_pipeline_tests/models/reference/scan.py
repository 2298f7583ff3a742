"""The selective scan step by step, in the precision of its inputs: the yardstick of every backend."""

import torch
import torch.nn.functional as F


def sequential_scan(u, delta, A, B, C, D=None, z=None, delta_bias=None, delta_softplus=False):
    """Same arguments and shapes as ``selective_scan``; differentiable by autograd."""
    if delta_bias is not None:
        delta = delta + delta_bias[:, None]
    if delta_softplus:
        delta = F.softplus(delta, threshold=100)
    x = u.new_zeros(u.shape[0], u.shape[1], A.shape[1])
    steps = []
    for t in range(u.shape[2]):
        x = (
            torch.exp(delta[:, :, t, None] * A) * x
            + (delta[:, :, t] * u[:, :, t])[..., None] * B[:, None, :, t]
        )
        steps.append((x * C[:, None, :, t]).sum(-1))
    y = torch.stack(steps, -1)
    if D is not None:
        y = y + u * D[:, None]
    return y if z is None else y * F.silu(z)
