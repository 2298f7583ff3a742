"""Mamba forecaster of the forecaster design: mean and volatility of the log return over each of several horizons."""

from dataclasses import dataclass

import torch  # noqa: TID253
from torch import nn  # noqa: TID253

from trademl_pipeline.models.layers import return_units, zero_padding
from trademl_pipeline.models.mamba import Mamba, MambaConfig


@dataclass(frozen=True)
class MambaForecastConfig:
    """Size of the forecaster; the default is the design's `base_128` preset.

    Attributes:
        features: columns of the input.
        horizons: sessions ahead, one mean and one volatility each.
        d_model, d_state, d_conv, expand: of every Mamba block.
        layers: blocks.
        dropout: on the dense layer of the head.
        session_volatility: typical deviation of one session's return; the heads start out in its units.
    """

    features: int
    horizons: tuple[int, ...] = (1, 30)
    d_model: int = 128
    d_state: int = 32
    d_conv: int = 8
    expand: int = 4
    layers: int = 6
    dropout: float = 0.1
    session_volatility: float = 0.02


PRESETS = {
    "baseline_64": {"d_model": 64, "d_state": 16, "d_conv": 4, "expand": 2, "layers": 4},
    "base_128": {},
    "small_32": {"d_model": 32, "d_state": 8, "d_conv": 4, "expand": 2, "layers": 1},
    "large_256": {"d_model": 256},
}


class MambaForecast(nn.Module):
    """Projection -> residual Mamba blocks -> last step -> a mean and a log volatility per horizon."""

    HEADS = ("dense", "mean", "log_volatility")

    def __init__(self, config: MambaForecastConfig):
        super().__init__()
        self.config = config
        block = MambaConfig(config.d_model, config.d_state, config.d_conv, config.expand)
        self.project = nn.Linear(config.features, config.d_model)
        self.norms = nn.ModuleList(nn.RMSNorm(config.d_model) for _ in range(config.layers))
        self.blocks = nn.ModuleList(Mamba(block) for _ in range(config.layers))
        self.final = nn.RMSNorm(config.d_model)
        self.dense = nn.Sequential(
            nn.Linear(config.d_model, config.d_model), nn.GELU(), nn.Dropout(config.dropout)
        )
        self.mean = nn.Linear(config.d_model, len(config.horizons))
        self.log_volatility = nn.Linear(config.d_model, len(config.horizons))
        self.unit: torch.Tensor
        self.register_buffer(
            "unit", return_units(config.horizons, config.session_volatility), persistent=False
        )

    def backbone(self, x: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        """(batch, time, features) -> (batch, d_model), the state at the decision."""
        h = self.project(zero_padding(x, mask))
        for norm, block in zip(self.norms, self.blocks, strict=True):
            h = h + block(norm(h), mask)
        return self.final(h[:, -1])

    def forward(self, x: torch.Tensor, mask: torch.Tensor | None = None) -> dict[str, torch.Tensor]:
        """x (batch, time, features) -> mean and log_volatility, each (batch, horizons)."""
        h = self.dense(self.backbone(x, mask))
        return {"mean": self.mean(h) * self.unit, "log_volatility": self.log_volatility(h) + self.unit.log()}
