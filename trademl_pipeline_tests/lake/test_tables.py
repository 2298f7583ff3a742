import polars as pl
import pytest

from trademl_pipeline.lake import Lake, UngatedTable
from trademl_pipeline.lake.errors import SchemaMismatchError
from trademl_pipeline.lake.schema import copied_table
from trademl_pipeline.tables import feature_table
from trademl_pipeline_tests.lake.writers import FEATURES, make_frame

JANUARY, FEBRUARY = "2020-01-01", "2020-02-01"
GROWN = copied_table(feature_table("test", ["alpha", "gamma", "beta"]))


def test_added_feature_becomes_a_column_and_is_null_in_earlier_months(lake: Lake):
    old = lake.publish(FEATURES, make_frame(JANUARY), JANUARY)
    lake.publish(GROWN, make_frame(FEBRUARY, 2.0, schema=GROWN), FEBRUARY)
    read = lake.read(GROWN)
    assert read.columns == list(GROWN.columns)
    assert read.filter(pl.col("session").dt.month() == 1)["gamma"].null_count() == 20
    assert read.filter(pl.col("session").dt.month() == 2)["gamma"].to_list() == [2.0] * 20
    assert lake.read(GROWN, snapshot=old.snapshot).columns == list(FEATURES.columns)


def test_month_published_before_is_replaced_with_the_added_feature(lake: Lake):
    lake.publish(FEATURES, make_frame(JANUARY), JANUARY)
    result = lake.publish(GROWN, make_frame(JANUARY, schema=GROWN), JANUARY)
    assert (result.replaced, result.unchanged) == (20, False)
    assert lake.read(GROWN).equals(make_frame(JANUARY, schema=GROWN))


def test_refused_frame_does_not_grow_the_table(lake: Lake):
    lake.publish(FEATURES, make_frame(JANUARY), JANUARY)

    def refuse(_: pl.DataFrame) -> None:
        raise RuntimeError("leak")

    with pytest.raises(RuntimeError, match="leak"):
        lake.publish(GROWN, make_frame(JANUARY, schema=GROWN), JANUARY, audit=refuse)
    assert lake.read(FEATURES).columns == list(FEATURES.columns)


def test_removed_feature_is_named_and_nothing_is_lost(lake: Lake):
    lake.publish(GROWN, make_frame(JANUARY, schema=GROWN), JANUARY)
    with pytest.raises(SchemaMismatchError, match=r"the lake has columns \['gamma'\]"):
        lake.publish(FEATURES, make_frame(JANUARY), JANUARY)
    assert lake.read("features_test")["gamma"].null_count() == 0


def test_changed_type_is_named_with_both_types(lake: Lake):
    lake.publish(UngatedTable("t", {"x": pl.Int64}, key=("x",)), pl.DataFrame({"x": [1]}), JANUARY)
    with pytest.raises(SchemaMismatchError, match="'x' is BIGINT in the lake and DOUBLE") as caught:
        lake.publish(UngatedTable("t", {"x": pl.Float64}, key=("x",)), pl.DataFrame({"x": [1.0]}), JANUARY)
    assert (caught.value.column, caught.value.expected, caught.value.got) == ("x", "DOUBLE", "BIGINT")


def test_added_column_must_be_nullable(lake: Lake):
    lake.publish(UngatedTable("t", {"x": pl.Int64}, key=("x",)), pl.DataFrame({"x": [1]}), JANUARY)
    grown = UngatedTable("t", {"x": pl.Int64, "y": pl.Int64}, key=("x",))
    with pytest.raises(SchemaMismatchError, match="new column 'y' must be nullable"):
        lake.publish(grown, pl.DataFrame({"x": [1], "y": [1]}), JANUARY)


def test_names_that_are_sql_words_are_only_names(lake: Lake):
    schema = UngatedTable(
        "select", {"from": pl.Int64, 'a "quoted" one': pl.String}, key=("from",), description="it's"
    )
    frame = pl.DataFrame({"from": [1, 2], 'a "quoted" one': ["x'; DROP TABLE y", None]}).with_columns(
        pl.col('a "quoted" one').fill_null("z")
    )
    lake.publish(schema, frame, JANUARY)
    assert lake.read("select").equals(frame)


def test_order_of_a_table_is_known_without_its_schema(lake: Lake):
    schema = UngatedTable("t", {"x": pl.Int64, "y": pl.Int64}, key=("y",))
    lake.publish(schema, pl.DataFrame({"x": [1, 2], "y": [4, 3]}), JANUARY)
    assert lake.read("t")["y"].to_list() == [3, 4]
    changed = UngatedTable("t", {"x": pl.Int64, "y": pl.Int64}, key=("x",))
    lake.publish(changed, pl.DataFrame({"x": [1, 2], "y": [6, 5]}), JANUARY)
    assert lake.read("t")["y"].to_list() == [6, 5]
