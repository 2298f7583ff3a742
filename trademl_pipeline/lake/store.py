"""The lake: publish a month of a table in one transaction, read it back now or as of an earlier snapshot.

The promise: a published month is whole. Its audit runs inside the transaction, on the rows as they are read
back; whatever goes wrong before the commit (a refusing audit, a conflict, a full disk, a killed process)
leaves the month as it was.
"""

from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from types import TracebackType
from typing import Self

import duckdb
import polars as pl

from trademl_pipeline.lake import maintenance, publishing, reading, tables
from trademl_pipeline.lake.config import LakeConfig, S3Config
from trademl_pipeline.lake.connection import Engine
from trademl_pipeline.lake.frames import check_frame, check_month, data_version
from trademl_pipeline.lake.maintenance import MaintenanceReport
from trademl_pipeline.lake.publishing import Audit, Evidence, Partition, PublishResult
from trademl_pipeline.lake.reading import Months, table_name
from trademl_pipeline.lake.schema import MONTH, TableSchema

__all__ = ["Audit", "Lake", "LakeConfig", "MaintenanceReport", "PublishResult", "S3Config"]


class Lake:
    """A DuckLake: Parquet files, with their catalog in SQLite (default) or PostgreSQL.

    Use it as a context manager. Safe for threads; each operation runs on a connection of its own. Processes
    share a lake by opening it with the same configuration. All methods raise LakeBusyError,
    CatalogUnreachableError and LakeConfigError where the lake cannot be used.
    """

    def __init__(self, config: LakeConfig) -> None:
        self.config = config
        self._engine = Engine(config)

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
        self._engine.close()

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

        After an error the lake is unchanged, whichever it was; what the audit raises goes through as it is.

        Args:
            schema: of the table, which is made where it is missing.
            frame: exactly the schema's columns, in any order of columns and rows.
            month: partition key "YYYY-MM-01"; the rows' `schema.month_column` must lie in it.
            audit: gets the month as read back within the transaction, sorted; raising rolls back. It also
                runs where the month holds the same data already. It may read the lake and append to other
                tables, but sees the lake as it was before this transaction.
            allow_empty: a frame without rows empties the month instead of raising.

        Raises:
            SchemaMismatchError: a column is missing, unexpected or of another type.
            EmptyFrameError: there are no rows where some are due.
            NullValueError: a column holds nulls that must not.
            DuplicateKeyError: two rows have one key.
            WrongMonthError: a row lies outside the month.
            DiskFullError: there is no room left.
        """
        audits = {schema.name: audit} if audit is not None else None
        return self.publish_many(
            [(schema, frame, month)], audits=audits, allow_empty=[schema.name] if allow_empty else []
        )[0]

    def publish_many(
        self,
        items: Sequence[tuple[TableSchema, pl.DataFrame, str]],
        *,
        audits: Mapping[str, Audit] | None = None,
        evidence: Evidence | None = None,
        append: Sequence[tuple[TableSchema, pl.DataFrame]] = (),
        allow_empty: Collection[str] = (),
    ) -> list[PublishResult]:
        """Replace one month of each of several tables in one transaction: all of them or none. Otherwise as `publish`.

        Args:
            items: schema, frame and month key of each table, as `publish` takes them; each table once.
            audits: table name -> audit of that table's month; they run when all the tables are written, in
                the order of `items`.
            evidence: gets what the audits returned, by table name, and gives a ledger's schema and the rows
                to append to it in the same transaction; not asked where nothing has changed.
            append: ledgers and the rows that they gain in the same transaction; frames without rows are left
                out.
            allow_empty: names of the tables whose frame may be empty.

        Returns:
            One result per item, in their order.

        Raises:
            ValueError: a table is named twice, `audits` or `allow_empty` name one that is not among the
                items, a ledger stands among the items, or a table that is no ledger in `append`.
        """
        audits = audits or {}
        names = [schema.name for schema, _, _ in items]
        if not names or len(set(names)) != len(names):
            raise ValueError(f"publish_many: name each table once, got {names}")
        strangers = sorted((set(audits) | set(allow_empty)) - set(names))
        if strangers:
            raise ValueError(
                f"publish_many: audits or allow_empty name {strangers}, not among the tables {names}"
            )
        partitions: list[Partition] = []
        for schema, frame, month in items:
            if schema.is_ledger:
                raise ValueError(
                    f"table {schema.name} is a ledger, whose rows are never replaced: use append"
                )
            check_month(month)
            checked = check_frame(schema, frame, month, allow_empty=schema.name in allow_empty)
            partitions.append(Partition(schema, checked, month, data_version(schema, checked)))
        appended: list[tuple[TableSchema, pl.DataFrame]] = []
        for schema, rows in append:
            if not schema.is_ledger:
                raise ValueError(f"table {schema.name} is no ledger: give it among the items, with its month")
            if rows.height:
                appended.append((schema, check_frame(schema, rows, None, allow_empty=False)))
        return publishing.publish(self._engine, partitions, audits, evidence, appended)

    def merging(self, schema: TableSchema, month: str) -> AbstractContextManager[None]:
        """Hold a month of a table from reading it to publishing what was made of it and of new rows.

        Writers that merge the same month wait for one another; those that only publish it do not.

        Raises:
            LakeBusyError: another writer held the month for longer than `lock_timeout`.
        """
        return self._engine.locks.merging(schema.name, check_month(month))

    def append(self, schema: TableSchema, frame: pl.DataFrame) -> PublishResult:
        """Add rows to a ledger (a table whose schema has its own `month` column), replacing nothing.

        Frames are checked as by `publish`, with its errors.

        Raises:
            ValueError: the table is no ledger.
            CatalogUnreachableError: the connection broke and the rows may or may not be in.
        """
        if not schema.is_ledger:
            raise ValueError(
                f"table {schema.name} is no ledger (its schema has no {MONTH!r} column): use publish"
            )
        checked = check_frame(schema, frame, None, allow_empty=False)
        return publishing.append(self._engine, schema, checked)

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
        """Read a table, sorted by its key. Only the files and columns that are asked for are read.

        Args:
            table: schema, whose columns and order count, or name.
            months: a tuple is a range (first, last), both inclusive; any other sequence is a set of month
                keys. None: all.
            columns: only these, in this order; by default all, in the schema's order.
            symbols: only rows of these symbols.
            snapshot: the table as it was at that snapshot.
            with_month: add the partition's `month`.

        Raises:
            MissingTableError: there is no such table.
            MissingColumnError: the table lacks a column.
            MissingSnapshotError: the snapshot has expired or never was.
        """

        def once(connection: duckdb.DuckDBPyConnection) -> pl.DataFrame:
            return reading.read(connection, table, months, columns, symbols, snapshot, with_month)

        return self._engine.query(f"read of {table_name(table)}", once)

    def months(self, table: TableSchema | str, *, snapshot: int | None = None) -> list[str]:
        """Month keys that have rows, ascending. Raises MissingTableError, MissingSnapshotError."""
        doing = f"list of months of {table_name(table)}"
        return self._engine.query(doing, lambda c: reading.months_of(c, table, snapshot))

    def describe(self, table: TableSchema | str, *, snapshot: int | None = None) -> pl.DataFrame:
        """Count, by month, rows and, where the table has these columns, distinct sessions and symbols.

        Raises:
            MissingTableError: there is no such table.
            MissingSnapshotError: the snapshot has expired or never was.
        """
        doing = f"description of {table_name(table)}"
        return self._engine.query(doing, lambda c: reading.describe(c, table, snapshot))

    def data_version(self, schema: TableSchema, month: str, *, snapshot: int | None = None) -> str:
        """Return the content hash of a month as it stands, the same as its PublishResult had.

        Raises:
            MissingTableError: there is no such table.
            MissingSnapshotError: the snapshot has expired or never was.
        """
        check_month(month)
        return data_version(schema, self.read(schema, months=[month], snapshot=snapshot))

    def data_versions(
        self, tables: Sequence[tuple[TableSchema, tuple[str, str]]], *, snapshot: int | None = None
    ) -> dict[str, dict[str, str]]:
        """Return the content hash of every month of some tables, as recorded when it was published.

        Args:
            tables: schema and range of months (first, last), both inclusive. Months whose publish maintenance
                has expired are read and hashed.
            snapshot: as of which the months are listed; None: now.

        Returns:
            Table name -> {month key: content hash}, ascending; months without rows are not in it.

        Raises:
            MissingTableError: there is no such table.
            MissingSnapshotError: the snapshot has expired or never was.
        """
        recorded = self._engine.query("recorded data versions", lambda c: reading.versions(c, snapshot))
        versions: dict[str, dict[str, str]] = {}
        for schema, (first, last) in tables:
            months = [m for m in self.months(schema, snapshot=snapshot) if first <= m <= last]
            versions[schema.name] = {
                month: recorded.get((schema.name, month))
                or self.data_version(schema, month, snapshot=snapshot)
                for month in months
            }
        return versions

    def tables(self) -> list[str]:
        """Names of the tables, sorted."""
        return self._engine.query("list of tables", tables.table_names)

    def snapshot(self) -> int:
        """Id of the current snapshot; it grows with each transaction that changes the lake."""
        return self._engine.query("current snapshot", publishing.current_snapshot)

    def snapshots(self) -> pl.DataFrame:
        """The snapshots that can be read: snapshot, time (UTC), message, detail (JSON: table, month, ...)."""

        def once(connection: duckdb.DuckDBPyConnection) -> pl.DataFrame:
            frame = connection.execute(
                "SELECT snapshot_id AS snapshot, snapshot_time AS time, commit_message AS message, "
                "commit_extra_info AS detail FROM snapshots() ORDER BY snapshot_id"
            ).pl()
            return frame.with_columns(pl.col("time").dt.convert_time_zone("UTC"))

        return self._engine.query("list of snapshots", once)

    def maintain(
        self, *, older_than: datetime, keep: Collection[int] = (), reclaim_now: bool = False
    ) -> MaintenanceReport:
        """Merge small files, expire snapshots made before `older_than`, delete the files that nothing needs.

        Args:
            older_than: with a time zone. It must lie further back than the longest publish lasts, since files
                that a killed process left behind are known by their age.
            keep: snapshots that stay readable, such as those that models were trained on. The current one
                always stays.
            reclaim_now: also delete at once what the expired snapshots alone needed. A reader that is at work
                on one of them fails then; by default such files go with a later maintenance, whose
                `older_than` lies on a later day (UTC) than the expiry.

        Raises:
            ValueError: `older_than` has no time zone.
            MissingSnapshotError: `keep` names a snapshot that is not there; nothing is done then.
        """
        return maintenance.maintain(self._engine, older_than, keep, reclaim_now)
