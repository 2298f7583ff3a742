"""Input and output of an extractor: bars with unique keys, and features as arrays by key."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from trademl_pipeline.leakage.errors import AuditInputError, ExtractorOutputError

KEY = ("symbol", "session")
_TEXT: tuple[Any, ...] = (pl.String, pl.Categorical, pl.Enum)
_COUNTED: tuple[Any, ...] = (pl.Boolean, pl.Null)


class Axis:
    """The symbols and sessions of a panel, and the code of each (symbol, session) on them.

    Attributes:
        symbols: sorted.
        sessions: dates or datetimes, ascending.
        dtype: of the session column.
    """

    def __init__(self, bars: pl.DataFrame) -> None:
        self.symbols: list[str] = bars["symbol"].unique().sort().to_list()
        days = bars["session"].unique().sort()
        self.sessions: list[Any] = days.to_list()
        self.dtype = days.dtype
        self._enum = pl.Enum(self.symbols)
        self._physical = days.to_physical().to_numpy()

    def codes(self, frame: pl.DataFrame) -> tuple[np.ndarray, np.ndarray]:
        """Return (rows,) symbol code and session index of each row; -1 for one not on the axis."""
        symbols = frame["symbol"].cast(self._enum, strict=False).to_physical()
        symbol = symbols.cast(pl.Int64).fill_null(-1).to_numpy()
        days = frame["session"].to_physical().to_numpy()
        index = np.minimum(np.searchsorted(self._physical, days), len(self._physical) - 1)
        return symbol, np.where(self._physical[index] == days, index, -1)

    def keys(self, frame: pl.DataFrame) -> np.ndarray:
        """Return (rows,) int64 key code of each row, ascending with (symbol, session); -1 for one not on the axis."""
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


def feature_table(
    frame: Any,
    axis: Axis,
    bars: pl.DataFrame,
    bar_keys: np.ndarray,
    where: str,
    sessions: tuple[int, int] | None = None,
) -> Table:
    """Check what an extractor returned and turn it into a table.

    Args:
        frame: the return value.
        axis: of the whole panel.
        bars: what the extractor was given.
        bar_keys: (rows,) ascending key codes of those bars.
        where: for messages, such as "on the bars up to 2019-03-01".
        sessions: first and last session index of the rows wanted, both inclusive; None for all. All rows are
            checked, those wanted are converted.

    Raises:
        ExtractorOutputError: no Polars frame, no rows, no key, a key twice, a key that was not in the bars,
        no
            feature, or a column that is not numeric.
    """
    if isinstance(frame, pl.LazyFrame):
        frame = frame.collect()
    if not isinstance(frame, pl.DataFrame):
        raise ExtractorOutputError(
            f"the extractor returned {type(frame).__name__} {where}; it must return pl.DataFrame"
        )
    columns = _check_columns(frame, axis, where)
    order = None
    if frame.height == bars.height and all(frame[c].equals(bars[c]) for c in KEY):
        # As given, row by row: the usual case, and much cheaper than looking up every key.
        keys = bar_keys
    else:
        keys = axis.keys(frame)
        if len(keys) > 1 and not (keys[1:] > keys[:-1]).all():
            order = np.argsort(keys, kind="stable")
            keys = keys[order]
        _check_keys(frame, keys, order, axis, bar_keys, where)
    if sessions is not None:
        session = axis.session_of(keys)
        rows = np.flatnonzero((session >= sessions[0]) & (session <= sessions[1]))
        keys, order = keys[rows], rows if order is None else order[rows]
    data = frame[list(columns)]
    if order is not None:
        data = data[order]
    gaps = [c.name for c in data.get_columns() if c.null_count()]
    nulls = np.zeros((len(keys), len(columns)), dtype=bool, order="F")
    if gaps:
        at = [columns.index(c) for c in gaps]
        nulls[:, at] = data.select_seq(pl.col(gaps).is_null()).to_numpy()
    schema = data.schema
    if any(t != pl.Float64 for t in schema.values()):
        data = data.select(
            (pl.col(c).to_physical() if t.is_temporal() else pl.col(c)).cast(pl.Float64)
            for c, t in schema.items()
        )
    single = np.array([t == pl.Float32 for t in schema.values()])
    return Table(keys, data.to_numpy(order="fortran"), nulls, columns, single)


def _check_columns(frame: pl.DataFrame, axis: Axis, where: str) -> tuple[str, ...]:
    """Names of the features, after checking every column's type."""
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
    schema = frame.schema
    if schema["session"] != axis.dtype:
        raise ExtractorOutputError(
            f"column 'session' of the output is {schema['session']}, that of the bars is {axis.dtype}"
        )
    if schema["symbol"] not in _TEXT:
        raise ExtractorOutputError(f"column 'symbol' of the output is {schema['symbol']}; it must be String")
    columns = tuple(c for c in schema if c not in KEY)
    if not columns:
        raise ExtractorOutputError(f"the extractor returned keys only, no feature column, {where}")
    for column in columns:
        dtype = schema[column]
        if not (dtype.is_numeric() or dtype.is_temporal() or dtype in _COUNTED):
            raise ExtractorOutputError(
                f"column {column!r} of the output is {dtype} {where}; features must be numeric, boolean or "
                "dates. Encode it, spread it over columns, or drop it before the audit"
            )
    return columns


def _check_keys(
    frame: pl.DataFrame,
    keys: np.ndarray,
    order: np.ndarray | None,
    axis: Axis,
    bar_keys: np.ndarray,
    where: str,
) -> None:
    def row(position: int) -> str:
        at = position if order is None else int(order[position])
        return f"{frame['symbol'][at]} {frame['session'][at]}"

    place = np.minimum(np.searchsorted(bar_keys, keys), max(len(bar_keys) - 1, 0))
    foreign = (keys < 0) | (bar_keys[place] != keys) if len(bar_keys) else np.ones(len(keys), dtype=bool)
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
    if bars.schema["symbol"] not in _TEXT:
        raise AuditInputError(f"column 'symbol' of the bars is {bars.schema['symbol']}; it must be String")
    if not isinstance(bars.schema["session"], pl.Date | pl.Datetime):
        raise AuditInputError(
            f"column 'session' of the bars is {bars.schema['session']}; it must be Date or Datetime"
        )
    objects = [c for c, t in bars.schema.items() if t == pl.Object]
    if objects:
        raise AuditInputError(
            f"columns {', '.join(objects)} of the bars are Python objects; give them a Polars type"
        )
    doubled = bars.select(pl.struct(KEY).is_duplicated()).to_series()
    if doubled.any():
        row = bars.filter(doubled).row(0, named=True)
        raise AuditInputError(
            f"{int(doubled.sum())} bars share their (symbol, session), such as {row['symbol']} "
            f"{row['session']}; keys must be unique"
        )
    return bars.with_columns(pl.col("symbol").cast(pl.String)).sort(KEY)
