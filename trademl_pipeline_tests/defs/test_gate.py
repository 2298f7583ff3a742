"""Refusals: nothing is committed, every refusal is seen, and what does not need the month goes on."""

from collections.abc import Iterator
from dataclasses import dataclass

import dagster as dg
import polars as pl
import pytest

import trademl_pipeline.pipeline.features as stage
from trademl_pipeline.defs import build_definitions
from trademl_pipeline.features import FEATURE_SETS
from trademl_pipeline.features.panel import feature_month
from trademl_pipeline.leakage.report import AuditReport, Violation
from trademl_pipeline.market.calendar import month_range
from trademl_pipeline.pipeline.gate import GateRefusedError
from trademl_pipeline.tables import AUDITS, feature_table
from trademl_pipeline_tests.defs.conftest import Workplace
from trademl_pipeline_tests.defs.failures import failure
from trademl_pipeline_tests.past_the_gate import write_past_the_gate

LEAK = "2013-09-01"
FEATURES = feature_table("indicators", FEATURE_SETS["indicators"])


@dataclass
class Leak:
    """A feature that reads tomorrow in one month."""

    month: str = LEAK
    kind: str = "shift"

    def __call__(self, bars: pl.DataFrame, name: str, month: str, **references: pl.DataFrame) -> pl.DataFrame:
        frame = feature_month(bars, name, month, **references)
        if month != self.month:
            return frame
        if self.kind == "shift":
            return frame.with_columns(pl.col("gap").shift(-1).over("symbol"))
        late = pl.col("decision_time") + pl.duration(minutes=1)
        return frame.with_columns(late.alias("knowledge_time"))


