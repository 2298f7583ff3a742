"""Transformer encoder of the direction design: Sell, Hold or Buy."""

from dataclasses import dataclass

import torch  # noqa: TID253
from torch import nn  # noqa: TID253

from trademl_pipeline.models.layers import Attention, masked_mean, mlp, sinusoids, zero_padding


@dataclass(frozen=True)
class TransformerConfig:
    """Size, the design's values by default (it gives 4 to 6 layers).

    Attributes:
        features: columns of the input.
        classes: logits.
        d_model: width.
        heads: attention heads.
        layers: encoder layers.
        feed_forward: width of the feed-forward part, in multiples of d_model.
        dropout: of every part.
    """

    features: int
    classes: int = 3
    d_model: int = 256
    heads: int = 8
    layers: int = 4
    feed_forward: int = 4
    dropout: float = 0.1


PRESETS = {
    "base": {},
    "deep": {"layers": 6},
    "small": {"d_model": 64, "heads": 4, "layers": 2},
    "small_32": {"d_model": 32, "heads": 4, "layers": 1, "feed_forward": 2},
}


class EncoderLayer(nn.Module):
    """Pre-norm attention and feed-forward, each with a residual."""

    def __init__(self, d_model: int, heads: int, feed_forward: int, dropout: float):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(d_model), nn.LayerNorm(d_model)
        self.attention = Attention(d_model, heads, dropout)
        self.feed_forward = nn.Sequential(
            nn.Linear(d_model, feed_forward * d_model),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Linear(feed_forward * d_model, d_model),
        )
        self.dropout = nn.Dropout(dropout)

    def forward(self, h: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        """(batch, time, d_model) -> the same."""
        h = h + self.dropout(self.attention(self.norm1(h), mask))
        return h + self.dropout(self.feed_forward(self.norm2(h)))


class Encoder(nn.Module):
    """Projection, positions and encoder layers: (batch, time, features) -> (batch, time, d_model)."""

    def __init__(
        self, features: int, d_model: int, heads: int, layers: int, feed_forward: int, dropout: float
    ):
        super().__init__()
        self.project = nn.Linear(features, d_model)
        self.layers = nn.ModuleList(
            EncoderLayer(d_model, heads, feed_forward, dropout) for _ in range(layers)
        )
        self.final = nn.LayerNorm(d_model)

    def forward(self, x: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        """Encoded steps; what stands at padded steps is to be ignored."""
        h = self.project(zero_padding(x, mask))
        h = h + sinusoids(h.shape[1], h.shape[2], h)
        for layer in self.layers:
            h = layer(h, mask)
        return self.final(h)

    def attention_weights(self, x: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        """Weight of each step as seen from the last step in the last layer, (batch, time), sums to 1."""
        h = self.project(zero_padding(x, mask))
        h = h + sinusoids(h.shape[1], h.shape[2], h)
        *lower, last = self.layers
        for layer in lower:
            h = layer(h, mask)
        return last.attention.weights(last.norm1(h), mask)[:, -1]  # pyright: ignore


class Transformer(nn.Module):
    """Encoder -> masked mean and last step -> dense layer -> logits."""

    HEADS = ("dense", "logits")

    def __init__(self, config: TransformerConfig):
        super().__init__()
        self.config = config
        d = config.d_model
        self.encoder = Encoder(
            config.features, d, config.heads, config.layers, config.feed_forward, config.dropout
        )
        self.dense = mlp((2 * d, d), config.dropout)
        self.logits = nn.Linear(d, config.classes)

    def backbone(self, x: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        """(batch, time, features) -> (batch, 2 d_model)."""
        h = self.encoder(x, mask)
        return torch.cat([masked_mean(h, mask), h[:, -1]], -1)

    def forward(self, x: torch.Tensor, mask: torch.Tensor | None = None) -> dict[str, torch.Tensor]:
        """x (batch, time, features) -> logits (batch, classes)."""
        return {"logits": self.logits(self.dense(self.backbone(x, mask)))}

    def attention_weights(self, x: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        """Weight of each step as seen from the decision's step, see `Encoder.attention_weights`."""
        return self.encoder.attention_weights(x, mask)
