"""Hybrid of the hybrid design in its three simpler sizes: multi-task forecasts that take the current position."""

import math
from dataclasses import dataclass
from typing import Literal

import torch  # noqa: TID253
from torch import nn  # noqa: TID253

from trademl_pipeline.models.layers import masked_mean, mlp, return_units
from trademl_pipeline.models.transformer import Encoder
from trademl_pipeline.models.xlstm import XLSTMBody

POSITION_STATE = ("position", "unrealised_return", "sessions_held", "cash_share")


@dataclass(frozen=True)
class HybridConfig:
    """Size of the network.

    Attributes:
        features: columns of the input.
        form: ``single`` (xLSTM), ``efficient`` (xLSTM and Transformer, fused) or ``ensemble`` (one network a
            group of tasks).
        horizons: sessions ahead of the price task.
        d_xlstm, xlstm_layers: width and blocks of the xLSTM path.
        d_transformer, transformer_layers: width and layers of the Transformer path.
        heads: of both paths and of the fusion.
        d_model: width after the fusion.
        dropout: of all parts.
        session_volatility: typical deviation of one session's return; price and volatility start in its
        units.
    """

    features: int
    form: Literal["single", "efficient", "ensemble"] = "efficient"
    horizons: tuple[int, ...] = (1, 4, 24)
    d_xlstm: int = 256
    xlstm_layers: tuple[str, ...] = ("m", "s")
    d_transformer: int = 128
    transformer_layers: int = 2
    heads: int = 4
    d_model: int = 256
    dropout: float = 0.3
    session_volatility: float = 0.02


_SMALL = {
    "d_xlstm": 16,
    "xlstm_layers": ("m",),
    "d_transformer": 32,
    "transformer_layers": 1,
    "d_model": 32,
    "heads": 2,
    "dropout": 0.1,
}
PRESETS = {
    "single": {"form": "single"},
    "efficient": {},
    "ensemble": {"form": "ensemble"},
    "small": _SMALL,
    "small_single": _SMALL | {"form": "single"},
    "small_ensemble": _SMALL | {"form": "ensemble"},
}


