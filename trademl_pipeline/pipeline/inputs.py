"""Reading what the stages before have published, and what becomes of its columns."""

from datetime import date

import polars as pl

from trademl_pipeline.lake.view import LakeReader
from trademl_pipeline.market.calendar import month_key
from trademl_pipeline.pipeline.history import published_months, read_months
from trademl_pipeline.tables import RAW_BARS, REFERENCE_BARS, SECTORS


def bars_from(store: LakeReader, start: date, month: str, *, reader: str) -> pl.DataFrame:
    """Read raw bars from a session to the end of a month, none of its months missing.

    Args:
        store: the lake.
        start: first session.
        month: month key of the last month.
        reader: what wants to read, for the message.

    Raises:
        MissingMonthsError: naming the months and what to materialize.
    """
    bars = read_months(store, RAW_BARS, month_key(start), month, reader=f"{reader} {month[:7]}")
    return bars.filter(pl.col("session") >= start)


# What features read of a reference, and when it was known.
REFERENCE_COLUMNS = (
    "symbol",
    "session",
    "close",
    "split_factor",
    "dividend",
    "adjusted",
    "knowledge_time",
)


def references_from(store: LakeReader, start: date, month: str, *, reader: str) -> dict[str, pl.DataFrame]:
    """Read reference bars from a session to the end of a month, and whose sector is whose, as known in that month.

    Args:
        store: the lake.
        start: first session.
        month: month key of the last month.
        reader: what wants to read, for the message.

    Returns:
        `reference` and `universe` as `features.compute` takes them; nothing where the data set has no references.

    Raises:
        MissingMonthsError: the data set has references, but a month of them is missing.
    """
    if not published_months(store, REFERENCE_BARS):
        return {}
    bars = read_months(
        store,
        REFERENCE_BARS,
        month_key(start),
        month,
        reader=f"{reader} {month[:7]}",
        columns=REFERENCE_COLUMNS,
    )
    sectors = store.read(SECTORS, months=[month])
    return {"reference": bars.filter(pl.col("session") >= start), "universe": sectors}
