"""The members as an asset: its universe is its resource's, and what refuses them is told by the failure."""

from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

import dagster as dg
import polars as pl
import pytest

from trademl_pipeline.defs.market.universe_members import universe_members, universe_members_gate
from trademl_pipeline.defs.quality import QualityResource
from trademl_pipeline.defs.references import ReferenceResource
from trademl_pipeline.defs.resources import DataSetResource, GateResource, LakeResource
from trademl_pipeline.defs.universes import UniverseResource
from trademl_pipeline.lake import Lake
from trademl_pipeline.pipeline import universe_members as step
from trademl_pipeline.tables import UNIVERSE_MEMBERS
from trademl_pipeline_tests.defs.failures import failure
from trademl_pipeline_tests.pipeline.test_universe_members import MEMBERSHIP_INTERVALS, MONTH, with_bars


@dataclass(frozen=True)
class Run:
    """A lake with a month of bars, and the universe of them."""

    universe: UniverseResource

    def __call__(self) -> dg.ExecuteInProcessResult:
        return dg.materialize(
            [universe_members, universe_members_gate],
            partition_key=MONTH,
            resources={
                "lake": LakeResource(),
                "universe": self.universe,
                "data_set": DataSetResource(),
                "gate": GateResource(),
                "references": ReferenceResource(),
                "quality": QualityResource(),
            },
            raise_on_error=False,
        )

    def lake(self) -> Lake:
        return LakeResource().open()


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setenv("TRADEML_HOME", str(tmp_path))
    for name in ("TRADEML_UNIVERSE", "TRADEML_MEMBERSHIP"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "spells.csv").write_text(MEMBERSHIP_INTERVALS)
    with_bars(tmp_path)
    return Run(UniverseResource(name="SP500", membership=str(tmp_path / "spells.csv")))


def test_members_are_those_of_the_resources_universe_and_their_checks_pass(run: Run) -> None:
    result = run()
    assert result.success
    held = run.lake().read(UNIVERSE_MEMBERS)
    last = held.group_by("symbol").agg(pl.col("session").max()).sort("symbol")
    assert last.rows() == [("SIM000", date(2013, 2, 14)), ("SIM001", date(2013, 2, 28))]
    checks = {e.check_name: e.passed for e in result.get_asset_check_evaluations()}
    assert checks == dict.fromkeys(UNIVERSE_MEMBERS.probes, True)


def test_a_month_that_the_gate_refuses_fails_the_step(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    honest = step.members_with_bars

    def everyone(membership_intervals: pl.DataFrame, bars: pl.DataFrame, name: str) -> pl.DataFrame:
        return honest(None, bars, "ALL")

    monkeypatch.setattr(step, "members_with_bars", everyone)
    result = run()
    assert not result.success
    reason = failure(result)
    assert "refused by the leakage gate" in reason.description
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
    reason = failure(result)
    for word in words:
        assert word in reason.description
