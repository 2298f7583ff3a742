"""A study that is refitted each quarter: the months between go on with its model, and are audited each."""

import json
from datetime import date

import polars as pl
import pytest

from trademl_pipeline import studies
from trademl_pipeline.defs import build_definitions
from trademl_pipeline.pipeline.artifacts import Artifacts
from trademl_pipeline.pipeline.report import with_train_loss
from trademl_pipeline.tables import AUDITS
from trademl_pipeline_tests.defs.conftest import Workplace
from trademl_pipeline_tests.small import quarterly_direction

QUARTER = ("2013-10-01", "2013-11-01")


@pytest.fixture(scope="module")
def quarter(workplace: Workplace) -> tuple[dict, dict]:
    """The model records of the first two months of a quarter whose study is refitted quarterly."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(studies.STUDIES, "direction", quarterly_direction())
        quarterly = Workplace(workplace.home, workplace.instance, build_definitions())
        for month in QUARTER:
            result = quarterly.run("fold_direction", month=month)
            assert result.success, [e.message for e in result.all_node_events if e.is_failure]
    records = workplace.lake().read("model_direction", months=QUARTER)
    return records.row(0, named=True), records.row(1, named=True)


def test_months_between_refits_go_on_with_the_quarters_model(workplace: Workplace, quarter):
    first, second = quarter
    assert (second["fold"], second["fitted"]) == (QUARTER[1], QUARTER[0])
    assert second["train_seconds"] == 0.0 < first["train_seconds"]
    for same in ("artifact", "artifact_sha256", "ledger_digest", "model_run", "train_end"):
        assert second[same] == first[same]
    predictions = workplace.lake().read("predictions_direction", months=(QUARTER[1], QUARTER[1]))
    assert predictions.height > 0
    assert predictions["session"].min() >= second["test_start"]


def test_a_carried_model_is_audited_again_for_its_month(workplace: Workplace, quarter):
    audits = workplace.lake().read(AUDITS)
    of_month = audits.filter(pl.col("table_name") == "model_direction", pl.col("month") == QUARTER[1])
    assert of_month["passed"].all()
    assert {"folds", "fit_ledger", "model"} <= set(of_month["probe"])


def test_the_report_is_told_how_far_training_and_validation_lie_apart(workplace: Workplace, quarter):
    study, artifacts = quarterly_direction(), Artifacts(workplace.home)
    trees, network = study.training.estimators
    records = workplace.lake().read("model_direction", months=QUARTER)
    assert with_train_loss(artifacts, records).columns == records.columns
    folder = workplace.home / records["artifact"][0]
    card = json.loads(folder.read_text())
    assert card["voters"][0] == trees.name
    (epoch,) = card["members"][network.name]["history"]
    # As if the network voted first: its one epoch's losses.
    (workplace.home / "first.json").write_text(json.dumps({**card, "voters": [network.name]}))
    first = records.with_columns(artifact=pl.lit("first.json"), best_iteration=pl.lit(0))
    assert with_train_loss(artifacts, first)["train_loss"].to_list() == [epoch["train_loss"]] * 2


def test_where_a_network_looked_is_kept_for_the_report(workplace: Workplace, quarter):
    for month in QUARTER:
        looked = pl.read_parquet(Artifacts(workplace.home).attention(quarterly_direction().name, month))
        assert 0 < looked["symbol"].n_unique() <= 6
        assert min(looked["session"].to_list()) >= date.fromisoformat(month)
