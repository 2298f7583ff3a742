"""What an extractor returned, as arrays that can be compared cell by cell.

A cell moved if its value differs by more than the tolerance, if it is null on one side only, or NaN on one
side only. Row sets are compared as well: a row that exists only while later data exist tells as much as a
value.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from trademl_pipeline.leakage.errors import AuditInputError, ExtractorOutputError

KEY = ("symbol", "session")

# Two float32 results of the same arithmetic differ by a few units in the last place.
FLOAT32_RTOL = 5e-7


class Axis:
    """The symbols and sessions of a panel, and the code of each (symbol, session) on them.

    Attributes: `symbols` (list), `sessions` (list of date or datetime, ascending), `dtype` of the session
        column.
    """

    def __init__(self, bars: pl.DataFrame) -> None:
        self.symbols: list[str] = bars["symbol"].unique().sort().to_list()
        days = bars["session"].unique().sort()
        self.sessions: list[Any] = days.to_list()
        self.dtype = days.dtype
        self._enum = pl.Enum(self.symbols)
        self._physical = days.to_physical().to_numpy()

    def codes(self, frame: pl.DataFrame) -> tuple[np.ndarray, np.ndarray]:
        """(rows,) symbol code and session index of each row; -1 where the axis has no such symbol or
        session."""
        symbols = frame["symbol"].cast(self._enum, strict=False).to_physical()
        symbol = symbols.cast(pl.Int64).fill_null(-1).to_numpy()
        days = frame["session"].to_physical().to_numpy()
        index = np.minimum(np.searchsorted(self._physical, days), len(self._physical) - 1)
        return symbol, np.where(self._physical[index] == days, index, -1)

    def keys(self, frame: pl.DataFrame) -> np.ndarray:
        """(rows,) int64 code of each row's key, ascending with (symbol, session); -1 where it is not on the
        axis."""
        symbol, session = self.codes(frame)
        return np.where((symbol >= 0) & (session >= 0), symbol * len(self.sessions) + session, -1)

    def name(self, key: int) -> tuple[str, Any]:
        """Symbol and session of a key code."""
        symbol, session = divmod(int(key), len(self.sessions))
        return self.symbols[symbol], self.sessions[session]

    def session_of(self, keys: np.ndarray) -> np.ndarray:
        """(rows,) session index of key codes."""
        return keys % len(self.sessions)

    def symbol_of(self, keys: np.ndarray) -> np.ndarray:
        """(rows,) symbol code of key codes."""
        return keys // len(self.sessions)


@dataclass(frozen=True)
class Table:
    """Output of an extractor, sorted by key.

    Attributes:
        keys: (rows,) int64 key codes, ascending and unique.
        values: (rows, columns) float64; NaN where null.
        nulls: (rows, columns) bool.
        columns: names.
        single: (columns,) bool, whether the column is float32.
    """

    keys: np.ndarray
    values: np.ndarray
    nulls: np.ndarray
    columns: tuple[str, ...]
    single: np.ndarray

    def take(self, mask: np.ndarray) -> "Table":
        """The rows of a boolean mask."""
        return Table(self.keys[mask], self.values[mask], self.nulls[mask], self.columns, self.single)

    def arranged(self, columns: Sequence[str]) -> "Table":
        """The same rows with the columns in another order; columns this table lacks become null."""
        if tuple(columns) == self.columns:
            return self
        at = {c: i for i, c in enumerate(self.columns)}
        shape = (len(self.keys), len(columns))
        values, nulls = np.full(shape, np.nan), np.ones(shape, dtype=bool)
        single = np.zeros(len(columns), dtype=bool)
        for j, column in enumerate(columns):
            if column in at:
                values[:, j], nulls[:, j] = self.values[:, at[column]], self.nulls[:, at[column]]
                single[j] = self.single[at[column]]
        return Table(self.keys, values, nulls, tuple(columns), single)


def feature_table(frame: Any, axis: Axis, given: np.ndarray, where: str) -> Table:
    """Check what an extractor returned and turn it into a table.

    Args:
        frame: the return value.
        axis: of the whole panel.
        given: (rows,) ascending key codes of the bars the extractor was given.
        where: for messages, such as "on the bars up to 2019-03-01".

    Raises:
        ExtractorOutputError: no Polars frame, no rows, no key, a key twice, a key that was not in the bars,
            no feature, or a column that is not numeric.
    """
    if isinstance(frame, pl.LazyFrame):
        frame = frame.collect()
    if not isinstance(frame, pl.DataFrame):
        raise ExtractorOutputError(
            f"the extractor returned {type(frame).__name__} {where}; it must return pl.DataFrame"
        )
    for column in KEY:
        if column not in frame.columns:
            raise ExtractorOutputError(
                f"the extractor's output has no column {column!r} {where}; it has "
                f"{', '.join(frame.columns) or 'none'}"
            )
        if frame[column].null_count():
            raise ExtractorOutputError(
                f"column {column!r} of the output has {frame[column].null_count()} nulls {where}"
            )
    if frame.schema["session"] != axis.dtype:
        raise ExtractorOutputError(
            f"column 'session' of the output is {frame.schema['session']}, that of the bars is {axis.dtype}"
        )
    if frame.schema["symbol"] not in (pl.String, pl.Categorical, pl.Enum):
        raise ExtractorOutputError(
            f"column 'symbol' of the output is {frame.schema['symbol']}; it must be String"
        )
    columns = tuple(c for c in frame.columns if c not in KEY)
    if not columns:
        raise ExtractorOutputError(f"the extractor returned keys only, no feature column, {where}")
    keys = axis.keys(frame)
    order = None
    if len(keys) > 1 and not (keys[1:] > keys[:-1]).all():
        order = np.argsort(keys, kind="stable")
        keys = keys[order]
    _check_keys(frame, keys, order, axis, given, where)
    data = [_numbers(frame[c], where) for c in columns]
    values = np.empty((len(keys), len(columns)))
    nulls = np.zeros((len(keys), len(columns)), dtype=bool)
    for j, (numbers, missing) in enumerate(data):
        values[:, j] = numbers if order is None else numbers[order]
        if missing is not None:
            nulls[:, j] = missing if order is None else missing[order]
    single = np.array([frame.schema[c] == pl.Float32 for c in columns])
    return Table(keys, values, nulls, columns, single)


def _check_keys(
    frame: pl.DataFrame, keys: np.ndarray, order: np.ndarray | None, axis: Axis, given: np.ndarray, where: str
) -> None:
    def row(position: int) -> str:
        at = position if order is None else int(order[position])
        return f"{frame['symbol'][at]} {frame['session'][at]}"

    place = np.minimum(np.searchsorted(given, keys), max(len(given) - 1, 0))
    foreign = (keys < 0) | (given[place] != keys) if len(given) else np.ones(len(keys), dtype=bool)
    if foreign.any():
        raise ExtractorOutputError(
            f"the extractor returned {int(foreign.sum())} rows that were not in the bars it was given "
            f"{where}, such as {row(int(np.argmax(foreign)))}; its rows must be rows of the bars"
        )
    doubled = keys[1:] == keys[:-1]
    if doubled.any():
        raise ExtractorOutputError(
            f"the extractor returned {int(doubled.sum())} rows whose (symbol, session) occurs already "
            f"{where}, such as {row(int(np.argmax(doubled)))}; keys must be unique"
        )


def _numbers(series: pl.Series, where: str) -> tuple[np.ndarray, np.ndarray | None]:
    dtype = series.dtype
    missing = series.is_null().to_numpy() if series.null_count() else None
    if dtype.is_temporal():
        series = series.to_physical()
    elif not (dtype.is_numeric() or dtype in (pl.Boolean, pl.Null)):
        raise ExtractorOutputError(
            f"column {series.name!r} of the output is {dtype} {where}; features must be numeric, boolean or "
            "dates. Encode it, spread it over columns, or drop it before the audit"
        )
    numbers = series.cast(pl.Float64)
    return (numbers if missing is None else numbers.fill_null(np.nan)).to_numpy(), missing


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
        """Tolerances for the columns of a table; `atol` counts in units of each column's median magnitude.

        With `scaled` the relative tolerance never counts less than the column's scale, for results that are
        only approximately equal, such as a recursion started later.
        """
        scale = column_scale(table)
        relative = np.where(table.single, max(rtol, FLOAT32_RTOL), rtol)
        return cls(relative, atol * scale, scale if scaled else np.zeros_like(scale))


def column_scale(table: Table) -> np.ndarray:
    """(columns,) median magnitude of the finite non-zero values; 1 where there are none."""
    scales = np.ones(len(table.columns))
    for j in range(len(table.columns)):
        column = np.abs(table.values[:, j])
        column = column[np.isfinite(column) & (column > 0)]
        if len(column):
            scales[j] = np.median(column)
    return scales


@dataclass(frozen=True)
class Difference:
    """Where two tables disagree.

    Attributes:
        compared: number of cells compared.
        missing: (n,) keys that only the first table has; extra: those that only the second has.
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
    a, b = first.values, second.values
    with np.errstate(invalid="ignore", over="ignore"):
        delta = np.abs(a - b)
        magnitude = np.maximum(np.maximum(np.abs(a), np.abs(b)), tolerance.floor)
        same = (delta <= tolerance.rtol * magnitude + tolerance.slack) & np.isfinite(delta)
    same |= a == b
    same |= np.isnan(a) & np.isnan(b)
    same &= first.nulls == second.nulls
    rows, columns = np.nonzero(~same)
    moved = delta[rows, columns]
    return Difference(
        a.size,
        missing,
        extra,
        first.keys[rows],
        columns,
        a[rows, columns],
        b[rows, columns],
        np.where(np.isfinite(moved), moved, np.inf),
    )


