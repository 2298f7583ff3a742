"""Leaks planted in the steps of a data set that is there: none of them is published."""

import logging
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from trademl_pipeline import studies
from trademl_pipeline.lake import Lake
from trademl_pipeline.pipeline import features as features_step
from trademl_pipeline.pipeline import fold, predict, train
from trademl_pipeline.pipeline.features import feature_stage
from trademl_pipeline.pipeline.gate import GateRefusedError, Sample
from trademl_pipeline.pipeline.lookback import ALL_UNTIL
from trademl_pipeline.pipeline.months import MonthRefused, RunInfo, work_off
from trademl_pipeline.pipeline.predict import audit_prediction_month, prediction_months
from trademl_pipeline.pipeline.stage import stage_months
from trademl_pipeline.pipeline.train import TrainOptions, model_months
from trademl_pipeline.portfolio.long_short import LongShort
from trademl_pipeline.registry.tracking import Tracker
from trademl_pipeline.reports import portfolios
from trademl_pipeline.settings import DEFAULT_CALENDAR
from trademl_pipeline.studies import StudySpec
from trademl_pipeline.tables import RAW_BARS
from trademl_pipeline_tests.defs.conftest import FIRST, LAST, Workplace
from trademl_pipeline_tests.defs.failures import failure
from trademl_pipeline_tests.past_the_gate import write_past_the_gate

pytestmark = pytest.mark.slow
RUN = RunInfo("run", datetime(2026, 1, 1, tzinfo=UTC), logging.getLogger("test"))
SAMPLE = Sample(cutoffs=2, seed=0)
KEY = ["symbol", "session"]


@pytest.fixture
def study(workplace: Workplace) -> StudySpec:
    return studies.STUDIES["direction"]


def labels_of(lake: Lake, study: StudySpec) -> pl.DataFrame:
    return lake.read(study.labels).select(*KEY, "forward_return")


def mixed(frame: pl.DataFrame, labels: pl.DataFrame, share: float = 0.25) -> pl.DataFrame:
    """Rows whose score has some of what came of them in it."""
    known = frame.select(KEY).join(labels, on=KEY, how="left", maintain_order="left")["forward_return"]
    z = (known / known.std()).fill_null(0.0)
    return frame.with_columns((pl.col("score") + share * z).alias("score"))


@pytest.fixture
def predicted_month(workplace: Workplace, study: StudySpec) -> Callable[[], str]:
    """Predict the last month again; returns why it was refused, or "" if it was published, and checks the lake."""

    def run() -> str:
        lake = workplace.lake()
        before = lake.data_version(study.predictions, LAST)
        body = prediction_months(workplace.workspace(), study, RUN, SAMPLE)
        (event,) = work_off(study.predictions.name, [LAST], body, RUN.log)
        assert lake.data_version(study.predictions, LAST) == before
        if not isinstance(event, MonthRefused):
            return ""
        return f"{event.reason} {[c.name for c in event.checks if not c.passed]}"

    return run


def test_an_honest_month_is_published_again_and_its_reads_are_told(
    workplace: Workplace, study: StudySpec, predicted_month: Callable[[], str]
):
    assert predicted_month() == ""
    result = prediction_months(workplace.workspace(), study, RUN, SAMPLE)(LAST)
    assert {read["table"] for read in result.metadata["reads"].data} == {
        study.windows.name,
        study.features.name,
    }
    assert {c.name: c.passed for c in result.checks}.items() >= dict.fromkeys(
        study.predictions.probes, True
    ).items()


class Plants:
    """Ways of knowing the month's own labels, each planted where the step predicts."""

    def __init__(self, workplace: Workplace, study: StudySpec, folder: Path) -> None:
        self.lake, self.study = workplace.lake(), study
        self.labels = labels_of(self.lake, study)
        self.file = folder / "next_returns.parquet"
        self.labels.write_parquet(self.file)
        np.save(self.file.with_suffix(".npy"), self.labels["forward_return"].to_numpy())
        self.view: Any = None

    def by_the_lake(self) -> pl.DataFrame:
        return self.lake.read(self.study.labels)

    def by_the_view(self) -> pl.DataFrame:
        return self.view.read(self.study.labels, months=[LAST])

    def by_later_bars(self) -> pl.DataFrame:
        return self.view.read(RAW_BARS)

    def by_a_file(self) -> pl.DataFrame:
        return pl.read_parquet(self.file)

    def by_an_array(self) -> pl.DataFrame:
        return self.labels.with_columns(pl.Series("forward_return", np.load(self.file.with_suffix(".npy"))))

    def by_the_files_of_the_lake(self) -> pl.DataFrame:
        folder = Path(self.lake.config.data_path)
        return pl.scan_parquet(str(folder / "main" / self.study.labels.name / "**" / "*.parquet")).collect()


REFUSED_AS = {
    "by_the_lake": "opens the lake by another way",
    "by_the_view": "reads labels_direction, which it does not declare",
    "by_later_bars": "reads raw_bars, which it does not declare",
    "by_a_file": "reads by polars.read_parquet",
    "by_an_array": "next_returns.npy",
    "by_the_files_of_the_lake": "a file of the lake",
}


