"""Windows of pattern observations: all steps of an observation's pattern see the boundaries known at the observation.

The pattern features of a qualifying session are 0 in the feature matrix, since nobody knew then that a pattern
would be activated, or they are those of an older pattern. An observation knows. So its window takes them from
`features.patterns.pattern_view` between the pattern's start and its activation; earlier steps have pattern
features 0, with their bit of the pattern mask off. All of it was known at the observation.
"""

from dataclasses import dataclass

import numpy as np
import polars as pl

from trademl_pipeline.features.consolidation import PATTERN_FEATURES, RULES
from trademl_pipeline.features.engine import evaluate
from trademl_pipeline.features.patterns import BOUNDARIES, active_rows, pattern_view, with_rules
from trademl_pipeline.features.prepare import prepare
from trademl_pipeline.features.registry import FEATURE_SETS
from trademl_pipeline.features.rules import PatternRules
from trademl_pipeline.sequences.index import KEY, feature_matrix, gather, window_index

# Steps of the view that do not depend on hindsight: computed once.
SHARED = (
    "bbw_20",
    "bbw_percentile_100",
    "adx_14",
    "volume_ratio_20",
    "range_ratio_20",
    "volatility_20",
    "range_10",
    "channel_high",
    "channel_low",
    "pattern_qualifies",
)
FIRST_PATTERN = len(FEATURE_SETS["breakout"]) - len(PATTERN_FEATURES)


@dataclass(frozen=True)
class PatternWindows:
    """Windows of pattern observations, gathered on demand.

    Attributes:
        index: symbol, session, row, n_valid, window_start, pattern_start (first qualifying session), start_row,
            activation_row; one row per observation.
        features: (rows, 69) float32, the set `breakout` of every session.
        view: (rows, 20) float32, pattern features as `pattern_view` gives them.
        length: sessions in a window.
    """

    index: pl.DataFrame
    features: np.ndarray
    view: np.ndarray
    length: int

    def __len__(self) -> int:
        return self.index.height

    def gather(self, which: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The windows of the pattern observations numbered `which`.

        Returns:
            x (batch, length, 69) float32 in the order of the set `breakout`, left-padded with 0; mask
            (batch, length) bool, true on sessions that exist; pattern_mask (batch, length) bool, true from
            the pattern's start on.
        """
        row, n_valid = self.index["row"].to_numpy()[which], self.index["n_valid"].to_numpy()[which]
        start, activation = (self.index[c].to_numpy()[which] for c in ("start_row", "activation_row"))
        x, mask = gather(self.features, row, n_valid, self.length)
        step = row[:, None] - np.arange(self.length - 1, -1, -1)[None, :]
        pattern_mask = mask & (step >= start[:, None])
        x[:, :, FIRST_PATTERN:][~pattern_mask] = 0.0
        qualifying = pattern_mask & (step < activation[:, None])
        x[:, :, FIRST_PATTERN:][qualifying] = self.view[step[qualifying]]
        return x, mask, pattern_mask


def pattern_windows(
    bars: pl.DataFrame,
    length: int = 50,
    rules: PatternRules = RULES,
    *,
    features: pl.DataFrame | None = None,
) -> PatternWindows:
    """All observations of all consolidation patterns, with what their windows need.

    Args:
        bars: as for `features.compute`; rows without a usable price are no sessions and are left out.
        length: sessions in a window.
        rules: thresholds of the patterns.
        features: symbol, session and the set `breakout` as it was published, to be used instead of computing it
            again; a session without a row there is missing throughout.
    """
    panel = prepare(bars)
    names = FEATURE_SETS["breakout"]
    values = evaluate(panel, list(dict.fromkeys((*names, *BOUNDARIES, *SHARED))), with_rules(rules))
    marked = active_rows(values, rules)
    index = window_index(panel, length)[marked["row"].to_numpy()].with_columns(
        panel["session"].gather(marked["start_row"]).alias("pattern_start"),
        marked["start_row"],
        marked["activation_row"],
    )
    view = pattern_view(panel.hstack(values.select(SHARED)), rules)
    if features is not None:
        values = panel.select(KEY).join(features, on=list(KEY), how="left", maintain_order="left")
    return PatternWindows(index, feature_matrix(values, names), feature_matrix(view), length)
