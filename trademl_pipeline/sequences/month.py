"""One month of a study's windows as it is published: which rows of the feature table each decision sees."""

import polars as pl

from trademl_pipeline.market.calendar import DEFAULT_CALENDAR, index_of, month_bounds
from trademl_pipeline.sequences.index import KEY, window_index

CLOCKS = ("decision_time", "knowledge_time")
PATTERN_COLUMNS = ("pattern", "pattern_start", "activation")


def sequence_month(
    rows: pl.DataFrame,
    window: int,
    month: str,
    *,
    stride: int = 1,
    observations: pl.DataFrame | None = None,
    members: pl.DataFrame | None = None,
    calendar: str = DEFAULT_CALENDAR,
) -> pl.DataFrame:
    """The windows that end in the month, with the latest knowledge time of anything they read.

    Args:
        rows: symbol, session, decision_time and knowledge_time of the feature rows, from `window` - 1 sessions before
            the month on.
        window: sessions in a window.
        month: partition key, `YYYY-MM-01`.
        stride: sessions from one decision to the next. They are counted on the exchange's calendar, so that all symbols
            decide on the same sessions, whichever months are computed.
        observations: rows of the table `patterns` in the month: decide on those only, and say whose pattern it is.
        members: symbol, session of who belonged to the universe when: decide on those only. A window reaches back
            over the sessions before a symbol joined.
        calendar: exchange calendar that the stride counts on.

    Returns:
        symbol, session, window_start, n_valid, with pattern observations also pattern, pattern_start and activation,
        then decision_time, knowledge_time; sorted by symbol and session.
    """
    clocks = rows.sort(KEY).select(*KEY, "decision_time", pl.col("knowledge_time").cum_max().over("symbol"))
    windows = (
        window_index(rows, window)
        .drop("row")
        .filter(pl.col("session").is_between(*month_bounds(month)))
        .join(clocks, on=KEY, how="left")
    )
    if members is not None:
        windows = windows.join(members, on=KEY, how="semi")
    if stride > 1:
        windows = windows.filter(index_of(windows["session"], calendar) % stride == 0)
    pattern: tuple[str, ...] = ()
    if observations is not None:
        pattern = PATTERN_COLUMNS
        patterns = observations.select(
            *KEY,
            "pattern",
            pl.col("start").alias("pattern_start"),
            "activation",
            pl.col("knowledge_time").alias("_known"),
        )
        windows = windows.join(patterns, on=KEY, how="inner").with_columns(
            pl.max_horizontal("knowledge_time", "_known").alias("knowledge_time")
        )
    return windows.select(*KEY, "window_start", "n_valid", *pattern, *CLOCKS).sort(KEY)
