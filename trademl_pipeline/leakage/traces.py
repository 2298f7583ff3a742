"""The values around a leak: as published, and as they come out on what was known; for figures and tables."""

from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, cast

import numpy as np
import polars as pl

from trademl_pipeline.leakage.tables import Axis, Table

# Sessions shown on either side of the leaking one, and violations of a probe that are shown.
AROUND = 10
TRACED_VIOLATIONS = 3


@dataclass(frozen=True)
class Trace:
    """One column of one symbol around a leak.

    Attributes:
        sessions: in order.
        published: value at each, None where missing or no row.
        known: the same, computed without what came after the cut-off (or otherwise as the probe computes).
    """

    sessions: tuple[date | datetime, ...]
    published: tuple[float | None, ...]
    known: tuple[float | None, ...]


def trace_of(base: Table, other: Table, axis: Axis, column: str, symbol: str, session: Any) -> Trace | None:
    """Return the values of a column around (symbol, session) in two tables; None where either lacks the column.

    Args:
        base: output as published.
        other: output without what came after the cut-off.
        axis: of both.
        column: name of the feature.
        symbol: whose values.
        session: in the middle, `AROUND` rows on either side.
    """
    if column not in base.columns or column not in other.columns or symbol not in axis.symbols:
        return None
    code = axis.symbols.index(symbol)
    keys = base.keys[axis.symbol_of(base.keys) == code]
    at = int(np.searchsorted(keys, code * len(axis.sessions) + axis.sessions.index(session)))
    keys = keys[max(at - AROUND, 0) : at + AROUND + 1]
    return Trace(
        tuple(axis.name(int(key))[1] for key in keys),
        _values(base, keys, column),
        _values(other, keys, column),
    )


def frame_trace(
    published: pl.DataFrame, known: pl.DataFrame, column: str, symbol: str, session: Any
) -> Trace | None:
    """Return the same from two frames; None where the column is not numeric.

    Args:
        published: symbol, session and the column, as published.
        known: the same, computed on what was known.
        column: name of the feature.
        symbol: whose values.
        session: in the middle, `AROUND` rows on either side.
    """
    if not published.schema[column].is_numeric() or not known.schema[column].is_numeric():
        return None
    ours, theirs = (
        frame.filter(pl.col("symbol") == symbol).select(
            "session", pl.col(column).cast(pl.Float64).alias(name)
        )
        for frame, name in ((published, "published"), (known, "known"))
    )
    both = ours.join(theirs, on="session", how="full", coalesce=True).sort("session")
    at = int(cast(int, both["session"].search_sorted(session)))
    both = both[max(at - AROUND, 0) : at + AROUND + 1]
    plain = both.with_columns(pl.col("published", "known").fill_nan(None))
    return Trace(tuple(plain["session"]), tuple(plain["published"]), tuple(plain["known"]))


def _values(table: Table, keys: np.ndarray, column: str) -> tuple[float | None, ...]:
    values_at = np.full(len(keys), np.nan)
    if len(table.keys):
        at = np.minimum(np.searchsorted(table.keys, keys), len(table.keys) - 1)
        values = table.values[at, table.columns.index(column)]
        values_at = np.where(table.keys[at] == keys, values, np.nan)
    return tuple(None if np.isnan(v) else float(v) for v in values_at)
