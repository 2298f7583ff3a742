"""Settings of a training run: learning rate, stopping, augmentation, curriculum. Does not import torch."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Augmentation:
    """Changes made to each window, drawn anew in every epoch.

    Attributes:
        noise: standard deviation of the Gaussian noise, in units of a feature's robust deviation.
        warp: the past runs up to this share faster or slower.
        shortest: window slicing keeps a random share of the real steps, the last ones, at least this; 1: all.
        share: probability that a window is warped, and that it is sliced.
    """

    noise: float = 0.01
    warp: float = 0.2
    shortest: float = 0.7
    share: float = 0.5

    def __post_init__(self) -> None:
        if not (self.noise >= 0 and 0 <= self.warp < 1 and 0 < self.shortest <= 1 and 0 <= self.share <= 1):
            raise ValueError(f"augmentation out of range: {self}")


@dataclass(frozen=True)
class Phase:
    """A stretch of a curriculum: so many epochs with these task weights."""

    epochs: int
    weights: Mapping[str, float]


@dataclass(frozen=True)
class NetworkTrainingConfig:
    """Settings of one training run. The same data, network and config give the same weights.

    Attributes:
        epochs: most epochs.
        batch_size: rows of a batch; a fold with fewer rows is one batch.
        learning_rate, final_learning_rate: from and to.
        schedule: ``cosine`` over all epochs; ``restarts``: cosine over ``restart_epochs``, then again;
            ``plateau``: halved after ``plateau_patience`` epochs without a better score; ``constant``.
        weight_decay: AdamW's, on matrices only (not on biases, norms, and the scan's A and D).
        clip_norm: largest gradient norm.
        patience: epochs without a better score before stopping; 0: never stop early.
        monitor: ``loss`` (lower is better) or a key that the metric function gives (higher is better).
        keep: the weights of the ``best`` epoch by ``monitor``, or those of the ``last``; where the last is kept and
            nothing stops early, the validation rows have no say in the model and may judge it.
        validation_sessions, embargo: the inner split.
        class_balanced: draw rows so that all classes of ``target`` are equally frequent.
        augmentation: None: none.
        curriculum: phases in order, the last one stays; the loss must have ``with_weights``.
        mixed_precision: bfloat16 where the device is a GPU.
        seed: of the order of rows, dropout, augmentation and sampling.
        device: where to train; None: a GPU if there is one.
        threads: CPU threads; None: as torch is set. 1 where several trainings share a machine: threads that
        wait
            for each other on busy cores can cost ten times the work itself.
    """

    epochs: int = 50
    batch_size: int = 64
    learning_rate: float = 1e-3
    final_learning_rate: float = 1e-5
    schedule: Literal["cosine", "restarts", "plateau", "constant"] = "cosine"
    restart_epochs: int = 10
    plateau_patience: int = 5
    weight_decay: float = 1e-4
    clip_norm: float = 1.0
    patience: int = 15
    monitor: str = "loss"
    keep: Literal["best", "last"] = "best"
    validation_sessions: int = 63
    embargo: int = 5
    class_balanced: bool = False
    augmentation: Augmentation | None = None
    curriculum: tuple[Phase, ...] = ()
    mixed_precision: bool = True
    seed: int = 0
    device: str | None = None
    threads: int | None = None

    def __post_init__(self) -> None:
        at_least = {"epochs": 1, "batch_size": 1, "restart_epochs": 1, "plateau_patience": 1, "patience": 0}
        for name, minimum in at_least.items():
            if getattr(self, name) < minimum:
                raise ValueError(f"{name} must be at least {minimum}, got {getattr(self, name)}")
        if self.keep == "last" and (self.patience or self.schedule == "plateau"):
            raise ValueError(
                "keep='last' is for runs that validation rows do not steer: set patience to 0 and another schedule "
                f"than plateau, not patience {self.patience} and {self.schedule!r}"
            )
        if not 0 < self.final_learning_rate <= self.learning_rate:
            raise ValueError(
                "learning rates must obey 0 < final <= first, "
                f"got {self.final_learning_rate} and {self.learning_rate}"
            )
        if self.threads is not None and self.threads < 1:
            raise ValueError(f"threads must be at least 1, got {self.threads}")
        if self.clip_norm <= 0:
            raise ValueError(f"clip_norm must be above 0, got {self.clip_norm}")

    def rate(self, progress: float, halvings: int) -> float:
        """Learning rate after ``progress`` epochs (fractional) and so many halvings of ``plateau``."""
        high, low = self.learning_rate, self.final_learning_rate
        if self.schedule == "plateau":
            return max(low, high * 0.5**halvings)
        if self.schedule == "constant":
            return high
        span = self.epochs if self.schedule == "cosine" else self.restart_epochs
        return low + (high - low) * 0.5 * (1 + math.cos(math.pi * (progress % span) / span))

    def phase(self, epoch: int) -> Mapping[str, float] | None:
        """Task weights of an epoch (from 0); None without a curriculum."""
        for phase in self.curriculum:
            if epoch < phase.epochs:
                return phase.weights
            epoch -= phase.epochs
        return self.curriculum[-1].weights if self.curriculum else None
