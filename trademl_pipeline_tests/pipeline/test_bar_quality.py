"""Quality of bars: found, counted by month, compared with a second source and a membership."""

from pathlib import Path

import polars as pl
import pytest

from trademl_pipeline.lake import Lake
from trademl_pipeline.market import FileSource
from trademl_pipeline.market.calendar import DEFAULT_CALENDAR, month_range
from trademl_pipeline.market.quality.report import DEFAULT_RULES
from trademl_pipeline.pipeline.bar_quality import bar_quality_months, published_reports, results_of
from trademl_pipeline.pipeline.errors import StepError
from trademl_pipeline.pipeline.quality_settings import Quality
from trademl_pipeline.pipeline.raw_bars import raw_bars_months
from trademl_pipeline.pipeline.recording import MonthDone
from trademl_pipeline.tables import quality_table
from trademl_pipeline_tests.pipeline.runs import done, lake_in, new_run
from trademl_pipeline_tests.pipeline.spoiled_bars import FIRST, LAST, spoiled

MONTHS = month_range(FIRST, LAST)
TABLE = quality_table("raw_bars")


def publish(lake: Lake, months: list[str]) -> list[MonthDone]:
    """The quality of some months, published."""
    body = bar_quality_months(Quality(), lake, new_run(), months, DEFAULT_CALENDAR)
    return done("bar_quality", months, body)


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """A lake with the spoiled bars and their quality."""
    folder = tmp_path_factory.mktemp("quality")
    made, source = lake_in(folder), FileSource(str(spoiled(folder)))
    with raw_bars_months(source, made, new_run(), MONTHS, folder / "staging") as body:
        done("raw_bars", MONTHS, body)
    publish(made, MONTHS)
    return made


@pytest.mark.slow
def test_the_table_counts_what_is_there_by_month(lake: Lake):
    table = lake.read(TABLE, with_month=True)
    assert sorted(table["month"].unique()) == MONTHS
    found = table.filter(pl.col("count") > 0).select("month", "check", "count").sort("check").rows()
    assert found == [
        ("2013-03-01", "duplicates", 1),
        # Two sessions left out, and the one whose bar went to quarantine.
        ("2013-03-01", "missing_sessions", 3),
        ("2013-03-01", "ohlc_order", 1),
        ("2013-03-01", "zero_volume", 1),
    ]


@pytest.mark.slow
def test_a_month_alone_is_the_month_of_a_range_and_writes_nothing_anew(lake: Lake):
    before = lake.data_version(TABLE, "2013-03-01")
    (event,) = publish(lake, ["2013-03-01"])
    assert event.metadata["unchanged"] is True
    assert lake.data_version(TABLE, "2013-03-01") == before


@pytest.mark.slow
def test_a_second_source_and_a_membership_are_looked_at(lake: Lake, tmp_path: Path):
    bars = pl.read_parquet(spoiled(tmp_path))
    off = (pl.col("symbol") == bars["symbol"].max()) & (pl.col("session").dt.month() == 2)
    second = bars.with_columns(pl.when(off).then(pl.col("close") * 1.5).otherwise("close").alias("close"))
    second = second.with_columns(pl.max_horizontal("high", "close").alias("high"))
    second.write_parquet(tmp_path / "second.parquet")
    membership_intervals = tmp_path / "spells.csv"
    membership_intervals.write_text(
        "symbol,start_date,end_date\nSIM000,2000-01-03,\nGONE,2000-01-03,2013-03-01\n"
    )
    settings = {
        "second": str(tmp_path / "second.parquet"),
        "membership": str(membership_intervals),
        "rules": '{"vendor_disagreement": {"limit": 0.0}}',
    }
    quality = Quality(**settings)
    reports = published_reports(quality, lake, MONTHS, DEFAULT_CALENDAR)
    results = results_of(quality, reports, DEFAULT_RULES)
    answers = {check.name: check for check in results}
    assert {"members_without_prices", "vendor_disagreement"} <= {c.name for c in results if not c.passed}
    # The first of February and the first of March return otherwise there.
    assert answers["vendor_disagreement"].metadata["found"] == 2
    members = answers["members_without_prices"].metadata
    # GONE in January and February, and in March the three sessions that SIM000 lacks.
    assert members["failed_months"].data == ["2013-01", "2013-02", "2013-03"]
    assert members["found"] == 21 + 19 + 3


def test_months_without_bars_cannot_be_checked(lake: Lake):
    with pytest.raises(StepError, match="holds none of the months"):
        published_reports(Quality(), lake, ["2014-01-01"], DEFAULT_CALENDAR)
