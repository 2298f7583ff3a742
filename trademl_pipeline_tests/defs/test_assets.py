"""The chain from bars to report, as Dagster runs it."""

import json
import re

import dagster as dg
import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

from trademl_pipeline.certificates.certificate import Certificate
from trademl_pipeline.certificates.code_version import code_version
from trademl_pipeline.certificates.stored import certificates
from trademl_pipeline.cli import app
from trademl_pipeline.features import FEATURE_SETS
from trademl_pipeline.market.calendar import DEFAULT_CALENDAR, month_range
from trademl_pipeline.pipeline.certify import values_version
from trademl_pipeline.pipeline.fold import fold_rows
from trademl_pipeline.pipeline.models import load_models
from trademl_pipeline.pipeline.promote import ChampionStep, champion_view
from trademl_pipeline.tables import AUDITS, feature_table, prediction_table
from trademl_pipeline_tests.defs.conftest import FIRST, LAST, Workplace
from trademl_pipeline_tests.defs.failures import failure
from trademl_pipeline_tests.small import small_direction

MONTHS = month_range(FIRST, LAST)
FEATURES = feature_table("indicators", FEATURE_SETS["indicators"])
MARKET = ("raw_bars", "reference_bars", "universe_members")
INPUTS = (*MARKET, "features_indicators", "labels_direction", "sequences_direction")


def metadata(workplace: Workplace, asset: str, month: str) -> dict:
    event = workplace.instance.fetch_materializations(
        dg.AssetRecordsFilter(asset_key=dg.AssetKey(asset), asset_partitions=[month]), limit=1
    ).records[0]
    return dict(event.asset_materialization.metadata)


@pytest.mark.parametrize("asset", INPUTS)
def test_every_month_of_a_range_is_materialized_and_audited_by_itself(workplace: Workplace, asset: str):
    assert workplace.materialized(asset) >= set(MONTHS)
    # Other tests leave refusals of one month behind.
    audits = (
        workplace.lake()
        .read(AUDITS)
        .filter((pl.col("table_name") == asset) & (pl.col("month") != "2013-09-01"))
    )
    assert audits["passed"].all()
    per_month = audits.group_by("month").agg(pl.col("probe").unique())
    assert set(per_month["month"]) >= set(MONTHS) - {"2013-09-01"}
    assert per_month["probe"].list.len().n_unique() == 1


def test_check_results_of_a_range_run_carry_their_month(workplace: Workplace):
    for month in ("2013-05-01", LAST):
        assert workplace.checks("features_indicators", "truncation", month)[0] == "SUCCEEDED"


def test_rows_and_figures_of_each_month_show_in_the_ui(workplace: Workplace):
    lake = workplace.lake()
    for asset in INPUTS:
        shown = metadata(workplace, asset, LAST)
        rows = lake.describe(asset).filter(pl.col("month") == LAST)["rows"].item()
        assert shown["dagster/row_count"].value == rows
        assert "no leak within the declared clocks" in shown["gate"].value
    fold = metadata(workplace, "model_direction", LAST)
    assert fold["dataset_snapshot"].value > 0
    assert fold["importance"].value.startswith("![")


def test_a_fold_learns_only_from_labels_that_end_before_the_embargo(workplace: Workplace):
    rows = fold_rows(workplace.lake(), small_direction(), LAST, DEFAULT_CALENDAR)
    assert rows.train["label_end"].max() <= rows.fold.train_end < rows.fold.test_start
    assert rows.test["session"].min() == rows.fold.test_start


def test_predictions_name_their_fold_run_snapshot_and_certificate(workplace: Workplace):
    lake = workplace.lake()
    predictions = lake.read("predictions_direction", months=(LAST, LAST))
    model = lake.read("model_direction", months=(LAST, LAST))
    assert predictions["fold"].unique().to_list() == [LAST]
    assert predictions["model_run"].unique().to_list() == model["model_run"].to_list()
    assert predictions["snapshot"].unique().to_list() == model["snapshot"].to_list()
    total = predictions.select(pl.sum_horizontal("p_sell", "p_hold", "p_buy")).to_series()
    assert ((total - 1.0).abs() < 1e-9).all()


def test_every_month_of_predictions_carries_a_certificate_that_holds(workplace: Workplace):
    lake = workplace.lake()
    predictions = lake.read("predictions_direction", months=(LAST, LAST))
    (digest,) = predictions["certificate"].unique().to_list()
    kept = certificates(lake, "direction", LAST).filter(pl.col("digest") == digest)
    made = Certificate.from_json(kept["certificate"].item(), digest)
    model = lake.read("model_direction", months=(LAST, LAST)).row(0, named=True)
    assert made.passed
    assert made.values == values_version(prediction_table("direction"), predictions)
    assert made.rows == predictions.height
    assert made.knowledge_last == predictions["knowledge_time"].max()
    assert (made.training_snapshot, made.model.ledger) == (model["snapshot"], model["ledger_digest"])
    assert made.training["features_indicators"].last == "2014-02-01"
    assert made.data["sequences_direction"].months == 1
    probes = {(e.table, e.probe) for e in made.evidence}
    assert {("features_indicators", "truncation"), ("predictions_direction", "folds")} <= probes
    assert {e.table for e in made.evidence} == {
        *INPUTS,
        "sectors",
        "model_direction",
        "predictions_direction",
    }
    held = lake.data_version(FEATURES, LAST, snapshot=made.data_snapshot)
    again = lake.data_versions([(FEATURES, (LAST, LAST))], snapshot=made.data_snapshot)
    assert again == {FEATURES.name: {LAST: held}}


