"""Comparing what an extractor returned on two views, cell by cell.

A cell moved if its value differs by more than the tolerance, if it is null on one side only, or NaN on one
side only. Row sets are compared as well: a row that exists only while later data exist tells as much as a
value.
"""

from dataclasses import dataclass

import numpy as np

from trademl_pipeline.leakage.tables import Table

# Two float32 results of the same arithmetic differ by a few units in the last place.
FLOAT32_RTOL = 5e-7

# Rows from which a column's scale is estimated, and cells compared at a time.
SCALE_ROWS = 20_000
BLOCK_CELLS = 2_000_000


@dataclass(frozen=True)
class Tolerance:
    """How far two results of the same computation may differ.

    |a - b| <= rtol * max(|a|, |b|, floor) + slack, column by column.

    Attributes:
        rtol: (columns,) relative tolerance.
        slack: (columns,) absolute tolerance in the units of each column.
        floor: (columns,) magnitude below which `rtol` counts in units of the column's scale; 0 for none.
    """

    rtol: np.ndarray
    slack: np.ndarray
    floor: np.ndarray

    @classmethod
    def of(cls, table: Table, rtol: float, atol: float, *, scaled: bool = False) -> "Tolerance":
        """Return tolerances for the columns of a table.

        Args:
            table: whose columns are compared.
            rtol: relative tolerance; a float32 column gets at least `FLOAT32_RTOL`.
            atol: absolute tolerance, in units of each column's median magnitude.
            scaled: the relative tolerance never counts less than the column's scale, for results that are
                only approximately equal, such as a recursion started later.
        """
        scale = column_scale(table)
        relative = np.where(table.single, max(rtol, FLOAT32_RTOL), rtol)
        return cls(relative, atol * scale, scale if scaled else np.zeros_like(scale))


def column_scale(table: Table) -> np.ndarray:
    """Return (columns,) median magnitude of the finite non-zero values, of a sample of rows; 1 without any."""
    scales = np.ones(len(table.columns))
    step = max(len(table.keys) // SCALE_ROWS, 1)
    for j in range(len(table.columns)):
        column = np.abs(table.values[::step, j])
        column = column[np.isfinite(column) & (column > 0)]
        if len(column):
            scales[j] = np.median(column)
    return scales


@dataclass(frozen=True)
class Difference:
    """The cells and rows in which two tables disagree.

    Attributes:
        compared: number of cells compared.
        missing: (n,) keys that only the first table has.
        extra: (k,) keys that only the second has.
        keys, columns: (m,) key and column index of each cell that moved.
        before, after, delta: (m,) both values and |after - before|, infinite where a value appeared or
            vanished.
    """

    compared: int
    missing: np.ndarray
    extra: np.ndarray
    keys: np.ndarray
    columns: np.ndarray
    before: np.ndarray
    after: np.ndarray
    delta: np.ndarray

    def __bool__(self) -> bool:
        return bool(len(self.keys) or len(self.missing) or len(self.extra))

    def only(self, cells: np.ndarray) -> "Difference":
        """The same with only the cells of a boolean mask over the moved cells."""
        return Difference(
            self.compared,
            self.missing,
            self.extra,
            self.keys[cells],
            self.columns[cells],
            self.before[cells],
            self.after[cells],
            self.delta[cells],
        )


def difference(first: Table, second: Table, tolerance: Tolerance) -> Difference:
    """Compare two tables with the same columns."""
    none = np.empty(0, dtype=np.int64)
    missing = extra = none
    if not np.array_equal(first.keys, second.keys):
        missing = np.setdiff1d(first.keys, second.keys, assume_unique=True)
        extra = np.setdiff1d(second.keys, first.keys, assume_unique=True)
        if len(missing):
            first = first.take(~np.isin(first.keys, missing, assume_unique=True))
        if len(extra):
            second = second.take(~np.isin(second.keys, extra, assume_unique=True))
    moves = [
        _moved(first, second, tolerance, slice(j, j + width))
        for width in [max(BLOCK_CELLS // max(len(first.keys), 1), 1)]
        for j in range(0, len(first.columns), width)
    ]
    rows, columns, delta = (np.concatenate(part) for part in zip(*moves, strict=True))
    order = np.argsort(rows, kind="stable")
    rows, columns, delta = rows[order], columns[order], delta[order]
    return Difference(
        first.values.size,
        missing,
        extra,
        first.keys[rows],
        columns,
        first.values[rows, columns],
        second.values[rows, columns],
        np.where(np.isfinite(delta), delta, np.inf),
    )


def _moved(
    first: Table, second: Table, tolerance: Tolerance, part: slice
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows, columns and size of the moves among some columns."""
    a, b = first.values[:, part], second.values[:, part]
    with np.errstate(invalid="ignore", over="ignore"):
        delta = np.abs(a - b)
        magnitude = np.maximum(np.maximum(np.abs(a), np.abs(b)), tolerance.floor[part])
        same = (delta <= tolerance.rtol[part] * magnitude + tolerance.slack[part]) & np.isfinite(delta)
    same |= a == b
    same |= np.isnan(a) & np.isnan(b)
    same &= first.nulls[:, part] == second.nulls[:, part]
    rows, columns = np.nonzero(~same)
    return rows, columns + (part.start or 0), delta[rows, columns]


def moved_columns(first: Table, second: Table, tolerance: Tolerance) -> set[int]:
    """Indices of the columns with at least one cell that moved, over the rows that both tables have."""
    if not np.array_equal(first.keys, second.keys):
        first = first.take(np.isin(first.keys, second.keys, assume_unique=True))
        second = second.take(np.isin(second.keys, first.keys, assume_unique=True))
    return {j for j in range(len(first.columns)) if len(_moved(first, second, tolerance, slice(j, j + 1))[0])}
