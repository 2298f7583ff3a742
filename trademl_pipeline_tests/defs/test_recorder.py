"""What a recorded run leaves in the Dagster instance, as the UI reads it."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import numpy as np
import pytest
import sqlalchemy
from dagster._core.event_api import AssetRecordsFilter
from dagster._core.storage.partition_status_cache import get_and_update_asset_status_cache_value

from trademl_pipeline.defs.metadata import to_dagster
from trademl_pipeline.defs.partitions import MONTHS
from trademl_pipeline.defs.recorder import DagsterRecorder, month_tags
from trademl_pipeline.market.calendar import month_range
from trademl_pipeline.pipeline.recording import CheckResult, MonthDone, MonthRefused
from trademl_pipeline.pipeline.shown import FilePath, Json, Markdown

ASSET, JOB = "features_indicators", "prepare_direction"
PROBES = ("truncation", "perturbation", "knowledge")
YEAR = month_range("2014-01-01", "2014-12-01")
FINDING = Markdown("| column |\n|---|\n| gap |")


def done(month: str, asset: str = ASSET) -> MonthDone:
    checks = [CheckResult(probe, True, {"coverage": Json({"columns": 12})}) for probe in PROBES]
    return MonthDone(asset, month, {"dagster/row_count": 126}, checks)


def refused(month: str) -> MonthRefused:
    checks = [CheckResult("truncation", False, {"violations": FINDING}), CheckResult("knowledge", True)]
    return MonthRefused(ASSET, month, "refused by the leakage gate", {"refusal": FINDING}, checks)


@pytest.fixture(params=["SQLite", "in memory"])
def instance(
    request: pytest.FixtureRequest, tmp_path: Path, empty_storage: Path
) -> Iterator[dg.DagsterInstance]:
    """One that keeps each run's log in a file of its own, and one that keeps all in one table, as PostgreSQL does."""
    shutil.copytree(empty_storage, tmp_path, dirs_exist_ok=True)
    made = (
        dg.DagsterInstance.local_temp(str(tmp_path))
        if request.param == "SQLite"
        else dg.DagsterInstance.ephemeral()
    )
    with made as entered:
        yield entered


@pytest.fixture
def recorder(instance: dg.DagsterInstance) -> DagsterRecorder:
    return DagsterRecorder(instance)


def months_by_status(instance: dg.DagsterInstance) -> dict[str, set[str]]:
    """Partitions of the asset as its page colours them."""
    value = get_and_update_asset_status_cache_value(instance, dg.AssetKey(ASSET), MONTHS)
    assert value is not None
    found = {
        "materialized": value.deserialize_materialized_partition_subsets(MONTHS),
        "failed": value.deserialize_failed_partition_subsets(MONTHS),
        "in progress": value.deserialize_in_progress_partition_subsets(MONTHS),
    }
    return {name: set(subset.get_partition_keys()) for name, subset in found.items() if not subset.is_empty}


def checks_by_status(instance: dg.DagsterInstance, probe: str) -> dict[str, set[str]]:
    """Months of a check as its page colours them."""
    key = dg.AssetCheckKey(dg.AssetKey(ASSET), probe)
    state = instance.event_log_storage.get_asset_check_state([(key, MONTHS)])[key]
    found = {status.value: subset for status, subset in state.subsets.items() if not subset.is_empty}
    return {status: set(subset.subset_value.get_partition_keys()) for status, subset in found.items()}


def test_a_run_stands_under_its_job_where_the_workspace_has_it(
    instance: dg.DagsterInstance, recorder: DagsterRecorder
):
    run = recorder.begin(JOB, [ASSET], YEAR, tags={"trademl/study": "direction"})
    record = instance.get_run_record_by_id(run.run_id)
    assert record is not None
    found = record.dagster_run
    assert found.status is dg.DagsterRunStatus.STARTED
    assert record.start_time is not None
    origin = found.remote_job_origin
    assert origin is not None
    assert (origin.job_name, origin.repository_origin.get_label()) == (JOB, "__repository__@trademl_pipeline")
    assert found.asset_selection == {dg.AssetKey(ASSET)}
    assert found.tags["trademl/study"] == "direction"
    assert found.tags["dagster/asset_partition_range_start"] == YEAR[0]
    assert found.tags["dagster/asset_partition_range_end"] == YEAR[-1]
    run.succeeded()
    assert instance.get_run_by_id(run.run_id).status is dg.DagsterRunStatus.SUCCESS


