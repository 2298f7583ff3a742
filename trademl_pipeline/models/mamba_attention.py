"""MambaAttention of the breakout design: which class of outcome a consolidation pattern ends in."""

from dataclasses import dataclass
from typing import Literal

import torch  # noqa: TID253
from torch import nn  # noqa: TID253

from trademl_pipeline.models.layers import Attention, masked_mean, mlp, run_lstm, zero_padding
from trademl_pipeline.models.mamba import Mamba, MambaConfig


@dataclass(frozen=True)
class MambaAttentionConfig:
    """Size of the classifier; the default is the design's "base".

    Attributes:
        features: columns of the input.
        classes: logits.
        body: ``mamba``, or ``bilstm``, the design's fallback.
        d_model: width.
        layers: blocks of the body.
        heads: attention heads.
        dense: widths of the dense layers.
        dropout: of the attention and the dense layers.
    """

    features: int
    classes: int = 6
    body: Literal["mamba", "bilstm"] = "mamba"
    d_model: int = 128
    d_state: int = 16
    d_conv: int = 4
    expand: int = 2
    layers: int = 2
    heads: int = 8
    dense: tuple[int, ...] = (512, 256, 128)
    dropout: float = 0.1


PRESETS = {
    "small": {"d_model": 64, "heads": 4, "dense": (256, 128, 64)},
    "base": {},
    "large": {"d_model": 256, "layers": 3, "heads": 16},
}


class MambaAttention(nn.Module):
    """Projection -> body -> masked attention -> masked mean -> dense layers -> logits."""

    HEADS = ("dense", "logits")

    def __init__(self, config: MambaAttentionConfig):
        super().__init__()
        self.config = config
        d = config.d_model
        self.project = nn.Linear(config.features, d)
        if config.body == "mamba":
            block = MambaConfig(d, config.d_state, config.d_conv, config.expand)
            self.norms = nn.ModuleList(nn.LayerNorm(d) for _ in range(config.layers))
            self.blocks = nn.ModuleList(Mamba(block) for _ in range(config.layers))
        else:
            self.lstm = nn.LSTM(d, d // 2, config.layers, batch_first=True, bidirectional=True)
        self.attention_norm = nn.LayerNorm(d)
        self.attention = Attention(d, config.heads, config.dropout)
        self.final = nn.LayerNorm(d)
        self.dense = mlp((d, *config.dense), config.dropout)
        self.logits = nn.Linear((d, *config.dense)[-1], config.classes)

    def steps(self, x: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        """Return the attention's input: (batch, time, features) -> (batch, time, d_model)."""
        h = self.project(zero_padding(x, mask))
        if self.config.body == "bilstm":
            h = run_lstm(self.lstm, h, mask)
        else:
            for norm, block in zip(self.norms, self.blocks, strict=True):
                h = h + block(norm(h), mask)
        return h

    def backbone(self, x: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        """(batch, time, features) -> (batch, d_model)."""
        h = self.steps(x, mask)
        h = h + self.attention(self.attention_norm(h), mask)
        return masked_mean(self.final(h), mask)

    def forward(self, x: torch.Tensor, mask: torch.Tensor | None = None) -> dict[str, torch.Tensor]:
        """x (batch, time, features) -> logits (batch, classes)."""
        return {"logits": self.logits(self.dense(self.backbone(x, mask)))}

    def attention_weights(self, x: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        """Weight that the pooled output gives each step through the attention, (batch, time), sums to 1."""
        weights = self.attention.weights(self.attention_norm(self.steps(x, mask)), mask)
        return masked_mean(weights, mask)
