"""Cross-validation by symbol as an asset: the month's scores, audited, with their figures in the UI."""

from pathlib import Path

import dagster as dg
import polars as pl
import pytest

from trademl_pipeline.defs.models.cross_validation import cross_validation_assets
from trademl_pipeline.defs.resources import DataSetResource, LakeResource
from trademl_pipeline.studies import STUDIES
from trademl_pipeline.tables import AUDITS, TRIES
from trademl_pipeline_tests.pipeline.test_cross_validate import FOLD, PATTERNS, SYMBOLS, TABLE, filled


@pytest.mark.slow
def test_a_month_is_published_audited_and_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRADEML_HOME", str(tmp_path))
    monkeypatch.setenv("TRADEML_THREADS", "1")
    monkeypatch.delenv("TRADEML_CALENDAR", raising=False)
    study, lake = filled(tmp_path)
    with dg.DagsterInstance.ephemeral() as instance:
        result = dg.materialize(
            cross_validation_assets(study),
            partition_key=FOLD,
            resources={"data_set": DataSetResource(), "lake": LakeResource()},
            instance=instance,
        )
    assert result.success
    (event,) = result.asset_materializations_for_node(TABLE)
    assert event.metadata["symbols"].value == len(SYMBOLS)
    assert event.metadata["mean_auc"].value == pytest.approx(
        lake.read(TABLE, months=(FOLD, FOLD))["auc"].mean()
    )
    audits = lake.read(AUDITS).filter(pl.col("run_id") == result.run_id)
    assert set(audits["probe"]) == {"folds", "fit_ledger"}
    looks = lake.read(TRIES)
    assert set(looks["purpose"]) == {"cross-validation"}
    assert set(looks["outcomes"]) == {study.labels.name}
    assert str(looks["last"].max()) < FOLD, "rows of the training set alone"
    calls = lake.read(TABLE, months=(FOLD, FOLD))["rows"].sum()
    assert looks["rows"].sum() * len(PATTERNS) == calls, "each row is called for every pattern"


def test_a_study_that_does_not_ask_for_it_has_none() -> None:
    assert cross_validation_assets(STUDIES["direction"]) == []
