"""The training loop of every network: inner split, epochs, early stopping, checkpoints.

Reproducible: all randomness of an epoch is drawn from (seed, epoch), so a run that was killed and resumed
ends in the same weights, bit for bit, as one that was not. On a GPU that holds as far as its kernels are
deterministic.
"""

import hashlib
import os
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch  # noqa: TID253
from torch import nn  # noqa: TID253

from trademl_pipeline.models.prepared import Prepared
from trademl_pipeline.sequences.windows import Windows
from trademl_pipeline.training.inner_split import FitError, inner_split
from trademl_pipeline.training.ledger import FitLedger
from trademl_pipeline.training.networks.augment import augment
from trademl_pipeline.training.networks.predict import PREDICT_BATCH, Outputs, predict, tensors
from trademl_pipeline.training.networks.schedule import NetworkTrainingConfig
from trademl_pipeline.training.scaling import RobustScaling, fit_robust_scaling

Metric = Callable[[Outputs, Windows], Mapping[str, float]]


@dataclass(frozen=True)
class FittedNetwork:
    """A trained network with its scaling.

    Attributes:
        model: raw features to outputs, in evaluation mode, on the CPU.
        history: one entry an epoch: learning rate, losses, metrics, rows a second.
        best_epoch: whose weights these are, from 0; -1: those it started with.
        scaling: the fitted scaling, also inside ``model``.
        rows: training rows of the inner split.
    """

    model: Prepared
    history: tuple[dict[str, float], ...]
    best_epoch: int
    scaling: RobustScaling
    rows: int

    def predict(self, windows: Windows, batch_size: int = PREDICT_BATCH) -> Outputs:
        """Outputs by name, (n, …) each; the order of the windows is kept."""
        return predict(self.model, windows, batch_size)


def fit_network(
    network: nn.Module,
    windows: Windows,
    loss: nn.Module | Callable[[Windows], nn.Module],
    config: NetworkTrainingConfig,
    *,
    ledger: FitLedger,
    metric: Metric | None = None,
    checkpoint: Path | None = None,
    progress: Callable[[dict[str, float]], None] | None = None,
    scaling: RobustScaling | None = None,
    keep_start: bool = False,
) -> FittedNetwork:
    """Train on one fold's rows and keep the epoch that scores best on the inner validation rows.

    Args:
        network: fresh, from ``models.registry.build``; trained in place.
        windows: the fold's training rows with their targets; keys need symbol, session and label_end.
        loss: module of (outputs, targets), or a function that makes one from the inner training rows.
        config: settings.
        ledger: records the scaling, the loss, the choice of the epoch and the model.
        metric: figures of validation outputs, for ``config.monitor`` and the history.
        checkpoint: file to keep the state in after each epoch; where it exists the run goes on from it.
        progress: called after each epoch with its history entry.
        scaling: of an earlier fit, to go on with; None: fitted here.
        keep_start: the weights at the start compete with those after each epoch.

    Raises:
        FitError: no rows, an inner side without rows, a single class, infinite features, nothing that varies,
            a checkpoint of another run, or a loss that is no longer finite.
    """
    if len(windows) == 0:
        raise FitError("the fold has no training rows; give more history, or check the labels and the purge")
    split = inner_split(windows.keys, validation_sessions=config.validation_sessions, embargo=config.embargo)
    train, validation = windows.take(split.train), windows.take(split.validation)
    _check_classes(train)
    if scaling is None:
        fit_scaling = lambda _: fit_robust_scaling(train.matrix[train.rows_read()])  # noqa: E731
        scaling = ledger.fit("scaler", train.keys, fit_scaling, kind="scaler")
    if not isinstance(loss, nn.Module):
        make_loss = loss
        loss = ledger.fit("loss", train.keys, lambda _: make_loss(train), kind="class_weights")
    run = _Run(network, scaling, train, validation, loss, config, metric, checkpoint, keep_start)
    chosen = windows.keys.filter(split.train | split.validation)
    fitted = ledger.fit("early_stopping", chosen, lambda _: run.finish(progress), kind="early_stopping")
    return ledger.fit("model", train.keys, lambda _: fitted, kind="model")


def _check_classes(train: Windows) -> None:
    target = train.targets.get("target")
    if target is None:
        return
    classes = np.unique(target[target >= 0])
    if len(classes) < 2:
        problem = f"all rows are of class {int(classes[0])}" if len(classes) else "no row has a class"
        raise FitError(
            f"{problem} among {len(train)} inner training rows; a classifier needs two classes, "
            "so widen the training window or check the labels"
        )


