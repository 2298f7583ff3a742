"""A network with its pre-processing inside: raw features in, NaN included."""

import numpy as np
import torch  # noqa: TID253
from torch import nn  # noqa: TID253

CLIP = 10.0  # robust deviations; beyond, a feature says "extreme" and no more


class Prepared(nn.Module):
    """Scaling, clipping and filling around a network. A missing value becomes the training median."""

    centre: torch.Tensor
    scale: torch.Tensor

    def __init__(self, network: nn.Module, centre: np.ndarray, scale: np.ndarray):
        super().__init__()
        self.network = network
        # kept in float64: of a feature far from 0 relative to its spread, float32 would lose the signal
        self.register_buffer("centre", torch.as_tensor(centre, dtype=torch.float64))
        self.register_buffer("scale", torch.as_tensor(scale, dtype=torch.float64))

    def prepare(self, x: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        """Raw (batch, time, features) -> scaled float32 without NaN, padded steps 0."""
        scaled = ((x - self.centre) / self.scale).clamp(-CLIP, CLIP).float()
        missing = scaled.isnan() if mask is None else scaled.isnan() | ~mask.unsqueeze(-1)
        return scaled.masked_fill(missing, 0.0)

    def forward(
        self, x: torch.Tensor, mask: torch.Tensor | None = None, **inputs: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        """Outputs of the network for raw features."""
        return self.network(self.prepare(x, mask), mask, **inputs)
