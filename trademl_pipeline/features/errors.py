"""Errors of the features."""

import polars as pl


class FeatureInputError(ValueError):
    """The bars or reference frames cannot be used; the message names the column and what it must be."""


def require_columns(frame: pl.DataFrame, columns: tuple[str, ...], what: str) -> None:
    """Raise FeatureInputError unless the frame has the columns."""
    missing = [c for c in columns if c not in frame.columns]
    if missing:
        raise FeatureInputError(f"{what} lack the column(s) {', '.join(missing)}; they have {frame.columns}")
