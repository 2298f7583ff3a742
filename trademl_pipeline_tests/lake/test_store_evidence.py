import polars as pl
import pytest

from trademl_pipeline.lake.schema import TableSchema

TABLE = TableSchema("things", {"symbol": pl.String, "x": pl.Float64}, ("symbol",))
LEDGER = TableSchema("said", {"month": pl.String, "what": pl.String}, ())
MONTH = "2016-01-01"


def frame(x: float) -> pl.DataFrame:
    return pl.DataFrame({"symbol": ["A"], "x": [x]})


def said(verdicts) -> tuple[TableSchema, pl.DataFrame]:
    return LEDGER, pl.DataFrame({"month": [MONTH], "what": [verdicts["things"]]})


def test_evidence_lands_in_the_transaction_of_what_it_is_about(lake):
    result = lake.publish_many(
        [(TABLE, frame(1.0), MONTH)], audits={"things": lambda rows: f"{rows.height} rows"}, evidence=said
    )[0]
    assert lake.read(LEDGER)["what"].to_list() == ["1 rows"]
    assert lake.read(TABLE, snapshot=result.snapshot).height == 1
    assert lake.read(LEDGER, snapshot=result.snapshot).height == 1


def test_evidence_that_cannot_be_written_takes_the_rows_back(lake):
    lake.publish(TABLE, frame(1.0), MONTH)
    with pytest.raises(KeyError):
        lake.publish_many([(TABLE, frame(2.0), MONTH)], evidence=said)
    assert lake.read(TABLE)["x"].to_list() == [1.0]


def test_a_month_that_has_not_changed_leaves_no_evidence(lake):
    for _ in range(2):
        lake.publish_many([(TABLE, frame(1.0), MONTH)], audits={"things": lambda _: "seen"}, evidence=said)
    assert lake.read(LEDGER).height == 1
