"""The lake: publish a month of a table in one transaction, read it back now or as of an earlier snapshot.

The promise: a published month is whole. Its audit runs inside the transaction, on the rows as they are read
back; whatever goes wrong before the commit (a refusing audit, a conflict, a full disk, a killed process)
leaves the month as it was. A table that is gated has no other way in: what its audit returned, and the content that it
was given, stand in the ledger of audits by the same transaction.
"""

from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from types import TracebackType
from typing import Any, Self, overload

import duckdb
import polars as pl

from trademl_pipeline.lake import maintenance, publishing, reading, tables
from trademl_pipeline.lake.config import LakeConfig, S3Config
from trademl_pipeline.lake.connection import Engine
from trademl_pipeline.lake.frames import check_frame, check_month, data_version
from trademl_pipeline.lake.gated import (
    Gate,
    GatedMonth,
    Month,
    Report,
    ReportT,
    Stamp,
    audit_rows,
    require_gate,
    require_kind,
    require_report,
)
from trademl_pipeline.lake.maintenance import MaintenanceReport
from trademl_pipeline.lake.publishing import Audit, Partition, PublishResult, Rows
from trademl_pipeline.lake.reading import Months, table_name
from trademl_pipeline.lake.schema import AuditLedger, GatedTable, Ledger, TableSchema, UngatedTable

__all__ = ["Audit", "Lake", "LakeConfig", "MaintenanceReport", "PublishResult", "S3Config"]