@pytest.fixture
def leaking(workplace: Workplace) -> Iterator[Workplace]:
    """The workplace with the leak planted, put right again afterwards."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stage, "feature_month", Leak())
        yield workplace
    assert workplace.run("prepare_direction", month=LEAK, assets=("features_indicators",)).success


def test_a_refused_month_leaves_the_lake_as_it_was(leaking: Workplace):
    lake = leaking.lake()
    before = lake.data_version(FEATURES, LEAK)
    result = leaking.run(
        "prepare_direction", month=LEAK, assets=("features_indicators", "sequences_direction")
    )
    assert not result.success
    assert lake.data_version(FEATURES, LEAK) == before
    steps = {e.step_key for e in result.all_node_events if e.is_step_success}
    assert not steps & {"features_indicators", "sequences_direction"}


def test_a_refusal_names_the_column_the_session_and_the_change(leaking: Workplace):
    result = leaking.run("prepare_direction", month=LEAK, assets=("features_indicators",))
    said = failure(result)
    assert "refused" in said.description
    assert "2013-09" in said.description
    table = said.metadata["refusal 2013-09"].value
    assert "truncation" in table
    assert "gap" in table
    assert "2013-09-" in table
    assert said.metadata["figure 2013-09"].value.startswith("![values around the leak](data:image/png")
    audits = leaking.lake().read(AUDITS).filter(~pl.col("passed") & (pl.col("month") == LEAK))
    assert set(audits["column"]) == {"gap"}
    assert audits["first_leak"].is_not_null().all()


def test_a_refusal_is_a_failed_check_of_its_month(leaking: Workplace):
    leaking.run("prepare_direction", month=LEAK, assets=("features_indicators",))
    assert leaking.checks("features_indicators", "truncation", LEAK)[0] == "FAILED"
    assert leaking.checks("features_indicators", "perturbation", LEAK)[0] == "FAILED"
    assert leaking.checks("features_indicators", "knowledge", LEAK)[0] == "SUCCEEDED"
    key = dg.AssetCheckKey(dg.AssetKey("features_indicators"), "truncation")
    record = leaking.instance.event_log_storage.get_asset_check_execution_history(key, limit=1)[0]
    shown = record.event.dagster_event.event_specific_data.metadata
    assert shown["figure"].value.startswith("![values around the leak](data:image/png")


def published_of_a_range(leaking: Workplace, months: tuple[str, str]) -> tuple[set[str], dg.Failure]:
    """Months of the features that a run of a range has published, and what its step failed with."""
    result = leaking.run("prepare_direction", months=months, assets=("features_indicators",))
    assert not result.success
    wanted = dg.AssetRecordsFilter(
        asset_key=dg.AssetKey("features_indicators"), asset_partitions=month_range(*months)
    )
    records = leaking.instance.fetch_materializations(wanted, limit=100).records
    return {r.partition_key for r in records if r.run_id == result.run_id}, failure(result)


def test_a_range_stops_at_the_first_refusal_and_what_was_published_stays(leaking: Workplace):
    made, said = published_of_a_range(leaking, ("2013-08-01", "2013-11-01"))
    assert made == {"2013-08-01"}
    assert "1 of 4 months refused (2013-09)" in said.description
    assert "Not run after the refusal: 2013-10 to 2013-11" in said.description
    assert said.metadata["months_not_run"].value == ["2013-10", "2013-11"]
    # An earlier run published them, and this one has said nothing against them.
    assert leaking.checks("features_indicators", "truncation", LEAK)[0] == "FAILED"
    assert leaking.checks("features_indicators", "truncation", "2013-10-01")[0] != "FAILED"
    audits = leaking.lake().read(AUDITS).filter(pl.col("month").is_in(["2013-10-01", "2013-11-01"]))
    assert audits["passed"].all()


def test_the_other_months_of_a_range_are_published_where_that_is_asked(
    leaking: Workplace, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("TRADEML_GATE__KEEP_GOING", "true")
    going_on = Workplace(leaking.home, leaking.instance, build_definitions())
    months = ("2013-08-01", "2013-10-01")
    made, said = published_of_a_range(going_on, months)
    assert made == set(month_range(*months)) - {LEAK}
    assert "1 of 3 months refused (2013-09)" in said.description


def test_a_refusal_teaches_in_the_run_and_in_the_ledger(leaking: Workplace):
    result = leaking.run("prepare_direction", month=LEAK, assets=("features_indicators",))
    said = failure(result)
    for text in (said.description, said.metadata["refusal 2013-09"].value):
        assert "sees 1 session ahead; likely pattern: shift" in text
        assert "made at trademl_pipeline/features/common.py:" in text
        assert "Fix: " in text
    audits = leaking.lake().read(AUDITS).filter(~pl.col("passed") & (pl.col("month") == LEAK))
    assert audits.filter(pl.col("probe") == "truncation")["detail"].str.contains("Fix: ").all()


def test_a_feature_known_after_the_decision_is_refused(workplace: Workplace):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stage, "feature_month", Leak(kind="late"))
        result = workplace.run("prepare_direction", month=LEAK, assets=("features_indicators",))
    assert not result.success
    assert workplace.checks("features_indicators", "knowledge", LEAK)[0] == "FAILED"


def run_check(workplace: Workplace, month: str) -> dict[str, bool]:
    selection = dg.AssetSelection.checks_for_assets(dg.AssetKey("features_indicators"))
    job = dg.define_asset_job("again", selection=selection, partitions_def=None)
    defs = dg.Definitions.merge(workplace.defs, dg.Definitions(jobs=[job]))
    result = defs.resolve_job_def("again").execute_in_process(
        instance=workplace.instance, tags={"dagster/partition": month}, raise_on_error=False
    )
    return {e.check_name: e.passed for e in result.get_asset_check_evaluations()}


def test_checks_run_again_on_what_the_lake_holds(workplace: Workplace):
    assert run_check(workplace, "2013-06-01") == dict.fromkeys(FEATURES.probes, True)


def test_checks_run_again_find_rows_that_were_changed_in_the_lake(workplace: Workplace):
    lake, month = workplace.lake(), "2013-07-01"
    honest = lake.read(FEATURES, months=(month, month))
    try:
        write_past_the_gate(lake, FEATURES, honest.with_columns(pl.col("gap") + 0.01), month)
        found = run_check(workplace, month)
    finally:
        write_past_the_gate(lake, FEATURES, honest, month)
    assert found["incremental"] is False
    assert found["knowledge"] is True


def test_a_month_over_a_hole_in_its_history_is_refused(workplace: Workplace):
    lake, month = workplace.lake(), "2013-12-01"
    result = workplace.run("prepare_direction", month="2014-05-01", assets=("features_indicators",))
    assert not result.success
    assert "raw_bars" in failure(result).description
    assert "2014-04" in failure(result).description
    assert month in lake.months("raw_bars")


def test_a_refusal_is_an_error_with_its_report():
    violation = Violation(
        "knowledge", "alpha", "AAA", cutoff=None, first_leak=None, max_delta=None, detail="early"
    )
    report = AuditReport(violations=(violation,))
    error = GateRefusedError("features_x", "2016-01-01", report)
    assert str(error).startswith("features_x 2016-01: refused by the leakage gate: knowledge, alpha, AAA")
    assert error.report is report
