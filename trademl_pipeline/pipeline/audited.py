"""Which months of the lake were audited as they are: an audit counts for the content that it saw, and for no other."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import NamedTuple

import polars as pl

from trademl_pipeline.lake import Lake
from trademl_pipeline.lake.errors import MissingTableError
from trademl_pipeline.lake.frames import data_version
from trademl_pipeline.lake.schema import MONTH, GatedTable
from trademl_pipeline.leakage import AuditReport
from trademl_pipeline.leakage.evidence import latest_audits
from trademl_pipeline.leakage.report import Violation
from trademl_pipeline.pipeline.history import published_months
from trademl_pipeline.studies import StudySpec
from trademl_pipeline.tables import (
    AUDITS,
    PATTERNS,
    RAW_BARS,
    REFERENCE_BARS,
    SECTORS,
    UNIVERSE_MEMBERS,
    champion_table,
    quality_table,
)
from trademl_pipeline.tables.bar_tables import TIMEFRAMES, bar_tables

CONTENT = "content"
NOT_AUDITED = (
    "no audit passed what the lake holds: it was written past the gate, or audited before audits named what they saw; "
    "materialize it again"
)
# Rows that are read and hashed together, and months.
ROWS_AT_ONCE = 1_000_000
MOST_MONTHS = 120
EVER = ("1900-01-01", "9999-12-01")
# No run has audited what the row is of.
NO_RUN = ""
IDENTITY = ["table_name", "month", "content"]
REMOVED = "an audit passed rows of it and the lake holds none now: it was emptied past the gate; materialize it again"


class Versions(NamedTuple):
    """Content hash by month, of one table, and the first and last month that were looked at."""

    table: GatedTable
    versions: Mapping[str, str]
    months: tuple[str, str]


def market_tables() -> list[GatedTable]:
    """Return what the tables of every study begin with."""
    return [RAW_BARS, REFERENCE_BARS, SECTORS, UNIVERSE_MEMBERS]


def quality_tables() -> list[GatedTable]:
    """Return what is known of how good the market's tables are; nothing is computed from them."""
    return [quality_table(table.name) for table in (RAW_BARS, REFERENCE_BARS)]


def study_tables(study: StudySpec) -> list[GatedTable]:
    """Return every table behind a study, and its own, whose months the gate audits; those before it first."""
    patterns = [PATTERNS] if study.decisions == "pattern_observations" else []
    scores = [study.cross_validation] if study.training.cross_validate is not None else []
    inputs = [study.features, *patterns, study.labels, study.windows]
    made = [study.models, study.predictions, study.estimator_predictions]
    return [*market_tables(), *quality_tables(), *inputs, *made, *scores]


def gated_tables(studies: Iterable[StudySpec]) -> list[GatedTable]:
    """Return every table that the gate audits, of some studies and of bars of every timeframe, each once."""
    bars = [bar_tables(timeframe).bars for timeframe in TIMEFRAMES]
    of_studies = [[*study_tables(study), champion_table(study.name)] for study in studies]
    tables = [*bars, *(table for tables in of_studies for table in tables)]
    return list({table.name: table for table in tables}.values())


def recorded(
    store: Lake, tables: Sequence[GatedTable], months: tuple[str, str], snapshot: int | None = None
) -> list[Versions]:
    """Return the content of months as it was recorded when they were published; of a table that is not there, none.

    Args:
        store: the lake.
        tables: to look at.
        months: first and last month key.
        snapshot: as of which; None: now.
    """
    if snapshot is None:
        present = set(store.tables())
        there = [table for table in tables if table.name in present]
    else:
        there = [table for table in tables if published_months(store, table, snapshot)]
    versions = store.data_versions([(table, months) for table in there], snapshot=snapshot)
    return [Versions(table, versions.get(table.name, {}), months) for table in tables]


def as_stored(
    store: Lake,
    tables: Sequence[GatedTable],
    months: tuple[str, str],
    progress: Callable[[str], None] = lambda table: None,
) -> list[Versions]:
    """Return the content of months as they lie in the lake now, each read and hashed, whatever the catalog says of it.

    Args:
        store: the lake.
        tables: to look at; of those that are not there, no month is returned.
        months: first and last month key.
        progress: called with the name of each table before it is read.
    """
    contents: list[Versions] = []
    for one in recorded(store, tables, months):
        progress(one.table.name)
        contents.append(one._replace(versions=_all_hashed(store, one.table, one.versions)))
    return contents