def test_published_months_are_materialized_and_all_their_checks_passed(
    instance: dg.DagsterInstance, recorder: DagsterRecorder
):
    run = recorder.begin(JOB, [ASSET], YEAR)
    run.told([done(month) for month in YEAR[:5]])
    run.told([done(month) for month in YEAR[5:]])
    run.succeeded()
    assert months_by_status(instance) == {"materialized": set(YEAR)}
    for probe in PROBES:
        assert checks_by_status(instance, probe) == {"SUCCEEDED": set(YEAR)}
    event = instance.get_latest_materialization_event(dg.AssetKey(ASSET))
    assert event is not None
    assert event.asset_materialization.partition == YEAR[-1]
    assert event.asset_materialization.metadata["dagster/row_count"].value == 126
    logged = [entry.dagster_event_type for entry in instance.all_logs(run.run_id) if entry.is_dagster_event]
    assert logged.count(dg.DagsterEventType.ASSET_MATERIALIZATION) == 12
    assert logged.count(dg.DagsterEventType.ASSET_CHECK_EVALUATION) == 12 * len(PROBES)


def test_a_month_that_is_published_again_shows_the_checks_of_the_second_time(
    instance: dg.DagsterInstance, recorder: DagsterRecorder
):
    for _ in range(2):
        run = recorder.begin(JOB, [ASSET], YEAR[:2])
        run.told([done(month) for month in YEAR[:2]])
        run.succeeded()
    assert checks_by_status(instance, "truncation") == {"SUCCEEDED": set(YEAR[:2])}


def test_of_a_month_told_twice_in_one_run_the_later_word_counts(
    instance: dg.DagsterInstance, recorder: DagsterRecorder
):
    run = recorder.begin(JOB, [ASSET], YEAR[:1])
    run.told([refused(YEAR[0])])
    run.told([done(YEAR[0])])
    run.succeeded()
    assert months_by_status(instance) == {"materialized": {YEAR[0]}}
    assert checks_by_status(instance, "truncation") == {"SUCCEEDED": {YEAR[0]}}
    key = dg.AssetCheckKey(dg.AssetKey(ASSET), "truncation")
    assert len(instance.event_log_storage.get_asset_check_execution_history(key, limit=9)) == 1


def test_a_refused_month_is_red_with_its_findings_until_it_is_healed(
    instance: dg.DagsterInstance, recorder: DagsterRecorder
):
    run = recorder.begin(JOB, [ASSET], YEAR[:2])
    run.told([done(YEAR[0]), refused(YEAR[1])])
    assert months_by_status(instance) == {"materialized": {YEAR[0]}, "in progress": {YEAR[1]}}
    run.failed("1 of 2 months refused")
    assert months_by_status(instance) == {"materialized": {YEAR[0]}, "failed": {YEAR[1]}}
    assert checks_by_status(instance, "truncation") == {"SUCCEEDED": {YEAR[0]}, "FAILED": {YEAR[1]}}
    assert checks_by_status(instance, "knowledge") == {"SUCCEEDED": set(YEAR[:2])}
    key = dg.AssetCheckKey(dg.AssetKey(ASSET), "truncation")
    (newest,) = instance.event_log_storage.get_asset_check_execution_history(key, limit=1)
    assert newest.partition == YEAR[1]
    assert newest.evaluation is not None
    assert newest.evaluation.metadata["violations"].value == FINDING.text
    assert f"{ASSET} 2014-02: refused by the leakage gate" in [
        entry.user_message for entry in instance.all_logs(run.run_id)
    ]

    healed = recorder.begin(JOB, [ASSET], YEAR[1:2])
    healed.told([done(YEAR[1])])
    healed.succeeded()
    assert months_by_status(instance) == {"materialized": set(YEAR[:2])}
    assert checks_by_status(instance, "truncation") == {"SUCCEEDED": set(YEAR[:2])}