def test_the_training_set_can_be_rebuilt_from_the_snapshot_on_record(workplace: Workplace):
    lake = workplace.lake()
    record = lake.read("model_direction", months=(LAST, LAST))
    now = fold_rows(lake, small_direction(), LAST, DEFAULT_CALENDAR).train
    then = fold_rows(lake, small_direction(), LAST, DEFAULT_CALENDAR, int(record["snapshot"][0])).train
    assert then.height == record["rows"][0]
    assert now.equals(then)


def test_a_fold_and_its_report_have_mlflow_runs_that_finished(workplace: Workplace):
    from mlflow.tracking import MlflowClient

    client = MlflowClient(f"sqlite:///{workplace.home / 'mlflow' / 'mlflow.db'}")
    run = client.get_run(workplace.lake().read("model_direction", months=(LAST, LAST))["model_run"][0])
    assert run.info.status == "FINISHED"
    assert run.data.tags["partition"] == LAST
    assert run.data.params["dataset_snapshot"]
    assert run.data.metrics["train_rows"] > 0
    files = {a.path for a in client.list_artifacts(run.info.run_id)}
    assert files == {"study", "fit_ledger.parquet", "importance.json", "training_log.json"}
    names = {e.name for e in client.search_experiments()}
    assert {"trademl/model_direction", "trademl/report_direction"} <= names


def test_the_report_is_written_with_the_oracle_beside_the_model(workplace: Workplace):
    folder = workplace.home / "reports" / "direction" / LAST[:7]
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["simulated"] is True
    assert summary["oracle"]
    assert summary["months"] == ["2014-02-01", LAST]
    assert (folder / "report.html").stat().st_size > 1_000_000
    assert (folder / "report.md").read_text().startswith("# ")


def test_a_month_published_again_writes_nothing(workplace: Workplace):
    lake = workplace.lake()
    before = lake.data_version(FEATURES, "2013-06-01")
    result = workplace.run(
        "prepare_direction", month="2013-06-01", assets=("raw_bars", "features_indicators")
    )
    assert result.success
    assert metadata(workplace, "raw_bars", "2013-06-01")["unchanged"].value is True
    assert metadata(workplace, "features_indicators", "2013-06-01")["unchanged"].value is True
    assert lake.data_version(FEATURES, "2013-06-01") == before


def test_a_certificate_can_be_printed_and_filled_into_an_info_sheet(written_down: Workplace):
    def told(*options: str) -> str:
        arguments = ["certificate", "direction", LAST[:7], "--home", str(written_down.home), *options]
        result = CliRunner().invoke(app, arguments, env={"COLUMNS": "200"})
        assert result.exit_code == 0, result.output
        return result.output

    (digest,) = written_down.lake().read("predictions_direction", months=(LAST, LAST))["certificate"].unique()
    assert Certificate.from_json(told("--json").strip(), digest).month == LAST
    assert digest in re.sub(r"[\s│]", "", told()), "in a narrow terminal it is folded"
    assert digest in told("--markdown")
    assert "L3.1" in told("--info-sheet")


def test_predictions_made_again_from_the_same_data_keep_their_certificate(workplace: Workplace):
    lake = workplace.lake()
    before = lake.read("predictions_direction", months=(LAST, LAST))
    result = workplace.run("fold_direction", month=LAST, assets=("predictions_direction",))
    assert result.success
    assert metadata(workplace, "predictions_direction", LAST)["unchanged"].value is True
    assert lake.read("predictions_direction", months=(LAST, LAST)).equals(before)
    assert certificates(lake, "direction", LAST).height == 1


def test_a_report_without_predictions_says_what_to_materialize(workplace: Workplace):
    result = workplace.run("write_report_direction", month="2013-02-01")
    assert not result.success
    reason = failure(result)
    assert "materialize predictions_" in reason.description


def test_the_first_champion_is_the_first_model_and_a_challenger_must_stand_a_trial(workplace: Workplace):
    import mlflow
    from mlflow.tracking import MlflowClient

    kept = workplace.lake().read("champion_direction", months=(LAST, LAST)).row(0, named=True)
    assert (kept["champion"], kept["promoted"]) == ("2014-02-01", True)
    client = MlflowClient(f"sqlite:///{workplace.home / 'mlflow' / 'mlflow.db'}")
    model = workplace.lake().read("model_direction", months=("2014-02-01", "2014-02-01"))
    version = client.get_model_version_by_alias("direction", "champion")
    assert version.run_id == model["model_run"][0]
    assert version.tags["dataset_snapshot"] == str(model["snapshot"][0])
    assert version.tags["code_source"] == code_version().source
    assert version.tags["promotion_rule.metric"] == "log likelihood"
    assert version.tags["promotion.reason"] == kept["reason"]
    served = mlflow.pyfunc.load_model(version.source)
    probabilities = np.column_stack(list(served.predict(served.input_example).values()))
    assert np.allclose(probabilities.sum(axis=1), 1.0)
    assert served.metadata.signature.inputs.input_names() == ["x"]
    workspace, study = workplace.workspace(), small_direction()
    view, folds = champion_view(workspace, study, LAST), ("2014-02-01", LAST)
    models = {
        fold: load_models(workspace.artifacts, study, view.read(study.models, months=(fold, fold)), fold)
        for fold in folds
    }
    scores = ChampionStep(study, LAST, workspace.calendar, models).scores(view, *folds)
    assert scores is not None
    assert scores["session"].min().strftime("%Y-%m-%d") >= LAST
    assert scores.select(pl.all_horizontal(pl.col("champion", "challenger") <= 0).all()).item()