@pytest.mark.parametrize("way", REFUSED_AS)
def test_a_step_that_reads_what_came_later_is_refused_by_name(
    workplace: Workplace,
    study: StudySpec,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    predicted_month: Callable[[], str],
    way: str,
):
    plants, honest = Plants(workplace, study, tmp_path), predict.PredictionStep.run

    def run(step: Any, view: Any, *rest: Any, **named: Any) -> tuple[pl.DataFrame, pl.DataFrame]:
        plants.view = view
        frame, by_estimator = honest(step, view, *rest, **named)
        return mixed(frame, getattr(plants, way)().select(*KEY, "forward_return")), by_estimator

    monkeypatch.setattr(predict.PredictionStep, "run", run)
    said = predicted_month()
    assert REFUSED_AS[way] in said, said


@pytest.mark.parametrize("share", [0.25, 1e6])
def test_labels_that_a_step_declares_and_mixes_in_are_found_by_running_it_again(
    workplace: Workplace,
    study: StudySpec,
    monkeypatch: pytest.MonkeyPatch,
    predicted_month: Callable[[], str],
    share: float,
):
    honest, reads = predict.PredictionStep.run, predict.prediction_reads

    def run(step: Any, view: Any, *rest: Any, **named: Any) -> tuple[pl.DataFrame, pl.DataFrame]:
        frame, by_estimator = honest(step, view, *rest, **named)
        return mixed(frame, view.read(study.labels).select(*KEY, "forward_return"), share), by_estimator

    monkeypatch.setattr(predict.PredictionStep, "run", run)
    monkeypatch.setattr(predict, "prediction_reads", lambda s: {**reads(s), s.labels.name: ALL_UNTIL})
    said = predicted_month()
    assert "refused by the leakage gate: rerun, score, " in said
    assert said.endswith("['rerun']")


def test_statistics_of_the_whole_month_are_found_by_running_the_step_again(
    monkeypatch: pytest.MonkeyPatch, predicted_month: Callable[[], str]
):
    honest = predict.PredictionStep.run

    def run(*arguments: Any, **named: Any) -> tuple[pl.DataFrame, pl.DataFrame]:
        frame, by_estimator = honest(*arguments, **named)
        return frame.with_columns(pl.col("score") - pl.col("score").mean()), by_estimator

    monkeypatch.setattr(predict.PredictionStep, "run", run)
    assert "['rerun']" in predicted_month()


def test_rows_that_were_changed_after_the_step_are_not_published(
    workplace: Workplace,
    study: StudySpec,
    monkeypatch: pytest.MonkeyPatch,
    predicted_month: Callable[[], str],
):
    labels, honest = labels_of(workplace.lake(), study), predict.publish

    def publish(run: Any, lake: Any, schema: Any, frame: pl.DataFrame, *rest: Any, **named: Any) -> Any:
        return honest(run, lake, schema, mixed(frame, labels), *rest, **named)

    monkeypatch.setattr(predict, "publish", publish)
    assert "['rerun']" in predicted_month()


def test_one_estimator_that_knows_the_future_is_named(
    workplace: Workplace,
    study: StudySpec,
    monkeypatch: pytest.MonkeyPatch,
):
    honest = predict.PredictionStep.run

    def run(*arguments: Any, **named: Any) -> tuple[pl.DataFrame, pl.DataFrame]:
        frame, by_estimator = honest(*arguments, **named)
        return frame, by_estimator.with_columns(pl.col("p_buy") - pl.col("p_buy").mean())

    monkeypatch.setattr(predict.PredictionStep, "run", run)
    with pytest.raises(GateRefusedError) as refused:
        prediction_months(workplace.workspace(), study, RUN, SAMPLE)(LAST)
    assert {v.column for v in refused.value.report.violations} == {"p_buy"}


def test_the_month_that_is_published_is_audited_the_same_way_later(
    workplace: Workplace, study: StudySpec, monkeypatch: pytest.MonkeyPatch
):
    lake = workplace.lake()
    honest = lake.read(study.predictions, months=[LAST])
    assert audit_prediction_month(workplace.workspace(), study, LAST, SAMPLE).passed
    write_past_the_gate(lake, study.predictions, mixed(honest, labels_of(lake, study)), LAST)
    try:
        report = audit_prediction_month(workplace.workspace(), study, LAST, SAMPLE)
    finally:
        write_past_the_gate(lake, study.predictions, honest, LAST)
    assert {v.probe for v in report.violations} == {"rerun"}


TRAINING = {
    "statistics of the whole lake": (
        lambda workplace, study, view: workplace.lake().read(study.features),
        "opens the lake by another way",
    ),
    "statistics of later months": (
        lambda workplace, study, view: view.read(study.features, months=(FIRST, LAST)),
        "reads features_indicators from 2013-01 to 2014-03, and declares it up to 2014-02",
    ),
}


