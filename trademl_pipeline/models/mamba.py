"""The Mamba block, with the parameters of ``mamba_ssm.modules.mamba_simple.Mamba`` (mamba-ssm 2.3.2).

Names, shapes and initialisation are the same, so a state dict moves between the two in either direction:
train on a GPU with mamba-ssm's kernels, serve on a CPU. What this block adds is the padding mask.
"""

import math
from dataclasses import dataclass

import torch  # noqa: TID253
import torch.nn.functional as F  # noqa: TID253
from torch import nn  # noqa: TID253

from trademl_pipeline.models.ssm import choose_backend, selective_scan


@dataclass(frozen=True)
class MambaConfig:
    """Size of one block, in mamba-ssm's words.

    Attributes:
        d_model: width of the input and output.
        d_state: states per channel.
        d_conv: taps of the causal convolution.
        expand: inner channels per model channel.
        dt_min, dt_max, dt_floor: range of the initial step sizes (log-uniform) and its floor.
    """

    d_model: int
    d_state: int = 16
    d_conv: int = 4
    expand: int = 2
    dt_min: float = 1e-3
    dt_max: float = 0.1
    dt_floor: float = 1e-4

    @property
    def d_inner(self) -> int:
        """Channels of the scan."""
        return self.expand * self.d_model

    @property
    def dt_rank(self) -> int:
        """Rank of the step-size projection."""
        return math.ceil(self.d_model / 16)


class Mamba(nn.Module):
    """Selective state-space block: (batch, time, d_model) -> (batch, time, d_model), causal in time.

    ``mask`` (batch, time), True where the step is real: padded steps neither feed the state nor give output.
    """

    def __init__(self, config: MambaConfig):
        super().__init__()
        self.config = config
        inner, rank = config.d_inner, config.dt_rank
        self.in_proj = nn.Linear(config.d_model, 2 * inner, bias=False)
        self.conv1d = nn.Conv1d(inner, inner, config.d_conv, groups=inner, padding=config.d_conv - 1)
        self.x_proj = nn.Linear(inner, rank + 2 * config.d_state, bias=False)
        self.dt_proj = nn.Linear(rank, inner)
        nn.init.uniform_(self.dt_proj.weight, -(rank**-0.5), rank**-0.5)
        span = math.log(config.dt_max) - math.log(config.dt_min)
        dt = torch.exp(torch.rand(inner) * span + math.log(config.dt_min)).clamp(min=config.dt_floor)
        with torch.no_grad():
            self.dt_proj.bias.copy_(dt + torch.log(-torch.expm1(-dt)))  # the inverse of softplus
        self.dt_proj.bias._no_reinit = True  # pyright: ignore
        self.A_log = nn.Parameter(torch.log(torch.arange(1.0, config.d_state + 1)).repeat(inner, 1))
        self.D = nn.Parameter(torch.ones(inner))
        self.A_log._no_weight_decay = True  # pyright: ignore
        self.D._no_weight_decay = True  # pyright: ignore
        self.out_proj = nn.Linear(inner, config.d_model, bias=False)

    def forward(self, h: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        """h (batch, time, d_model), mask (batch, time) bool or None -> (batch, time, d_model)."""
        keep = None if mask is None else mask.unsqueeze(-1).to(h.dtype)
        if keep is not None:
            h = h * keep
        x, z = self.in_proj(h).chunk(2, -1)  # each (batch, time, inner)
        x = self._convolve(x)
        if keep is not None:
            x = x * keep  # the convolution's bias would leak into padded steps
        rank, states = self.config.dt_rank, self.config.d_state
        dt, B, C = self.x_proj(x).split([rank, states, states], -1)
        y = selective_scan(
            x.transpose(1, 2),
            F.linear(dt, self.dt_proj.weight).transpose(1, 2),
            -torch.exp(self.A_log.float()),
            B.transpose(1, 2),
            C.transpose(1, 2),
            self.D.float(),
            z.transpose(1, 2),
            self.dt_proj.bias.float(),
            delta_softplus=True,
        )
        return self.out_proj(y.transpose(1, 2))

    def _convolve(self, x: torch.Tensor) -> torch.Tensor:
        """SiLU of the causal depthwise convolution over time; (batch, time, inner) -> the same.

        Not causal-conv1d's kernel: it takes 2 to 4 taps, the forecaster has 8.
        """
        if choose_backend(x) == "numba":
            from trademl_pipeline.models.conv_numba import NumbaConvSilu

            return NumbaConvSilu.apply(x, self.conv1d.weight, self.conv1d.bias).to(x.dtype)  # pyright: ignore
        length = x.shape[1]
        return F.silu(self.conv1d(x.transpose(1, 2))[..., :length].transpose(1, 2))
