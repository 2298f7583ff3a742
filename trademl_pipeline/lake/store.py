"""The lake: publish a month of a table in one transaction, read it back now or as of an earlier snapshot.

The promise: a published month is whole. Its audit runs inside the transaction, on the rows as they are read
back; whatever goes wrong before the commit (a refusing audit, a conflict, a full disk, a killed process)
leaves the month as it was.
"""

import contextlib
import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, NoReturn, Self, TypeVar

import duckdb
import polars as pl
from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_random_exponential

from trademl_pipeline.lake import tables
from trademl_pipeline.lake.config import LakeConfig, S3Config
from trademl_pipeline.lake.connection import ALIAS, Connections, is_busy, is_lost, quote, translate
from trademl_pipeline.lake.errors import LakeCorruptError, MissingColumnError
from trademl_pipeline.lake.frames import check_frame, check_month, data_version
from trademl_pipeline.lake.schemas import MONTH, TableSchema

__all__ = ["Lake", "LakeConfig", "PublishResult", "S3Config"]

T = TypeVar("T")
Audit = Callable[[pl.DataFrame], Any]
Months = tuple[str, str] | Sequence[str] | None


@dataclass(frozen=True)
class PublishResult:
    """What a publish did.

    snapshot: the lake's snapshot that holds the month as published (the current one where nothing changed).
    rows: rows of the month now; replaced: rows it had before; attempts: transactions it took.
    data_version: content hash; unchanged: the month held just that already and nothing was written.
    audited: what the audit returned, None without one.
    """

    snapshot: int
    rows: int
    replaced: int
    attempts: int
    data_version: str
    unchanged: bool
    audited: Any = None


class _AuditRefusedError(Exception):
    """Carries the audit's own exception through the retries and out of the transaction unchanged."""

    def __init__(self, original: BaseException) -> None:
        super().__init__(original)
        self.original = original


