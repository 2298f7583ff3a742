from datetime import datetime
from zoneinfo import ZoneInfo

import dagster as dg
import pytest

from trademl_pipeline.definitions import defs

NEW_YORK = ZoneInfo("America/New_York")


def schedule() -> dg.ScheduleDefinition:
    return defs.resolve_schedule_def("retrain_direction")


@pytest.mark.parametrize(
    ("at", "month"),
    [
        (datetime(2016, 3, 1, 6, tzinfo=NEW_YORK), "2016-02-01"),
        (datetime(2016, 1, 1, 6, tzinfo=NEW_YORK), "2015-12-01"),
        (datetime(2016, 12, 1, 6, tzinfo=NEW_YORK), "2016-11-01"),
    ],
)
def test_the_schedule_asks_for_the_month_that_has_just_closed(at, month):
    with dg.instance_for_test() as instance:
        context = dg.build_schedule_context(
            instance=instance, scheduled_execution_time=at, repository_def=defs.get_repository_def()
        )
        found = schedule().evaluate_tick(context)
    assert [r.partition_key for r in found.run_requests or []] == [month]


def test_the_schedule_runs_after_the_close_of_the_last_session_and_before_the_next_open():
    assert schedule().cron_schedule == "0 6 1 * *"
    assert schedule().execution_timezone == "America/New_York"


def test_a_closed_month_asks_for_the_fold_of_the_next():
    with dg.instance_for_test() as instance:
        job = defs.resolve_job_def("month_direction")
        run = dg.DagsterRun(job_name=job.name, run_id="r", tags={"dagster/partition": "2016-12-01"})
        event = dg.DagsterEvent(event_type_value="PIPELINE_SUCCESS", job_name=job.name)
        context = dg.build_run_status_sensor_context(
            sensor_name="next_fold_direction",
            dagster_event=event,
            dagster_instance=instance,
            dagster_run=run,
            repository_def=defs.get_repository_def(),
        )
        found = defs.resolve_sensor_def("next_fold_direction")(context)
    assert isinstance(found, dg.RunRequest)
    assert found.partition_key == "2017-01-01"


@pytest.mark.parametrize(
    ("at", "held", "months"),
    [
        # The month goes on: it alone.
        (datetime(2016, 3, 15, 6, tzinfo=NEW_YORK), ["2016-02-01", "2016-03-01"], ["2016-03-01"]),
        # The month is over, and its last session closed yesterday.
        (datetime(2016, 4, 1, 6, tzinfo=NEW_YORK), ["2016-03-01"], ["2016-03-01"]),
        # Nothing for a while: every month since, the last one held included, since it was not complete.
        (
            datetime(2016, 4, 4, 6, tzinfo=NEW_YORK),
            ["2016-02-01"],
            ["2016-02-01", "2016-03-01", "2016-04-01"],
        ),
        (datetime(2016, 4, 4, 6, tzinfo=NEW_YORK), [], ["2016-04-01"]),
    ],
)
def test_each_morning_the_months_that_may_lack_bars_are_asked_for(at, held, months):
    with dg.instance_for_test() as instance:
        for month in held:
            instance.report_runless_asset_event(dg.AssetMaterialization("raw_bars", partition=month))
        context = dg.build_schedule_context(
            instance=instance, scheduled_execution_time=at, repository_def=defs.get_repository_def()
        )
        found = defs.resolve_schedule_def("daily_raw_bars").evaluate_tick(context)
    requests = found.run_requests or []
    assert [r.partition_key for r in requests] == months
    assert all(r.tags["trademl/fetch"] == "missing" for r in requests)
    assert len({r.run_key for r in requests}) == len(months)


def test_every_time_frame_has_its_morning():
    names = {f"daily_raw_bars{suffix}" for suffix in ("", "_4h", "_1h", "_1min")}
    assert names <= {schedule.name for schedule in defs.schedules or []}


def test_each_night_everything_up_to_the_month_is_audited():
    at = datetime(2016, 4, 15, 2, tzinfo=NEW_YORK)
    with dg.instance_for_test() as instance:
        context = dg.build_schedule_context(
            instance=instance, scheduled_execution_time=at, repository_def=defs.get_repository_def()
        )
        found = defs.resolve_schedule_def("nightly_leakage_audit").evaluate_tick(context)
    (request,) = found.run_requests or []
    assert request.partition_key == "2016-04-01"
    # Which night it is comes from the schedule's own time.
    assert request.run_config == {"ops": {"cold_run": {"config": {"night": "2016-04-15"}}}}
    assert "2016-04-15" in (request.run_key or "")
