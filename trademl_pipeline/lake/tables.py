"""SQL of one table: making it, growing it by columns, describing it. Runs inside the caller's transaction."""

import json
from typing import Any

import duckdb
import polars as pl

from trademl_pipeline.lake.connection import identifier, quote
from trademl_pipeline.lake.errors import MissingSnapshotError, MissingTableError, SchemaMismatchError
from trademl_pipeline.lake.gated import require_writable
from trademl_pipeline.lake.schema import MONTH, SQL_TYPES, TableSchema

# (attached lake, table) -> what was seen to be on record of it.
_RECORDED: dict[tuple[str, str], str] = {}


def qualified(name: str) -> str:
    """The table's name in SQL, in the connection's current database."""
    return f"main.{identifier(name)}"


def at(snapshot: int | None) -> str:
    """The SQL clause that reads a table as of a snapshot; empty for the current one."""
    return "" if snapshot is None else f" AT (VERSION => {int(snapshot)})"


def stored_columns(
    connection: duckdb.DuckDBPyConnection, name: str, snapshot: int | None = None
) -> dict[str, str] | None:
    """Return column name -> SQL type of a table as stored; None where there is no such table.

    Raises:
        MissingSnapshotError: the snapshot has expired or never was.
    """
    try:
        rows = connection.execute(f"DESCRIBE SELECT * FROM {qualified(name)}{at(snapshot)}").fetchall()
    except duckdb.CatalogException as error:
        if "does not exist" in str(error):
            return None
        raise
    except duckdb.InvalidInputException as error:
        if "No snapshot found" in str(error):
            raise MissingSnapshotError(
                f"snapshot {snapshot} is not in the lake: it was never made, or maintenance expired it. "
                "Lake.snapshots() lists those that can be read."
            ) from error
        raise
    return {row[0]: row[1] for row in rows}


def require_columns(
    connection: duckdb.DuckDBPyConnection, name: str, snapshot: int | None = None
) -> dict[str, str]:
    """As `stored_columns`, raising MissingTableError that names the tables there are."""
    stored = stored_columns(connection, name, snapshot)
    if stored is None:
        when = f" at snapshot {snapshot}" if snapshot is not None else ""
        raise MissingTableError(
            f"table {name!r} is not in the lake{when}. Tables there are now: "
            f"{table_names(connection) or 'none'}. Materialize the asset that publishes it first."
        )
    return stored


def table_names(connection: duckdb.DuckDBPyConnection) -> list[str]:
    """Names of all tables of the lake, sorted."""
    rows = connection.execute(
        "SELECT table_name FROM duckdb_tables() WHERE database_name = current_database() ORDER BY table_name"
    ).fetchall()
    return [row[0] for row in rows]


def table_comment(connection: duckdb.DuckDBPyConnection, name: str) -> dict[str, Any]:
    """Kind, description, key and order that were recorded with the table; an empty dict where there are none."""
    row = connection.execute(
        "SELECT comment FROM duckdb_tables() WHERE database_name = current_database() AND table_name = ?",
        [name],
    ).fetchone()
    return json.loads(row[0]) if row and row[0] else {}


def ensure_table(connection: duckdb.DuckDBPyConnection, schema: TableSchema) -> bool:
    """Make the table, or add the columns that its schema has gained. True where it was made.

    Raises:
        SchemaMismatchError: the table has columns that the schema lacks, whose types differ, or that were
            added without being nullable (the months before have no values for them); the message names them.
        UnauditedError: the table is gated, or a ledger of audits, and the schema says that it is not.
    """
    declared = {name: SQL_TYPES[dtype] for name, dtype in schema.columns.items()} | {MONTH: "VARCHAR"}
    stored = stored_columns(connection, schema.name)
    table = qualified(schema.name)
    if stored is None:
        never_null = {*schema.key, MONTH}
        columns = ", ".join(
            f"{identifier(name)} {kind}{' NOT NULL' if name in never_null else ''}"
            for name, kind in declared.items()
        )
        connection.execute(f"CREATE TABLE {table} ({columns})")
        connection.execute(f"ALTER TABLE {table} SET PARTITIONED BY ({MONTH})")
        _record(connection, schema)
        return True
    _check_evolution(schema, stored, declared)
    for name in (c for c in declared if c not in stored):
        connection.execute(f"ALTER TABLE {table} ADD COLUMN {identifier(name)} {declared[name]}")
    _keep_record(connection, schema)
    return False


