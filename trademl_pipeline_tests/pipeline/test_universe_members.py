"""Whom one may decide on is who belonged on the day, and windows are made of no one else."""

from datetime import UTC, date, datetime
from pathlib import Path

import polars as pl
import pytest

from trademl_pipeline.lake import Lake
from trademl_pipeline.market import split_bars
from trademl_pipeline.market.calendar import month_bounds
from trademl_pipeline.pipeline import universe_members as step
from trademl_pipeline.pipeline.universe import Universe
from trademl_pipeline.sequences.month import sequence_month
from trademl_pipeline.simulation import SimulatedMarket
from trademl_pipeline.tables import RAW_BARS, UNIVERSE_MEMBERS
from trademl_pipeline_tests.past_the_gate import give
from trademl_pipeline_tests.pipeline.runs import done, lake_in, new_run, refused

MONTH = "2013-02-01"
MEMBERSHIP_INTERVALS = """symbol,start_date,end_date
SIM000,2000-01-03,2013-02-15
SIM001,2013-02-11,
SIM002,2013-03-01,
GONE,2000-01-03,
"""


def with_bars(folder: Path) -> Lake:
    """A lake with a month of five simulated symbols."""
    lake = lake_in(folder)
    fetched = SimulatedMarket(n_symbols=5).fetch(None, *month_bounds(MONTH))
    give(lake, (RAW_BARS, split_bars(fetched, ingested_at=datetime(2026, 1, 5, tzinfo=UTC)).good, MONTH))
    return lake


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return with_bars(tmp_path)


@pytest.fixture
def of_intervals(tmp_path: Path) -> Universe:
    """Members as of the day, from a file of membership intervals."""
    (tmp_path / "spells.csv").write_text(MEMBERSHIP_INTERVALS)
    return Universe("SP500", str(tmp_path / "spells.csv"))


def publish(lake: Lake, universe: Universe) -> None:
    """The members of the month, published."""
    done("universe_members", [MONTH], step.universe_members_months(universe, lake, new_run()))


def test_without_a_universe_everyone_with_a_bar_belongs(lake: Lake) -> None:
    publish(lake, Universe())
    bars = lake.read(RAW_BARS, columns=["symbol", "session"])
    assert lake.read(UNIVERSE_MEMBERS).equals(bars)
    step.audit_universe_month(Universe(), lake, MONTH).assert_clean()


def test_nobody_decides_on_the_vix(lake: Lake) -> None:
    bars = lake.read(RAW_BARS)
    vix = bars.filter(pl.col("symbol") == "SIM000").with_columns(pl.lit("^VIX").alias("symbol"))
    give(lake, (RAW_BARS, pl.concat([bars, vix]), MONTH))
    publish(lake, Universe())
    assert lake.read(UNIVERSE_MEMBERS).equals(bars.select("symbol", "session"))
    step.audit_universe_month(Universe(), lake, MONTH).assert_clean()


def test_members_are_those_of_the_day(lake: Lake, of_intervals: Universe) -> None:
    publish(lake, of_intervals)
    held = lake.read(UNIVERSE_MEMBERS)
    by_symbol = held.group_by("symbol").agg(
        pl.col("session").min().alias("a"), pl.col("session").max().alias("b")
    )
    assert by_symbol.sort("symbol").rows() == [
        ("SIM000", date(2013, 2, 1), date(2013, 2, 14)),
        ("SIM001", date(2013, 2, 11), date(2013, 2, 28)),
    ]


def test_windows_are_made_of_members_only_and_reach_back_before_they_joined(
    lake: Lake, of_intervals: Universe
) -> None:
    publish(lake, of_intervals)
    rows = lake.read(RAW_BARS).select(
        "symbol", "session", pl.col("event_time").alias("decision_time"), "knowledge_time"
    )
    windows = sequence_month(rows, 10, MONTH, members=lake.read(UNIVERSE_MEMBERS))
    assert windows.select("symbol", "session").equals(lake.read(UNIVERSE_MEMBERS))
    joined = windows.filter((pl.col("symbol") == "SIM001") & (pl.col("session") == date(2013, 2, 11)))
    assert joined["window_start"].item() == date(2013, 2, 1)


def test_todays_members_in_the_past_are_refused(
    lake: Lake, of_intervals: Universe, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The leak that this is about: membership of the end, used all the way back."""
    honest = step.members_with_bars

    def of_the_end(membership_intervals: pl.DataFrame, bars: pl.DataFrame, name: str) -> pl.DataFrame:
        always = membership_intervals.filter(pl.col("end_date").is_null()).with_columns(
            pl.lit(date(1990, 1, 1)).alias("start_date")
        )
        return honest(always, bars, name)

    monkeypatch.setattr(step, "members_with_bars", of_the_end)
    event = refused("universe_members", MONTH, step.universe_members_months(of_intervals, lake, new_run()))
    assert "refused by the leakage gate" in event.reason
    assert UNIVERSE_MEMBERS.name not in lake.tables()


@pytest.mark.parametrize(
    ("universe", "words"),
    [
        (Universe("SP500"), ["universe.membership"]),
        (Universe("TIER1"), ["did you mean TIER_1"]),
        (Universe("MAG7"), ["no member of MAG7", "SIM000"]),
    ],
)
def test_a_universe_that_cannot_be_is_named(lake: Lake, universe: Universe, words: list[str]) -> None:
    event = refused("universe_members", MONTH, step.universe_members_months(universe, lake, new_run()))
    for word in words:
        assert word in event.reason