def test_a_good_month_stays_green_when_it_is_refused_later_and_shows_what_was_found(
    instance: dg.DagsterInstance, recorder: DagsterRecorder
):
    first = recorder.begin(JOB, [ASSET], YEAR)
    first.told([done(month) for month in YEAR])
    first.succeeded()
    second = recorder.begin(JOB, [ASSET], YEAR)
    second.told([done(YEAR[0]), refused(YEAR[0]), refused(YEAR[3])])
    second.failed("2 of 12 months refused")
    assert months_by_status(instance) == {"materialized": set(YEAR)}
    for probe in PROBES:
        assert checks_by_status(instance, probe) == {"SUCCEEDED": set(YEAR)}
    seen = instance.fetch_observations(AssetRecordsFilter(dg.AssetKey(ASSET)), limit=10).records
    observed = {record.partition_key: record.asset_observation for record in seen}
    assert set(observed) == {YEAR[0], YEAR[3]}
    assert observed[YEAR[3]].metadata["refusal"].value == FINDING.text
    assert "what was published before stands" in observed[YEAR[3]].metadata["refused"].value
    evaluated = instance.all_logs(second.run_id, of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION)
    failed = [e.dagster_event.asset_check_evaluation_data for e in evaluated]
    assert [e.partition for e in failed if not e.passed] == [YEAR[0], YEAR[3]]


@pytest.mark.parametrize("end", ["failed", "canceled"])
def test_a_run_that_breaks_off_leaves_good_months_as_they_were(
    instance: dg.DagsterInstance, recorder: DagsterRecorder, end: str
):
    first = recorder.begin(JOB, [ASSET], YEAR)
    first.told([done(month) for month in YEAR])
    first.succeeded()
    second = recorder.begin(JOB, [ASSET], YEAR)
    second.told([done(YEAR[0])])
    assert months_by_status(instance) == {"materialized": set(YEAR)}
    getattr(second, end)("stopped by SIGINT")
    assert months_by_status(instance) == {"materialized": set(YEAR)}
    assert checks_by_status(instance, "truncation") == {"SUCCEEDED": set(YEAR)}


def test_an_asset_without_partitions_is_recorded_as_such(
    instance: dg.DagsterInstance, recorder: DagsterRecorder
):
    run = recorder.begin("compare_studies", ["validation_report"], [])
    run.told([MonthDone("validation_report", "", {"studies": 2})])
    run.told([MonthRefused("validation_report", "", "no report")])
    run.failed("no report")
    event = instance.get_latest_materialization_event(dg.AssetKey("validation_report"))
    assert event is not None
    assert event.asset_materialization.partition is None
    assert "dagster/partition" not in instance.get_run_by_id(run.run_id).tags


def test_many_months_cost_as_many_transactions_as_one(
    instance: dg.DagsterInstance, recorder: DagsterRecorder
):
    run = recorder.begin(JOB, [ASSET], month_range("2014-01-01", "2015-12-01"))
    commits: list[None] = []

    def count(months: list[str]) -> int:
        commits.clear()
        run.told([done(month) for month in months])
        return len(commits)

    def committed(connection: sqlalchemy.Connection) -> None:
        commits.append(None)

    sqlalchemy.event.listen(sqlalchemy.Engine, "commit", committed)
    try:
        assert count(YEAR[:1]) == count(YEAR) <= 2
    finally:
        sqlalchemy.event.remove(sqlalchemy.Engine, "commit", committed)


