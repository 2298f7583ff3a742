"""The publish transaction: replace months, read them back, audit them, commit; or leave all as it was."""

import contextlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import duckdb
import polars as pl

from trademl_pipeline.lake import tables
from trademl_pipeline.lake.connection import Engine, quote
from trademl_pipeline.lake.errors import LakeCorruptError
from trademl_pipeline.lake.frames import check_frame, data_version
from trademl_pipeline.lake.gated import Gate, audit_rows, require_gate, require_passed
from trademl_pipeline.lake.schema import MONTH, GatedTable, TableSchema

Audit = Callable[[pl.DataFrame], Any]
# A ledger and the rows that it gains.
Rows = tuple[TableSchema, pl.DataFrame]


@dataclass(frozen=True)
class PublishResult:
    """The outcome of a publish.

    Attributes:
        snapshot: the lake's snapshot that holds the month as published (the current one where nothing
            changed).
        rows: rows of the month now.
        replaced: rows it had before.
        attempts: transactions it took.
        data_version: content hash.
        unchanged: the month held just that already and nothing was written.
        audited: result of the audit, None without one.
    """

    snapshot: int
    rows: int
    replaced: int
    attempts: int
    data_version: str
    unchanged: bool
    audited: Any = None


@dataclass(frozen=True)
class Partition:
    """One checked frame on its way into one month of a table.

    Attributes:
        schema: of the table.
        frame: the rows.
        month: month key.
        version: content hash of the rows.
        audit: of the rows as read back, where there is one.
        gate: what audits the month of a gated table.
    """

    schema: TableSchema
    frame: pl.DataFrame
    month: str
    version: str
    audit: Audit | None = None
    gate: Gate[Any] | None = None

    def __post_init__(self) -> None:
        if isinstance(self.schema, GatedTable):
            require_gate(self.schema, self.month, self.gate)

    @property
    def audited_by(self) -> Audit | None:
        """Return what looks at the rows that were written."""
        return self.audit if self.gate is None else self.gate.audit


class _RefusedError(Exception):
    """Carries the audit's own exception past the retries and the translation of errors."""

    def __init__(self, original: BaseException) -> None:
        super().__init__()
        self.original = original


def publish(
    engine: Engine, partitions: Sequence[Partition], appended: Sequence[Rows] = ()
) -> list[PublishResult]:
    """Replace all the partitions in one transaction; see `Lake.publish_many`.

    An audit runs once: what it said of the rows holds for a repeated transaction, which writes the same rows.
    What it raises goes through as it is.

    Args:
        engine: of the lake.
        partitions: checked frames, each with its table, month and audit; one a table.
        appended: ledgers and the checked rows that they gain in the same transaction.

    Returns:
        One result per partition, in their order.

    Raises:
        LakeError: the transaction failed; the lake is unchanged then.
    """
    doing = "publish of " + ", ".join(f"{p.schema.name} {p.month}" for p in partitions)
    verdicts: dict[str, Any] = {}
    refused: BaseException | None = None
    with engine.locks.partitions((p.schema.name, p.month) for p in partitions):
        try:
            return engine.run(
                doing, lambda attempt: _attempt(engine, partitions, appended, verdicts, attempt)
            )
        except _RefusedError as carrier:
            refused = carrier.original
    raise refused


def append(engine: Engine, schema: TableSchema, frame: pl.DataFrame) -> PublishResult:
    """Add the rows of a checked frame to a ledger; see `Lake.append`."""
    version = data_version(schema, frame)

    def once(attempt: int) -> PublishResult:
        with engine.locks.commit_turn(), engine.transaction({"incoming": frame}) as connection:
            connection.begin()
            tables.ensure_table(connection, schema)
            connection.execute(f"INSERT INTO {tables.qualified(schema.name)} BY NAME SELECT * FROM incoming")
            _describe_commit(connection, "append", [{"table": schema.name, "rows": frame.height}])
            connection.commit()
            return PublishResult(last_snapshot(connection), frame.height, 0, attempt, version, False)

    return engine.run(f"append to {schema.name}", once, idempotent=False)


def current_snapshot(connection: duckdb.DuckDBPyConnection) -> int:
    """Id of the snapshot that the connection sees."""
    return _integer(connection, "FROM current_snapshot()")


def last_snapshot(connection: duckdb.DuckDBPyConnection) -> int:
    """Id of the snapshot that this connection's last commit made."""
    return _integer(connection, "FROM last_committed_snapshot()")


def _integer(connection: duckdb.DuckDBPyConnection, sql: str) -> int:
    row = connection.execute(sql).fetchone()
    if row is None:
        raise LakeCorruptError(f"the catalog gives no answer to {sql!r}: restore it from a backup")
    return int(row[0])