class Lake:
    """A DuckLake: Parquet files with their catalog in SQLite (default) or PostgreSQL.

    Use it as a context manager. Safe for threads; each operation runs on a connection of its own. Processes
    share a lake by opening it with the same configuration.
    """

    def __init__(self, config: LakeConfig) -> None:
        self.config = config
        self._connections = Connections(config)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Lake({self.config!r})"

    def close(self) -> None:
        """Let go of the catalog. A later operation opens it again."""
        self._connections.close()

    def publish(
        self,
        schema: TableSchema,
        frame: pl.DataFrame,
        month: str,
        *,
        audit: Audit | None = None,
        allow_empty: bool = False,
    ) -> PublishResult:
        """Replace one month of a table by the frame, in one transaction.

        frame: exactly the schema's columns, in any order of columns and rows.
        month: partition key "YYYY-MM-01"; the rows' `schema.month_column` must lie in it.
        audit: gets the month as read back within the transaction, sorted; raising rolls back, and the
        exception goes
            through unchanged. It runs again where the transaction has to be retried, and also where the
            month holds the same data already.
        allow_empty: a frame without rows empties the month instead of raising.

        Raises: the errors of `check_frame`, SchemaMismatchError against the stored table, LakeBusyError,
        DiskFullError, CatalogUnreachableError, and whatever the audit raises.
        """
        audits = {schema.name: audit} if audit is not None else None
        empty = [schema.name] if allow_empty else []
        return self.publish_many([(schema, frame, month)], audits=audits, allow_empty=empty)[0]

    def publish_many(
        self,
        items: Sequence[tuple[TableSchema, pl.DataFrame, str]],
        *,
        audits: Mapping[str, Audit] | None = None,
        allow_empty: Collection[str] = (),
    ) -> list[PublishResult]:
        """Replace one month of each of several tables in one transaction: all of them or none.

        audits: table name -> audit of that table's month; they run when all the tables are written, in the
        order of
            `items`. allow_empty: names of the tables whose frame may be empty. Otherwise as `publish`.

        Returns: one result per item, in their order.
        """
        audits = audits or {}
        names = [schema.name for schema, _, _ in items]
        if len(set(names)) != len(names):
            raise ValueError(f"publish_many: each table once, got {names}")
        unknown = set(audits) - set(names)
        if unknown:
            raise ValueError(
                f"publish_many: audits for {sorted(unknown)}, which are not among the tables {names}"
            )
        checked = []
        for schema, frame, month in items:
            if schema.is_ledger:
                raise ValueError(f"table {schema.name} is a ledger: use append")
            check_month(month)
            frame = check_frame(schema, frame, month, allow_empty=schema.name in allow_empty)
            checked.append(_Item(schema, frame, month, data_version(schema, frame)))
        doing = "publish of " + ", ".join(f"{i.schema.name} {i.month}" for i in checked)
        return self._retried(doing, lambda attempt: self._publish_once(checked, audits, attempt))

    def append(self, schema: TableSchema, frame: pl.DataFrame) -> PublishResult:
        """Add rows to a ledger (a table whose schema has its own `month` column), replacing nothing.

        Raises: as `publish`.
        """
        if not schema.is_ledger:
            raise ValueError(
                f"table {schema.name} is no ledger (its schema has no {MONTH!r} column): use publish"
            )
        frame = check_frame(schema, frame, None, allow_empty=False)
        version = data_version(schema, frame)

        def once(attempt: int) -> PublishResult:
            with self._transaction() as connection:
                connection.register("incoming", frame.to_arrow())
                connection.begin()
                tables.ensure_table(connection, schema)
                connection.execute(
                    f"INSERT INTO {tables.qualified(schema.name)} BY NAME SELECT * FROM incoming"
                )
                connection.commit()
                return PublishResult(_last_snapshot(connection), frame.height, 0, attempt, version, False)

        return self._retried(f"append to {schema.name}", once, idempotent=False)

    def read(
        self,
        table: TableSchema | str,
        *,
        months: Months = None,
        columns: Sequence[str] | None = None,
        symbols: Sequence[str] | None = None,
        snapshot: int | None = None,
        with_month: bool = False,
    ) -> pl.DataFrame:
        """Read a table, sorted by its key.

        months: a tuple is a range (first, last), both inclusive; any other sequence is a set of month keys.
        columns: only these, in this order; by default all, in the schema's order.
        symbols: only rows of these symbols.
        snapshot: the table as it was at that snapshot.
        with_month: keep the `month` column of the partition.

        Raises: MissingTableError, MissingColumnError, MissingSnapshotError.
        """
        name = table if isinstance(table, str) else table.name

        def once(_: int) -> pl.DataFrame:
            with self._transaction() as connection:
                stored = tables.require_columns(connection, name, snapshot)
                wanted = _wanted_columns(table, stored, columns, with_month)
                order = _order(connection, table, stored)
                where, parameters = _where(months, symbols, stored, name)
                needed = list(dict.fromkeys([*wanted, *order]))
                frame = tables.fetch(connection, name, needed, where, parameters, snapshot)
                return (frame.sort(order) if order else frame).select(wanted)

        return self._retried(f"read of {name}", once)

    def months(self, table: TableSchema | str, *, snapshot: int | None = None) -> list[str]:
        """Month keys that have rows, ascending. Raises MissingTableError."""
        return self.describe(table, snapshot=snapshot)["month"].to_list()

    def describe(self, table: TableSchema | str, *, snapshot: int | None = None) -> pl.DataFrame:
        """Rows per month: columns month, rows and, where the table has them, sessions and symbols (distinct
        counts).

        Raises: MissingTableError, MissingSnapshotError.
        """
        name = table if isinstance(table, str) else table.name

        def once(_: int) -> pl.DataFrame:
            with self._transaction() as connection:
                stored = tables.require_columns(connection, name, snapshot)
                counts = [f"count(DISTINCT {c}) AS {c}s" for c in ("session", "symbol") if c in stored]
                selected = ", ".join([MONTH, "count(*) AS rows", *counts])
                source = f"{tables.qualified(name)}{tables.at(snapshot)}"
                return connection.execute(
                    f"SELECT {selected} FROM {source} GROUP BY {MONTH} ORDER BY {MONTH}"
                ).pl()

        return self._retried(f"describe of {name}", once)

    def tables(self) -> list[str]:
        """Names of the tables, sorted."""

        def once(_: int) -> list[str]:
            with self._transaction() as connection:
                return tables.table_names(connection)

        return self._retried("list of tables", once)

    def snapshot(self) -> int:
        """Id of the current snapshot; it grows by one with each transaction that changes the lake."""

        def once(_: int) -> int:
            with self._transaction() as connection:
                return _current_snapshot(connection)

        return self._retried("current snapshot", once)

    def snapshots(self) -> pl.DataFrame:
        """All snapshots that can be read: columns snapshot, time (UTC), message, detail (JSON of what was "
        "published)."""

        def once(_: int) -> pl.DataFrame:
            with self._transaction() as connection:
                return connection.execute(
                    f"SELECT snapshot_id AS snapshot, snapshot_time AS time, commit_message AS message, "
                    f"commit_extra_info AS detail FROM {ALIAS}.snapshots() ORDER BY snapshot_id"
                ).pl().with_columns(pl.col("time").dt.convert_time_zone("UTC"))  # fmt: skip

        return self._retried("list of snapshots", once)

    def _publish_once(
        self, items: "list[_Item]", audits: Mapping[str, Audit], attempt: int
    ) -> list[PublishResult]:
        with self._transaction() as connection:
            for number, item in enumerate(items):
                connection.register(f"incoming_{number}", item.frame.to_arrow())
            connection.begin()
            replaced, unchanged = [], []
            for number, item in enumerate(items):
                made = tables.ensure_table(connection, item.schema)
                old = item.schema.empty() if made else _read_month(connection, item)
                replaced.append(old.height)
                unchanged.append(not made and data_version(item.schema, old) == item.version)
                if not unchanged[-1]:
                    _replace_month(connection, item, number)
            audited = []
            for item in items:
                audited.append(_audit(connection, item, audits.get(item.schema.name)))
            if all(unchanged):
                snapshot = _current_snapshot(connection)
                connection.rollback()
            else:
                _describe_commit(connection, items, unchanged)
                connection.commit()
                snapshot = _last_snapshot(connection)
        return [
            PublishResult(snapshot, i.frame.height, replaced[n], attempt, i.version, unchanged[n], audited[n])
            for n, i in enumerate(items)
        ]

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """A fresh connection; whatever was begun on it and not committed is rolled back."""
        connection = self._connections.cursor()
        try:
            yield connection
        except BaseException:
            with contextlib.suppress(duckdb.Error):
                connection.rollback()
            raise
        finally:
            connection.close()

    def _retried(self, doing: str, once: Callable[[int], T], *, idempotent: bool = True) -> T:
        def again(error: BaseException) -> bool:
            if idempotent and is_lost(error):
                self._connections.close()
                return True
            return is_busy(error)

        retrying = Retrying(
            stop=stop_after_attempt(self.config.retries),
            wait=wait_random_exponential(multiplier=0.05, max=2.0),
            retry=retry_if_exception(again),
            reraise=True,
        )
        try:
            for attempt in retrying:
                with attempt:
                    return once(attempt.retry_state.attempt_number)
        except _AuditRefusedError as refused:
            raise refused.original from refused.original.__cause__
        except duckdb.Error as error:
            # "from None": the original text may hold the connection string with its password.
            raise translate(error, self.config, doing) from None
        _unreachable()


