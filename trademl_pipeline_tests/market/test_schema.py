"""Casting frames of bars into the schema."""

from datetime import date, datetime

import polars as pl
import pytest

from trademl_pipeline.market import BarsSchemaError, conform
from trademl_pipeline.market.schema import SOURCE_COLUMNS
from trademl_pipeline.tables import RAW_BARS


def test_conform_orders_and_casts(small_market: pl.DataFrame):
    given = small_market.head(5).select(reversed(small_market.columns))
    given = given.with_columns(pl.col("volume").cast(pl.Int64), pl.col("close").cast(pl.Float32))
    got = conform(given)
    assert tuple(got.columns) == SOURCE_COLUMNS
    assert dict(got.schema) == {n: RAW_BARS.polars_schema[n] for n in SOURCE_COLUMNS}


def test_conform_fills_in_absent_corporate_actions_and_drops_foreign_columns(small_market: pl.DataFrame):
    got = conform(small_market.head(3).drop("split_factor", "dividend").with_columns(vwap=1.0))
    assert got["split_factor"].to_list() == [1.0] * 3
    assert got["dividend"].to_list() == [0.0] * 3
    assert "vwap" not in got.columns


def test_conform_names_the_missing_column(small_market: pl.DataFrame):
    with pytest.raises(BarsSchemaError, match="lack the column 'close'") as caught:
        conform(small_market.drop("close"))
    assert caught.value.column == "close"


def test_conform_asks_for_the_ingestion_time_only_where_told(small_market: pl.DataFrame):
    conform(small_market.head(1))
    with pytest.raises(BarsSchemaError, match="ingested_at"):
        conform(small_market.head(1), ingested=True)


def test_conform_names_the_column_and_values_that_do_not_fit(small_market: pl.DataFrame):
    bad = small_market.head(3).with_columns(close=pl.Series(["1.5", "cheap", "2"]))
    with pytest.raises(
        BarsSchemaError, match=r"'close' is String, expected Float64; 1 values.*cheap"
    ) as caught:
        conform(bad)
    assert caught.value.column == "close"


def test_conform_refuses_times_without_a_zone(small_market: pl.DataFrame):
    naive = small_market.head(1).with_columns(event_time=pl.lit(datetime(2016, 1, 4, 21)))
    with pytest.raises(BarsSchemaError, match="without a zone") as caught:
        conform(naive)
    assert caught.value.column == "event_time"


def test_conform_refuses_a_type_that_cannot_be_cast(small_market: pl.DataFrame):
    nested = small_market.head(1).with_columns(close=pl.lit(date(2016, 1, 4)).implode())
    with pytest.raises(BarsSchemaError, match="'close'"):
        conform(nested)
