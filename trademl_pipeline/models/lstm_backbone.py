"""Shared LSTM backbone of the pattern confidence design.

It predicts if a detected pattern resolves as it should, and has three side tasks.
"""

from dataclasses import dataclass

import torch  # noqa: TID253
import torch.nn.functional as F  # noqa: TID253
from torch import nn  # noqa: TID253

from trademl_pipeline.models.layers import MaskedBatchNorm, run_lstm


@dataclass(frozen=True)
class LSTMBackboneConfig:
    """Size and regularisation, the design's values.

    Attributes:
        features: columns of the input.
        patterns: confidence logits, one per pattern to validate.
        hidden: units of the two LSTMs.
        dense: units of the dense layer.
        dropout: after the first LSTM.
        dense_dropout: after the dense layer.
        recurrent_dropout: on the first LSTM's state, one mask a window (Gal & Ghahramani 2016).
        l2: penalty on the dense layer's weights, added to the loss through :meth:`LSTMBackbone.penalty`.
        regimes: classes of the regime task.
    """

    features: int
    patterns: int = 4
    hidden: tuple[int, int] = (64, 32)
    dense: int = 16
    dropout: float = 0.45
    dense_dropout: float = 0.36
    recurrent_dropout: float = 0.3
    l2: float = 0.006
    regimes: int = 3


PRESETS = {"base": {}, "small": {"hidden": (32, 16)}}


class LSTMBackbone(nn.Module):
    """Normalisation -> LSTM -> normalisation -> LSTM -> normalisation -> dense -> four heads."""

    HEADS = ("dense", "confidence", "signal_quality", "regime", "log_volatility")

    def __init__(self, config: LSTMBackboneConfig):
        super().__init__()
        self.config = config
        first, second = config.hidden
        self.norm_in = MaskedBatchNorm(config.features)
        self.lstm1 = nn.LSTM(config.features, first, batch_first=True)
        self.norm1 = MaskedBatchNorm(first)
        self.dropout = nn.Dropout(config.dropout)
        self.lstm2 = nn.LSTM(first, second, batch_first=True)
        self.norm2 = MaskedBatchNorm(second)
        self.dense = nn.Linear(second, config.dense)
        self.dense_dropout = nn.Dropout(config.dense_dropout)
        self.confidence = nn.Linear(config.dense, config.patterns)
        self.signal_quality = nn.Linear(config.dense, 1)
        self.regime = nn.Linear(config.dense, config.regimes)
        self.log_volatility = nn.Linear(config.dense, 1)

    def backbone(self, x: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        """(batch, time, features) -> (batch, dense), shared by all heads."""
        h = self._recurrent(self.norm_in(x, mask), mask)  # (batch, time, first)
        h = self.dropout(self.norm1(h, mask))
        h = run_lstm(self.lstm2, h, mask)[:, -1]  # (batch, second), at the decision
        h = self.norm2(h.unsqueeze(1)).squeeze(1)
        return self.dense_dropout(F.relu(self.dense(h)))

    def forward(self, x: torch.Tensor, mask: torch.Tensor | None = None) -> dict[str, torch.Tensor]:
        """Return the outputs of the heads, by name.

        Args:
            x: (batch, time, feature).
            mask: (batch, time) bool, true on real steps; None: all are real.

        Returns:
            confidence (batch, patterns) and regime (batch, regimes) logits, signal_quality (batch,) logit,
            log_volatility (batch,).
        """
        h = self.backbone(x, mask)
        return {
            "confidence": self.confidence(h),
            "signal_quality": self.signal_quality(h).squeeze(-1),
            "regime": self.regime(h),
            "log_volatility": self.log_volatility(h).squeeze(-1),
        }

    def penalty(self) -> torch.Tensor:
        """L2 penalty of the dense layer, to be added to the loss."""
        return self.config.l2 * self.dense.weight.square().sum()

    def _recurrent(self, x: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        """The first LSTM. cuDNN and oneDNN have no dropout on the state, so training steps through time."""
        rate = self.config.recurrent_dropout
        if not self.training or rate == 0:
            return run_lstm(self.lstm1, x, mask)
        lstm = self.lstm1
        h = c = x.new_zeros(x.shape[0], lstm.hidden_size)
        drop = F.dropout(torch.ones_like(h), rate)
        keep = None if mask is None else mask.unsqueeze(-1).to(x.dtype)
        weight_in, weight_state, bias_in, bias_state = lstm.all_weights[0]
        inputs = F.linear(x, weight_in, bias_in + bias_state)  # (batch, time, 4 first)
        outputs = []
        for t in range(x.shape[1]):
            i, f, g, o = (inputs[:, t] + F.linear(h * drop, weight_state)).chunk(4, -1)
            c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
            h = torch.sigmoid(o) * torch.tanh(c)
            if keep is not None:
                h, c = h * keep[:, t], c * keep[:, t]
            outputs.append(h)
        return torch.stack(outputs, 1)