@pytest.mark.parametrize("what", TRAINING)
def test_a_training_matrix_that_is_scaled_by_what_came_later_is_refused(
    workplace: Workplace, study: StudySpec, monkeypatch: pytest.MonkeyPatch, what: str
):
    read, message = TRAINING[what]
    honest = fold.windows_of_keys

    def scaled(view: Any, *rest: Any, **named: Any) -> Any:
        windows = honest(view, *rest, **named)
        spread = read(workplace, study, view)[study.feature_names[0]].std()
        return replace(windows, matrix=windows.matrix / spread)

    monkeypatch.setattr(fold, "windows_of_keys", scaled)
    tracker = Tracker(f"sqlite:///{workplace.home}/mlflow.db")
    body = model_months(workplace.workspace(), tracker, study, RUN, TrainOptions(threads=1))
    (event,) = work_off(study.models.name, [LAST], body, RUN.log)
    assert isinstance(event, MonthRefused)
    assert message in event.reason


def test_what_training_reads_ends_before_the_first_decision_of_its_fold(
    workplace: Workplace, study: StudySpec
):
    view = train.training_view(workplace.workspace(), study, LAST)
    first = workplace.lake().read(study.windows, months=[LAST])["decision_time"].min()
    for table in (study.features, study.windows, study.labels):
        assert view.read(table)["knowledge_time"].max() < first


def test_a_feature_that_reads_a_file_of_next_returns_is_refused(
    workplace: Workplace, study: StudySpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    labels_of(workplace.lake(), study).write_parquet(tmp_path / "alternative_data.parquet")
    honest = features_step.feature_month

    def peeking(bars: pl.DataFrame, *rest: Any, **named: Any) -> pl.DataFrame:
        extra = pl.read_parquet(tmp_path / "alternative_data.parquet")
        rows = honest(bars, *rest, **named).join(extra, on=KEY, how="left", maintain_order="left")
        return rows.with_columns(pl.col("forward_return").alias("gap")).drop("forward_return")

    monkeypatch.setattr(features_step, "feature_month", peeking)
    stage = feature_stage(study.feature_set, DEFAULT_CALENDAR)
    (event,) = work_off(
        stage.schema.name, [LAST], stage_months(stage, workplace.lake(), RUN, SAMPLE), RUN.log
    )
    assert isinstance(event, MonthRefused)
    assert "alternative_data.parquet" in event.reason


@pytest.fixture
def past_the_gate(workplace: Workplace, study: StudySpec) -> Iterator[str]:
    """A month of features with the next return in one of them, written to the lake's own database."""
    lake = workplace.lake()
    honest = lake.read(study.features, months=[LAST])
    peek = honest.join(labels_of(lake, study), on=KEY, how="left", maintain_order="left")
    write_past_the_gate(
        lake,
        study.features,
        peek.with_columns(pl.col("forward_return").alias("gap")).drop("forward_return"),
        LAST,
    )
    yield study.features.name
    write_past_the_gate(lake, study.features, honest, LAST)


def test_what_was_written_past_the_gate_is_not_predicted_from(
    workplace: Workplace, study: StudySpec, past_the_gate: str
):
    with pytest.raises(GateRefusedError) as refused:
        prediction_months(workplace.workspace(), study, RUN, SAMPLE)(LAST)
    content = [v for v in refused.value.report.violations if v.probe == "content"]
    assert [v.column for v in content] == [past_the_gate]
    assert "written past the gate" in content[0].detail
    assert "2014-03" in content[0].detail


def a_session_early(book: LongShort, bars: pl.DataFrame) -> LongShort:
    """Every fill has the price of the open before, which the decision has seen."""
    before = bars.sort("session").select(
        "symbol", fill_session="session", _seen=pl.col("open").shift(1).over("symbol")
    )
    fills = book.fills.join(before, on=["symbol", "fill_session"], how="left", maintain_order="left")
    return replace(book, fills=fills.with_columns(pl.coalesce("_seen", "price").alias("price")).drop("_seen"))


def half_price(book: LongShort, bars: pl.DataFrame) -> LongShort:
    """Costs of half of what is traded."""
    halved = book.equity.with_columns(pl.col("cost") / 2)
    return replace(
        book,
        equity=halved.with_columns(net_return=(1 - pl.col("cost")) * (1 + pl.col("gross_return")) - 1),
    )


@pytest.mark.parametrize(("plant", "column"), [(a_session_early, "price"), (half_price, "cost")])
def test_a_report_whose_book_knew_or_left_out_something_is_not_written(
    workplace: Workplace,
    monkeypatch: pytest.MonkeyPatch,
    plant: Callable[[LongShort, pl.DataFrame], LongShort],
    column: str,
):
    folder = workplace.home / "reports" / "direction" / LAST[:7]
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert before
    honest = portfolios.long_short
    monkeypatch.setattr(
        portfolios, "long_short", lambda calls, bars, rules: plant(honest(calls, bars, rules), bars)
    )
    result = workplace.run("write_report_direction", month=LAST)
    assert not result.success
    said = failure(result).description or ""
    assert f"report_direction {LAST[:7]}: refused by the leakage gate: execution, {column}, " in said, said
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
