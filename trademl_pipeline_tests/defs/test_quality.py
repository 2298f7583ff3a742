"""Quality as an asset and as checks on the bars: found, counted, shown, loud as configured."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import dagster as dg
import pytest

from trademl_pipeline.defs.bars import BarsResource
from trademl_pipeline.defs.market.bar_quality import bar_quality, raw_bars_quality
from trademl_pipeline.defs.market.bars import bars_assets
from trademl_pipeline.defs.quality import QualityResource
from trademl_pipeline.defs.resources import DataSetResource, GateResource, LakeResource
from trademl_pipeline.lake import Lake
from trademl_pipeline.market.quality.report import DEFAULT_RULES
from trademl_pipeline.tables.bar_tables import DAILY
from trademl_pipeline_tests.defs.conftest import RANGE
from trademl_pipeline_tests.defs.failures import failure
from trademl_pipeline_tests.pipeline.spoiled_bars import FIRST, LAST, spoiled

raw_bars = bars_assets(DAILY)[0]


@dataclass(frozen=True)
class Run:
    """Bars of a file in a lake of their own, and their quality."""

    folder: Path
    instance: dg.DagsterInstance
    quality: QualityResource = field(default_factory=QualityResource)

    def __call__(
        self, *parts: dg.AssetsDefinition, months: tuple[str, str] = (FIRST, LAST)
    ) -> dg.ExecuteInProcessResult:
        lake = self.folder / "lake"
        checks = [p for p in parts if isinstance(p, dg.AssetChecksDefinition)]
        resources = {
            "bars": BarsResource(source="files", path=str(self.folder / "bars.parquet")),
            "lake": LakeResource(catalog=f"sqlite:{lake / 'catalog.sqlite'}", data_path=str(lake / "data")),
            "data_set": DataSetResource(),
            "gate": GateResource(),
            "quality": self.quality,
        }
        assets = [p for p in parts if p not in checks]
        selection = dg.AssetSelection.assets(*[a.key for a in assets]).without_checks()
        for check in checks:
            selection = selection | dg.AssetSelection.checks(*check.check_keys)
        job = dg.define_asset_job("job", selection)
        return (
            dg.Definitions(
                assets=[raw_bars, bar_quality], asset_checks=checks, resources=resources, jobs=[job]
            )
            .resolve_job_def("job")
            .execute_in_process(
                instance=self.instance, tags=dict(zip(RANGE, months, strict=True)), raise_on_error=False
            )
        )

    def lake(self) -> Lake:
        lake = self.folder / "lake"
        return LakeResource(catalog=f"sqlite:{lake / 'catalog.sqlite'}", data_path=str(lake / "data")).open()


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """A lake with the spoiled bars and their quality."""
    folder = tmp_path_factory.mktemp("quality")
    spoiled(folder)
    with pytest.MonkeyPatch.context() as patch, dg.DagsterInstance.ephemeral() as instance:
        patch.setenv("TRADEML_HOME", str(folder))
        made = Run(folder, instance)
        assert made(raw_bars, bar_quality).success
        yield made


def failed(result: dg.ExecuteInProcessResult) -> dict[str, dg.AssetCheckSeverity]:
    assert result.success
    return {e.check_name: e.severity for e in result.get_asset_check_evaluations() if not e.passed}


@pytest.mark.slow
def test_figure_and_table_show_in_the_ui(run: Run):
    events = run.instance.fetch_materializations(
        dg.AssetRecordsFilter(asset_key=dg.AssetKey("bar_quality"), asset_partitions=[LAST, "2013-03-01"]),
        limit=20,
    ).records
    by_month = {}
    for record in events:
        by_month.setdefault(record.partition_key, []).append(record.asset_materialization.metadata)
    assert any("figure" in m and m["figure"].value.startswith("![quality") for m in by_month[LAST])
    march = by_month["2013-03-01"][0]
    assert "missing_sessions | 3 |" in march["quality"].value
    assert set(march["failed"].value) == {"duplicates", "missing_sessions", "ohlc_order"}


@pytest.mark.slow
def test_the_checks_stand_on_the_bars_and_answer_also_where_they_could_not_run(run: Run):
    result = run(raw_bars_quality)
    warn, error = dg.AssetCheckSeverity.WARN, dg.AssetCheckSeverity.ERROR
    assert failed(result) == {"duplicates": error, "missing_sessions": warn, "ohlc_order": warn}
    answers = {e.check_name: e for e in result.get_asset_check_evaluations()}
    assert set(answers) == set(DEFAULT_RULES)
    assert "`crosscheck`" in answers["vendor_disagreement"].description
    assert "`membership`" in answers["members_without_prices"].description
    assert answers["missing_sessions"].metadata["failed_months"].value == ["2013-03"]
    assert "2013-03" in answers["missing_sessions"].metadata["examples"].value


def test_the_rules_say_how_loud_a_check_is(run: Run):
    loud = '{"missing_sessions": "ERROR", "duplicates": {"severity": "WARN", "limit": 0.5}}'
    changed = replace(run, quality=QualityResource(rules=loud))
    warn, error = dg.AssetCheckSeverity.WARN, dg.AssetCheckSeverity.ERROR
    assert failed(changed(raw_bars_quality)) == {"missing_sessions": error, "ohlc_order": warn}


def test_rules_that_make_no_sense_are_named(run: Run):
    wrong = replace(run, quality=QualityResource(rules='{"gaps": "WARN"}'))
    result = wrong(bar_quality)
    assert not result.success
    message = failure(result).description
    assert "'gaps'" in message