@dataclass
class _Run:
    """State of one training run, all of it in the checkpoint."""

    network: nn.Module
    scaling: RobustScaling
    train: Windows
    validation: Windows
    loss: nn.Module
    config: NetworkTrainingConfig
    metric: Metric | None
    checkpoint: Path | None
    keep_start: bool = False
    epoch: int = 0
    best: float = -float("inf")
    best_epoch: int = -1
    halvings: int = 0
    best_state: dict[str, torch.Tensor] = field(default_factory=dict)
    history: list[dict[str, float]] = field(default_factory=list)

    def __post_init__(self) -> None:
        name = self.config.device or ("cuda" if torch.cuda.is_available() else "cpu")
        self.device = torch.device(name)
        self.model = Prepared(self.network, self.scaling.centre, self.scaling.scale).to(self.device)
        self.loss.to(self.device)
        decay, plain = [], []
        for p in [*self.model.parameters(), *self.loss.parameters()]:
            if p.requires_grad:
                matrix = p.dim() >= 2 and not getattr(p, "_no_weight_decay", False)
                (decay if matrix else plain).append(p)
        groups = [
            {"params": decay, "weight_decay": self.config.weight_decay},
            {"params": plain, "weight_decay": 0.0},
        ]
        self.optimizer = torch.optim.AdamW([g for g in groups if g["params"]], lr=self.config.learning_rate)

    def finish(self, progress: Callable[[dict[str, float]], None] | None) -> FittedNetwork:
        """Train from where the checkpoint is, or from the start, to the end."""
        before = torch.get_num_threads()
        torch.set_num_threads(self.config.threads or before)
        try:
            return self._finish(progress)
        finally:
            torch.set_num_threads(before)

    def _finish(self, progress: Callable[[dict[str, float]], None] | None) -> FittedNetwork:
        if self.checkpoint is not None and self.checkpoint.exists():
            self._load()
        elif self.keep_start:
            self._judge(self._validate(), epoch=-1)
        devices = [self.device] if self.device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices):
            while self.epoch < self.config.epochs and not self._out_of_patience():
                record = self._one_epoch()
                self.history.append(record)
                self._judge(record, self.epoch)
                self.epoch += 1
                if self.checkpoint is not None:
                    self._save()
                if progress is not None:
                    progress(record)
        self.model.load_state_dict(self.best_state)
        self.model.eval().cpu()
        return FittedNetwork(self.model, tuple(self.history), self.best_epoch, self.scaling, len(self.train))

    def _out_of_patience(self) -> bool:
        return 0 < self.config.patience <= self.epoch - 1 - self.best_epoch and self.epoch > 0

    def _one_epoch(self) -> dict[str, float]:
        config, n = self.config, len(self.train)
        torch.manual_seed(int(np.random.SeedSequence((config.seed, self.epoch)).generate_state(1)[0]))
        rng = np.random.default_rng((config.seed, self.epoch))
        order = self._order(rng)
        self._weigh(config.phase(self.epoch))
        self.model.train()
        for module in self.model.modules():
            parameters = list(module.parameters())
            if parameters and not any(p.requires_grad for p in parameters):
                module.eval()  # frozen parts keep their batch statistics
        batches = -(-n // config.batch_size)
        total, rate, start = torch.zeros((), device=self.device), config.learning_rate, time.perf_counter()
        # batches of nearly equal size, so that no last batch of one row upsets a batch statistic
        for step, position in enumerate(np.array_split(order, batches)):
            rate = config.rate(self.epoch + step / batches, self.halvings)
            for group in self.optimizer.param_groups:
                group["lr"] = rate
            x, mask, inputs, targets = tensors(self.train, position, self.device)
            x = self.model.prepare(x, mask)
            if config.augmentation is not None:
                x, mask = augment(x, mask, config.augmentation, rng)
            with self._precision():
                outputs = self.model.network(x, mask, **inputs)
                value = self.loss({k: v.float() for k, v in outputs.items()}, targets)
                if hasattr(self.network, "penalty"):
                    value = value + self.network.penalty()  # pyright: ignore
            self.optimizer.zero_grad(set_to_none=True)
            value.backward()
            nn.utils.clip_grad_norm_([*self.model.parameters(), *self.loss.parameters()], config.clip_norm)
            self.optimizer.step()
            total += value.detach() * len(position)
        trained = float(total / n)
        if not np.isfinite(trained):
            raise FitError(
                f"the training loss is {trained} in epoch {self.epoch}; lower the learning rate "
                "or check the targets"
            )
        seconds = time.perf_counter() - start
        record = {"epoch": self.epoch, "learning_rate": rate, "train_loss": trained}
        return record | self._validate() | {"rows_per_second": n / seconds}

    def _order(self, rng: np.random.Generator) -> np.ndarray:
        n = len(self.train)
        if not self.config.class_balanced:
            return rng.permutation(n)
        if "target" not in self.train.targets:
            raise FitError("class_balanced needs a target named 'target'")
        target = self.train.targets["target"]
        classes, index, counts = np.unique(target, return_inverse=True, return_counts=True)
        share = np.where(classes >= 0, 1 / counts, 0.0)[index]
        return rng.choice(n, n, p=share / share.sum())

    def _weigh(self, weights: Mapping[str, float] | None) -> None:
        if weights is not None:
            if not hasattr(self.loss, "with_weights"):
                raise FitError(f"{type(self.loss).__name__} has no task weights for a curriculum to change")
            self.loss.with_weights(weights)  # pyright: ignore

    def _validate(self) -> dict[str, float]:
        # judged by the last phase's weights throughout, so that epochs of all phases compare
        self._weigh(self.config.phase(self.config.epochs))
        outputs = predict(self.model, self.validation)
        position = np.arange(len(self.validation))
        targets = {k: torch.as_tensor(v[position]) for k, v in self.validation.targets.items()}
        with torch.no_grad():
            # in float64 and on the CPU: one figure for all devices and batch sizes
            loss = self.loss.cpu()
            value = float(loss({k: torch.from_numpy(v).double() for k, v in outputs.items()}, targets))
            self.loss.to(self.device)
        figures = self.metric(outputs, self.validation) if self.metric is not None else {}
        return {"validation_loss": value} | {k: float(v) for k, v in figures.items()}

    def _judge(self, record: dict[str, float], epoch: int) -> None:
        monitor = self.config.monitor
        if monitor != "loss" and monitor not in record:
            known = ", ".join(k for k in record if k not in ("epoch", "learning_rate", "rows_per_second"))
            raise FitError(f"monitor {monitor!r} is not among the figures of an epoch: loss, {known}")
        score = -record["validation_loss"] if monitor == "loss" else record[monitor]
        if score > self.best or not self.best_state or self.config.keep == "last":
            self.best, self.best_epoch = score if np.isfinite(score) else -float("inf"), epoch
            self.best_state = {k: v.detach().cpu().clone() for k, v in self.model.state_dict().items()}
        elif (epoch - self.best_epoch) % self.config.plateau_patience == 0:
            self.halvings += 1

    def _precision(self):
        if self.device.type == "cuda" and self.config.mixed_precision:
            return torch.autocast("cuda", dtype=torch.bfloat16)
        return nullcontext()

    def _fingerprint(self) -> str:
        """Identifies config, network and rows, so that no checkpoint of another run is taken up."""
        digest = hashlib.sha256(repr((self.config, str(self.network), str(self.loss))).encode())
        for part in (self.train, self.validation):
            digest.update(np.ascontiguousarray(part.matrix[part.rows_read()]).tobytes())
            digest.update(part.row.tobytes() + part.n_valid.tobytes())
            for name in sorted(part.targets):
                digest.update(name.encode() + np.ascontiguousarray(part.targets[name]).tobytes())
        return digest.hexdigest()

    _STATE = ("epoch", "best", "best_epoch", "halvings", "best_state", "history")

    def _save(self) -> None:
        assert self.checkpoint is not None
        state: dict[str, Any] = {name: getattr(self, name) for name in self._STATE}
        state |= {"run": self._fingerprint(), "model": self.model.state_dict()}
        state |= {"loss": self.loss.state_dict(), "optimizer": self.optimizer.state_dict()}
        self.checkpoint.parent.mkdir(parents=True, exist_ok=True)
        unfinished = self.checkpoint.with_suffix(".unfinished")
        torch.save(state, unfinished)
        os.replace(unfinished, self.checkpoint)  # a kill leaves the old file or the new one, never a part

    def _load(self) -> None:
        state = torch.load(self.checkpoint, map_location=self.device, weights_only=True)  # pyright: ignore
        if state["run"] != self._fingerprint():
            raise FitError(
                f"{self.checkpoint} is the checkpoint of another run (other rows, network or settings); "
                "delete it or name another file"
            )
        for name in self._STATE:
            setattr(self, name, state[name])
        self.model.load_state_dict(state["model"])
        self.loss.load_state_dict(state["loss"])
        self.optimizer.load_state_dict(state["optimizer"])