@dataclass(frozen=True)
class _Item:
    schema: TableSchema
    frame: pl.DataFrame
    month: str
    version: str


def _unreachable() -> NoReturn:
    raise AssertionError("the retry loop either returns or raises")


def _read_month(connection: duckdb.DuckDBPyConnection, item: _Item) -> pl.DataFrame:
    schema = item.schema
    frame = tables.fetch(connection, schema.name, list(schema.columns), f"{MONTH} = ?", [item.month])
    return frame.sort(schema.order) if schema.order else frame


def _replace_month(connection: duckdb.DuckDBPyConnection, item: _Item, number: int) -> None:
    table = tables.qualified(item.schema.name)
    connection.execute(f"DELETE FROM {table} WHERE {MONTH} = ?", [item.month])
    if item.frame.height:
        connection.execute(
            f"INSERT INTO {table} BY NAME SELECT *, {quote(item.month)} AS {MONTH} FROM incoming_{number}"
        )


def _audit(connection: duckdb.DuckDBPyConnection, item: _Item, audit: Audit | None) -> Any:
    stored = _read_month(connection, item)
    if data_version(item.schema, stored) != item.version:
        raise LakeCorruptError(
            f"publish of {item.schema.name} {item.month}: the {stored.height} rows read back are not the "
            f"{item.frame.height} rows written; nothing was committed. Check the storage."
        )
    if audit is None:
        return None
    try:
        return audit(stored)
    except BaseException as error:
        raise _AuditRefusedError(error) from error


