"""Sequences: windows into the feature matrix, by index."""

from trademl_pipeline.sequences.index import SequenceInputError, flat, gather, window_index

__all__ = ["SequenceInputError", "flat", "gather", "window_index"]
