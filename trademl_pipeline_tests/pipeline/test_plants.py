"""Leaks planted in every step of every study: refused before the month is published, and named."""

from collections.abc import Callable, Iterator

import polars as pl
import pytest

from trademl_pipeline import studies
from trademl_pipeline.lake.errors import UnauditedError
from trademl_pipeline.lake.schema import TableSchema
from trademl_pipeline.pipeline.audited import check_lake, study_tables
from trademl_pipeline.pipeline.certify import values_version
from trademl_pipeline.pipeline.gate import Sample
from trademl_pipeline.pipeline.months import work_off
from trademl_pipeline.pipeline.promote import audit_champion_month, champion_months
from trademl_pipeline.pipeline.recording import MonthDone, MonthRefused
from trademl_pipeline.pipeline.verify import verify_month
from trademl_pipeline.studies import STUDIES, StudySpec
from trademl_pipeline.tables import champion_table
from trademl_pipeline_tests.past_the_gate import write_past_the_gate
from trademl_pipeline_tests.pipeline import plants
from trademl_pipeline_tests.pipeline.data_set_of_five import MONTH, RUN, FiveStudies

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]
SAMPLE = Sample(cutoffs=2, seed=0)
OTHER_WAY = "opens the lake by another way"
# Where it is planted -> what it is refused as.
IN_PREDICTIONS = {
    "lake_of_its_own": OTHER_WAY,
    "statistics_of_the_month": "refused by the leakage gate: rerun, score",
    "chosen_at_the_end": "refused by the leakage gate: rerun, <rows>",
    "windows_one_session_ahead": "refused by the leakage gate: rerun, ",
    "file_opened_to_append": "next_returns.parquet",
    "process_of_its_own": "starts a process by _posixsubprocess.fork_exec",
}
# Of labels that the step says it reads.
DECLARED = ("declared_labels", "pure_declared_labels", "calibrated_on_the_month")
IN_TRAINING = {
    "matrix_scaled_by_the_whole_lake": OTHER_WAY,
    "stopped_early_on_test_rows": OTHER_WAY,
    "weights_on_outcomes_after_the_train_end": "outcomes.parquet",
    "temporary_file_of_outcomes": "next_returns.parquet",
}
IN_THE_CHAMPION = {
    "champion_of_later_outcomes": OTHER_WAY,
    "champion_of_a_report": "outcomes.parquet",
    "champion_changed_afterwards": "refused by the leakage gate: rerun, reason",
}


@pytest.fixture(params=list(STUDIES))
def study(five: FiveStudies, request: pytest.FixtureRequest) -> StudySpec:
    return studies.STUDIES[request.param]


Refused = Callable[[str, TableSchema, Callable[[], MonthDone | MonthRefused]], str]


@pytest.fixture
def refused(
    five: FiveStudies, study: StudySpec, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., str]]:
    """Plant something, make a month of a table, and return why it was refused: the lake holds what it held."""

    def run(name: str, table: TableSchema, make: Callable[[], MonthDone | MonthRefused]) -> str:
        lake = five.workspace.lake
        before = lake.data_versions([(table, (MONTH, MONTH))]) if table.name in lake.tables() else {}
        plants.plant(name, monkeypatch.setattr, five.ground(study))
        event = make()
        assert isinstance(event, MonthRefused), event
        after = lake.data_versions([(table, (MONTH, MONTH))]) if table.name in lake.tables() else {}
        assert after == before
        return event.reason

    yield run
    plants.forget()


@pytest.mark.parametrize("name", IN_PREDICTIONS)
def test_predictions_that_know_what_came_of_them_are_refused(
    five: FiveStudies, study: StudySpec, refused: Refused, name: str
):
    said = refused(name, study.predictions, lambda: five.make(study.predictions.name))
    assert IN_PREDICTIONS[name] in said, said


