"""Windows of consolidation observations: every step sees the pattern's boundaries as the observation knew them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from trademl_pipeline.sequences.breakout import PatternWindows, pattern_windows
from trademl_pipeline.sequences.windows import Windows
from trademl_pipeline.training.inner_split import FitError


@dataclass(frozen=True)
class ObservationWindows(Windows):
    """Windows whose pattern features are those of the observation's own pattern.

    Attributes:
        which: (n,) numbers of the pattern observations in `patterns`.
        patterns: all pattern observations, and what their windows need.
    """

    which: np.ndarray | None = None
    patterns: PatternWindows | None = None

    def take(self, which: np.ndarray) -> "ObservationWindows":
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


def observation_windows(
    keys: pl.DataFrame, features: pl.DataFrame, names: Sequence[str], bars: pl.DataFrame, length: int
) -> ObservationWindows:
    """The windows that end at the pattern observations in `keys`.

    Args:
        keys: symbol and session of pattern observations, and what else is to be kept, one row each.
        features: published features of the set `breakout`, keyed, of every session that a window may read.
        names: its feature columns, in order.
        bars: raw bars of the history, from which the patterns' boundaries come.
        length: steps of a window.

    Raises:
        FitError: a key is no observation of an active pattern.
    """
    patterns = pattern_windows(bars, length, features=features.select("symbol", "session", *names))
    numbered = patterns.index.select("symbol", "session", "row", "n_valid").with_row_index("which")
    rows = keys.select("symbol", "session").join(
        numbered, on=["symbol", "session"], how="left", maintain_order="left"
    )
    lost = rows.filter(pl.col("which").is_null())
    if lost.height:
        first = lost.row(0, named=True)
        raise FitError(
            f"{lost.height} of {keys.height} decisions are no observation of an active pattern, e.g. {first['symbol']} "
            f"{first['session']}; materialize the windows of {first['session']:%Y-%m} again"
        )
    return ObservationWindows(
        patterns.features,
        rows["row"].to_numpy(),
        rows["n_valid"].to_numpy(),
        length,
        keys,
        which=rows["which"].to_numpy().astype(np.int64),
        patterns=patterns,
    )
