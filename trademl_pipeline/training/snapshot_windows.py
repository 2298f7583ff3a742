"""Windows of consolidation snapshots: every step sees the pattern's boundaries as the snapshot knew them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from trademl_pipeline.sequences.breakout import PatternWindows, pattern_windows
from trademl_pipeline.sequences.windows import Windows
from trademl_pipeline.training.inner_split import FitError


@dataclass(frozen=True)
class SnapshotWindows(Windows):
    """Windows whose pattern features are those of the snapshot's own pattern.

    Attributes:
        which: (n,) numbers of the snapshots in `patterns`.
        patterns: all snapshots, and what their windows need.
    """

    which: np.ndarray | None = None
    patterns: PatternWindows | None = None

    def take(self, which: np.ndarray) -> "SnapshotWindows":
        """See `Windows.take`."""
        position = np.flatnonzero(which) if which.dtype == bool else which
        taken = super().take(position)
        assert self.which is not None
        return replace(taken, which=self.which[position])  # pyright: ignore[reportReturnType]

    def batch(self, position: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """See `Windows.batch`."""
        assert self.patterns is not None
        assert self.which is not None
        x, mask, _ = self.patterns.gather(self.which[position])
        return x, mask


def snapshot_windows(
    keys: pl.DataFrame, features: pl.DataFrame, names: Sequence[str], bars: pl.DataFrame, length: int
) -> SnapshotWindows:
    """The windows that end at the snapshots in `keys`.

    Args:
        keys: symbol and session of snapshots, and what else is to be kept, one row each.
        features: published features of the set `breakout`, keyed, of every session that a window may read.
        names: its feature columns, in order.
        bars: raw bars of the history, from which the patterns' boundaries come.
        length: steps of a window.

    Raises:
        FitError: a key is no snapshot of an active pattern.
    """
    patterns = pattern_windows(bars, length, features=features.select("symbol", "session", *names))
    numbered = patterns.index.select("symbol", "session", "row", "n_valid").with_row_index("which")
    found = keys.select("symbol", "session").join(
        numbered, on=["symbol", "session"], how="left", maintain_order="left"
    )
    lost = found.filter(pl.col("which").is_null())
    if lost.height:
        first = lost.row(0, named=True)
        raise FitError(
            f"{lost.height} of {keys.height} decisions are no snapshot of an active pattern, e.g. {first['symbol']} "
            f"{first['session']}; materialize the windows of {first['session']:%Y-%m} again"
        )
    return SnapshotWindows(
        patterns.features,
        found["row"].to_numpy(),
        found["n_valid"].to_numpy(),
        length,
        keys,
        which=found["which"].to_numpy().astype(np.int64),
        patterns=patterns,
    )