@pytest.mark.parametrize("name", DECLARED)
def test_labels_that_a_step_declares_are_found_by_running_it_again_or_not_given_to_it(
    five: FiveStudies, study: StudySpec, monkeypatch: pytest.MonkeyPatch, name: str
):
    lake, table = five.workspace.lake, study.predictions
    honest = lake.read(table, months=[MONTH])
    last = honest["decision_time"].max()
    of_the_month = lake.read(study.labels).join(honest, on=["symbol", "session"], how="semi")
    plants.plant(name, monkeypatch.setattr, five.ground(study))
    event = five.make(table.name)
    if of_the_month["knowledge_time"].min() <= last:
        assert isinstance(event, MonthRefused), event
        assert "refused by the leakage gate: rerun, score" in event.reason
        return
    # Outcomes that take longer than the month are not there when it is over: the leak is as dry as the view.
    assert isinstance(event, MonthDone), event
    written = lake.read(table, months=[MONTH])
    monkeypatch.undo()
    five.made(table.name)
    if name == "pure_declared_labels":
        # Nothing but what is known of the outcomes, and that is nothing.
        assert written["score"].unique().to_list() == [0.0]
        honest = honest.with_columns(written["score"])
    assert values_version(table, written) == values_version(table, honest)


@pytest.mark.parametrize("name", IN_TRAINING)
def test_models_that_learned_from_what_came_later_are_refused(
    five: FiveStudies, study: StudySpec, refused: Refused, name: str
):
    said = refused(name, study.models, lambda: five.make(study.models.name))
    assert IN_TRAINING[name] in said, said


def test_a_feature_that_reads_a_file_of_next_returns_is_refused(
    five: FiveStudies, study: StudySpec, refused: Refused
):
    said = refused("feature_of_a_file", study.features, lambda: five.make(study.features.name))
    assert "next_returns.parquet" in said, said


def decided(five: FiveStudies, study: StudySpec) -> MonthDone | MonthRefused:
    body = champion_months(five.workspace, five.site.tracker, study, RUN)
    (event,) = work_off(champion_table(study.name).name, [MONTH], body, RUN.log)
    return event


@pytest.mark.parametrize("name", IN_THE_CHAMPION)
def test_a_champion_that_was_chosen_by_what_came_later_is_refused(
    five: FiveStudies, study: StudySpec, refused: Refused, name: str
):
    said = refused(name, champion_table(study.name), lambda: decided(five, study))
    assert IN_THE_CHAMPION[name] in said, said


def test_an_honest_champion_passes_and_what_is_written_in_its_place_does_not(
    five: FiveStudies, study: StudySpec
):
    event = decided(five, study)
    assert isinstance(event, MonthDone), event
    assert {c.name: c.passed for c in event.checks} == {"rerun": True, "content": True}
    assert audit_champion_month(five.workspace, study, MONTH).passed
    lake, table = five.workspace.lake, champion_table(study.name)
    honest = lake.read(table, months=[MONTH])
    write_past_the_gate(lake, table, honest.with_columns(pl.lit("it was told").alias("reason")), MONTH)
    try:
        assert {v.probe for v in audit_champion_month(five.workspace, study, MONTH).violations} == {"rerun"}
        assert check_lake(lake, [table]).unaudited["table_name"].to_list() == [table.name]
    finally:
        write_past_the_gate(lake, table, honest, MONTH)


def test_a_month_of_features_written_past_the_gate_is_not_predicted_from(five: FiveStudies, study: StudySpec):
    lake, table = five.workspace.lake, study.features
    honest = lake.read(table, months=[MONTH])
    outcomes = pl.read_parquet(five.ground(study).file)
    leaky = honest.join(outcomes, on=["symbol", "session"], how="left", maintain_order="left")
    leaky = leaky.with_columns(pl.col("forward_return").alias(study.feature_names[0])).drop("forward_return")
    with pytest.raises(UnauditedError, match="the table is gated and comes without a gate"):
        lake.publish(table, leaky, MONTH)
    write_past_the_gate(lake, table, leaky, MONTH)
    try:
        event = five.make(study.predictions.name)
        assert isinstance(event, MonthRefused), event
        assert f"content, {table.name}: 2012-11" in event.reason
        assert (table.name, MONTH) in check_lake(lake, study_tables(study)).unaudited.select(
            "table_name", "month"
        ).rows()
        behind = verify_month(five.workspace, study, MONTH, SAMPLE, quick=True).comparisons[-1]
        assert (behind.what, behind.outcome) == ("what lies behind", "differs")
        assert table.name in behind.finding
    finally:
        write_past_the_gate(lake, table, honest, MONTH)


@pytest.mark.parametrize("quick", [True, False])
def test_an_honest_month_is_published_again_and_holds(five: FiveStudies, study: StudySpec, quick: bool):
    event = five.make(study.predictions.name)
    assert isinstance(event, MonthDone), event
    assert all(check.passed for check in event.checks)
    result = verify_month(five.workspace, study, MONTH, SAMPLE, quick=quick)
    assert result.holds, result.to_plain()
