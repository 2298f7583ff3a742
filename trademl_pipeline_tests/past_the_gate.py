"""Months that no stage made: given by a test through the gate, or written past it by who goes to the database himself.

Nothing in the product writes either way.
"""

from dataclasses import dataclass
from datetime import UTC, datetime

import polars as pl

from trademl_pipeline.lake import GatedTable, Lake, TableSchema, UngatedTable
from trademl_pipeline.lake.frames import check_frame, data_version
from trademl_pipeline.lake.gated import Gate, GatedMonth
from trademl_pipeline.lake.publishing import _describe_commit
from trademl_pipeline.lake.tables import qualified
from trademl_pipeline.leakage import AuditReport


def write_past_the_gate(lake: Lake, schema: TableSchema, frame: pl.DataFrame, month: str) -> None:
    """Put rows in the place of a month, and say so in the snapshot as a publish does."""
    rows = check_frame(schema, frame, month, allow_empty=True)
    detail = {
        "table": schema.name,
        "month": month,
        "rows": rows.height,
        "data_version": data_version(schema, rows),
    }
    with lake._engine.transaction({"forged": rows}) as connection:
        connection.begin()
        connection.execute(f"DELETE FROM {qualified(schema.name)} WHERE month = ?", [month])
        if rows.height:
            connection.execute(
                f"INSERT INTO {qualified(schema.name)} BY NAME SELECT *, '{month}' AS month FROM forged"
            )
        _describe_commit(connection, "publish", [detail])
        connection.commit()


def append_past_the_gate(lake: Lake, ledger: TableSchema, frame: pl.DataFrame) -> None:
    """Add rows to a ledger, whatever they say."""
    with lake._engine.transaction({"forged": frame.select(list(ledger.columns))}) as connection:
        connection.begin()
        connection.execute(f"INSERT INTO {qualified(ledger.name)} BY NAME SELECT * FROM forged")
        connection.commit()


def change_beneath(lake: Lake, statement: str) -> None:
    """Run one SQL statement on the tables of the lake; its snapshot says nothing of it."""
    with lake._engine.transaction() as connection:
        connection.begin()
        connection.execute(statement)
        connection.commit()


@dataclass(frozen=True)
class TestRun:
    """The run that publishes what a test made up."""

    __test__ = False

    run_id: str = "made up by a test"
    recorded_at: datetime = datetime(2026, 1, 1, tzinfo=UTC)


def vouched(schema: GatedTable, frame: pl.DataFrame, month: str) -> GatedMonth:
    """A month that a test made up, with an audit that passes whatever it sees."""

    def audit(rows: pl.DataFrame) -> AuditReport:
        return AuditReport((), {probe: {"rows": rows.height} for probe in schema.probes})

    return GatedMonth(schema, frame, month, Gate(audit, TestRun()))


def give(lake: Lake, *items: tuple[GatedTable | UngatedTable, pl.DataFrame, str]) -> None:
    """Publish what a test made up, as inputs of what it tests."""
    months = [
        vouched(schema, frame, month) if isinstance(schema, GatedTable) else (schema, frame, month)
        for schema, frame, month in items
    ]
    lake.publish_many(months, allow_empty=[schema.name for schema, _, _ in items])