class Summary(nn.Module):
    """Steps of one path -> one vector: masked mean and last step, projected to the common width."""

    def __init__(self, body: nn.Module, width: int, d_model: int):
        super().__init__()
        self.body = body
        self.out = nn.Linear(2 * width, d_model)

    def forward(self, x: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        """(batch, time, features) -> (batch, d_model)."""
        h = self.body(x, mask)
        return self.out(torch.cat([masked_mean(h, mask), h[:, -1]], -1))


class Fusion(nn.Module):
    """Attention over the vectors of the paths and of the position: (batch, parts, d) -> (batch, d)."""

    def __init__(self, d_model: int, heads: int, parts: int, dropout: float):
        super().__init__()
        self.which = nn.Parameter(0.02 * torch.randn(parts, d_model))
        self.query = nn.Parameter(0.02 * torch.randn(1, 1, d_model))
        self.attention = nn.MultiheadAttention(d_model, heads, dropout, batch_first=True)
        self.norm = nn.LayerNorm(d_model)

    def forward(self, parts: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The fused vector and the weight given to each part (batch, parts)."""
        keys = parts + self.which
        fused, weights = self.attention(self.query.expand(len(parts), -1, -1), keys, keys)
        return self.norm(fused.squeeze(1) + parts.mean(1)), weights.squeeze(1)


class Hybrid(nn.Module):
    """Paths over the window, fused with the position state, and six heads."""

    HEADS = ("trunks", "heads")

    def __init__(self, config: HybridConfig):
        super().__init__()
        self.config = config
        c, d = config, config.d_model

        def xlstm():
            body = XLSTMBody(c.features, c.d_xlstm, c.xlstm_layers, c.heads, 4, c.dropout)
            return Summary(body, c.d_xlstm, d)

        def transformer():
            body = Encoder(c.features, c.d_transformer, c.heads, c.transformer_layers, 4, c.dropout)
            return Summary(body, c.d_transformer, d)

        if c.form == "single":
            self.paths = nn.ModuleDict({"xlstm": xlstm()})
        elif c.form == "efficient":
            self.paths = nn.ModuleDict({"xlstm": xlstm(), "transformer": transformer()})
        elif c.form == "ensemble":
            risk = nn.Sequential(nn.Linear(2 * c.features, d), nn.LayerNorm(d), nn.GELU())
            self.paths = nn.ModuleDict({"direction": xlstm(), "price": transformer(), "risk": risk})
        else:
            raise ValueError(f"unknown form {c.form!r}; choose single, efficient or ensemble")
        self.position_in = nn.Linear(len(POSITION_STATE), d)
        groups = {"fused": len(self.paths) + 1} if c.form != "ensemble" else dict.fromkeys(self.paths, 2)
        self.fusions = nn.ModuleDict({g: Fusion(d, c.heads, n, c.dropout) for g, n in groups.items()})
        self.trunks = nn.ModuleDict({g: mlp((d, d), c.dropout) for g in groups})
        widths = {"price": len(c.horizons), "direction": 3, "position": 3}
        widths |= {"volatility": 1, "risk": 1, "confidence": 1}
        self.unit: torch.Tensor
        self.register_buffer("unit", return_units(c.horizons, c.session_volatility), persistent=False)
        self.heads = nn.ModuleDict({task: nn.Linear(d, width) for task, width in widths.items()})

    def forward(
        self, x: torch.Tensor, mask: torch.Tensor | None = None, position: torch.Tensor | None = None
    ) -> dict[str, torch.Tensor]:
        """Forecasts of all tasks.

        Args:
            x: (batch, time, features).
            mask: (batch, time) or None.
            position: (batch, 4), the columns POSITION_STATE; None: flat, all cash.

        Returns:
            price (batch, horizons) log returns; direction and position (batch, 3) logits; volatility (log),
            risk and confidence (logit), each (batch,).
        """
        trunks, _ = self._trunks(x, mask, position)
        group = dict.fromkeys(self.heads, "fused")
        if self.config.form == "ensemble":
            group = {"direction": "direction", "position": "direction", "confidence": "direction"}
            group |= {"price": "price", "volatility": "risk", "risk": "risk"}
        out = {task: head(trunks[group[task]]) for task, head in self.heads.items()}
        out["price"] = out["price"] * self.unit
        out["volatility"] = out["volatility"] + math.log(self.config.session_volatility)
        return {task: y.squeeze(-1) if y.shape[-1] == 1 and task != "price" else y for task, y in out.items()}

    def backbone(self, x: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        """Return the heads' input, side by side: (batch, groups * d_model)."""
        return torch.cat(list(self._trunks(x, mask, None)[0].values()), -1)

    def fusion_weights(
        self, x: torch.Tensor, mask: torch.Tensor | None = None, position: torch.Tensor | None = None
    ) -> dict[str, torch.Tensor]:
        """How much each fusion listens to its paths and, last, to the position: (batch, parts) a group."""
        return self._trunks(x, mask, position)[1]

    def attention_weights(self, x: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        """Weight that the Transformer path gives each step, (batch, time), sums to 1.

        Raises:
            ValueError: the form has no Transformer path.
        """
        bodies = [path.body for path in self.paths.values() if isinstance(path, Summary)]
        encoder = next((body for body in bodies if isinstance(body, Encoder)), None)
        if encoder is None:
            raise ValueError(f"the form {self.config.form!r} of Hybrid has no attention over time to show")
        return encoder.attention_weights(x, mask)

    def _trunks(self, x, mask, position):
        if position is None:
            position = x.new_tensor([0.0, 0.0, 0.0, 1.0]).expand(len(x), -1)
        state = self.position_in(position)
        parts = {}
        for name, path in self.paths.items():
            if name == "risk":
                parts[name] = path(torch.cat([masked_mean(x, mask), x[:, -1]], -1))
            else:
                parts[name] = path(x, mask)
        if self.config.form == "ensemble":
            inputs = {name: torch.stack([part, state], 1) for name, part in parts.items()}
        else:
            inputs = {"fused": torch.stack([*parts.values(), state], 1)}
        fused = {g: self.fusions[g](h) for g, h in inputs.items()}
        return {g: self.trunks[g](h) for g, (h, _) in fused.items()}, {g: w for g, (_, w) in fused.items()}
