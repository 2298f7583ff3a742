"""xLSTM after Beck et al. 2024 (arXiv 2405.04517): mLSTM and sLSTM blocks, written from the paper.

mLSTM (section 2.3, appendix A): matrix memory C[t] = f[t] C[t-1] + i[t] v[t] k[t]', no recurrence through the
hidden state, so a window is computed at once in the stabilised parallel form. sLSTM (section 2.2): scalar
memory with exponential gates and memory mixing inside each head; sequential.
"""

import math
from dataclasses import dataclass

import torch  # noqa: TID253
import torch.nn.functional as F  # noqa: TID253
from torch import nn  # noqa: TID253

from trademl_pipeline.models.layers import masked_mean, mlp, zero_padding


@dataclass(frozen=True)
class XLSTMConfig:
    """Size of the stack.

    Attributes:
        features: columns of the input.
        classes: logits.
        d_model: width.
        layers: blocks; "m" or "s" each.
        heads: heads of every block.
        taps: of the causal convolution before the gates.
        dropout: after every block and in the dense layer.
    """

    features: int
    classes: int = 3
    d_model: int = 256
    layers: tuple[str, ...] = ("m", "s")
    heads: int = 4
    taps: int = 4
    dropout: float = 0.1


PRESETS = {"base": {}, "small": {"d_model": 64, "heads": 4}}


def parallel_mlstm(q, k, v, log_input, log_forget) -> torch.Tensor:
    """Compute the stabilised parallel form of the mLSTM (appendix A.3, equations 71 to 77).

    Args:
        q, k, v: (batch, heads, time, d).
        log_input: pre-activation of the exponential input gate, (batch, heads, time); -inf: the step is not
            fed.
        log_forget: log of the forget gate, (batch, heads, time).

    Returns:
        Hidden states before the output gate, (batch, heads, time, d).
    """
    length = q.shape[2]
    total = log_forget.cumsum(-1)
    # weight of step j at step i, on a log scale: forgets after j, plus j's input gate
    reach = total.unsqueeze(-1) - total.unsqueeze(-2) + log_input.unsqueeze(-2)  # (batch, heads, i, j)
    past = torch.ones(length, length, dtype=torch.bool, device=q.device).tril()
    reach = reach.masked_fill(~past, float("-inf"))
    top = reach.amax(-1, keepdim=True)
    top = torch.where(top.isfinite(), top, 0.0)
    scores = q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5 * torch.exp(reach - top)
    scale = torch.maximum(scores.sum(-1, keepdim=True).abs(), torch.exp(-top))
    return scores @ v / scale


