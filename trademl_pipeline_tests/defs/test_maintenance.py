"""Upkeep of the lake: what certificates and models stand on stays readable, the rest goes."""

from datetime import UTC, datetime, timedelta

import dagster as dg
import polars as pl
import pytest
from typer.testing import CliRunner

from trademl_pipeline.certificates.upkeep import DAYS, maintain, recorded_snapshots
from trademl_pipeline.cli import app
from trademl_pipeline.definitions import defs
from trademl_pipeline.pipeline.gate import Sample
from trademl_pipeline.pipeline.job_names import MAINTAIN
from trademl_pipeline.pipeline.verify import verify_month
from trademl_pipeline.studies import STUDIES
from trademl_pipeline.tables import certificate_table
from trademl_pipeline_tests.defs.conftest import LAST, Workplace
from trademl_pipeline_tests.past_the_gate import write_past_the_gate

LATER = datetime.now(UTC) + timedelta(days=DAYS + 10)


@pytest.fixture
def published_again(workplace: Workplace) -> Workplace:
    """The workplace with four more snapshots that nothing names; its content is what it was."""
    lake, schema = workplace.lake(), STUDIES["direction"].features
    honest = lake.read(schema, months=(LAST, LAST))
    for frame in (honest.with_columns(pl.col("gap") + 1.0), honest) * 2:
        write_past_the_gate(lake, schema, frame, LAST)
    return workplace


def test_the_job_lets_nothing_go_that_is_younger_than_it_says(workplace: Workplace):
    before = workplace.lake().snapshots()["snapshot"]
    result = workplace.defs.resolve_job_def(MAINTAIN).execute_in_process(instance=workplace.instance)
    assert result.success
    assert set(before) <= set(workplace.lake().snapshots()["snapshot"])
    handled = result.all_node_events
    shown = next(e.step_output_data.metadata for e in handled if e.is_successful_output)
    assert shown["snapshots_expired"].value == 0
    assert shown["snapshots_kept_for_certificates"].value == len(
        recorded_snapshots(workplace.lake(), "direction")
    )


def test_the_snapshot_that_was_the_lake_when_the_time_began_stays(published_again: Workplace):
    """A run that began on it, when nothing had been published for long, may still be reading."""
    lake = published_again.lake()
    held = lake.snapshots().sort("snapshot")
    last = held.row(-2, named=True)
    done = maintain(lake, STUDIES, now=last["time"] + timedelta(days=DAYS, microseconds=1))
    named = recorded_snapshots(lake, "direction")
    older = {s for s in held["snapshot"] if s < last["snapshot"]}
    assert set(done.report.expired) == older - named
    assert older - named
    assert set(held["snapshot"][-2:]) <= set(lake.snapshots()["snapshot"])


def test_a_lake_that_was_maintained_can_still_verify_its_months(published_again: Workplace):
    lake, study = published_again.lake(), STUDIES["direction"]
    named = recorded_snapshots(lake, "direction")
    models, certificates = (
        set(lake.read(table)[column])
        for table, column in ((study.models, "snapshot"), (certificate_table("direction"), "data_snapshot"))
    )
    assert models | certificates <= named
    before = set(lake.snapshots()["snapshot"])
    done = maintain(lake, STUDIES, reclaim_now=True, now=LATER)
    after = set(lake.snapshots()["snapshot"])
    assert set(done.protected) == named <= after
    assert done.report.expired
    assert not set(done.report.expired) & after
    assert after < before
    assert done.report.deleted
    assert not done.lost
    result = verify_month(published_again.workspace(), study, LAST, Sample(2, 0))
    assert result.holds, result.to_plain()


def test_a_named_snapshot_that_is_gone_is_told_and_stops_nothing(
    workplace: Workplace, monkeypatch: pytest.MonkeyPatch
):
    lake = workplace.lake()
    monkeypatch.setattr(
        "trademl_pipeline.certificates.upkeep.certified_snapshots",
        lambda store, study: {10**6} if study == "direction" else set(),
    )
    done = maintain(lake, STUDIES)
    assert done.lost == (10**6,)
    assert done.protected


def test_the_same_from_the_shell(written_down: Workplace):
    found = CliRunner().invoke(app, ["maintain", "--home", str(written_down.home)])
    assert found.exit_code == 0, found.output
    assert "snapshots kept for certificates" in found.output
    refused = CliRunner().invoke(app, ["maintain", "--home", str(written_down.home), "--days", "0"])
    assert refused.exit_code == 2


def test_the_schedule_is_weekly_and_off_until_it_is_switched_on():
    schedule = defs.resolve_schedule_def(f"weekly_{MAINTAIN}")
    assert schedule.cron_schedule == "0 12 * * 0"
    assert schedule.default_status == dg.DefaultScheduleStatus.STOPPED
    with dg.instance_for_test() as instance:
        context = dg.build_schedule_context(
            instance=instance, scheduled_execution_time=LATER, repository_def=defs.get_repository_def()
        )
        assert len(schedule.evaluate_tick(context).run_requests or []) == 1
