import math
from datetime import date

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trademl_pipeline.lake import TableSchema
from trademl_pipeline.lake.errors import (
    DuplicateKeyError,
    EmptyFrameError,
    NullValueError,
    SchemaMismatchError,
    WrongMonthError,
)
from trademl_pipeline.lake.frames import check_frame, check_month, data_version
from trademl_pipeline.tables import RAW_BARS
from trademl_pipeline_tests.lake.writers import FEATURES, make_frame

MONTH = "2020-02-01"

KEYED = TableSchema(
    "keyed",
    {
        "symbol": pl.String,
        "session": pl.Date,
        "value": pl.Float64,
        "flag": pl.Boolean,
        "ingested_at": pl.Int64,
    },
    key=("symbol", "session"),
    nullable=frozenset({"value", "flag"}),
)
KEYLESS = TableSchema("keyless", {"text": pl.String, "value": pl.Float64}, key=(), nullable="all")


def check(frame: pl.DataFrame, schema: TableSchema = FEATURES, month: str = MONTH, allow_empty: bool = False):
    return check_frame(schema, frame, month, allow_empty=allow_empty)


@pytest.mark.parametrize(
    "month", ["2020-02", "2020-02-02", "2020-13-01", "2020-2-01", "", "2020-02-01 ", None]
)
def test_month_key_is_the_first_of_the_month(month):
    with pytest.raises(WrongMonthError, match="YYYY-MM-01"):
        check_month(month)


def test_checked_frame_has_the_schemas_columns_in_order_and_is_sorted():
    frame = make_frame(MONTH)
    shuffled = frame.select(reversed(frame.columns)).sample(fraction=1.0, shuffle=True, seed=3)
    assert check(shuffled).equals(frame.sort("symbol", "session"))


def test_missing_column_is_named():
    with pytest.raises(
        SchemaMismatchError, match=r"month 2020-02-01: column 'beta' \(Float64\) is missing"
    ) as caught:
        check(make_frame(MONTH).drop("beta"))
    assert (caught.value.column, caught.value.expected, caught.value.got) == ("beta", "Float64", None)


def test_wrong_type_is_named_with_both_types():
    with pytest.raises(
        SchemaMismatchError, match="'alpha' is Float32, the table schema says Float64"
    ) as caught:
        check(make_frame(MONTH).with_columns(pl.col("alpha").cast(pl.Float32)))
    assert (caught.value.column, caught.value.expected, caught.value.got) == ("alpha", "Float64", "Float32")


def test_time_without_zone_is_a_wrong_type():
    with pytest.raises(SchemaMismatchError, match="knowledge_time"):
        check(make_frame(MONTH).with_columns(pl.col("knowledge_time").dt.replace_time_zone(None)))


def test_extra_column_is_named():
    with pytest.raises(SchemaMismatchError, match="unexpected column 'gamma'"):
        check(make_frame(MONTH).with_columns(gamma=pl.lit(1.0)))


def test_month_column_belongs_to_publish():
    with pytest.raises(SchemaMismatchError, match="publish sets it itself"):
        check(make_frame(MONTH).with_columns(month=pl.lit(MONTH)))


def test_empty_frame_is_refused_unless_declared():
    with pytest.raises(EmptyFrameError, match="nothing is replaced"):
        check(FEATURES.empty())
    assert check(FEATURES.empty(), allow_empty=True).is_empty()


@pytest.mark.parametrize("column", ["symbol", "session", "decision_time"])
def test_null_in_a_required_column_is_refused(column):
    frame = make_frame(MONTH).with_columns(
        pl.when(pl.int_range(pl.len()) > 0).then(pl.col(column)).alias(column)
    )
    with pytest.raises(NullValueError, match=f"column '{column}' has 1 null or NaN of 20 rows"):
        check(frame)


def test_nan_in_a_required_column_is_refused_with_its_row():
    bar = dict.fromkeys(RAW_BARS.columns) | {"symbol": "AAA", "session": date(2020, 2, 3)}
    frame = pl.DataFrame([bar], schema=RAW_BARS.polars_schema).with_columns(
        pl.col(pl.Float64).fill_null(1.0),
        pl.col(pl.String).fill_null("x"),
        pl.col(pl.Boolean).fill_null(False),
        pl.col(pl.Datetime).fill_null(pl.col("session").cast(pl.Datetime("us", "UTC"))),
    )
    assert check(frame, RAW_BARS).height == 1
    with pytest.raises(NullValueError, match=r"column 'close' has 1 null or NaN of 1 rows.*AAA"):
        check(frame.with_columns(close=pl.lit(math.nan)), RAW_BARS)


def test_nullable_columns_may_hold_null_and_nan():
    frame = make_frame(MONTH).with_columns(alpha=pl.lit(None, pl.Float64), beta=pl.lit(math.nan))
    assert check(frame).height == 20