def _attempt(
    engine: Engine,
    partitions: Sequence[Partition],
    appended: Sequence[Rows],
    verdicts: dict[str, Any],
    attempt: int,
) -> list[PublishResult]:
    with contextlib.ExitStack() as stack:
        # Audits may take long and may use the lake, so they never run while others wait for the turn to
        # commit.
        audited = verdicts.keys() >= {p.schema.name for p in partitions if p.audited_by is not None}
        if audited:
            stack.enter_context(engine.locks.commit_turn())
        frames = {_incoming(number): partition.frame for number, partition in enumerate(partitions)}
        connection = stack.enter_context(engine.transaction(frames))
        connection.begin()
        replaced: list[pl.DataFrame] = []
        unchanged: list[bool] = []
        for number, partition in enumerate(partitions):
            old, same = _replace(connection, partition, number)
            replaced.append(old)
            unchanged.append(same)
        for partition, old, same in zip(partitions, replaced, unchanged, strict=True):
            # Rows that were left as they are have been read, and found the same, within this transaction.
            stored = old if same else _written(connection, partition)
            _audit(partition, stored, verdicts)
        ledgers = [*appended, *_proofs(partitions, verdicts)]
        if all(unchanged) and not ledgers:
            snapshot = current_snapshot(connection)
            connection.rollback()
        else:
            for schema, rows in ledgers:
                tables.ensure_table(connection, schema)
                _insert(connection, schema, rows)
            written = [_detail(p) for p, same in zip(partitions, unchanged, strict=True) if not same]
            written += [
                {"table": schema.name, "rows": rows.height}
                for schema, rows in (ledgers if all(unchanged) else appended)
            ]
            _describe_commit(connection, "publish", written)
            if not audited:
                stack.enter_context(engine.locks.commit_turn())
            connection.commit()
            snapshot = last_snapshot(connection)
    return [
        PublishResult(
            snapshot, p.frame.height, old.height, attempt, p.version, same, verdicts.get(p.schema.name)
        )
        for p, old, same in zip(partitions, replaced, unchanged, strict=True)
    ]


def _insert(connection: duckdb.DuckDBPyConnection, schema: TableSchema, frame: pl.DataFrame) -> None:
    """Append a frame that was not there when the transaction began."""
    connection.register("appended", cast(Any, frame.to_arrow()))
    try:
        connection.execute(f"INSERT INTO {tables.qualified(schema.name)} BY NAME SELECT * FROM appended")
    finally:
        connection.unregister("appended")


def _incoming(number: int) -> str:
    return f"incoming_{number}"


def _replace(
    connection: duckdb.DuckDBPyConnection, partition: Partition, number: int
) -> tuple[pl.DataFrame, bool]:
    """Put the frame in the month's place. Returns the rows before, and whether it was there already."""
    schema = partition.schema
    created = tables.ensure_table(connection, schema)
    old = schema.empty() if created else _read_back(connection, partition)
    if not created and data_version(schema, old) == partition.version:
        return old, True
    table = tables.qualified(schema.name)
    if old.height:
        connection.execute(f"DELETE FROM {table} WHERE {MONTH} = ?", [partition.month])
    if partition.frame.height:
        connection.execute(
            f"INSERT INTO {table} BY NAME SELECT *, {quote(partition.month)} AS {MONTH} FROM "
            f"{_incoming(number)}"
        )
    return old, False


def _read_back(connection: duckdb.DuckDBPyConnection, partition: Partition) -> pl.DataFrame:
    schema = partition.schema
    frame = tables.fetch(connection, schema.name, list(schema.columns), f"{MONTH} = ?", [partition.month])
    return frame.sort(schema.order, maintain_order=True) if schema.order else frame


def _written(connection: duckdb.DuckDBPyConnection, partition: Partition) -> pl.DataFrame:
    """The month as it is read back.

    Raises:
        LakeCorruptError: it is not what was written.
    """
    stored = _read_back(connection, partition)
    if data_version(partition.schema, stored) != partition.version:
        raise LakeCorruptError(
            f"publish of {partition.schema.name} {partition.month}: the {stored.height} rows read back are not the "
            f"{partition.frame.height} rows written; nothing was committed. Check the storage."
        )
    return stored


def _audit(partition: Partition, stored: pl.DataFrame, verdicts: dict[str, Any]) -> None:
    name, audit = partition.schema.name, partition.audited_by
    if audit is None or name in verdicts:
        return
    try:
        verdict = audit(stored)
        if isinstance(partition.schema, GatedTable):
            require_passed(partition.schema, partition.month, verdict)
    except BaseException as error:
        raise _RefusedError(error) from error
    verdicts[name] = verdict


def _proofs(partitions: Sequence[Partition], verdicts: Mapping[str, Any]) -> list[Rows]:
    """The rows that the ledgers of audits gain: of each gated month its audit, and the content that was written."""
    proofs: list[Rows] = []
    for p in partitions:
        if isinstance(p.schema, GatedTable) and p.gate is not None:
            rows = audit_rows(p.schema, p.month, verdicts[p.schema.name], p.gate.run, p.version)
            proofs.append((p.schema.ledger, check_frame(p.schema.ledger, rows, None, allow_empty=False)))
    return proofs


def _detail(partition: Partition) -> dict[str, Any]:
    return {
        "table": partition.schema.name,
        "month": partition.month,
        "rows": partition.frame.height,
        "data_version": partition.version,
    }


def _describe_commit(
    connection: duckdb.DuckDBPyConnection, action: str, details: Sequence[Mapping[str, Any]]
) -> None:
    what = ", ".join(" ".join(str(d[k]) for k in ("table", "month") if k in d) for d in details)
    connection.execute(
        f"CALL set_commit_message('trademl', {quote(f'{action} {what}')}, extra_info => "
        f"{quote(json.dumps(details))})"
    )
