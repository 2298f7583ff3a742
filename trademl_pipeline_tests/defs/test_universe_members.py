"""Whom one may decide on is who belonged on the day, and windows are made of no one else."""

from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from pathlib import Path

import dagster as dg
import polars as pl
import pytest

from trademl_pipeline.defs.market import universe_members as stage
from trademl_pipeline.defs.market.universe_members import audit_month, universe_members
from trademl_pipeline.defs.resources import LakeResource
from trademl_pipeline.defs.universes import UniverseResource
from trademl_pipeline.lake import Lake
from trademl_pipeline.market import split_bars
from trademl_pipeline.market.calendar import month_bounds
from trademl_pipeline.sequences.month import sequence_month
from trademl_pipeline.simulation import SimulatedMarket
from trademl_pipeline.tables import RAW_BARS, UNIVERSE_MEMBERS

MONTH = "2013-02-01"
SPELLS = """symbol,start_date,end_date
SIM000,2000-01-03,2013-02-15
SIM001,2013-02-11,
SIM002,2013-03-01,
GONE,2000-01-03,
"""


@dataclass(frozen=True)
class Run:
    """A lake with a month of bars, and the universe of them."""

    folder: Path
    universe: UniverseResource = field(default_factory=UniverseResource)

    def __call__(self) -> dg.ExecuteInProcessResult:
        resources = {"lake": self.stored(), "universe": self.universe}
        return dg.materialize(
            [universe_members], partition_key=MONTH, resources=resources, raise_on_error=False
        )

    def stored(self) -> LakeResource:
        lake = self.folder / "lake"
        return LakeResource(catalog=f"sqlite:{lake / 'catalog.sqlite'}", data_path=str(lake / "data"))

    def lake(self) -> Lake:
        return self.stored().open()


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setenv("TRADEML_HOME", str(tmp_path))
    for name in ("TRADEML_UNIVERSE", "TRADEML_MEMBERSHIP"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "spells.csv").write_text(SPELLS)
    made = Run(tmp_path)
    fetched = SimulatedMarket(n_symbols=5).fetch(None, *month_bounds(MONTH))
    made.lake().publish(
        RAW_BARS, split_bars(fetched, ingested_at=datetime(2026, 1, 5, tzinfo=UTC)).good, MONTH
    )
    return made


def of_spells(run: Run) -> Run:
    return replace(run, universe=UniverseResource(name="SP500", membership=str(run.folder / "spells.csv")))


def test_without_a_universe_everyone_with_a_bar_belongs(run: Run) -> None:
    assert run().success
    bars = run.lake().read(RAW_BARS, columns=["symbol", "session"])
    assert run.lake().read(UNIVERSE_MEMBERS).equals(bars)
    audit_month(run.lake(), MONTH).assert_clean()


def test_nobody_decides_on_the_vix(run: Run) -> None:
    lake = run.lake()
    bars = lake.read(RAW_BARS)
    vix = bars.filter(pl.col("symbol") == "SIM000").with_columns(pl.lit("^VIX").alias("symbol"))
    lake.publish(RAW_BARS, pl.concat([bars, vix]), MONTH)
    assert run().success
    assert lake.read(UNIVERSE_MEMBERS).equals(bars.select("symbol", "session"))
    audit_month(lake, MONTH).assert_clean()


def test_members_are_those_of_the_day(run: Run) -> None:
    assert of_spells(run)().success
    held = run.lake().read(UNIVERSE_MEMBERS)
    by_symbol = held.group_by("symbol").agg(
        pl.col("session").min().alias("a"), pl.col("session").max().alias("b")
    )
    assert by_symbol.sort("symbol").rows() == [
        ("SIM000", date(2013, 2, 1), date(2013, 2, 14)),
        ("SIM001", date(2013, 2, 11), date(2013, 2, 28)),
    ]


def test_windows_are_made_of_members_only_and_reach_back_before_they_joined(run: Run) -> None:
    assert of_spells(run)().success
    lake = run.lake()
    rows = lake.read(RAW_BARS).select(
        "symbol", "session", pl.col("event_time").alias("decision_time"), "knowledge_time"
    )
    windows = sequence_month(rows, 10, MONTH, members=lake.read(UNIVERSE_MEMBERS))
    assert windows.select("symbol", "session").equals(lake.read(UNIVERSE_MEMBERS))
    joined = windows.filter((pl.col("symbol") == "SIM001") & (pl.col("session") == date(2013, 2, 11)))
    assert joined["window_start"].item() == date(2013, 2, 1)


def test_todays_members_in_the_past_are_refused(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """The leak that this is about: membership of the end, used all the way back."""
    honest = stage.members_with_bars

    def of_the_end(spells: pl.DataFrame, bars: pl.DataFrame, name: str) -> pl.DataFrame:
        always = spells.filter(pl.col("end_date").is_null()).with_columns(
            pl.lit(date(1990, 1, 1)).alias("start_date")
        )
        return honest(always, bars, name)

    monkeypatch.setattr(stage, "members_with_bars", of_the_end)
    result = of_spells(run)()
    assert not result.success
    failure = result.get_step_failure_events()[0].step_failure_data.user_failure_data
    assert "refused by the leakage gate" in failure.description
    assert UNIVERSE_MEMBERS.name not in run.lake().tables()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"name": "SP500"}, ["TRADEML_UNIVERSE__MEMBERSHIP"]),
        ({"name": "TIER1"}, ["did you mean TIER_1"]),
        ({"name": "MAG7"}, ["no member of MAG7", "SIM000"]),
    ],
)
def test_a_universe_that_cannot_be_is_named(run: Run, settings: dict[str, str], words: list[str]) -> None:
    result = replace(run, universe=UniverseResource(**settings))()
    assert not result.success
    failure = result.get_step_failure_events()[0].step_failure_data.user_failure_data
    for word in words:
        assert word in failure.description
