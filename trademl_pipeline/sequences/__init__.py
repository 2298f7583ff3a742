"""Sequences: windows into the feature matrix, by index."""

from trademl_pipeline.sequences.batches import Batches
from trademl_pipeline.sequences.breakout import PatternWindows, pattern_windows
from trademl_pipeline.sequences.index import SequenceInputError, feature_matrix, flat, gather, window_index

__all__ = [
    "Batches",
    "PatternWindows",
    "SequenceInputError",
    "feature_matrix",
    "flat",
    "gather",
    "pattern_windows",
    "window_index",
]
