"""A run of a range of months, as it is started in the UI: every month shows its own checks."""

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import polars as pl
import pytest

from trademl_pipeline.defs import build_definitions
from trademl_pipeline.defs.partitions import MONTHS
from trademl_pipeline.market.calendar import month_range
from trademl_pipeline.pipeline import universe_members
from trademl_pipeline_tests.defs.conftest import Workplace, surroundings

FIRST, LAST = "2013-01-01", "2013-04-01"
RANGE = set(month_range(FIRST, LAST))
REFUSED = "2013-02-01"
MARKET = ("raw_bars", "bar_quality", "reference_bars", "universe_members")


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Workplace]:
    """Definitions and an instance on disk, of a data set in which nothing was run."""
    (tmp_path / "dagster").mkdir()
    with surroundings(tmp_path), dg.DagsterInstance.local_temp(str(tmp_path / "dagster")) as instance:
        yield Workplace(tmp_path, instance, build_definitions())


def checks_by_status(place: Workplace) -> dict[tuple[str, str], dict[str, set[str]]]:
    """Months of every check of the market's assets by the status that the UI shows."""
    graph = place.defs.resolve_asset_graph()
    keys = [key for asset in MARKET for key in graph.get(dg.AssetKey(asset)).check_keys]
    states = place.instance.event_log_storage.get_asset_check_state([(key, MONTHS) for key in keys])
    return {
        (key.asset_key.to_user_string(), key.name): {
            status.value: set(subset.subset_value.get_partition_keys())
            for status, subset in states[key].subsets.items()
            if not subset.is_empty
        }
        for key in keys
    }


def materializations(place: Workplace, asset: str) -> list[str]:
    """Months of all materializations of an asset."""
    wanted = dg.AssetRecordsFilter(asset_key=dg.AssetKey(asset))
    return sorted(
        r.partition_key or "" for r in place.instance.fetch_materializations(wanted, limit=100).records
    )


def test_every_month_of_a_range_is_materialized_once_and_its_checks_have_passed(place: Workplace) -> None:
    result = place.run("prepare_direction", months=(FIRST, LAST), assets=MARKET)
    assert result.success
    for asset in MARKET:
        assert materializations(place, asset) == sorted(RANGE), asset
    states = checks_by_status(place)
    assert {asset for asset, _ in states} == {"raw_bars", "reference_bars", "universe_members"}
    assert states == {key: {"SUCCEEDED": RANGE} for key in states}


def test_months_that_are_made_again_in_a_shorter_range_and_alone_show_the_last_time(place: Workplace) -> None:
    assert place.run("prepare_direction", months=(FIRST, LAST), assets=MARKET).success
    assert place.run("prepare_direction", months=(FIRST, REFUSED), assets=MARKET).success
    assert place.run("prepare_direction", month=LAST, assets=MARKET).success
    states = checks_by_status(place)
    assert states == {key: {"SUCCEEDED": RANGE} for key in states}


def test_of_a_range_with_a_refused_month_the_others_show_their_checks(
    place: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert place.run("prepare_direction", months=(FIRST, LAST), assets=("raw_bars",)).success
    honest = universe_members.members_with_bars

    def one_is_left_out(intervals: pl.DataFrame | None, bars: pl.DataFrame, name: str) -> pl.DataFrame:
        members = honest(intervals, bars, name)
        of_the_month = members["session"].dt.strftime("%Y-%m-01") == REFUSED
        return members.filter(~of_the_month | (pl.col("symbol") != members["symbol"].min()))

    with monkeypatch.context() as planted:
        planted.setattr(universe_members, "members_with_bars", one_is_left_out)
        refused = place.run("prepare_direction", months=(FIRST, LAST), assets=("universe_members",))
    assert not refused.success
    assert materializations(place, "universe_members") == sorted(RANGE - {REFUSED})
    universe = checks_by_status(place)["universe_members", "universe"]
    assert universe == {"SUCCEEDED": RANGE - {REFUSED}, "FAILED": {REFUSED}}
    assert place.run("prepare_direction", month=REFUSED, assets=("universe_members",)).success
    assert checks_by_status(place)["universe_members", "universe"] == {"SUCCEEDED": RANGE}


def test_checks_of_a_range_that_are_run_again_by_themselves_are_of_their_months(place: Workplace) -> None:
    assert place.run("prepare_direction", months=(FIRST, LAST), assets=MARKET).success
    asset = dg.AssetKey("universe_members")
    again = dg.define_asset_job("again", dg.AssetSelection.checks_for_assets(asset))
    defs = dg.Definitions.merge(place.defs, dg.Definitions(jobs=[again]))
    tags = {"dagster/asset_partition_range_start": FIRST, "dagster/asset_partition_range_end": LAST}
    assert defs.resolve_job_def("again").execute_in_process(instance=place.instance, tags=tags).success
    states = checks_by_status(place)
    assert states == {key: {"SUCCEEDED": RANGE} for key in states}
