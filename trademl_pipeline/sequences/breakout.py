"""Windows of pattern snapshots: all steps of a snapshot's pattern see the boundaries known at the snapshot.

The stored pattern features of a qualifying session are 0, since nobody knew then that a pattern would be
activated. A snapshot knows. So its window takes the core and EBP features from the feature matrix, and the
pattern features from the view of `features.patterns.pattern_view`, from the pattern's first qualifying
session on; earlier steps, and steps of earlier patterns, have pattern features 0 with their bit of the
pattern mask off. All of it was known at the snapshot.
"""

from dataclasses import dataclass

import numpy as np
import polars as pl

from trademl_pipeline.features.consolidation import PATTERN_FEATURES, RULES
from trademl_pipeline.features.patterns import pattern_view, snapshots
from trademl_pipeline.features.prepare import prepare
from trademl_pipeline.features.registry import FEATURE_SETS, evaluate_set
from trademl_pipeline.features.rules import PatternRules
from trademl_pipeline.sequences.index import feature_matrix, gather, window_index

PATTERN_NAMES = tuple(f.name for f in PATTERN_FEATURES)
BASE_NAMES = tuple(n for n in FEATURE_SETS["breakout"] if n not in PATTERN_NAMES)


@dataclass(frozen=True)
class PatternWindows:
    """Windows of snapshots, gathered on demand.

    Attributes:
        index: symbol, session, row, n_valid, window_start, pattern_start (first qualifying session),
            start_row; one row per snapshot.
        base: (rows, 49) float32, core and EBP features of every session.
        view: (rows, 20) float32, pattern features as `pattern_view` gives them.
        length: sessions in a window.
    """

    index: pl.DataFrame
    base: np.ndarray
    view: np.ndarray
    length: int

    def __len__(self) -> int:
        return self.index.height

    def gather(self, which: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The windows of the snapshots numbered `which`.

        Returns:
            x (batch, length, 69) float32 in the order of the set `breakout`, left-padded with 0; mask
            (batch, length) bool, true on sessions that exist; pattern_mask (batch, length) bool, true from
            the pattern's start on.
        """
        row, n_valid, start = (self.index[c].to_numpy()[which] for c in ("row", "n_valid", "start_row"))
        base, mask = gather(self.base, row, n_valid, self.length)
        view, _ = gather(self.view, row, n_valid, self.length)
        pattern_mask = mask & (np.arange(self.length, 0, -1)[None, :] <= (row - start + 1)[:, None])
        view[~pattern_mask] = 0.0
        return np.concatenate([base, view], axis=2), mask, pattern_mask


def pattern_windows(bars: pl.DataFrame, length: int = 50, rules: PatternRules = RULES) -> PatternWindows:
    """All snapshots of all consolidation patterns, with what their windows need.

    Args:
        bars: as for `features.compute`; rows without a usable price are no sessions and are left out.
        length: sessions in a window.
        rules: thresholds of the patterns.
    """
    panel = prepare(bars)
    base = evaluate_set(panel, BASE_NAMES)
    marked = snapshots(panel, rules)
    windows = window_index(panel, length)[marked["row"].to_numpy()]
    index = windows.with_columns(
        panel["session"].gather(marked["start_row"]).alias("pattern_start"), marked["start_row"]
    )
    view = pattern_view(panel, rules)
    return PatternWindows(index, feature_matrix(base), feature_matrix(view), length)