def test_duplicate_key_is_refused_with_an_example():
    frame = make_frame(MONTH)
    with pytest.raises(DuplicateKeyError, match=r"1 rows repeat the key .*'S002'.*2020, 2, 3"):
        check(pl.concat([frame, frame.slice(10, 1)]))


def test_rows_of_another_month_are_refused_with_an_example():
    frame = pl.concat([make_frame(MONTH), make_frame("2020-03-01").head(2)])
    with pytest.raises(WrongMonthError, match=r"2 of 22 rows have session in another month.*2020, 3, 1"):
        check(frame)


def test_the_year_counts_for_the_month():
    with pytest.raises(WrongMonthError):
        check(make_frame("2019-02-01"))


values = st.one_of(st.none(), st.floats(allow_nan=True, allow_infinity=True, width=64))
rows_of_keyed = st.lists(
    st.tuples(
        st.text(max_size=5),
        st.dates(date(2000, 1, 1), date(2030, 1, 1)),
        values,
        st.one_of(st.none(), st.booleans()),
        st.integers(0, 5),
    ),
    unique_by=lambda row: row[:2],
    max_size=12,
)


@settings(max_examples=50)
@given(rows=rows_of_keyed, order=st.randoms())
def test_data_version_does_not_depend_on_the_order(rows, order):
    frame = pl.DataFrame(rows, schema=KEYED.polars_schema, orient="row")
    order.shuffle(rows)
    columns = list(frame.columns)
    order.shuffle(columns)
    shuffled = pl.DataFrame(rows, schema=KEYED.polars_schema, orient="row").select(columns)
    assert data_version(KEYED, shuffled) == data_version(KEYED, frame)


@given(
    rows=st.lists(st.tuples(st.one_of(st.none(), st.text(max_size=3)), values), max_size=10),
    order=st.randoms(),
)
def test_data_version_of_rows_without_key_does_not_depend_on_the_order(rows, order):
    version = data_version(KEYLESS, pl.DataFrame(rows, schema=KEYLESS.polars_schema, orient="row"))
    order.shuffle(rows)
    assert data_version(KEYLESS, pl.DataFrame(rows, schema=KEYLESS.polars_schema, orient="row")) == version


@settings(max_examples=50)
@given(rows=rows_of_keyed.filter(bool), data=st.data())
def test_data_version_changes_with_any_value_that_counts(rows, data):
    frame = pl.DataFrame(rows, schema=KEYED.polars_schema, orient="row")
    number = data.draw(st.integers(0, len(rows) - 1))
    here = pl.int_range(pl.len()) == number
    value, flag = rows[number][2:4]
    for changed in (
        pl.when(here).then(7.25 if value != 7.25 else 7.5).otherwise(pl.col("value")).alias("value"),
        pl.when(here).then(pl.lit(not flag)).otherwise(pl.col("flag")).alias("flag"),
        pl.when(here).then(pl.lit(None)).otherwise(pl.col("value")).alias("value")
        if value is not None
        else None,
        pl.when(here).then(pl.col("symbol") + "x").otherwise(pl.col("symbol")).alias("symbol"),
    ):
        if changed is not None:
            assert data_version(KEYED, frame.with_columns(changed)) != data_version(KEYED, frame)


@settings(max_examples=25)
@given(rows=rows_of_keyed)
def test_data_version_ignores_the_moment_of_ingestion(rows):
    frame = pl.DataFrame(rows, schema=KEYED.polars_schema, orient="row")
    assert data_version(KEYED, frame.with_columns(pl.col("ingested_at") + 1)) == data_version(KEYED, frame)


def test_data_version_knows_one_nan_and_one_zero():
    a = pl.DataFrame({"text": ["x", "y"], "value": [float("nan"), 0.0]})
    b = pl.DataFrame({"text": ["x", "y"], "value": [-np.float64("nan"), -0.0]})
    assert data_version(KEYLESS, a) == data_version(KEYLESS, b)
    assert data_version(KEYLESS, a) != data_version(KEYLESS, a.with_columns(value=pl.lit(None, pl.Float64)))


def test_data_version_does_not_move_text_between_rows():
    a = pl.DataFrame({"text": ["ab", "c"], "value": [1.0, 1.0]})
    b = pl.DataFrame({"text": ["a", "bc"], "value": [1.0, 1.0]})
    assert data_version(KEYLESS, a) != data_version(KEYLESS, b)


def test_data_version_is_the_same_in_every_release():
    # Published versions are compared across upgrades of this project and of Polars: the number may never
    # change.
    assert data_version(FEATURES, make_frame(MONTH)) == "c7c0184f240d552a44abc6d9f65dd6b2"