def _check_evolution(schema: TableSchema, stored: dict[str, str], declared: dict[str, str]) -> None:
    removed = [c for c in stored if c not in declared]
    if removed:
        raise SchemaMismatchError(
            f"table {schema.name}: the lake has columns {removed} that the table schema has not. Published "
            "months would lose them, so they are never dropped: keep them in the schema, or publish under "
            "another name.",
            schema.name,
            removed[0],
            None,
            stored[removed[0]],
        )
    for name, kind in stored.items():
        if kind != declared[name]:
            raise SchemaMismatchError(
                f"table {schema.name}: column {name!r} is {kind} in the lake and {declared[name]} in the "
                "table schema. Restore the type, or publish the new one under another column or table "
                "name.",
                schema.name,
                name,
                declared[name],
                kind,
            )
    for name in declared:
        if name not in stored and name in schema.required:
            raise SchemaMismatchError(
                f"table {schema.name}: the new column {name!r} must be nullable, since the months published "
                "before have no values for it. Declare it nullable, or publish under another table name.",
                schema.name,
                name,
                declared[name],
                None,
            )


def _comment(schema: TableSchema) -> dict[str, Any]:
    return {
        "description": schema.description,
        "key": list(schema.key),
        "order": list(schema.order),
        "kind": schema.kind,
    }


def _keep_record(connection: duckdb.DuckDBPyConnection, schema: TableSchema) -> None:
    """Record the schema's kind, description, key and order where the table has others that it may take the place of.

    Reading a comment makes DuckDB look at every table of the catalog, so it is done once per attached lake. What this
    transaction records is not remembered: it may be rolled back.
    """
    row = connection.execute("SELECT current_database()").fetchone()
    table = (str(row[0]) if row else "", schema.name)
    comment = json.dumps(_comment(schema), sort_keys=True)
    if _RECORDED.get(table) == comment:
        return
    stored = table_comment(connection, schema.name)
    require_writable(schema, stored)
    if stored != _comment(schema):
        _RECORDED.pop(table, None)
        _record(connection, schema)
    else:
        _RECORDED[table] = comment


def _record(connection: duckdb.DuckDBPyConnection, schema: TableSchema) -> None:
    text = json.dumps(_comment(schema), sort_keys=True)
    connection.execute(f"COMMENT ON TABLE {qualified(schema.name)} IS {quote(text)}")


def fetch(
    connection: duckdb.DuckDBPyConnection,
    name: str,
    columns: list[str],
    where: str = "",
    parameters: list[Any] | None = None,
    snapshot: int | None = None,
) -> pl.DataFrame:
    """Read columns of a table into Polars, times as microseconds UTC, in no particular order.

    Args:
        connection: to the lake.
        name: of the table.
        columns: to read, in this order.
        where: SQL condition with `?` for parameters; "" for all rows.
        parameters: values of the `?`, in order.
        snapshot: the table as it was at that snapshot; None: as it is.
    """
    listed = ", ".join(identifier(c) for c in columns)
    sql = f"SELECT {listed} FROM {qualified(name)}{at(snapshot)}{' WHERE ' + where if where else ''}"
    frame = connection.execute(sql, parameters or []).pl()
    zoned = [c for c, t in frame.schema.items() if isinstance(t, pl.Datetime) and t.time_zone]
    return frame.with_columns(pl.col(zoned).dt.convert_time_zone("UTC")) if zoned else frame
