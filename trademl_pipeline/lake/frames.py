"""Entry to the lake: a frame's checks against its table schema, and the hash of its content."""

import hashlib
import re
from datetime import date

import numpy as np
import polars as pl
import polars.selectors as cs

from trademl_pipeline.lake.errors import (
    DuplicateKeyError,
    EmptyFrameError,
    NullValueError,
    SchemaMismatchError,
    WrongMonthError,
)
from trademl_pipeline.lake.schema import MONTH, TableSchema

_MONTH_KEY = re.compile(r"\d{4}-(0[1-9]|1[0-2])-01")


def check_month(month: object) -> str:
    """Return the month key, or raise WrongMonthError if it is not "YYYY-MM-01"."""
    if not isinstance(month, str) or not _MONTH_KEY.fullmatch(month):
        raise WrongMonthError(f"month {month!r}: use the first day of the month as 'YYYY-MM-01'")
    return month


def check_frame(
    schema: TableSchema, frame: pl.DataFrame, month: str | None, *, allow_empty: bool
) -> pl.DataFrame:
    """Check a frame against its schema and return it with columns in table order, sorted.

    Args:
        schema: of the table.
        frame: exactly the schema's columns, in any order of columns and rows.
        month: the partition it is to become; None for a ledger, whose rows carry their month.
        allow_empty: a frame without rows passes, whatever the schema says.

    Raises:
        SchemaMismatchError: a column is missing, unexpected or of another type.
        EmptyFrameError: there are no rows where some are due.
        NullValueError: a column holds nulls that must not.
        DuplicateKeyError: two rows have one key.
        WrongMonthError: a row lies outside the month.
    """
    where = f"table {schema.name}" + (f", month {month}" if month else "")
    _check_columns(schema, frame, where)
    frame = frame.select(list(schema.columns))
    if frame.is_empty():
        if not (allow_empty or schema.may_be_empty):
            raise EmptyFrameError(
                f"{where}: the frame has no rows, so nothing is replaced. If a month without rows is right, "
                "publish with allow_empty=True or declare may_be_empty in the table schema."
            )
        return frame
    _check_nulls(schema, frame, where)
    _check_key(schema, frame, where)
    if month is not None and schema.month_column is not None:
        _check_rows_in_month(schema, frame, schema.month_column, month, where)
    if schema.is_ledger:
        for key in frame[MONTH].unique():
            check_month(key)
    return frame.sort(schema.order) if schema.order else frame


def _check_columns(schema: TableSchema, frame: pl.DataFrame, where: str) -> None:
    for name, expected in schema.columns.items():
        if name not in frame.columns:
            raise SchemaMismatchError(
                f"{where}: column {name!r} ({expected}) is missing; the frame has {frame.columns}. Add it, "
                "or change the table schema.",
                schema.name,
                name,
                str(expected),
                None,
            )
        got = frame.schema[name]
        if got != expected:
            raise SchemaMismatchError(
                f"{where}: column {name!r} is {got}, the table schema says {expected}. Cast it before "
                f"publishing: pl.col({name!r}).cast(...).",
                schema.name,
                name,
                str(expected),
                str(got),
            )
    for name in frame.columns:
        if name not in schema.columns:
            reason = "publish sets it itself" if name == MONTH else "the table schema does not have it"
            raise SchemaMismatchError(
                f"{where}: unexpected column {name!r} ({frame.schema[name]}): {reason}. Drop it, or add it "
                "to the table schema.",
                schema.name,
                name,
                None,
                str(frame.schema[name]),
            )


def _check_nulls(schema: TableSchema, frame: pl.DataFrame, where: str) -> None:
    for name in schema.required:
        values = frame[name]
        bad = values.is_null()
        if values.dtype.is_float():
            bad = bad | values.is_nan().fill_null(True)
        count = int(bad.sum())
        if count:
            first = frame.filter(bad).select(schema.key or [name]).row(0, named=True)
            raise NullValueError(
                f"{where}: column {name!r} has {count} null or NaN of {frame.height} rows, the first at "
                f"{first}. Fill or drop these rows, or declare the column nullable in the table schema."
            )


def _check_key(schema: TableSchema, frame: pl.DataFrame, where: str) -> None:
    if not schema.key:
        return
    keys = frame.select(schema.key)
    surplus = frame.height - keys.n_unique()
    if surplus:
        first = keys.filter(keys.is_duplicated()).row(0, named=True)
        raise DuplicateKeyError(
            f"{where}: {surplus} rows repeat the key {schema.key} of another row, the first at {first}. "
            "Keep one row per key before publishing."
        )


def _check_rows_in_month(
    schema: TableSchema, frame: pl.DataFrame, column: str, month: str, where: str
) -> None:
    inside = pl.col(column).dt.truncate("1mo").dt.date() == date.fromisoformat(month)
    outside = frame.filter(~inside)
    if outside.height:
        first = outside.select(list(dict.fromkeys((*schema.key, column)))).row(0, named=True)
        raise WrongMonthError(
            f"{where}: {outside.height} of {frame.height} rows have {column} in another month, the first at "
            f"{first}. Filter the frame to the partition's month by {column}."
        )


def data_version(schema: TableSchema, frame: pl.DataFrame) -> str:
    """Content hash of a frame of this schema: the same for any order of rows and columns, and in any version.

    Columns in `schema.unversioned` do not count. NaN counts as one value, -0.0 as 0.0, null as null.
    Returns 32 hexadecimal digits.
    """
    names = sorted(c for c in schema.columns if c not in schema.unversioned)
    # One value for all NaN (0/0 has another sign bit than a literal one), and one for both zeros.
    frame = frame.select(names).with_columns(
        pl.when(pl.col(c) != 0).then(pl.col(c).fill_nan(float("nan"))).otherwise(pl.col(c).abs())
        for c in names
        if frame.schema[c].is_float()
    )
    frame = frame.sort(list(schema.key) or names)
    missing = frame.select(pl.all().is_null())
    plain = frame.with_columns(
        cs.string().fill_null(""),
        cs.boolean().cast(pl.UInt8).fill_null(0),
        (cs.numeric() | cs.temporal()).to_physical().fill_null(0),
    )
    digest = hashlib.blake2b(f"{schema.name}:{frame.height}".encode(), digest_size=16)
    for name in names:
        nulls = frame[name].null_count()
        digest.update(f"|{name}:{frame.schema[name]}:{nulls}|".encode())
        if nulls:
            digest.update(np.packbits(missing[name].to_numpy()).tobytes())
        values = plain[name]
        if values.dtype == pl.String:
            digest.update(values.str.len_bytes().to_numpy().tobytes())
            digest.update((values.str.join("").item() or "").encode())
        else:
            digest.update(np.ascontiguousarray(values.to_numpy()).tobytes())
    return digest.hexdigest()