class MLSTMBlock(nn.Module):
    """Pre-norm residual block with up-projection around the mLSTM (figure 10 of the paper)."""

    def __init__(self, d_model: int, heads: int, taps: int):
        super().__init__()
        inner = 2 * d_model
        self.heads, self.taps = heads, taps
        self.norm = nn.LayerNorm(d_model)
        self.up = nn.Linear(d_model, 2 * inner)
        self.conv = nn.Conv1d(inner, inner, taps, groups=inner, padding=taps - 1)
        self.qk = nn.Linear(inner, 2 * inner, bias=False)
        self.v = nn.Linear(inner, inner, bias=False)
        self.gates = nn.Linear(inner, 2 * heads)
        self.head_norm = nn.GroupNorm(heads, inner)
        self.skip = nn.Parameter(torch.ones(inner))
        self.down = nn.Linear(inner, d_model)
        nn.init.normal_(self.gates.weight, std=0.02)
        with torch.no_grad():
            self.gates.bias[:heads] = -10.0 + 7.0 * torch.rand(heads)  # input gates start nearly shut
            self.gates.bias[heads:] = torch.linspace(3.0, 6.0, heads)  # forget gates start open

    def forward(self, h: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        """(batch, time, d_model) -> the same."""
        x, gate = self.up(zero_padding(self.norm(h), mask)).chunk(2, -1)
        x = zero_padding(x, mask)  # the projection's bias must not reach the convolution from padded steps
        mixed = F.silu(self.conv(x.transpose(1, 2))[..., : x.shape[1]].transpose(1, 2))
        log_input, forget = self.gates(mixed).transpose(1, 2).chunk(2, 1)  # (batch, heads, time)
        log_forget = F.logsigmoid(forget)
        if mask is not None:
            log_input = log_input.masked_fill(~mask.unsqueeze(1), float("-inf"))
            log_forget = log_forget.masked_fill(~mask.unsqueeze(1), 0.0)
        q, k = self.qk(mixed).chunk(2, -1)
        q, k, v = (t.unflatten(-1, (self.heads, -1)).transpose(1, 2) for t in (q, k, self.v(x)))
        y = parallel_mlstm(q, k, v, log_input, log_forget).transpose(1, 2).flatten(2)  # (batch, time, inner)
        y = self.head_norm(y.flatten(0, 1)).view_as(y) + self.skip * mixed
        return h + self.down(y * F.silu(gate))


class SLSTMBlock(nn.Module):
    """Pre-norm residual sLSTM followed by a gated feed-forward part (figure 9 of the paper)."""

    def __init__(self, d_model: int, heads: int, taps: int):
        super().__init__()
        self.heads, self.taps = heads, taps
        width = d_model // heads
        self.norm = nn.LayerNorm(d_model)
        self.conv = nn.Conv1d(d_model, d_model, taps, groups=d_model, padding=taps - 1)
        self.from_conv = nn.Linear(d_model, 2 * d_model)  # input and forget gates
        self.from_input = nn.Linear(d_model, 2 * d_model)  # cell input and output gate
        self.mixing = nn.Parameter(torch.randn(heads, width, 4 * width) / math.sqrt(width) * 0.3)
        self.head_norm = nn.GroupNorm(heads, d_model)
        hidden = math.ceil(d_model * 4 / 3 / 8) * 8
        self.feed_norm = nn.LayerNorm(d_model)
        self.feed_up = nn.Linear(d_model, 2 * hidden)
        self.feed_down = nn.Linear(hidden, d_model)
        with torch.no_grad():
            self.from_conv.bias[d_model:] = torch.linspace(3.0, 6.0, d_model)

    def forward(self, h: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        """(batch, time, d_model) -> the same."""
        x = zero_padding(self.norm(h), mask)
        mixed = F.silu(self.conv(x.transpose(1, 2))[..., : x.shape[1]].transpose(1, 2))
        gates = torch.cat([self.from_conv(mixed), self.from_input(x)], -1)  # i, f, z, o
        # (time, batch, heads, 4, width)
        gates = gates.unflatten(-1, (4, self.heads, -1)).permute(1, 0, 3, 2, 4)
        y = self._scan(gates, mask)  # (batch, time, d_model)
        h = h + self.head_norm(y.flatten(0, 1)).view_as(y)
        up, gate = self.feed_up(self.feed_norm(h)).chunk(2, -1)
        return h + self.feed_down(F.gelu(gate) * up)

    def _scan(self, gates: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        _, batch, heads, _, width = gates.shape
        state = gates.new_zeros(batch, heads, width)
        hidden, cell, norm, top = state, state, state, state
        keep = None if mask is None else mask.to(gates.dtype)[:, :, None, None].unbind(1)
        outputs = []
        for t, at_t in enumerate(gates.unbind(0)):
            # memory mixing: each head's own hidden state feeds its four gates
            fed_back = torch.einsum("bhw,hwg->bhg", hidden, self.mixing).unflatten(-1, (4, width))
            log_input, forget, value, out = (at_t + fed_back).unbind(2)
            log_forget = F.logsigmoid(forget)
            new_top = torch.maximum(log_forget + top, log_input)  # equation 15, the stabiliser
            i, f = torch.exp(log_input - new_top), torch.exp(log_forget + top - new_top)
            cell = f * cell + i * torch.tanh(value)
            norm = f * norm + i
            hidden = torch.sigmoid(out) * cell / norm.clamp(min=1e-6)
            top = new_top
            if keep is not None:
                hidden, cell, norm, top = (s * keep[t] for s in (hidden, cell, norm, top))
            outputs.append(hidden)
        return torch.stack(outputs, 1).flatten(2)


class XLSTMBody(nn.Module):
    """Projection and blocks: (batch, time, features) -> (batch, time, d_model)."""

    def __init__(
        self, features: int, d_model: int, layers: tuple[str, ...], heads: int, taps: int, dropout: float
    ):
        super().__init__()
        kinds = {"m": MLSTMBlock, "s": SLSTMBlock}
        if unknown := set(layers) - set(kinds):
            raise ValueError(f"unknown xLSTM blocks {sorted(unknown)}; each layer is 'm' or 's'")
        self.project = nn.Linear(features, d_model)
        self.blocks = nn.ModuleList(kinds[kind](d_model, heads, taps) for kind in layers)
        self.dropout = nn.Dropout(dropout)
        self.final = nn.LayerNorm(d_model)

    def forward(self, x: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        """Encoded steps; what stands at padded steps is to be ignored."""
        h = self.project(zero_padding(x, mask))
        for block in self.blocks:
            h = self.dropout(block(h, mask))
        return self.final(h)


class XLSTM(nn.Module):
    """Blocks -> masked mean and last step -> dense layer -> logits."""

    HEADS = ("dense", "logits")

    def __init__(self, config: XLSTMConfig):
        super().__init__()
        self.config = config
        d = config.d_model
        self.body = XLSTMBody(config.features, d, config.layers, config.heads, config.taps, config.dropout)
        self.dense = mlp((2 * d, d), config.dropout)
        self.logits = nn.Linear(d, config.classes)

    def backbone(self, x: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        """(batch, time, features) -> (batch, 2 d_model)."""
        h = self.body(x, mask)
        return torch.cat([masked_mean(h, mask), h[:, -1]], -1)

    def forward(self, x: torch.Tensor, mask: torch.Tensor | None = None) -> dict[str, torch.Tensor]:
        """x (batch, time, features) -> logits (batch, classes)."""
        return {"logits": self.logits(self.dense(self.backbone(x, mask)))}
