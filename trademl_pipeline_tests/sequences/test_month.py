"""One month of windows on the calendar of its bars."""

from datetime import date, timedelta

import polars as pl

from trademl_pipeline.market.calendar import index_of, sessions
from trademl_pipeline.sequences.month import sequence_month

# Its first two days are a weekend.
MONTH = "2022-10-01"


def rows() -> pl.DataFrame:
    days = sessions(date(2022, 8, 1), date(2022, 10, 31), "24/7")
    known = pl.col("session").cast(pl.Datetime("us", "UTC"))
    return pl.DataFrame({"session": days}).with_columns(
        pl.lit("BTCUSDT").alias("symbol"),
        known.alias("knowledge_time"),
        (known + timedelta(hours=1)).alias("decision_time"),
    )


def test_a_month_that_begins_on_a_weekend_has_windows_from_its_first_day() -> None:
    windows = sequence_month(rows(), 20, MONTH, calendar="24/7")
    assert windows["session"].to_list() == sessions(date(2022, 10, 1), date(2022, 10, 31), "24/7")
    assert windows["window_start"].to_list()[0] == date(2022, 9, 12)
    assert (windows["n_valid"] == 20).all()


def test_a_stride_is_counted_on_the_calendar_of_the_bars() -> None:
    windows = sequence_month(rows(), 20, MONTH, stride=5, calendar="24/7")
    steps = windows["session"].diff().drop_nulls()
    assert (steps == timedelta(days=5)).all()
    assert (index_of(windows["session"], "24/7") % 5 == 0).all()
    assert (windows["session"].dt.weekday() > 5).any()
