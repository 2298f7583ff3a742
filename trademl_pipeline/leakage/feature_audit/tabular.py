"""Tables of other libraries as Polars frames and back, so that they can be cut as those are."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import polars as pl

ToNative = Callable[[pl.DataFrame], Any]


@dataclass(frozen=True)
class Tabular:
    """A table that an extractor holds.

    Attributes:
        frame: its rows, with what an index holds as columns.
        native: makes the held kind of object of such rows.
    """

    frame: pl.DataFrame
    native: ToNative


def is_tabular(value: Any) -> bool:
    """Return whether a value has rows: of Polars, pandas or Arrow."""
    return is_tabular_kind(cast(type[Any], type(value)))


def is_tabular_kind(kind: type) -> bool:
    """Return whether objects of a class have rows, whatever they say that they are."""
    if issubclass(kind, pl.DataFrame | pl.LazyFrame | pl.Series):
        return True
    pandas, arrow = sys.modules.get("pandas"), sys.modules.get("pyarrow")
    if pandas is not None and issubclass(kind, pandas.DataFrame | pandas.Series | pandas.Index):
        return True
    return arrow is not None and issubclass(
        kind, arrow.Table | arrow.RecordBatch | arrow.Array | arrow.ChunkedArray
    )


def tabular(value: Any) -> Tabular | None:
    """Return a table's rows and the way back; None for one that has no columns by which to cut it.

    A pandas Series or frame is cut by its index, if that holds days. What does not come back as it was cannot be cut
    either.
    """
    if isinstance(value, pl.DataFrame):
        return Tabular(value, lambda frame: frame)
    if isinstance(value, pl.LazyFrame):
        try:
            return Tabular(value.collect(), lambda frame: frame.lazy())
        except (pl.exceptions.PolarsError, OSError):
            return None
    pandas, arrow = sys.modules.get("pandas"), sys.modules.get("pyarrow")
    if arrow is not None and isinstance(value, arrow.Table | arrow.RecordBatch):
        return _of_arrow(value, arrow)
    if pandas is not None and isinstance(value, pandas.DataFrame | pandas.Series):
        return _of_pandas(value, pandas)
    return None


def _of_arrow(value: Any, arrow: Any) -> Tabular | None:
    table = arrow.Table.from_batches([value]) if isinstance(value, arrow.RecordBatch) else value
    batch = isinstance(value, arrow.RecordBatch)

    def native(frame: pl.DataFrame) -> Any:
        rows = cast(Any, frame.to_arrow()).cast(table.schema)
        return rows.combine_chunks().to_batches()[0] if batch and rows.num_rows else rows

    frame = cast(pl.DataFrame, cast(Any, pl).from_arrow(table))
    return Tabular(frame, native) if native(frame).equals(value) else None


def _of_pandas(value: Any, pandas: Any) -> Tabular | None:
    is_series = isinstance(value, pandas.Series)
    wide = value.to_frame("value" if value.name is None else value.name) if is_series else value
    names = list(wide.index.names)
    labels = [f"level_{i}" if name is None else str(name) for i, name in enumerate(names)]
    if set(labels) & set(map(str, wide.columns)) or not wide.columns.is_unique:
        return None
    try:
        frame = cast(pl.DataFrame, pl.from_pandas(wide.reset_index(names=labels)))
    except (ValueError, TypeError, pl.exceptions.PolarsError):
        return None

    def native(rows: pl.DataFrame) -> Any:
        indexed = cast(Any, rows.to_pandas()).set_index(labels)
        indexed.index.names = names
        indexed.columns = wide.columns
        indexed = indexed.astype(dict(wide.dtypes))
        if len(names) == 1:
            indexed.index = indexed.index.astype(wide.index.dtype)
        return indexed[indexed.columns[0]].rename(value.name) if is_series else indexed

    try:
        same = native(frame).equals(value)
    except (ValueError, TypeError, KeyError):
        return None
    return Tabular(frame, native) if same else None
