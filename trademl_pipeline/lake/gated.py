"""A gated table is published with an audit of its rows, whose result the lake itself puts on record.

The lake knows no probe. It knows that an audit has to return a report, that the report has to have passed with every
probe that the table names, and of which content: the rows that it read back and gave to the audit.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, NamedTuple, Protocol, TypeVar, runtime_checkable

import polars as pl

from trademl_pipeline.lake.errors import UnauditedError
from trademl_pipeline.lake.schema import MONTH, UTC_TIME, AuditLedger, GatedTable, Ledger, TableSchema


@runtime_checkable
class Report(Protocol):
    """The result of an audit."""

    @property
    def passed(self) -> bool:
        """True if something was tested and nothing was seen."""
        ...

    @property
    def tested(self) -> tuple[str, ...]:
        """Probes that ran."""
        ...

    @property
    def coverage(self) -> Mapping[str, Mapping[str, Any]]:
        """Probe -> what it tested."""
        ...

    def to_frame(self) -> pl.DataFrame:
        """Return a row per violation, and per probe that ran without any."""
        ...


class Stamp(Protocol):
    """The run that records something, and when it was created."""

    @property
    def run_id(self) -> str:
        """Identifies the run."""
        ...

    @property
    def recorded_at(self) -> datetime:
        """When the run was created (UTC)."""
        ...


ReportT = TypeVar("ReportT", bound=Report)
SchemaT = TypeVar("SchemaT", bound=TableSchema)


@dataclass(frozen=True)
class Gate(Generic[ReportT]):
    """An audit, and the run that audits.

    Attributes:
        audit: gets a month as the lake holds it, sorted; its own exceptions go through.
        run: that audits.
    """

    audit: Callable[[pl.DataFrame], ReportT]
    run: Stamp


@dataclass(frozen=True)
class GatedMonth:
    """A month of a gated table on its way into the lake, and what audits it.

    Attributes:
        schema: of the table.
        frame: the rows.
        month: partition key "YYYY-MM-01".
        gate: audits the rows as they are read back.
    """

    schema: GatedTable
    frame: pl.DataFrame
    month: str
    gate: Gate[Any]


class Month(NamedTuple):
    """A month of a table that no gate stands before, as `GatedMonth` is one of a table that is gated."""

    schema: TableSchema
    frame: pl.DataFrame
    month: str


def failing(schema: GatedTable, report: object) -> str:
    """Return why a report does not let a month of a table in, in words; empty where it does.

    Args:
        schema: of the table.
        report: what the audit returned.
    """
    if not isinstance(report, Report):
        return f"its audit returned {type(report).__name__}, no report"
    missing = unrun(schema, report)
    if missing:
        return f"its audit did not run {', '.join(missing)}"
    if report.passed is not True:
        return "its audit did not pass"
    return ""


def unrun(schema: GatedTable, report: Report) -> list[str]:
    """Return the probes of a table that did not run; one that says nothing of what it tested has tested nothing.

    Args:
        schema: of the table.
        report: what its audit returned.
    """
    return [p for p in schema.probes if p not in report.tested or not report.coverage.get(p)]


def require_report(schema: GatedTable, month: str, report: object) -> Report:
    """Return what an audit returned, if it is a report.

    Raises:
        UnauditedError: it is none.
    """
    if not isinstance(report, Report):
        raise UnauditedError(f"audit of {schema.name} {month[:7]}: {failing(schema, report)}")
    return report


def require_gate(schema: GatedTable, month: str, gate: Gate[Any] | None) -> Gate[Any]:
    """Return the gate of a month, if it came with one.

    Raises:
        UnauditedError: it came without.
    """
    if gate is None:
        raise UnauditedError(
            f"publish of {schema.name} {month[:7]}: the table is gated and comes without a gate; the lake is "
            f"unchanged. Give an audit that runs {', '.join(schema.probes)}"
        )
    return gate


def require_kind(schema: TableSchema, kind: type[SchemaT], doing: str) -> SchemaT:
    """Return a table, if it is of the kind that an operation is for.

    Args:
        schema: of the table.
        kind: that the operation is for.
        doing: the operation in words.

    Raises:
        UnauditedError: it is a ledger of audits.
        ValueError: it is of any other kind.
    """
    if isinstance(schema, AuditLedger):
        raise UnauditedError(
            f"{doing} of {schema.name}: a ledger of audits gains rows from audits alone; publish the audited table, "
            "or audit what the lake holds of it (record_audit)"
        )
    if isinstance(schema, kind):
        return schema
    if kind is Ledger:
        raise ValueError(f"table {schema.name} is no ledger (declare it as Ledger): use publish")
    if schema.is_ledger:
        raise ValueError(f"table {schema.name} is a ledger, whose rows are never replaced: use append")
    raise ValueError(
        f"table {schema.name} is a {type(schema).__name__}: declare it as GatedTable, with the probes of its audit, "
        "or, if nothing learns from it, as UngatedTable"
    )


def require_passed(schema: GatedTable, month: str, report: object) -> Report:
    """Return the report of a month that may be published.

    Args:
        schema: of the table.
        month: month key.
        report: what the audit returned.

    Raises:
        UnauditedError: it is no report, did not pass, or lacks a probe of the table.
    """
    why = failing(schema, report)
    if why:
        raise UnauditedError(
            f"publish of {schema.name} {month[:7]}: {why}; the lake is unchanged. The table is gated: give an audit "
            f"that runs {', '.join(schema.probes)}"
        )
    return require_report(schema, month, report)


def require_writable(schema: object, stored: Mapping[str, Any]) -> None:
    """Refuse to write a table as another kind than the lake has on record, where that kind stands before a gate.

    Args:
        schema: by which the table is to be written.
        stored: what the lake has on record of the table.

    Raises:
        UnauditedError: the table is gated or a ledger of audits, and the schema says something else.
    """
    kind = str(stored.get("kind", ""))
    declared = getattr(schema, "kind", "")
    if kind in (GatedTable.kind, AuditLedger.kind) and declared != kind:
        raise UnauditedError(
            f"table {getattr(schema, 'name', '')}: the lake has it on record as {kind}, and it was to be written as "
            f"{declared or 'a bare schema'}; the lake is unchanged. Use the schema that `trademl_pipeline.tables` "
            "declares, with its audit"
        )


def audit_rows(
    schema: GatedTable, month: str, report: Report, run: Stamp, content: str, *, refused: bool = False
) -> pl.DataFrame:
    """Return a report as rows of the ledger of audits.

    Where an audit has refused, the probes that passed say of no content that it was audited.

    Args:
        schema: of the audited table.
        month: month key.
        report: of the audit.
        run: that audited.
        content: content hash of the rows that were audited.
        refused: whatever the report says, the rows were refused.
    """
    seen = pl.lit(content)
    if refused or not report.passed:
        seen = pl.when(pl.col("passed")).then(pl.lit(None, pl.String)).otherwise(seen)
    frame = report.to_frame().with_columns(
        pl.lit(schema.name).alias("table_name"),
        pl.lit(month).alias(MONTH),
        pl.lit(run.run_id).alias("run_id"),
        pl.lit(run.recorded_at).cast(UTC_TIME).alias("recorded_at"),
        seen.cast(pl.String).alias("content"),
    )
    return frame.select(list(schema.ledger.columns))
