"""The steps that can be opened, and what they read, are those of the Dagster definitions."""

import logging
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pytest

from trademl_pipeline import settings
from trademl_pipeline.defs import build_definitions
from trademl_pipeline.defs.partitions import mapping_of
from trademl_pipeline.pipeline.catalog import (
    COMPARISON_ASSET,
    fold_assets,
    generations,
    input_assets,
    input_reads,
    month_assets,
    opened,
    stage_makers,
)
from trademl_pipeline.pipeline.errors import StepError
from trademl_pipeline.pipeline.months import RunInfo
from trademl_pipeline.pipeline.report import report_name
from trademl_pipeline.pipeline.site import Site
from trademl_pipeline.pipeline.train import TrainOptions
from trademl_pipeline.studies import STUDIES
from trademl_pipeline.tables import champion_table
from trademl_pipeline.tables.bar_tables import DAILY, TIMEFRAMES, bar_tables

MONTHS = ["2014-02-01", "2014-03-01"]
# Made by Dagster's own jobs and schedules alone: what no study's report needs.
ONLY_DAGSTER = {champion_table(name).name for name in STUDIES} | {"leakage_audit", "cold_run"}
# No vendor's bars but daily ones can be had without a vendor.
INTRADAY = {bar_tables(timeframe).bars.name for timeframe in TIMEFRAMES if timeframe != DAILY}
STAGES = set(stage_makers(list(STUDIES.values())))
INPUTS = list(dict.fromkeys(asset for study in STUDIES.values() for asset in input_assets(study)))


@pytest.fixture(scope="module")
def specs() -> dict[str, dg.AssetSpec]:
    """Every asset that is materialized, by its name."""
    assets = build_definitions().assets or ()
    return {
        spec.key.to_user_string(): spec
        for asset in assets
        if isinstance(asset, dg.AssetsDefinition) and asset.is_executable
        for spec in asset.specs
    }


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(settings.load(tmp_path, {"data.symbols": "3"}, {}))


def new_run() -> RunInfo:
    return RunInfo("run", datetime.now(UTC), logging.getLogger(__name__))


def test_every_asset_of_the_definitions_is_in_the_catalog_and_nothing_else(specs: dict[str, dg.AssetSpec]):
    of_studies = {asset for study in STUDIES.values() for asset in month_assets(study)}
    assert of_studies | STAGES | INTRADAY | {COMPARISON_ASSET} | ONLY_DAGSTER == set(specs)


def test_every_table_can_be_opened_without_working_off_a_month(specs: dict[str, dg.AssetSpec], site: Site):
    for asset in sorted(set(specs) - ONLY_DAGSTER - INTRADAY):
        with opened(asset, site, new_run(), MONTHS, TrainOptions()) as body:
            assert callable(body), asset


def test_what_there_is_not_is_named_with_what_there_is(site: Site):
    with (
        pytest.raises(
            StepError, match=r"there is no asset 'features_none'; there are: .*features_indicators"
        ),
        opened("features_none", site, new_run(), MONTHS, TrainOptions()),
    ):
        pass


@pytest.mark.parametrize("asset", sorted({*INPUTS, *STAGES, *INTRADAY}))
def test_inputs_read_what_dagster_says_they_do(specs: dict[str, dg.AssetSpec], asset: str):
    deps = {dep.asset_key.to_user_string(): dep.partition_mapping for dep in specs[asset].deps}
    assert {name: mapping_of(lookback) for name, lookback in input_reads()[asset].items()} == deps


def test_only_inputs_are_asked_what_they_read():
    with pytest.raises(StepError, match=r"model_direction is no input of models; these are: .*raw_bars"):
        generations(["model_direction"])


@pytest.mark.parametrize("name", STUDIES)
def test_what_a_study_makes_comes_after_what_it_reads(specs: dict[str, dg.AssetSpec], name: str):
    order = month_assets(STUDIES[name])
    assert len(order) == len(set(order))
    for number, asset in enumerate(order):
        parents = {dep.asset_key.to_user_string() for dep in specs[asset].deps} - {asset}
        assert parents & set(order) <= set(order[:number]), asset
    assert order[-1] == report_name(name)
    assert {*input_assets(STUDIES[name]), *fold_assets(STUDIES[name])} < set(order)