def check_bars(bars: Any) -> pl.DataFrame:
    """The bars of an audit, sorted by (symbol, session).

    Raises:
        AuditInputError: no Polars frame, empty, a key column missing, null or mistyped, or a key twice.
    """
    if not isinstance(bars, pl.DataFrame):
        raise AuditInputError(f"bars are {type(bars).__name__}; give a pl.DataFrame")
    for column in KEY:
        if column not in bars.columns:
            raise AuditInputError(
                f"bars have no column {column!r}; they have {', '.join(bars.columns) or 'none'}"
            )
        if bars[column].null_count():
            raise AuditInputError(f"column {column!r} of the bars has {bars[column].null_count()} nulls")
    if bars.is_empty():
        raise AuditInputError("bars are empty; nothing can be audited")
    if bars.schema["symbol"] not in (pl.String, pl.Categorical, pl.Enum):
        raise AuditInputError(f"column 'symbol' of the bars is {bars.schema['symbol']}; it must be String")
    if not isinstance(bars.schema["session"], pl.Date | pl.Datetime):
        raise AuditInputError(
            f"column 'session' of the bars is {bars.schema['session']}; it must be Date or Datetime"
        )
    doubled = bars.select(pl.struct(KEY).is_duplicated()).to_series()
    if doubled.any():
        row = bars.filter(doubled).row(0, named=True)
        raise AuditInputError(
            f"{int(doubled.sum())} bars share their (symbol, session), such as {row['symbol']} "
            f"{row['session']}; keys must be unique"
        )
    return bars.with_columns(pl.col("symbol").cast(pl.String)).sort(KEY)