def _all_hashed(store: Lake, table: GatedTable, versions: Mapping[str, str]) -> dict[str, str]:
    """Read months, as many at once as are a million rows, and hash each."""
    hashes: dict[str, str] = {}
    months, at_once = sorted(versions), 1
    while months:
        batch, months = months[:at_once], months[at_once:]
        rows = store.read(table.name, months=batch, with_month=True)
        parts = rows.partition_by(MONTH, as_dict=True, include_key=False)
        for month in batch:
            hashes[month] = _hashed(table, parts.get((month,), rows.clear().drop(MONTH)), versions[month])
        at_once = min(MOST_MONTHS, max(1, ROWS_AT_ONCE * len(batch) // max(rows.height, 1)))
    return hashes


def _hashed(table: GatedTable, rows: pl.DataFrame, version: str) -> str:
    """Hash a month; `version` if that is its hash, perhaps as of before the table gained columns."""
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

    A row that passed counts if it saw the content that there is, and if every probe of the table passed that. Of other
    content there is a row of the probe "content" that did not pass, and so of a month whose rows have gone.
    Refusals stand as they are: the lake holds what it held before them.

    Args:
        store: the lake.
        contents: what there is.
        month: last month key.
    """
    try:
        audits = store.read(AUDITS)
    except MissingTableError:
        audits = AUDITS.empty()
    schemas = {one.table.name: one.table for one in contents}
    audits = audits.filter(pl.col("table_name").is_in(list(schemas)) & (pl.col("month") <= month))
    there = _there(contents)
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
    probes = pl.DataFrame(
        [(name, probe) for name, schema in schemas.items() for probe in schema.probes],
        schema={"table_name": pl.String, "probe": pl.String},
        orient="row",
    )
    incomplete = (
        expected.join(probes, on="table_name")
        .join(passed, on=[*IDENTITY, "probe"], how="anti")
        .select(IDENTITY)
        .unique(maintain_order=True)
    )
    unaudited = there.join(incomplete, on=IDENTITY, how="semi", maintain_order="left")
    gone = without_rows.join(incomplete, on=IDENTITY, how="semi").join(
        _with_rows(audits, contents), on=["table_name", "month"], how="semi"
    )
    counted = passed.join(incomplete, on=IDENTITY, how="anti", maintain_order="left")
    missing = [_not_audited(unaudited, NOT_AUDITED), _not_audited(gone, REMOVED)]
    return pl.concat([audits.filter(~pl.col("passed")), counted, *missing], how="diagonal_relaxed").select(
        list(AUDITS.columns)
    )


def _there(contents: Sequence[Versions]) -> pl.DataFrame:
    """Table, month and content of what there is, each once."""
    rows = [(one.table.name, m, version) for one in contents for m, version in one.versions.items()]
    schema = dict.fromkeys(IDENTITY, pl.String)
    return pl.DataFrame(rows, schema=schema, orient="row").unique(maintain_order=True)


def _with_rows(audits: pl.DataFrame, contents: Sequence[Versions]) -> pl.DataFrame:
    """Table and month of those that were looked at and of which some audit has passed a content."""
    known = audits.filter(pl.col("passed"), pl.col("content").is_not_null()).select("table_name", "month")
    looked_at = [
        (pl.col("table_name") == one.table.name)
        & pl.col("month").is_between(pl.lit(one.months[0]), pl.lit(one.months[1]))
        for one in contents
    ]
    return known.unique().filter(pl.any_horizontal(looked_at)) if looked_at else known.clear()


def _not_audited(months: pl.DataFrame, why: str) -> pl.DataFrame:
    return months.select(
        "table_name",
        "month",
        pl.lit(CONTENT).alias("probe"),
        pl.lit(False).alias("passed"),
        pl.lit(why).alias("detail"),
        pl.lit("{}").alias("coverage"),
        pl.lit(NO_RUN).alias("run_id"),
        pl.lit(datetime(1970, 1, 1, tzinfo=UTC)).cast(AUDITS.columns["recorded_at"]).alias("recorded_at"),
        pl.col("content"),
    )


def audit_contents(audits: pl.DataFrame) -> AuditReport:
    """Return as a report whether all that something is made of was audited as it is.

    Args:
        audits: as `audits_in_force` returns them.
    """
    missing = audits.filter(pl.col("run_id") == NO_RUN).sort("table_name", "detail", "month")
    violations = [
        Violation(
            CONTENT,
            str(table),
            detail=f"{', '.join(m[:7] for m in rows['month'].to_list()[:6])}: {why}",
            count=rows.height,
        )
        for (table, why), rows in missing.group_by("table_name", "detail", maintain_order=True)
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
        refused: table, month, detail of each month that a later audit has refused as it lies there, as one at night.
    """

    months: int
    tables: int
    unaudited: pl.DataFrame
    refused: pl.DataFrame


def check_lake(
    store: Lake, tables: Sequence[GatedTable], progress: Callable[[str], None] = lambda table: None
) -> LakeCheck:
    """Read and hash every month of some tables, and compare with what the gate audited.

    Args:
        store: the lake.
        tables: whose months the gate audits.
        progress: called with the name of each table before it is read.
    """
    contents = as_stored(store, tables, EVER, progress)
    audits = audits_in_force(store, contents, EVER[1])
    unaudited = audits.filter(pl.col("run_id") == NO_RUN).select("table_name", "month", "detail")
    refused = (
        latest_audits(audits)
        .filter(~pl.col("passed"), pl.col("run_id") != NO_RUN)
        .join(_there(contents), on=IDENTITY, how="semi")
        .select("table_name", "month", pl.concat_str("probe", "detail", separator=": ").alias("detail"))
        .unique(["table_name", "month"])
    )
    gone = unaudited.filter(pl.col("detail") == REMOVED).height
    months = sum(len(one.versions) for one in contents) + gone
    there = sum(bool(one.versions) for one in contents)
    unaudited, refused = (frame.sort("table_name", "month") for frame in (unaudited, refused))
    return LakeCheck(months, there, unaudited, refused)
