"""Pieces that several networks share. Windows are left-padded: ``mask`` (batch, time) is True on real steps.

What every network here keeps: padded steps do not reach the outputs, and neither do other rows of the batch.
A window without a single real step gives a finite, constant output; callers refuse such rows before.
"""

from itertools import pairwise

import torch  # noqa: TID253
import torch.nn.functional as F  # noqa: TID253
from torch import nn  # noqa: TID253
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence  # noqa: TID253


def masked_mean(h: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
    """Mean over the real steps: (batch, time, d) -> (batch, d)."""
    if mask is None:
        return h.mean(1)
    keep = mask.unsqueeze(-1).to(h.dtype)
    return (h * keep).sum(1) / keep.sum(1).clamp(min=1)


def zero_padding(h: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
    """h with padded steps set to 0; whatever stood there, NaN included, is gone."""
    return h if mask is None else h.masked_fill(~mask.unsqueeze(-1), 0)


class Attention(nn.Module):
    """Multi-head self-attention over the real steps of a window (Vaswani et al. 2017).

    Not causal between steps: the window ends at the decision, so all of it is past.
    """

    def __init__(self, d_model: int, heads: int, dropout: float = 0.0):
        super().__init__()
        if d_model % heads:
            raise ValueError(f"d_model={d_model} is not a multiple of heads={heads}")
        self.heads, self.dropout = heads, dropout
        self.qkv = nn.Linear(d_model, 3 * d_model)
        self.out = nn.Linear(d_model, d_model)

    def forward(self, h: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        """(batch, time, d) -> (batch, time, d)."""
        q, k, v = self._split(h)  # each (batch, heads, time, d / heads)
        dropout = self.dropout if self.training else 0.0
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=_keys(mask), dropout_p=dropout)
        return self.out(y.transpose(1, 2).flatten(2))

    def weights(self, h: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        """Attention weights averaged over heads, (batch, time of query, time of key), rows summing to 1."""
        q, k, _ = self._split(h)
        scores = q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5
        if mask is not None:
            scores = scores.masked_fill(~_keys(mask), float("-inf"))  # pyright: ignore
        return scores.softmax(-1).mean(1)

    def _split(self, h: torch.Tensor):
        qkv = self.qkv(h).unflatten(-1, (3, self.heads, -1))
        return qkv.permute(2, 0, 3, 1, 4).unbind(0)


def _keys(mask: torch.Tensor | None):
    """(batch, 1, 1, time), True where a key may be looked at; a window of padding only may look anywhere."""
    if mask is None:
        return None
    return (mask | ~mask.any(1, keepdim=True))[:, None, None, :]


def run_lstm(lstm: nn.LSTM, x: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
    """Outputs of an LSTM whose state starts at the first real step; padded steps give 0.

    (batch, time, features) -> (batch, time, directions * hidden).
    """
    if mask is None or bool(mask.all()):
        return lstm(x)[0]
    length = x.shape[1]
    counts = mask.sum(1)
    steps = torch.arange(length, device=x.device)
    # left padding -> right padding, which is what packing wants
    to_left = (steps + (length - counts)[:, None]) % length
    moved = x.gather(1, to_left.unsqueeze(-1).expand_as(x))
    packed = pack_padded_sequence(moved, counts.clamp(min=1).cpu(), batch_first=True, enforce_sorted=False)
    out, _ = pad_packed_sequence(lstm(packed)[0], batch_first=True, total_length=length)
    to_right = (steps - (length - counts)[:, None]) % length
    out = out.gather(1, to_right.unsqueeze(-1).expand_as(out))
    return zero_padding(out, mask)


class MaskedBatchNorm(nn.Module):
    """Batch normalisation over the real steps only, (batch, time, d) -> the same, padded steps 0.

    In training a batch needs more than one real step; in evaluation the running statistics are used, so no
    row of a batch touches another.
    """

    def __init__(self, width: int):
        super().__init__()
        self.norm = nn.BatchNorm1d(width)

    def forward(self, h: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        """Normalise; a single training step falls back on the running statistics."""
        if mask is None:
            return self._normalise(h.flatten(0, 1)).view_as(h)
        out = torch.zeros_like(h)
        out[mask] = self._normalise(h[mask])
        return out

    def _normalise(self, rows: torch.Tensor) -> torch.Tensor:
        if self.training and len(rows) < 2:
            norm = self.norm
            return F.batch_norm(rows, norm.running_mean, norm.running_var, norm.weight, norm.bias)
        return self.norm(rows)


def mlp(sizes: tuple[int, ...], dropout: float) -> nn.Sequential:
    """Linear, LayerNorm, GELU, dropout for each step of ``sizes``."""
    layers: list[nn.Module] = []
    for wide, narrow in pairwise(sizes):
        layers += [nn.Linear(wide, narrow), nn.LayerNorm(narrow), nn.GELU(), nn.Dropout(dropout)]
    return nn.Sequential(*layers)


def return_units(horizons: tuple[int, ...], session_volatility: float) -> torch.Tensor:
    """Typical deviation of the return over each horizon (a random walk's), the unit of a return head.

    A head in raw units starts with outputs a hundred times too large and spends its first epochs unlearning
    them.
    """
    return session_volatility * torch.tensor(horizons, dtype=torch.float32).sqrt()


def sinusoids(length: int, d_model: int, like: torch.Tensor) -> torch.Tensor:
    """Sinusoidal positions (length, d_model), counted back from the decision, so padding moves nothing."""
    back = torch.arange(length - 1, -1, -1, device=like.device, dtype=like.dtype)[:, None]
    rates = torch.exp(
        torch.arange(0, d_model, 2, device=like.device, dtype=like.dtype) * (-9.210340 / d_model)
    )
    table = like.new_zeros(length, d_model)
    table[:, 0::2] = torch.sin(back * rates)
    table[:, 1::2] = torch.cos(back * rates)[:, : d_model // 2]
    return table
