"""Batches of windows for torch, gathered one at a time."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from trademl_pipeline.sequences.index import SequenceInputError

if TYPE_CHECKING:
    import torch

Gather = Callable[[np.ndarray], tuple[np.ndarray, ...]]


@dataclass(frozen=True)
class Batches:
    """Iterates over windows in batches of tensors: (x, mask, ...) as the gather gives them, then the target.

    Only one batch exists at a time. The order of epoch k is a function of (seed, k) alone, so that a run
    can be repeated, or continued at any epoch.

    Attributes:
        gather: from window numbers to arrays, e.g. `PatternWindows.gather`, or `sequences.gather` of a matrix.
        n: number of windows.
        target: (n, ...) array, or None for windows without one.
        batch_size: windows in a batch; the last one may be smaller.
        shuffle: a new order each epoch; without it the windows' own.
        seed: of the order.
        epoch: of the order.
    """

    gather: Gather
    n: int
    target: np.ndarray | None = None
    batch_size: int = 256
    shuffle: bool = False
    seed: int = 7
    epoch: int = 0

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise SequenceInputError(f"batch_size is {self.batch_size}; it must be at least 1")
        if self.target is not None and len(self.target) != self.n:
            raise SequenceInputError(f"{self.n} windows have {len(self.target)} targets; align them first")

    def __len__(self) -> int:
        return -(-self.n // self.batch_size)

    def __iter__(self) -> Iterator[tuple["torch.Tensor", ...]]:
        import torch

        order = np.arange(self.n)
        if self.shuffle:
            order = np.random.default_rng((self.seed, self.epoch)).permutation(self.n)
        for start in range(0, self.n, self.batch_size):
            which = order[start : start + self.batch_size]
            arrays = self.gather(which)
            if self.target is not None:
                arrays = (*arrays, self.target[which])
            yield tuple(torch.from_numpy(np.ascontiguousarray(a)) for a in arrays)