UngatedMonth = tuple[UngatedTable, pl.DataFrame, str]


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

    @overload
    def publish(
        self,
        schema: UngatedTable,
        frame: pl.DataFrame,
        month: str,
        *,
        audit: Audit | None = None,
        allow_empty: bool = False,
    ) -> PublishResult: ...

    @overload
    def publish(
        self,
        schema: GatedTable,
        frame: pl.DataFrame,
        month: str,
        *,
        gate: Gate[Any],
        allow_empty: bool = False,
    ) -> PublishResult: ...

    def publish(
        self,
        schema: TableSchema,
        frame: pl.DataFrame,
        month: str,
        *,
        audit: Audit | None = None,
        gate: Gate[Any] | None = None,
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
            gate: of a gated table, which has to have one: its audit runs as `audit` does, its report has to have
                passed with every probe of the table, and stands in the table's ledger by the same transaction.
            allow_empty: a frame without rows empties the month instead of raising.

        Raises:
            UnauditedError: the table is gated, and there is no gate, or its audit returned anything but a report that
                passed with every probe of the table; or the lake has the table on record as gated, and the schema
                says that it is not.
            SchemaMismatchError: a column is missing, unexpected or of another type.
            EmptyFrameError: there are no rows where some are due.
            NullValueError: a column holds nulls that must not.
            DuplicateKeyError: two rows have one key.
            WrongMonthError: a row lies outside the month.
            DiskFullError: there is no room left.
        """
        allowed = [schema.name] if allow_empty else []
        if isinstance(schema, GatedTable):
            return self.publish_many(
                [GatedMonth(schema, frame, month, require_gate(schema, month, gate))], allow_empty=allowed
            )[0]
        plain = require_kind(schema, UngatedTable, "publish")
        audits = {schema.name: audit} if audit is not None else None
        return self.publish_many([(plain, frame, month)], audits=audits, allow_empty=allowed)[0]

    def publish_many(
        self,
        items: Sequence[UngatedMonth | GatedMonth],
        *,
        audits: Mapping[str, Audit] | None = None,
        append: Sequence[tuple[Ledger, pl.DataFrame]] = (),
        allow_empty: Collection[str] = (),
    ) -> list[PublishResult]:
        """Replace one month of each of several tables in one transaction: all of them or none. Otherwise as `publish`.

        Args:
            items: schema, frame and month key of each table, with its gate where it is gated; each table once.
            audits: name of an ungated table -> audit of that table's month. All audits run when all the tables are
                written, in the order of `items`.
            append: ledgers and the rows that they gain in the same transaction; frames without rows are left
                out.
            allow_empty: names of the tables whose frame may be empty.

        Returns:
            One result per item, in their order.

        Raises:
            ValueError: a table is named twice, `audits` or `allow_empty` name one that is not among the
                items, a ledger stands among the items, or a table that is no ledger in `append`.
            UnauditedError: a gated table came without its gate, or a ledger of audits with rows; see `publish`.
        """
        audits = audits or {}
        months = [m if isinstance(m, GatedMonth) else Month(*m) for m in items]
        names = [m.schema.name for m in months]
        if not names or len(set(names)) != len(names):
            raise ValueError(f"publish_many: name each table once, got {names}")
        strangers = sorted((set(audits) | set(allow_empty)) - set(names))
        if strangers:
            raise ValueError(
                f"publish_many: audits or allow_empty name {strangers}, not among the tables {names}"
            )
        partitions: list[Partition] = []
        for m in months:
            gate = m.gate if isinstance(m, GatedMonth) else None
            if isinstance(m.schema, GatedTable):
                gate = require_gate(m.schema, m.month, gate)
            else:
                require_kind(m.schema, UngatedTable, "publish")
            check_month(m.month)
            checked = check_frame(m.schema, m.frame, m.month, allow_empty=m.schema.name in allow_empty)
            version = data_version(m.schema, checked)
            partitions.append(Partition(m.schema, checked, m.month, version, audits.get(m.schema.name), gate))
        appended: list[Rows] = []
        for ledger, rows in append:
            require_kind(ledger, Ledger, "append")
            if rows.height:
                appended.append((ledger, check_frame(ledger, rows, None, allow_empty=False)))
        return publishing.publish(self._engine, partitions, appended)

    def record_audit(self, schema: GatedTable, month: str, gate: Gate[ReportT]) -> ReportT:
        """Audit a month as the lake holds it, and put the report on record, whether it passed or not.

        Args:
            schema: of the table.
            month: month key.
            gate: that audits.

        Returns:
            What the audit returned.

        Raises:
            UnauditedError: that is no report.
            MissingTableError: there is no such table.
        """
        rows = self.read(schema, months=[check_month(month)])
        report = gate.audit(rows)
        require_report(schema, month, report)
        self._record(schema.ledger, audit_rows(schema, month, report, gate.run, data_version(schema, rows)))
        return report

    def record_refusal(
        self, schema: GatedTable, month: str, report: Report, run: Stamp, content: str
    ) -> None:
        """Put on record that an audit refused rows, which are not in the lake, or that a month could not be audited.

        Args:
            schema: of the table.
            month: month key.
            report: of the audit.
            run: that audited.
            content: content hash of the rows; empty where there are none.
        """
        self._record(
            schema.ledger, audit_rows(schema, check_month(month), report, run, content, refused=True)
        )

    def _record(self, ledger: AuditLedger, rows: pl.DataFrame) -> None:
        # A probe that could not run has no row, and where none could there is nothing to keep.
        if rows.height:
            publishing.append(self._engine, ledger, check_frame(ledger, rows, None, allow_empty=False))

    def merging(self, schema: TableSchema, month: str) -> AbstractContextManager[None]:
        """Hold a month of a table from reading it to publishing what was made of it and of new rows.

        Writers that merge the same month wait for one another; those that only publish it do not.

        Raises:
            LakeBusyError: another writer held the month for longer than `lock_timeout`.
        """
        return self._engine.locks.merging(schema.name, check_month(month))

    def append(self, schema: Ledger, frame: pl.DataFrame) -> PublishResult:
        """Add rows to a ledger (a table whose schema has its own `month` column), replacing nothing.

        Frames are checked as by `publish`, with its errors.

        Raises:
            ValueError: the table is no ledger.
            UnauditedError: it is one of audits, whose rows come from audits alone: `publish`, `record_audit` and
                `record_refusal` write them.
            CatalogUnreachableError: the connection broke and the rows may or may not be in.
        """
        require_kind(schema, Ledger, "append")
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
        published = self._engine.query(
            "list of months", lambda c: [reading.months_of(c, schema, snapshot) for schema, _ in tables]
        )
        versions: dict[str, dict[str, str]] = {}
        for (schema, (first, last)), there in zip(tables, published, strict=True):
            months = [m for m in there if first <= m <= last]
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
