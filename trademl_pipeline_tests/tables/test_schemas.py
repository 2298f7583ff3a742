import polars as pl
import pytest

from trademl_pipeline.lake import Lake, TableSchema
from trademl_pipeline.lake.schema import copied_table
from trademl_pipeline.tables import (
    AUDITS,
    LABEL_DIRECTION,
    QUARANTINED_BARS,
    RAW_BARS,
    TRIES,
    feature_table,
    model_table,
    prediction_table,
    sequence_table,
)

ALL = [
    RAW_BARS,
    QUARANTINED_BARS,
    LABEL_DIRECTION,
    AUDITS,
    TRIES,
    feature_table("indicators", ["rsi_14"]),
    sequence_table("direction"),
    prediction_table("direction"),
    model_table("direction"),
]


def test_type_that_the_lake_cannot_store_is_named():
    with pytest.raises(ValueError, match="column x: the lake cannot store Duration"):
        TableSchema("t", {"x": pl.Duration("us")}, key=())


@pytest.mark.parametrize("name", ["Bars", "my-table", "1st", "", "drop table"])
def test_table_name_is_a_plain_word(name):
    with pytest.raises(ValueError, match="table name"):
        TableSchema(name, {"x": pl.Int64}, key=())


@pytest.mark.parametrize(
    "wrong", [{"key": ("y",)}, {"nullable": frozenset({"y"})}, {"month_column": "y"}, {"order": ("y",)}]
)
def test_schema_may_name_only_its_own_columns(wrong):
    with pytest.raises(ValueError, match=r"\['y'\], which are not among its columns"):
        TableSchema("t", {"x": pl.Int64}, **{"key": (), **wrong})


@pytest.mark.parametrize("names", [("alpha", "ALPHA"), ("Month",)])
def test_names_that_differ_by_case_only_are_one_name_in_the_lake(names):
    with pytest.raises(ValueError, match="upper case only"):
        TableSchema("t", dict.fromkeys(names, pl.Int64), key=())


def test_key_is_required_even_where_all_columns_are_nullable():
    schema = TableSchema("t", {"x": pl.Int64, "y": pl.Int64}, key=("x",), nullable="all")
    assert schema.required == ["x"]


def test_features_are_the_only_nullable_columns_of_a_feature_table():
    schema = feature_table("s", ["a", "b"])
    assert schema.name == "features_s"
    assert schema.required == ["symbol", "session", "decision_time", "knowledge_time"]


def test_labels_are_filed_under_the_month_in_which_they_became_known():
    assert LABEL_DIRECTION.month_column == "label_end"


def test_every_table_can_be_made_and_read_with_its_own_types(lake: Lake):
    for schema in ALL:
        if schema.is_ledger:
            continue
        lake.publish(copied_table(schema), schema.empty(), "2020-01-01", allow_empty=True)
        read = lake.read(schema)
        assert read.schema == schema.polars_schema, schema.name
    assert lake.tables() == sorted(s.name for s in ALL if not s.is_ledger)
