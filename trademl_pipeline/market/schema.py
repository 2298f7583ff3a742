"""The shape of a frame of bars, taken from the lake's table, and the cast into it.

A source returns `SOURCE_COLUMNS`; the moment of ingestion is added by whoever ingests. Two more columns may
come along for the quality split: `row` (Int64: the row in the source's own frame) and `defect` (String:
what the source could not read in that row, null where nothing).
"""

from typing import Any

import polars as pl

from trademl_pipeline.market.errors import BarsSchemaError
from trademl_pipeline.tables import RAW_BARS

BAR_DTYPES = dict(RAW_BARS.columns)
PRICE_COLUMNS = ("open", "high", "low", "close")
SOURCE_COLUMNS = tuple(name for name in BAR_DTYPES if name != "ingested_at")
ROW, DEFECT = "row", "defect"

# What a frame may leave out, and what its absence says.
DEFAULTS: dict[str, object] = {"split_factor": 1.0, "dividend": 0.0}


def conform(frame: pl.DataFrame, *, ingested: bool = False) -> pl.DataFrame:
    """Order and cast bars to the schema; `row` and `defect` stay where present, other columns go.

    Args:
        frame: bars of a source; split_factor and dividend may be absent (no action).
        ingested: whether `ingested_at` must be there.

    Returns:
        The columns of `SOURCE_COLUMNS` (with `ingested_at` if asked), then `row` and `defect` where present.

    Raises:
        BarsSchemaError: a column is absent or holds values that its type cannot hold; the message names
            the column, both types and the first such values.
    """
    names = [n for n in BAR_DTYPES if ingested or n != "ingested_at"]
    extra = {ROW: pl.Int64, DEFECT: pl.String}
    frame = frame.with_columns(pl.lit(v).alias(n) for n, v in DEFAULTS.items() if n not in frame.columns)
    columns = []
    for name in [*names, *(n for n in extra if n in frame.columns)]:
        if name not in frame.columns:
            raise BarsSchemaError(
                f"bars lack the column {name!r}; they have {', '.join(frame.columns)}. "
                "Rename the column, or map it where the source is declared",
                name,
            )
        columns.append(_cast(frame[name], extra.get(name) or BAR_DTYPES[name]))
    return pl.DataFrame(columns)


def _cast(column: pl.Series, dtype: Any) -> pl.Series:
    if column.dtype == dtype:
        return column
    if (
        dtype == pl.Datetime("us", "UTC")
        and isinstance(column.dtype, pl.Datetime)
        and not column.dtype.time_zone
    ):
        raise BarsSchemaError(
            f"column {column.name!r} holds times without a zone ({column.dtype}), expected {dtype}; "
            "say which zone they are in with dt.replace_time_zone",
            column.name,
        )
    try:
        cast = column.cast(dtype, strict=False)
    except pl.exceptions.PolarsError as error:
        raise BarsSchemaError(
            f"column {column.name!r} is {column.dtype}, expected {dtype}, and cannot be turned into it",
            column.name,
        ) from error
    lost = column.filter(cast.is_null() & column.is_not_null())
    if lost.len():
        raise BarsSchemaError(
            f"column {column.name!r} is {column.dtype}, expected {dtype}; {lost.len()} values do not fit, "
            f"such as {lost.head(3).to_list()}",
            column.name,
        )
    return cast
