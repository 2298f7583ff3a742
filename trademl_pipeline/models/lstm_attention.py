"""LSTM with attention of the direction design: Sell, Hold or Buy."""

from dataclasses import dataclass

import torch  # noqa: TID253
from torch import nn  # noqa: TID253

from trademl_pipeline.models.layers import Attention, masked_mean, mlp, run_lstm, zero_padding


@dataclass(frozen=True)
class LSTMAttentionConfig:
    """Size, the design's values by default.

    Attributes:
        features: columns of the input.
        classes: logits.
        hidden: units of each direction.
        layers: LSTM layers.
        heads: attention heads.
        dropout: between LSTM layers, in the attention and the dense layer.
    """

    features: int
    classes: int = 3
    hidden: int = 128
    layers: int = 3
    heads: int = 8
    dropout: float = 0.2


PRESETS = {
    "base": {},
    "small": {"hidden": 32, "layers": 1, "heads": 4},
    "small_16": {"hidden": 16, "layers": 1, "heads": 4},
}


class LSTMAttention(nn.Module):
    """Bidirectional LSTM -> attention -> feed-forward -> masked mean and last step -> logits.

    Bidirectional inside a window that ends at the decision: the backward direction reads the window's own
    past.
    """

    HEADS = ("dense", "logits")

    def __init__(self, config: LSTMAttentionConfig):
        super().__init__()
        self.config = config
        d = 2 * config.hidden
        between = config.dropout if config.layers > 1 else 0.0
        self.lstm = nn.LSTM(
            config.features,
            config.hidden,
            config.layers,
            batch_first=True,
            bidirectional=True,
            dropout=between,
        )
        self.attention_norm = nn.LayerNorm(d)
        self.attention = Attention(d, config.heads, config.dropout)
        self.final = nn.LayerNorm(d)
        self.dense = mlp((2 * d, d), config.dropout)
        self.logits = nn.Linear(d, config.classes)

    def steps(self, x: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        """(batch, time, features) -> (batch, time, 2 hidden)."""
        return run_lstm(self.lstm, zero_padding(x, mask), mask)

    def backbone(self, x: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        """(batch, time, features) -> (batch, 4 hidden)."""
        h = self.steps(x, mask)
        h = self.final(h + self.attention(self.attention_norm(h), mask))
        return torch.cat([masked_mean(h, mask), h[:, -1]], -1)

    def forward(self, x: torch.Tensor, mask: torch.Tensor | None = None) -> dict[str, torch.Tensor]:
        """x (batch, time, features) -> logits (batch, classes)."""
        return {"logits": self.logits(self.dense(self.backbone(x, mask)))}

    def attention_weights(self, x: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        """Weight of each step as seen from the decision's step, (batch, time), sums to 1."""
        return self.attention.weights(self.attention_norm(self.steps(x, mask)), mask)[:, -1]