def _describe_commit(
    connection: duckdb.DuckDBPyConnection, items: list[_Item], unchanged: list[bool]
) -> None:
    written = [i for i, same in zip(items, unchanged, strict=True) if not same]
    detail = [
        {"table": i.schema.name, "month": i.month, "rows": i.frame.height, "data_version": i.version}
        for i in written
    ]
    message = "publish " + ", ".join(f"{i.schema.name} {i.month}" for i in written)
    connection.execute(
        f"CALL {ALIAS}.set_commit_message('trademl', {quote(message)}, extra_info => "
        f"{quote(json.dumps(detail))})"
    )


def _current_snapshot(connection: duckdb.DuckDBPyConnection) -> int:
    row = connection.execute(f"FROM {ALIAS}.current_snapshot()").fetchone()
    assert row is not None
    return int(row[0])


def _last_snapshot(connection: duckdb.DuckDBPyConnection) -> int:
    row = connection.execute(f"FROM {ALIAS}.last_committed_snapshot()").fetchone()
    assert row is not None
    return int(row[0])


def _wanted_columns(
    table: TableSchema | str, stored: dict[str, str], columns: Sequence[str] | None, with_month: bool
) -> list[str]:
    name = table if isinstance(table, str) else table.name
    if columns is not None:
        absent = [c for c in columns if c not in stored]
        if absent:
            raise MissingColumnError(f"table {name!r} has no column {absent}; it has {list(stored)}")
        return list(dict.fromkeys([*columns, *([MONTH] if with_month else [])]))
    declared = [] if isinstance(table, str) else [c for c in table.columns if c in stored]
    ordered = list(dict.fromkeys([*declared, *(c for c in stored if c != MONTH)]))
    is_ledger = MONTH in declared
    return ordered if is_ledger or not with_month else [*ordered, MONTH]


def _order(
    connection: duckdb.DuckDBPyConnection, table: TableSchema | str, stored: dict[str, str]
) -> list[str]:
    order = (
        tables.table_comment(connection, table).get("order", []) if isinstance(table, str) else table.order
    )
    return [c for c in order if c in stored]


def _where(
    months: Months, symbols: Sequence[str] | None, stored: dict[str, str], name: str
) -> tuple[str, list[Any]]:
    clauses, parameters = [], []
    if isinstance(months, tuple) and len(months) == 2:
        clauses.append(f"{MONTH} BETWEEN ? AND ?")
        parameters += [check_month(months[0]), check_month(months[1])]
    elif months is not None:
        clauses.append(_among(MONTH, [check_month(m) for m in months], parameters))
    if symbols is not None:
        if "symbol" not in stored:
            raise MissingColumnError(
                f"table {name!r} has no column 'symbol' to filter by; it has {list(stored)}"
            )
        clauses.append(_among("symbol", list(symbols), parameters))
    return " AND ".join(clauses), parameters


def _among(column: str, values: list[str], parameters: list[Any]) -> str:
    if not values:
        return "false"
    parameters += values
    return f"{column} IN ({', '.join('?' * len(values))})"
