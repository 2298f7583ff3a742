"""Reference series as an asset: its settings are its resources', and its checks can be run again."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pytest

from trademl_pipeline.defs.bars import BarsResource
from trademl_pipeline.defs.market.reference_bars import reference_bars, reference_bars_gate
from trademl_pipeline.defs.quality import QualityResource
from trademl_pipeline.defs.references import ReferenceResource, reference_resource
from trademl_pipeline.defs.resources import DataSetResource, GateResource, LakeResource
from trademl_pipeline.defs.universes import UniverseResource
from trademl_pipeline.lake import Lake
from trademl_pipeline.market import fetch_month, split_bars
from trademl_pipeline.market.calendar import month_range
from trademl_pipeline.tables import RAW_BARS, REFERENCE_BARS
from trademl_pipeline_tests.defs.conftest import RANGE
from trademl_pipeline_tests.defs.failures import said
from trademl_pipeline_tests.past_the_gate import give

FIRST, LAST = "2013-01-01", "2013-03-01"
MONTHS = month_range(FIRST, LAST)


@dataclass(frozen=True)
class Run:
    """Bars and references of a lake of their own."""

    folder: Path
    bars: BarsResource = field(default_factory=lambda: BarsResource(symbols="6"))
    references: ReferenceResource = field(default_factory=ReferenceResource)

    @property
    def stored(self) -> LakeResource:
        lake = self.folder / "lake"
        return LakeResource(catalog=f"sqlite:{lake / 'catalog.sqlite'}", data_path=str(lake / "data"))

    def __call__(self, first: str, last: str, *, checks: bool = False) -> dg.ExecuteInProcessResult:
        """Materialize a range of months, or check what the lake holds of it."""
        key = reference_bars.key
        alone = dg.AssetSelection.checks_for_assets(key)
        selection = alone if checks else dg.AssetSelection.assets(key).without_checks()
        definitions = dg.Definitions(
            assets=[reference_bars],
            asset_checks=[reference_bars_gate],
            jobs=[dg.define_asset_job("job", selection)],
            resources={
                "bars": self.bars,
                "lake": self.stored,
                "references": self.references,
                "gate": GateResource(),
                "quality": QualityResource(),
                "data_set": DataSetResource(),
                "universe": UniverseResource(),
            },
        )
        return definitions.resolve_job_def("job").execute_in_process(
            tags=dict(zip(RANGE, (first, last), strict=True)), raise_on_error=False
        )

    def lake(self) -> Lake:
        return self.stored.open()


def with_bars(run: Run) -> Run:
    """The lake with the simulated bars published, without the asset that does it."""
    store, source = run.lake(), run.bars.open()
    for month in MONTHS:
        good = split_bars(fetch_month(source, month), ingested_at=datetime(2026, 1, 5, tzinfo=UTC)).good
        give(store, (RAW_BARS, good, month))
    return run


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """A lake with bars and references; no test here changes it."""
    folder = tmp_path_factory.mktemp("filled")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRADEML_HOME", str(folder))
        patch.delenv("TRADEML_MEMBERSHIP", raising=False)
        made = with_bars(Run(folder))
        assert made(FIRST, LAST).success
        yield made


@pytest.mark.slow
def test_every_month_of_a_range_is_published_and_the_checks_pass_again_on_what_the_lake_holds(
    filled: Run,
) -> None:
    assert filled.lake().months(REFERENCE_BARS) == MONTHS
    result = filled(LAST, LAST, checks=True)
    passed = {e.check_name: e.passed for e in result.get_asset_check_evaluations()}
    assert passed == dict.fromkeys(REFERENCE_BARS.probes, True)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"path": "/nowhere/funds.parquet"}, ["/nowhere/funds.parquet"]),
        ({"weighting": "float"}, ["'float'", "cap, price, equal"]),
        ({"sectors": "/nowhere/sectors.csv"}, ["/nowhere/sectors.csv"]),
        ({"universe": "SP500"}, ["TRADEML_UNIVERSE__MEMBERSHIP"]),
        ({"universe": "TIER1"}, ["TIER_1"]),
    ],
)
def test_a_wrong_setting_is_named(filled: Run, settings: dict[str, str], words: list[str]) -> None:
    message = said(replace(filled, references=ReferenceResource(**settings))(FIRST, FIRST))
    for word in words:
        assert word in message


def test_the_index_is_of_the_universe_that_one_decides_on(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TRADEML_INDEX_UNIVERSE", "TRADEML_UNIVERSE"):
        monkeypatch.delenv(name, raising=False)
    assert reference_resource().universe == ""
    monkeypatch.setenv("TRADEML_UNIVERSE", "SP500")
    assert reference_resource().universe == "SP500"
    monkeypatch.setenv("TRADEML_INDEX_UNIVERSE", "ALL")
    assert reference_resource().universe == "ALL"


def test_a_month_without_bars_says_what_to_materialize(filled: Run) -> None:
    message = said(filled("2013-04-01", "2013-04-01"))
    assert "raw_bars" in message
    assert "2013-04" in message
