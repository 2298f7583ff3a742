"""Adapting a trained network: to one symbol by fine-tuning, to the latest outcomes by small online steps.

In both the backbone and the scaling stay as they are; only the heads move.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date

import numpy as np
import polars as pl
import torch  # noqa: TID253
from torch import nn  # noqa: TID253

from trademl_pipeline.models.prepared import Prepared
from trademl_pipeline.models.registry import head_names
from trademl_pipeline.sequences.windows import Windows
from trademl_pipeline.training.inner_split import FitError
from trademl_pipeline.training.ledger import FitLedger
from trademl_pipeline.training.networks.loop import FittedNetwork, Metric, fit_network
from trademl_pipeline.training.networks.predict import tensors
from trademl_pipeline.training.networks.schedule import NetworkTrainingConfig


def freeze_backbone(network: nn.Module) -> list[str]:
    """Stop the gradients of everything but the heads; returns the names of what still learns."""
    heads = head_names(network)
    for name, p in network.named_parameters():
        p.requires_grad_(name.split(".")[0] in heads)
    return [name for name, p in network.named_parameters() if p.requires_grad]


def fine_tune(
    base: FittedNetwork,
    windows: Windows,
    loss: nn.Module | Callable[[Windows], nn.Module],
    config: NetworkTrainingConfig,
    *,
    ledger: FitLedger,
    metric: Metric | None = None,
) -> FittedNetwork:
    """A copy of the base whose heads are trained on these rows, such as one symbol's.

    The scaling is the base's. The base itself is a candidate: where no epoch beats it on the inner validation
    rows, its weights come back (``best_epoch`` -1).

    Args:
        base: trained on all symbols.
        windows, loss, config, ledger, metric: as for ``fit_network``.
    """
    network = copy.deepcopy(base.model.network)
    freeze_backbone(network)
    fine_tuned = fit_network(
        network, windows, loss, config, ledger=ledger, metric=metric, scaling=base.scaling, keep_start=True
    )
    for p in fine_tuned.model.parameters():
        p.requires_grad_(True)
    return fine_tuned


@dataclass(frozen=True)
class OnlineConfig:
    """How online steps are taken.

    Attributes:
        learning_rate: of plain gradient steps.
        steps: gradient steps an update.
        anchor: pull back to the base's weights, per step.
        replay: rows kept and mixed into later updates.
        batch_size: most rows of a step, half of them new where there are enough old ones.
        clip_norm: largest gradient norm.
        seed: of the replay draws.
    """

    learning_rate: float = 1e-3
    steps: int = 4
    anchor: float = 0.05
    replay: int = 512
    batch_size: int = 64
    clip_norm: float = 1.0
    seed: int = 0


class OnlineUpdate:
    """Keeps a model's heads learning from outcomes as they become known; the base model is left as it is."""

    def __init__(self, base: Prepared, loss: nn.Module, config: OnlineConfig):
        self.model, self.loss, self.config = copy.deepcopy(base), loss, config
        freeze_backbone(self.model.network)
        self.model.eval()  # no dropout, and no batch statistic of a handful of rows
        self._heads = [p for p in self.model.network.parameters() if p.requires_grad]
        self._base = [p.detach().clone() for p in self._heads]
        self._memory: Windows | None = None
        self.updates = 0

    def update(self, rows: Windows, as_of: date) -> float:
        """Learn from rows whose outcome is known before ``as_of``; returns the mean loss before the steps.

        Args:
            rows: new rows over the same matrix as earlier ones, with label_end among the keys.
            as_of: the session that decides next.

        Raises:
            FitError: no rows, or a label that ends on or after ``as_of``.
        """
        if len(rows) == 0:
            raise FitError("an online update needs at least one row")
        late = rows.keys.filter(pl.col("label_end") >= as_of)
        if late.height:
            first = late.row(0, named=True)
            raise FitError(
                f"{late.height} labels are not known before {as_of}, e.g. {first['symbol']} {first['session']} "
                f"whose label ends {first['label_end']}"
            )
        rng = np.random.default_rng((self.config.seed, self.updates))
        before = float(self._loss(rows, np.arange(len(rows))).detach())
        for _ in range(self.config.steps):
            value = self._mixed_loss(rows, rng)
            grads = torch.autograd.grad(value, self._heads, allow_unused=True)
            norm = torch.sqrt(sum((g.square().sum() for g in grads if g is not None), torch.zeros(())))
            shrink = min(1.0, self.config.clip_norm / max(float(norm), 1e-12))
            with torch.no_grad():
                for p, g, start in zip(self._heads, grads, self._base, strict=True):
                    if g is not None:
                        p -= self.config.learning_rate * shrink * g
                    p -= self.config.anchor * (p - start)
        self._remember(rows)
        self.updates += 1
        return before

    def _mixed_loss(self, rows: Windows, rng: np.random.Generator) -> torch.Tensor:
        size = self.config.batch_size
        n_replayed = 0 if self._memory is None else min(len(self._memory), size // 2)
        fresh = rng.permutation(len(rows))[: size - n_replayed]
        value = self._loss(rows, fresh)
        if self._memory is None or n_replayed == 0:
            return value
        replayed = self._loss(self._memory, rng.permutation(len(self._memory))[:n_replayed])
        return (len(fresh) * value + n_replayed * replayed) / (len(fresh) + n_replayed)

    def _loss(self, rows: Windows, position: np.ndarray) -> torch.Tensor:
        x, mask, inputs, targets = tensors(rows, position, self.model.centre.device)
        return self.loss(self.model(x, mask, **inputs), targets)

    def _remember(self, rows: Windows) -> None:
        if self._memory is None:
            joined = rows
        else:
            memory = self._memory
            joined = replace(
                rows,
                row=np.concatenate([memory.row, rows.row]),
                n_valid=np.concatenate([memory.n_valid, rows.n_valid]),
                keys=pl.concat([memory.keys, rows.keys]),
                targets={k: np.concatenate([memory.targets[k], v]) for k, v in rows.targets.items()},
                inputs={k: np.concatenate([memory.inputs[k], v]) for k, v in rows.inputs.items()},
            )
        keep = np.arange(max(0, len(joined) - self.config.replay), len(joined))
        self._memory = joined.take(keep)
