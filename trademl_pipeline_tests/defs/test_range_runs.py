"""A run of a range of months, as it is started in the UI: every month shows its own checks."""

from collections.abc import Iterator

import dagster as dg
import polars as pl
import pytest

from trademl_pipeline.defs import build_definitions
from trademl_pipeline.defs.partitions import MONTHS
from trademl_pipeline.market.calendar import month_range
from trademl_pipeline.pipeline import universe_members
from trademl_pipeline_tests.defs.conftest import RANGE as RANGE_TAGS
from trademl_pipeline_tests.defs.conftest import Workplace, surroundings

FIRST, LAST = "2013-01-01", "2013-04-01"
RANGE = set(month_range(FIRST, LAST))
REFUSED = "2013-02-01"
END = RANGE_TAGS[1]
AGAIN = ("universe_members",)
MARKET = ("raw_bars", "bar_quality", "reference_bars", "universe_members")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workplace]:
    """A data set whose bars, references and members were made in one run of four months."""
    home = tmp_path_factory.mktemp("range")
    with surroundings(home), dg.DagsterInstance.ephemeral() as instance:
        made = Workplace(home, instance, build_definitions())
        assert made.run("prepare_direction", months=(FIRST, LAST), assets=MARKET).success
        yield made


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


def materializations(place: Workplace, asset: str, run_id: str) -> list[str]:
    """Months of all materializations of an asset in a run."""
    wanted = dg.AssetRecordsFilter(asset_key=dg.AssetKey(asset))
    records = place.instance.fetch_materializations(wanted, limit=100).records
    return sorted(record.partition_key or "" for record in records if record.run_id == run_id)


def all_passed(place: Workplace) -> bool:
    """True where every check of every month has passed on the last materialization, and no other month is there."""
    states = checks_by_status(place)
    assert {asset for asset, _ in states} == set(MARKET)
    return all(months == {"SUCCEEDED": RANGE} for months in states.values())


@pytest.mark.slow
def test_every_month_of_a_range_is_materialized_once_and_its_checks_have_passed(place: Workplace) -> None:
    (run,) = place.instance.get_runs(dg.RunsFilter(tags={END: LAST}), limit=1)
    for asset in MARKET:
        assert materializations(place, asset, run.run_id) == sorted(RANGE), asset
    assert all_passed(place)


@pytest.mark.slow
def test_months_that_are_made_again_in_a_shorter_range_and_alone_show_the_last_time(place: Workplace) -> None:
    assert place.run("prepare_direction", months=(FIRST, REFUSED), assets=AGAIN).success
    assert place.run("prepare_direction", month=LAST, assets=AGAIN).success
    assert all_passed(place)


@pytest.mark.slow
def test_of_a_range_with_a_refused_month_the_others_show_their_checks(
    place: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRADEML_GATE__KEEP_GOING", "true")
    place = Workplace(place.home, place.instance, build_definitions())
    honest = universe_members.members_with_bars

    def one_is_left_out(intervals: pl.DataFrame | None, bars: pl.DataFrame, name: str) -> pl.DataFrame:
        members = honest(intervals, bars, name)
        of_the_month = members["session"].dt.strftime("%Y-%m-01") == REFUSED
        return members.filter(~of_the_month | (pl.col("symbol") != members["symbol"].min()))

    with monkeypatch.context() as planted:
        planted.setattr(universe_members, "members_with_bars", one_is_left_out)
        refused = place.run("prepare_direction", months=(FIRST, LAST), assets=AGAIN)
    assert not refused.success
    assert materializations(place, "universe_members", refused.run_id) == sorted(RANGE - {REFUSED})
    # Nobody has looked again at what the month holds since before, so that its check is as if it had not been run.
    assert checks_by_status(place)["universe_members", "universe"] == {"SUCCEEDED": RANGE - {REFUSED}}
    assert place.checks("universe_members", "universe", REFUSED)[0] == "FAILED"
    assert place.run("prepare_direction", month=REFUSED, assets=AGAIN).success
    assert all_passed(place)


@pytest.mark.slow
def test_checks_of_a_range_that_are_run_again_by_themselves_are_of_their_months(place: Workplace) -> None:
    keys = [dg.AssetKey(asset) for asset in ("raw_bars", "universe_members")]
    again = dg.define_asset_job("again", dg.AssetSelection.checks_for_assets(*keys))
    defs = dg.Definitions.merge(place.defs, dg.Definitions(jobs=[again]))
    tags = dict(zip(RANGE_TAGS, (FIRST, LAST), strict=True))
    assert defs.resolve_job_def("again").execute_in_process(instance=place.instance, tags=tags).success
    assert all_passed(place)
    graph = place.defs.resolve_asset_graph()
    for key in (key for asset in keys for key in graph.get(asset).check_keys):
        history = place.instance.event_log_storage.get_asset_check_execution_history(
            key, limit=len(RANGE) + 1
        )
        assert {record.partition for record in history} == {None, *RANGE}