def test_the_page_of_a_run_draws_its_steps(instance: dg.DagsterInstance, recorder: DagsterRecorder):
    run = recorder.begin("fold_direction", ["model_direction", "predictions_direction"], YEAR[:1])

    def drawn() -> dict[str, str | None]:
        found = instance.get_run_step_stats(run.run_id)
        return {stats.step_key: stats.status.value if stats.status else None for stats in found}

    assert drawn() == {"model_direction": "IN_PROGRESS"}
    run.told([done(YEAR[0], "model_direction")])
    assert drawn() == {"model_direction": "SUCCESS", "predictions_direction": "IN_PROGRESS"}
    run.told([MonthRefused("predictions_direction", YEAR[0], "no model")])
    run.failed("1 month refused")
    assert drawn() == {"model_direction": "SUCCESS", "predictions_direction": "FAILURE"}
    plan = instance.get_execution_plan_snapshot(instance.get_run_by_id(run.run_id).execution_plan_snapshot_id)
    assert {step.key for step in plan.steps} == set(drawn())


def test_a_step_that_is_broken_off_has_failed(instance: dg.DagsterInstance, recorder: DagsterRecorder):
    run = recorder.begin(JOB, [ASSET], YEAR)
    run.told([done(YEAR[0])])
    run.canceled("stopped by SIGINT")
    (stats,) = instance.get_run_step_stats(run.run_id)
    assert (stats.step_key, stats.status.value) == (ASSET, "FAILURE")


def test_the_log_of_a_second_run_is_as_good_as_that_of_the_first(tmp_path: Path, empty_storage: Path):
    shutil.copytree(empty_storage, tmp_path, dirs_exist_ok=True)
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        recorder = DagsterRecorder(instance)
        runs = [recorder.begin(JOB, [ASSET], YEAR[:1]) for _ in range(2)]
        for number, run in enumerate(runs):
            run.log(f"of run {number}")
            run.told([done(YEAR[0])])
            run.succeeded()
    # Another process opens it, and looks whether its tables are up to date.
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        texts = [[entry.message for entry in instance.all_logs(run.run_id)] for run in runs]
    assert [len(lines) for lines in texts] == [len(texts[0])] * 2
    assert ["of run 1" in lines for lines in texts] == [False, True]
    assert all(f"{ASSET} 2014-01: published" in lines for lines in texts)


def test_lines_of_progress_stand_in_the_log(instance: dg.DagsterInstance, recorder: DagsterRecorder):
    run = recorder.begin(JOB, [ASSET], YEAR)
    run.log("2014-05: 5 of 12 months")
    run.log("late", level="WARNING")
    assert [(e.user_message, e.level) for e in instance.all_logs(run.run_id)][-2:] == [
        ("2014-05: 5 of 12 months", 20),
        ("late", 30),
    ]


def test_metadata_is_shown_as_what_it_is():
    shown = to_dagster(
        {
            "rows": np.int64(3),
            "share": np.float32(0.5),
            "flag": np.bool_(True),
            "nothing": None,
            "text": "a",
            "ratio": float("nan"),
            "note": Markdown("**a**"),
            "file": FilePath("/a/b"),
            "data": Json({"a": np.arange(2), "b": [float("inf"), np.float64("nan")], "c": np.int8(1)}),
        }
    )
    assert [type(shown[name]) for name in ("rows", "share", "flag")] == [int, float, bool]
    assert (shown["rows"], shown["share"], shown["flag"]) == (3, 0.5, True)
    assert (shown["nothing"], shown["text"]) == (None, "a")
    assert shown["ratio"] == dg.MetadataValue.text("nan")
    assert shown["note"] == dg.MetadataValue.md("**a**")
    assert shown["file"] == dg.MetadataValue.path("/a/b")
    assert shown["data"] == dg.MetadataValue.json({"a": [0, 1], "b": ["inf", "nan"], "c": 1})


def test_months_with_gaps_are_no_range_to_dagster():
    assert month_tags([]) == {}
    assert month_tags(YEAR[:1]) == {"dagster/partition": YEAR[0]}
    assert month_tags([YEAR[0], YEAR[2]]) == {"trademl/months": "2014-01 to 2014-03, 2 months"}
    assert month_tags(YEAR[:2])["dagster/asset_partition_range_end"] == YEAR[1]
