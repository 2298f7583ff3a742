"""No month is computed over a hole in the months it reads."""

from collections.abc import Sequence

import polars as pl

from trademl_pipeline.lake.errors import LakeError, MissingTableError
from trademl_pipeline.lake.frames import data_version
from trademl_pipeline.lake.schema import MONTH, TableSchema
from trademl_pipeline.lake.view import LakeReader
from trademl_pipeline.market.calendar import month_range
from trademl_pipeline.tables import AUDITS


class MissingMonthsError(LakeError):
    """Months that a partition reads have not been published, since nobody asked for them or the gate refused them."""


def published_months(store: LakeReader, table: TableSchema | str, snapshot: int | None = None) -> list[str]:
    """Return the months of a table, now or as of a snapshot; none where it is not in the lake."""
    try:
        return store.months(table, snapshot=snapshot)
    except MissingTableError:
        return []


def require_months(
    store: LakeReader, table: TableSchema | str, first: str, last: str, *, reader: str
) -> None:
    """Refuse to go on where a month between `first` and `last` is missing.

    History begins with the first month that is there: months before it count as never having been, not as missing.

    Args:
        store: the lake.
        table: table that is about to be read. Of a schema that says `may_be_empty`, a month without rows is there if
            the gate has passed it as it is.
        first: first month wanted, `YYYY-MM-01`.
        last: last month wanted.
        reader: what wants to read, for the message.

    Raises:
        MissingMonthsError: naming the months and what to materialize.
    """
    schema, table = (None, table) if isinstance(table, str) else (table, table.name)
    present = published_months(store, table)
    expected = month_range(max(first, present[0]), last) if present else [last]
    missing = [month for month in expected if month not in set(present)]
    if missing and schema is not None and schema.may_be_empty:
        empty = published_empty(store, schema, missing)
        missing = [month for month in missing if month not in empty]
    if missing:
        named = ", ".join(month[:7] for month in missing[:6]) + (" and more" if len(missing) > 6 else "")
        raise MissingMonthsError(
            f"{reader} reads {table} from {first[:7]} to {last[:7]}, but {len(missing)} of those months are not "
            f"published: {named}. Materialize {table} for them first; where the gate refused them, its checks say why"
        )


def read_months(
    store: LakeReader,
    table: TableSchema,
    first: str,
    last: str,
    *,
    reader: str,
    columns: Sequence[str] | None = None,
) -> pl.DataFrame:
    """Read the rows of a table from month `first` to month `last`, none of these months missing.

    The rows themselves tell that their months are there; only where some month has none is the lake asked.

    Args:
        store: the lake.
        table: table to read.
        first, last: month keys.
        reader: what wants to read, for the message.
        columns: to read; None: all.

    Raises:
        MissingMonthsError: see `require_months`.
    """
    try:
        rows = store.read(table, months=(first, last), columns=columns, with_month=True)
    except MissingTableError:
        require_months(store, table, first, last, reader=reader)
        raise
    if rows[MONTH].n_unique() < len(month_range(first, last)):
        require_months(store, table, first, last, reader=reader)
    return rows.drop(MONTH)


def published_empty(store: LakeReader, table: TableSchema, months: list[str]) -> set[str]:
    """Return those months without rows that were published so: an audit that saw no row passed as a whole.

    The lake has no row that could tell a month without any from one that was never made, or that was taken away; the
    ledger of the gate has.
    """
    columns = ["table_name", "month", "run_id", "passed", "content"]
    try:
        audits = store.read(AUDITS, months=months, columns=columns)
    except MissingTableError:
        return set()
    nothing = data_version(table, table.empty())
    runs = (
        audits.filter(pl.col("table_name") == table.name)
        .group_by("month", "run_id")
        .agg(pl.col("passed").all() & (pl.col("content") == nothing).all())
    )
    return set(runs.filter(pl.col("passed"))["month"])
