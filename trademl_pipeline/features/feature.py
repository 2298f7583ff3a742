"""A feature: a named, pure, causal expression over one symbol's sessions, and what a user must know of it."""

import math
from dataclasses import dataclass

import polars as pl


@dataclass(frozen=True)
class Feature:
    """One column of a feature set.

    Attributes:
        name: the column's name.
        expr: Polars expression over the panel of `prepare`, over series and over other features by their
            names.
        formula: the same for people, one line.
        warmup: sessions before t that its value needs. Started that many sessions earlier, the value
            differs from the one started at inception by less than 1e-6 relative; windows are exact.
        unit: what the number counts, e.g. "ratio", "per session", "0-100".
        source: where the formula comes from.
        low, high: the range it can take; infinite where it is open.
    """

    name: str
    expr: pl.Expr
    formula: str
    warmup: int
    unit: str
    source: str
    low: float = -math.inf
    high: float = math.inf

    @property
    def reads(self) -> tuple[str, ...]:
        """Columns, series and features that the expression names itself, sorted."""
        return tuple(sorted(set(self.expr.meta.root_names())))


@dataclass(frozen=True)
class Series:
    """A named step that features share. It may carry the units of price or volume; features may not."""

    name: str
    expr: pl.Expr

    @property
    def reads(self) -> tuple[str, ...]:
        """Columns and series that the expression names itself, sorted."""
        return tuple(sorted(set(self.expr.meta.root_names())))


def recursive_warmup(decay: float, *, after: int = 0, tolerance: float = 1e-8) -> int:
    """Sessions until a recursion has forgotten how it was started.

    The start may be wrong by a hundred times what the feature is worth, as an average price is against the
    distance from it; so 1e-8 of it is 1e-6 of the feature.

    Args:
        decay: weight that yesterday's value keeps: 1 - 2/(n+1) for a span of n, 1 - 1/n for Wilder's average.
        after: sessions until the recursion is seeded.
        tolerance: share of the start's error that may remain.
    """
    return after + math.ceil(math.log(tolerance) / math.log(decay))
