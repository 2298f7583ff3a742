"""How a table of the lake is declared: its columns, key and rules.

A table is partitioned by month. Its `month` column (pl.String, "YYYY-MM-01", Dagster's monthly partition
key) is set by `publish` and does not appear in `TableSchema.columns`, except in a ledger, which names it
itself.

What may write a table is said by its kind: `GatedTable` (published with an audit that passed, or not at all),
`UngatedTable` (a record that nothing learns from), `Ledger` (appended, never replaced), `AuditLedger` (written by the
lake itself, from audits that it saw). A bare `TableSchema` can be read.
"""

from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, Literal

import polars as pl
from polars.datatypes import DataTypeClass

MONTH = "month"
UTC_TIME = pl.Datetime("us", "UTC")

SQL_TYPES: dict[Any, str] = {
    pl.String: "VARCHAR",
    pl.Boolean: "BOOLEAN",
    pl.Int8: "TINYINT",
    pl.Int16: "SMALLINT",
    pl.Int32: "INTEGER",
    pl.Int64: "BIGINT",
    pl.UInt8: "UTINYINT",
    pl.UInt16: "USMALLINT",
    pl.UInt32: "UINTEGER",
    pl.UInt64: "UBIGINT",
    pl.Float32: "FLOAT",
    pl.Float64: "DOUBLE",
    pl.Date: "DATE",
    UTC_TIME: "TIMESTAMP WITH TIME ZONE",
    pl.Datetime("us"): "TIMESTAMP",
}


@dataclass(frozen=True)
class TableSchema:
    """The declaration of one table.

    Attributes:
        name: table name in the lake (lower case letters, digits, underscores).
        columns: column name -> Polars type, in the order in which `read` returns them.
        key: columns that identify a row, unique within a month and never null; () where rows have no
            identity.
        nullable: columns that may hold nulls (and NaN, where they are floats); "all" for every column.
        description: of the table, one sentence.
        month_column: the date or UTC time column whose month must be the partition's; None where there is
            none.
        order: columns by which `read` sorts; the key where nothing else is said.
        may_be_empty: a month without rows is a valid month of this table.
        unversioned: columns that do not count for the data version, such as the moment of ingestion.
    """

    name: str
    columns: dict[str, pl.DataType | type[pl.DataType] | DataTypeClass]
    key: tuple[str, ...]
    nullable: frozenset[str] | Literal["all"] = frozenset()
    description: str = ""
    month_column: str | None = None
    order: tuple[str, ...] = ()
    may_be_empty: bool = False
    unversioned: frozenset[str] = field(default=frozenset({"ingested_at"}))

    # As the lake records it with the table; of a bare schema it is empty.
    kind: ClassVar[str] = ""

    def __post_init__(self) -> None:
        if not self.name.isidentifier() or self.name != self.name.lower():
            raise ValueError(
                f"table name {self.name!r}: use lower case letters, digits and underscores, a letter first"
            )
        folded = [c.lower() for c in self.columns]
        twice = sorted({c for c in folded if folded.count(c) > 1 or (c == MONTH and c not in self.columns)})
        if twice:
            raise ValueError(f"table {self.name}: columns {twice} differ from others by upper case only")
        for column, dtype in self.columns.items():
            if dtype not in SQL_TYPES:
                raise ValueError(
                    f"table {self.name}, column {column}: the lake cannot store {dtype}; use one of "
                    f"{', '.join(str(t) for t in SQL_TYPES)}"
                )
        named = {"key": self.key, "order": self.order, "month_column": (self.month_column,)}
        if self.nullable != "all":
            named["nullable"] = tuple(self.nullable)
        for what, names in named.items():
            unknown = [n for n in names if n is not None and n not in self.columns]
            if unknown:
                raise ValueError(
                    f"table {self.name}: {what} names {unknown}, which are not among its columns"
                )
        if not self.order:
            object.__setattr__(self, "order", self.key)

    @property
    def is_ledger(self) -> bool:
        """True for append-only tables, which carry the month in their own `month` column."""
        return MONTH in self.columns

    @property
    def required(self) -> list[str]:
        """Columns that may hold neither null nor NaN, in table order; the key is always among them."""
        if self.nullable == "all":
            return list(self.key)
        return [c for c in self.columns if c not in self.nullable or c in self.key]

    @property
    def polars_schema(self) -> pl.Schema:
        """The columns as a Polars schema, ready for `pl.DataFrame(..., schema=...)`."""
        return pl.Schema(self.columns)

    def empty(self) -> pl.DataFrame:
        """A frame of this schema without rows."""
        return pl.DataFrame(schema=self.polars_schema)


class UngatedTable(TableSchema):
    """A table whose months are published as they are, such as rows that were refused, with the reason."""

    kind: ClassVar[str] = "ungated"


class Ledger(TableSchema):
    """A table that names its months itself and only gains rows.

    Raises:
        ValueError: it has no column `month`.
    """

    kind: ClassVar[str] = "ledger"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.is_ledger:
            raise ValueError(f"ledger {self.name}: it has no column {MONTH!r}")


class AuditLedger(TableSchema):
    """A ledger of audits: the lake writes it, from what audits returned and from the content that they were given.

    Raises:
        ValueError: it lacks a column that says what was audited.
    """

    kind: ClassVar[str] = "audits"
    NEEDED: ClassVar[tuple[str, ...]] = (
        "table_name",
        MONTH,
        "probe",
        "passed",
        "run_id",
        "recorded_at",
        "content",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        missing = [name for name in self.NEEDED if name not in self.columns]
        if missing:
            raise ValueError(f"ledger of audits {self.name}: it has no column {', '.join(missing)}")


@dataclass(frozen=True, kw_only=True)
class GatedTable(TableSchema):
    """A table whose months cannot be written without an audit that passed.

    Attributes:
        probes: that its audit has to have run, all of them.
        ledger: in which its audits stand.

    Raises:
        ValueError: there is no probe.
    """

    probes: tuple[str, ...]
    ledger: AuditLedger

    kind: ClassVar[str] = "gated"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.probes:
            raise ValueError(f"table {self.name}: name the probes that its audit has to have run")


def copied_table(schema: TableSchema) -> UngatedTable:
    """Return a table for a lake that holds copies of another's rows; the lake that it is of refuses it."""
    return UngatedTable(**_declared(schema))


def copied_ledger(schema: TableSchema) -> Ledger:
    """Return a ledger for a lake that holds copies of another's rows; the lake that it is of refuses it."""
    return Ledger(**_declared(schema))


def _declared(schema: TableSchema) -> dict[str, Any]:
    return {f.name: getattr(schema, f.name) for f in fields(TableSchema)}
