"""The read query: which columns, rows and order a call of `Lake.read` asks for."""

import json
from collections.abc import Sequence
from typing import Any

import duckdb
import polars as pl

from trademl_pipeline.lake import tables
from trademl_pipeline.lake.errors import MissingColumnError
from trademl_pipeline.lake.frames import check_month
from trademl_pipeline.lake.schema import MONTH, TableSchema

Months = tuple[str, str] | Sequence[str] | None


def read(
    connection: duckdb.DuckDBPyConnection,
    table: TableSchema | str,
    months: Months,
    columns: Sequence[str] | None,
    symbols: Sequence[str] | None,
    snapshot: int | None,
    with_month: bool,
) -> pl.DataFrame:
    """Read a table, sorted by its key; see `Lake.read`.

    Args:
        connection: to the lake.
        table: schema, whose columns and order count, or name.
        months: range (first, last) as a tuple, both inclusive, any other sequence of month keys, or None for
            all.
        columns: only these, in this order; None: all.
        symbols: only rows of these; None: all.
        snapshot: the table as it was at that snapshot; None: as it is.
        with_month: add the partition's `month`.

    Raises:
        MissingTableError: there is no such table.
        MissingColumnError: the table lacks a column.
        MissingSnapshotError: the snapshot has expired or never was.
    """
    name = table_name(table)
    stored = tables.require_columns(connection, name, snapshot)
    selected = _selected_columns(table, stored, columns, with_month)
    order = _order(connection, table, stored)
    where, parameters = _where(name, stored, months, symbols)
    fetched = list(dict.fromkeys([*selected, *order]))
    frame = tables.fetch(connection, name, fetched, where, parameters, snapshot)
    return (frame.sort(order, maintain_order=True) if order else frame).select(selected)


def describe(
    connection: duckdb.DuckDBPyConnection, table: TableSchema | str, snapshot: int | None
) -> pl.DataFrame:
    """Count rows, sessions and symbols per month, see `Lake.describe`."""
    name = table_name(table)
    stored = tables.require_columns(connection, name, snapshot)
    counts = [f"count(DISTINCT {c}) AS {c}s" for c in ("session", "symbol") if c in stored]
    selected = ", ".join([MONTH, "count(*) AS rows", *counts])
    source = f"{tables.qualified(name)}{tables.at(snapshot)}"
    return connection.execute(f"SELECT {selected} FROM {source} GROUP BY {MONTH} ORDER BY {MONTH}").pl()


def months_of(
    connection: duckdb.DuckDBPyConnection, table: TableSchema | str, snapshot: int | None
) -> list[str]:
    """Month keys that have rows, ascending."""
    name = table_name(table)
    tables.require_columns(connection, name, snapshot)
    source = f"{tables.qualified(name)}{tables.at(snapshot)}"
    rows = connection.execute(f"SELECT DISTINCT {MONTH} FROM {source} ORDER BY {MONTH}").fetchall()
    return [row[0] for row in rows]


def versions(connection: duckdb.DuckDBPyConnection, snapshot: int | None) -> dict[tuple[str, str], str]:
    """Content hash by table and month, of the latest publish up to a snapshot, see `Lake.data_versions`."""
    rows = connection.execute(
        "SELECT commit_extra_info FROM snapshots() WHERE commit_extra_info IS NOT NULL "
        "AND (? IS NULL OR snapshot_id <= ?) ORDER BY snapshot_id",
        [snapshot, snapshot],
    ).fetchall()
    details = [detail for (text,) in rows for detail in json.loads(text)]
    return {(d["table"], d["month"]): d["data_version"] for d in details if "data_version" in d}


def table_name(table: TableSchema | str) -> str:
    """The name of a table given by name or by schema."""
    return table if isinstance(table, str) else table.name


def _selected_columns(
    table: TableSchema | str, stored: dict[str, str], columns: Sequence[str] | None, with_month: bool
) -> list[str]:
    if columns is not None:
        absent = [c for c in columns if c not in stored]
        if absent:
            raise MissingColumnError(
                f"table {table_name(table)!r} has no column {absent}; it has {list(stored)}. Columns that "
                "were added later are not in earlier snapshots."
            )
        chosen = list(columns)
    else:
        declared = [] if isinstance(table, str) else [c for c in table.columns if c in stored]
        chosen = [*declared, *(c for c in stored if c not in declared and c != MONTH)]
    return list(dict.fromkeys([*chosen, MONTH] if with_month else chosen))


def _order(
    connection: duckdb.DuckDBPyConnection, table: TableSchema | str, stored: dict[str, str]
) -> list[str]:
    recorded = (
        tables.table_comment(connection, table).get("order", []) if isinstance(table, str) else table.order
    )
    return [c for c in recorded if c in stored]


def _where(
    name: str, stored: dict[str, str], months: Months, symbols: Sequence[str] | None
) -> tuple[str, list[Any]]:
    clauses: list[str] = []
    parameters: list[Any] = []
    if isinstance(months, str) or isinstance(symbols, str):
        raise TypeError(f"read of {name}: give months and symbols as sequences, not as one string")
    if isinstance(months, tuple):
        if len(months) != 2:
            raise ValueError(
                f"read of {name}: a tuple of months is a range (first, last); use a list for a set"
            )
        clauses.append(f"{MONTH} BETWEEN ? AND ?")
        parameters += [check_month(month) for month in months]
    elif months is not None:
        clauses.append(_among(MONTH, [check_month(month) for month in months], parameters))
    if symbols is not None:
        if "symbol" not in stored:
            raise MissingColumnError(
                f"table {name!r} has no column 'symbol' to filter by; it has {list(stored)}"
            )
        clauses.append(_among("symbol", symbols, parameters))
    return " AND ".join(clauses), parameters


def _among(column: str, values: Sequence[str], parameters: list[Any]) -> str:
    if not values:
        return "false"
    parameters += values
    return f"{column} IN ({', '.join('?' * len(values))})"
