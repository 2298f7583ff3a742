"""The cold run of a night, through the job that the schedule starts: a month of each study, on record and in the UI."""

import json
from collections.abc import Iterator

import dagster as dg
import polars as pl
import pytest

from trademl_pipeline.lake import kernel_seal
from trademl_pipeline.pipeline import cold
from trademl_pipeline.pipeline.job_names import COLD_RUN, NIGHTLY
from trademl_pipeline.studies import STUDIES
from trademl_pipeline.tables import AUDITS
from trademl_pipeline_tests.defs.conftest import LAST, Workplace
from trademl_pipeline_tests.defs.failures import failure
from trademl_pipeline_tests.defs.test_cold import MIXED, start

TABLE = "predictions_direction"
sealed_by_the_kernel = pytest.mark.skipif(
    not kernel_seal.landlock_version(), reason="this kernel has no Landlock"
)


@pytest.fixture(autouse=True)
def small_cold_processes(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Cold processes know the small study."""
    monkeypatch.setattr(cold, "COMMAND", start())
    monkeypatch.setenv("TRADEML_GATE__CUTOFFS", "1")
    return


def night(workplace: Workplace, day: str, studies: str = "") -> dg.ExecuteInProcessResult:
    settings = {"night": day, "studies": studies}
    return workplace.defs.resolve_job_def(NIGHTLY).execute_in_process(
        instance=workplace.instance,
        partition_key=LAST,
        asset_selection=[dg.AssetKey(COLD_RUN)],
        run_config={"ops": {COLD_RUN: {"config": settings}}},
        raise_on_error=False,
    )


def audits(workplace: Workplace, result: dg.ExecuteInProcessResult) -> pl.DataFrame:
    return workplace.lake().read(AUDITS).filter(pl.col("run_id") == result.run_id)


def direction_check(result: dg.ExecuteInProcessResult) -> dg.AssetCheckEvaluation:
    """The check of the one study with predictions; the others have shown nothing, and say so."""
    by_name = {check.check_name: check for check in result.get_asset_check_evaluations()}
    made = by_name.pop("direction")
    assert set(by_name) == set(STUDIES) - {"direction"}
    for other in by_name.values():
        assert (other.passed, other.severity) == (False, dg.AssetCheckSeverity.WARN)
        assert "not run" in (other.description or "")
    return made


@pytest.fixture(scope="module")
def nothing_passed(workplace: Workplace) -> None:
    """The folds of the workplace, and no cold run of them."""
    lake = workplace.lake()
    assert set(lake.read(AUDITS).filter(pl.col("probe") == "cold")["table_name"]) == set()


@sealed_by_the_kernel
def test_a_month_that_differs_is_an_error_that_names_the_first_difference(
    workplace: Workplace, nothing_passed: None, monkeypatch: pytest.MonkeyPatch
):
    plant = 'import polars as pl\ndef known():\n    return pl.col("score").mean()\n' + MIXED
    monkeypatch.setattr(cold, "COMMAND", start(plant))
    result = night(workplace, "2014-03-03")
    assert not result.success
    reason = failure(result)
    assert "direction 2014-0" in (reason.description or "")
    assert "cold, cold run: rerun, score, " in (reason.description or "")
    check = direction_check(result)
    assert (check.check_name, check.passed, check.severity) == (
        "direction",
        False,
        dg.AssetCheckSeverity.ERROR,
    )
    assert "rerun, score, " in str(check.metadata["first_difference"].value)
    rows = audits(workplace, result)
    assert set(rows["probe"]) == {"cold"}
    assert not rows["passed"].any()
    # It is published, and stays so; the nights come back to it.
    assert set(rows["table_name"]) == {TABLE}


@sealed_by_the_kernel
def test_nights_get_round_to_every_month_and_leave_out_what_has_passed(
    workplace: Workplace, nothing_passed: None
):
    months: list[str] = []
    for day in ("2014-03-04", "2014-03-05"):
        result = night(workplace, day)
        assert result.success, failure(result)
        check = direction_check(result)
        assert check.passed
        rows = audits(workplace, result)
        assert rows["passed"].to_list() == [True]
        coverage = json.loads(rows["coverage"][0])
        assert "Landlock" in coverage["sealed_by"]
        assert {"cold run", "model fitted again", "predictions"} <= set(coverage["compared"])
        lake = workplace.lake()
        assert rows["content"][0] == lake.data_version(STUDIES["direction"].predictions, rows["month"][0])
        observed = workplace.instance.fetch_observations(dg.AssetKey(TABLE), limit=1).records[0]
        assert observed.asset_observation is not None
        assert observed.asset_observation.partition == rows["month"][0]
        assert "made from what was known then" in str(observed.asset_observation.metadata["cold_run"].value)
        months.append(rows["month"][0])
    assert sorted(months) == ["2014-02-01", "2014-03-01"]
    idle = night(workplace, "2014-03-06")
    assert idle.success
    assert audits(workplace, idle).is_empty()
    assert "every month has passed as it is" in str(direction_check(idle).description)


def test_a_study_that_is_not_there_and_one_without_predictions_are_named(workplace: Workplace):
    assert "there is no momentum" in (failure(night(workplace, "", "momentum")).description or "")
    assert "no predictions of hybrid" in (failure(night(workplace, "", "hybrid")).description or "")
