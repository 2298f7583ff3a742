"""Which months of the lake were audited as they are: an audit counts for the content that it saw, and for no other."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import polars as pl

from trademl_pipeline.lake import Lake
from trademl_pipeline.lake.errors import MissingTableError
from trademl_pipeline.lake.frames import data_version
from trademl_pipeline.lake.schema import TableSchema
from trademl_pipeline.leakage import AuditReport
from trademl_pipeline.leakage.report import Violation
from trademl_pipeline.pipeline.history import published_months
from trademl_pipeline.studies import StudySpec
from trademl_pipeline.tables import AUDITS, PATTERNS, RAW_BARS, REFERENCE_BARS, UNIVERSE_MEMBERS
from trademl_pipeline.tables.bar_tables import TIMEFRAMES, bar_tables

CONTENT = "content"
NOT_AUDITED = (
    "no audit passed what the lake holds: it was written past the gate, or audited before audits named what they saw; "
    "materialize it again"
)
EVER = ("1900-01-01", "9999-12-01")
# No run has audited what the row is of.
NO_RUN = ""
IDENTITY = ["table_name", "month", "content"]
# Content hash by month, of one table.
Versions = tuple[TableSchema, Mapping[str, str]]


def market_tables() -> list[TableSchema]:
    """Return what the tables of every study begin with."""
    return [RAW_BARS, REFERENCE_BARS, UNIVERSE_MEMBERS]


def study_tables(study: StudySpec) -> list[TableSchema]:
    """Return every table behind a study, and its own, whose months the gate audits; those before it first."""
    patterns = [PATTERNS] if study.decisions == "pattern_observations" else []
    scores = [study.cross_validation] if study.training.cross_validate is not None else []
    inputs = [study.features, *patterns, study.labels, study.windows]
    return [*market_tables(), *inputs, study.models, study.predictions, *scores]


def gated_tables(studies: Iterable[StudySpec]) -> list[TableSchema]:
    """Return every table that the gate audits, of some studies and of bars of every timeframe, each once."""
    bars = [bar_tables(timeframe).bars for timeframe in TIMEFRAMES]
    tables = [*bars, *(table for study in studies for table in study_tables(study))]
    return list({table.name: table for table in tables}.values())


def recorded(
    store: Lake, tables: Sequence[TableSchema], months: tuple[str, str], snapshot: int | None = None
) -> list[Versions]:
    """Return the content of months as it was recorded when they were published; tables that are not there are left out.

    Args:
        store: the lake.
        tables: to look at.
        months: first and last month key.
        snapshot: as of which; None: now.
    """
    there = [table for table in tables if published_months(store, table, snapshot)]
    versions = store.data_versions([(table, months) for table in there], snapshot=snapshot)
    return [(table, versions[table.name]) for table in there]


def as_stored(store: Lake, tables: Sequence[TableSchema], months: tuple[str, str]) -> list[Versions]:
    """Return the content of months as they lie in the lake now, each read and hashed, whatever the catalog says of it.

    Args:
        store: the lake.
        tables: to look at; those that are not there are left out.
        months: first and last month key.
    """
    catalog = recorded(store, tables, months)
    return [
        (table, {month: _hashed(store, table, month, version) for month, version in versions.items()})
        for table, versions in catalog
    ]


def _hashed(store: Lake, table: TableSchema, month: str, version: str) -> str:
    """Read a month and hash it; `version` if that is its hash, perhaps as of before the table gained columns."""
    rows = store.read(table.name, months=[month])
    names = [name for name in rows.columns if name in table.columns]
    first = ""
    while names:
        columns = {name: kind for name, kind in table.columns.items() if name in names}
        if not set(table.key) <= set(columns):
            break
        hashed = data_version(replace(table, columns=columns, nullable="all", order=()), rows)
        if hashed == version:
            return version
        first = first or hashed
        # Columns that a table gains come last, and months before have nothing in them.
        if rows[names[-1]].null_count() < rows.height:
            break
        names.pop()
    return first


def audits_in_force(store: Lake, contents: Sequence[Versions], month: str) -> pl.DataFrame:
    """Return the rows of the ledger of audits that count for what the lake holds, up to a month.

    A row that passed counts if it saw the content that there is. Of content that no audit passed there is a row of the
    probe "content" that did not pass. Refusals stand as they are: the lake holds what it held before them.

    Args:
        store: the lake.
        contents: what there is.
        month: last month key.
    """
    try:
        audits = store.read(AUDITS)
    except MissingTableError:
        audits = AUDITS.empty()
    schemas = {table.name: table for table, _ in contents}
    audits = audits.filter(pl.col("table_name").is_in(list(schemas)) & (pl.col("month") <= month))
    rows = [(table.name, m, version) for table, versions in contents for m, version in versions.items()]
    there = pl.DataFrame(rows, schema=dict.fromkeys(IDENTITY, pl.String), orient="row").unique(
        maintain_order=True
    )
    # A month without rows has the content of an empty table.
    empty = pl.DataFrame(
        [(name, data_version(schema, schema.empty())) for name, schema in schemas.items()],
        schema={"table_name": pl.String, "empty": pl.String},
        orient="row",
    )
    without_rows = (
        audits.select("table_name", "month")
        .unique()
        .join(there, on=["table_name", "month"], how="anti")
        .join(empty, on="table_name")
        .select("table_name", "month", pl.col("empty").alias("content"))
    )
    expected = pl.concat([there, without_rows])
    passed = audits.filter(pl.col("passed")).join(expected, on=IDENTITY, how="semi")
    unaudited = there.join(passed, on=IDENTITY, how="anti")
    missing = unaudited.select(
        "table_name",
        "month",
        pl.lit(CONTENT).alias("probe"),
        pl.lit(False).alias("passed"),
        pl.lit(NOT_AUDITED).alias("detail"),
        pl.lit("{}").alias("coverage"),
        pl.lit(NO_RUN).alias("run_id"),
        pl.lit(datetime(1970, 1, 1, tzinfo=UTC)).cast(AUDITS.columns["recorded_at"]).alias("recorded_at"),
        pl.col("content"),
    )
    return pl.concat([audits.filter(~pl.col("passed")), passed, missing], how="diagonal_relaxed").select(
        list(AUDITS.columns)
    )


def audit_contents(audits: pl.DataFrame) -> AuditReport:
    """Return as a report whether all that something is made of was audited as it is.

    Args:
        audits: as `audits_in_force` returns them.
    """
    missing = audits.filter(pl.col("run_id") == NO_RUN).sort("table_name", "month")
    violations = [
        Violation(
            CONTENT,
            str(table),
            detail=f"{', '.join(m[:7] for m in rows['month'].to_list()[:6])}: {NOT_AUDITED}",
            count=rows.height,
        )
        for (table,), rows in missing.group_by("table_name", maintain_order=True)
    ]
    months = audits.select("table_name", "month").n_unique()
    return AuditReport(tuple(violations), {CONTENT: {"months": months}})


@dataclass(frozen=True)
class LakeCheck:
    """The result of reading and hashing a lake.

    Attributes:
        months: of all tables that were read.
        tables: that were read.
        unaudited: table, month, detail of each month that no audit passed as it lies there.
    """

    months: int
    tables: int
    unaudited: pl.DataFrame


def check_lake(
    store: Lake, tables: Sequence[TableSchema], progress: Callable[[str], None] = lambda table: None
) -> LakeCheck:
    """Read and hash every month of some tables, and compare with what the gate audited.

    Args:
        store: the lake.
        tables: whose months the gate audits; those that are not there are left out.
        progress: called with the name of each table before it is read.
    """
    contents: list[Versions] = []
    for table in tables:
        progress(table.name)
        contents += as_stored(store, [table], EVER)
    audits = audits_in_force(store, contents, EVER[1])
    unaudited = audits.filter(pl.col("run_id") == NO_RUN).select("table_name", "month", "detail")
    months = sum(len(versions) for _, versions in contents)
    return LakeCheck(months, len(contents), unaudited.sort("table_name", "month"))
