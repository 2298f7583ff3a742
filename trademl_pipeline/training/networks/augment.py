"""Augmentation of training windows. All of it keeps the window's end, the decision, where it is.

Applied to scaled features of training rows only; validation and test rows are never touched.
"""

import numpy as np
import torch  # noqa: TID253

from trademl_pipeline.training.networks.schedule import Augmentation


def augment(
    x: torch.Tensor, mask: torch.Tensor, how: Augmentation, rng: np.random.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return warped, sliced and noisy copies of windows, of the same shapes.

    Args:
        x: (batch, time, feature), scaled, 0 where padded.
        mask: (batch, time) bool, true on real steps.
        how: strength of each change.
        rng: draws everything.

    Returns:
        x and mask.
    """
    batch, length, _ = x.shape

    def uniform(low: float, high: float, otherwise: float) -> torch.Tensor:
        values = np.where(rng.random(batch) < how.share, rng.uniform(low, high, batch), otherwise)
        return torch.as_tensor(values, dtype=x.dtype, device=x.device)[:, None]

    x, mask = _warp(x, mask, uniform(1 - how.warp, 1 + how.warp, 1.0))
    keep = uniform(how.shortest, 1.0, 1.0)
    real = mask.sum(1, keepdim=True)
    steps_back = torch.arange(length - 1, -1, -1, device=x.device)
    mask = mask & (steps_back < (real * keep).ceil())
    noise = torch.as_tensor(rng.normal(0.0, how.noise, x.shape), dtype=x.dtype, device=x.device)
    return (x + noise).masked_fill(~mask.unsqueeze(-1), 0.0), mask


def _warp(x: torch.Tensor, mask: torch.Tensor, speed: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Read each window backwards from its end at ``speed`` (batch, 1) steps a step, linear between steps."""
    length = x.shape[1]
    back = torch.arange(length - 1, -1, -1, device=x.device, dtype=x.dtype)
    place = (length - 1) - back * speed
    before = place.floor().clamp(min=0, max=length - 1).long()
    after = (before + 1).clamp(max=length - 1)
    share = (place - before).unsqueeze(-1)
    a, b = (x.gather(1, i.unsqueeze(-1).expand_as(x)) for i in (before, after))
    real = (place >= 0) & mask.gather(1, before)
    return torch.lerp(a, b, share.clamp(0, 1)), real
