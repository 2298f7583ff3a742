"""Leaks that a process cannot see of itself, planted in every study: published, and named by the cold run."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from trademl_pipeline import studies
from trademl_pipeline.lake import kernel_seal
from trademl_pipeline.pipeline import cold
from trademl_pipeline.pipeline.cold import ColdRefusedError, cold_run, compare_cold
from trademl_pipeline.pipeline.gate import Sample
from trademl_pipeline.pipeline.verify import verify_month
from trademl_pipeline.studies import STUDIES, StudySpec
from trademl_pipeline_tests.pipeline import plants
from trademl_pipeline_tests.pipeline.data_set_of_five import MONTH, FiveStudies, cold_command

pytestmark = [
    # Three to six minutes a study; the same of one small study is in defs/test_cold.py.
    pytest.mark.nightly,
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(not kernel_seal.landlock_version(), reason="this kernel has no Landlock"),
]
# The first and the last decision of the month.
SAMPLE = Sample(cutoffs=0, seed=0)
# What is planted where predictions are made -> how the cold run names it.
PLANTS = {
    "environment_variable": "rerun, score, ",
    "weights_by_what_is_left_in_memory": "rerun, score, ",
    "cache_of_a_module": "rerun, score, ",
    "thread_that_ran_before": "PermissionError: ",
    "file_read_with_the_code": "PermissionError: ",
}


@pytest.fixture(scope="module", params=list(STUDIES))
def study(five: FiveStudies, request: pytest.FixtureRequest) -> Iterator[StudySpec]:
    """A study whose month is honest before its tests and after them."""
    study = studies.STUDIES[request.param]
    five.made(study.models.name, study.predictions.name)
    yield study
    five.made(study.models.name, study.predictions.name)


@pytest.fixture(scope="module")
def fitted(five: FiveStudies, study: StudySpec) -> Iterator[Path]:
    """The folder of the models that a cold process has fitted: plants in predictions change nothing of them."""
    record = five.workspace.lake.read(study.models, months=[MONTH])
    with cold_run(five.workspace, study, MONTH, record) as run:
        run.fit()
        yield run.folder / "fit"


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    """Nothing that a plant has left stays in this process."""
    yield
    plants.forget()


def test_an_honest_month_holds_in_cold_processes(five: FiveStudies, study: StudySpec):
    result = verify_month(five.workspace, study, MONTH, SAMPLE, cold=True)
    assert result.holds, result.to_plain()
    told = {c.what: c for c in result.comparisons}
    # A network's sums may take another order in a process of its own; what it decides is the same.
    assert told["model fitted again"].outcome in ("same", "note")
    assert told[cold.COLD_RUN].outcome == "same"
    assert "Landlock" in told[cold.SEALED_BY].finding


def published_with(
    five: FiveStudies, study: StudySpec, name: str, patch: pytest.MonkeyPatch, *assets: str
) -> None:
    """Publish a month with a plant in its steps, here and in cold processes: where it runs, it is not seen."""
    ground = five.ground(study)
    plants.remember(five.workspace.lake.read(study.labels))
    plants.plant(name, patch.setattr, ground)
    five.made(*assets)
    patch.setattr(cold, "COMMAND", cold_command(name, ground))


@pytest.mark.parametrize("name", PLANTS)
def test_predictions_by_a_way_that_no_process_sees_of_itself_are_named(
    five: FiveStudies, study: StudySpec, fitted: Path, monkeypatch: pytest.MonkeyPatch, name: str
):
    published_with(five, study, name, monkeypatch, study.predictions.name)
    lake = five.workspace.lake
    values, by_estimator, record = (
        lake.read(table, months=[MONTH])
        for table in (study.predictions, study.estimator_predictions, study.models)
    )
    with cold_run(five.workspace, study, MONTH, record) as run:
        shutil.copytree(fitted, run.folder / "fit")
        try:
            report = run.predict(values.drop("certificate"), by_estimator, lake.snapshot(), SAMPLE)
        except ColdRefusedError as error:
            finding = str(error)
        else:
            finding = compare_cold(report, values).finding
    assert PLANTS[name] in finding, finding


def test_models_chosen_by_a_way_that_no_process_sees_of_itself_are_named(five: FiveStudies, study: StudySpec):
    with pytest.MonkeyPatch.context() as patch:
        assets = (study.models.name, study.predictions.name)
        published_with(five, study, "seed_chosen_by_test_outcomes", patch, *assets)
        result = verify_month(five.workspace, study, MONTH, SAMPLE, cold=True)
    assert result.exit_code == 1
    finding = next(c for c in result.comparisons if c.what == cold.COLD_RUN)
    assert finding.outcome == "differs"
    assert "cannot be made from what was known then: PermissionError" in finding.finding
