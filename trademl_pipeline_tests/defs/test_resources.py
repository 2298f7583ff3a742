import os
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest

from trademl_pipeline.defs.bars import BarsResource
from trademl_pipeline.defs.resources import LakeResource, TrackingResource
from trademl_pipeline.market import FileSource
from trademl_pipeline.simulation import SimulatedMarket
from trademl_pipeline.training.trials import COMPLETE, FAILED, Trial
from trademl_pipeline.workspace import ROOT


@pytest.fixture
def tracking(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TrackingResource:
    """A tracker on a database of its own."""
    monkeypatch.chdir(tmp_path)  # a database given by address keeps its artifacts in ./mlruns
    return TrackingResource(uri=f"sqlite:///{tmp_path / 'mlflow.db'}")


def client(tracking: TrackingResource):
    from mlflow.tracking import MlflowClient

    return MlflowClient(tracking.tracking_uri())


def test_each_partition_has_a_run_of_its_own_that_ends_as_it_ended(tracking: TrackingResource):
    with tracking.run("model_x", "2016-01-01", {"study": "x"}) as first:
        first.log_params({"a": 1})
        first.log_metrics({"m": 0.5})
        with tracking.run("model_x", "2016-02-01", {}) as second:
            assert second.run_id != first.run_id
    with pytest.raises(ValueError, match="broken"), tracking.run("model_x", "2016-03-01", {}) as third:
        raise ValueError("broken")
    found = {r: client(tracking).get_run(r) for r in (first.run_id, second.run_id, third.run_id)}
    assert [run.info.status for run in found.values()] == ["FINISHED", "FINISHED", "FAILED"]
    assert found[first.run_id].data.params == {"a": "1"}
    assert found[first.run_id].data.metrics == {"m": 0.5}
    assert found[first.run_id].data.tags["partition"] == "2016-01-01"
    assert found[third.run_id].data.tags["error"] == "broken"


def test_epochs_and_trials_of_a_fold_are_kept_with_its_run(tracking: TrackingResource):
    with tracking.run("model_x", "2016-01-01", {}) as run:
        run.log_history("net", ({"epoch": 0, "loss": 2.0}, {"epoch": 1, "loss": 1.5}))
        run.log_trial(Trial("x", "2016-01-01", 3, FAILED, None, 1.5, {"depth": 4}, "why"))
        run.log_trial(Trial("x", "2016-01-01", 4, COMPLETE, 0.25, 2.5, {"depth": 5}))
    found = client(tracking)
    history = found.get_metric_history(run.run_id, "net/loss")
    assert [(m.step, m.value) for m in history] == [(0, 2.0), (1, 1.5)]
    experiment = found.get_run(run.run_id).info.experiment_id
    below = found.search_runs([experiment], f"tags.`mlflow.parentRunId` = '{run.run_id}'")
    told = {r.data.params["depth"]: (r.info.status, r.data.metrics.get("score")) for r in below}
    assert told == {"4": ("FAILED", None), "5": ("FINISHED", 0.25)}


def test_a_model_is_registered_once_and_aliases_move(tracking: TrackingResource):
    made = []

    def make(folder: Path) -> None:
        made.append(folder)
        folder.mkdir()
        (folder / "MLmodel").write_text("flavors: {}\n")

    runs = []
    for month in ("2016-01-01", "2016-02-01"):
        with tracking.run("model_x", month, {"code": "abc"}) as run:
            runs.append(run.run_id)
    first = tracking.alias("x", "champion", runs[0], "model", {"fold": "2016-01"}, make)
    assert tracking.alias("x", "challenger", runs[0], "model", {}, make) == first
    assert len(made) == 1
    second = tracking.alias("x", "challenger", runs[1], "model", {}, make)
    found = client(tracking)
    version = found.get_model_version_by_alias("x", "champion")
    assert (str(version.version), version.tags["fold"], version.tags["code"]) == (first, "2016-01", "abc")
    assert str(found.get_model_version_by_alias("x", "challenger").version) == second != first
    assert [a.path for a in found.list_artifacts(runs[1])] == ["model"]


def test_bars_come_from_where_the_configuration_says(tmp_path: Path):
    assert isinstance(BarsResource(symbols="5").open(), SimulatedMarket)
    file = tmp_path / "bars.csv"
    file.write_text(
        "symbol,session,open,high,low,close,volume\nA,2016-03-01,1,1,1,1,1\nB,2016-03-01,1,1,1,1,1\n"
    )
    source = BarsResource(source="files", path=str(file)).open()
    assert isinstance(source, FileSource)
    assert source.symbols() == ["A", "B"]
    assert BarsResource(source="files", path=str(file), symbols="B").open().symbols() == ["B"]


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"source": "nowhere"}, "TRADEML_SOURCE"),
        ({"source": "files", "path": ""}, "TRADEML_DATA"),
        ({"source": "files", "path": "x.csv", "columns": "{"}, "TRADEML_COLUMNS"),
    ],
)
def test_a_setting_that_cannot_work_is_named(settings, named):
    with pytest.raises((dg.Failure, dg.DagsterInvalidConfigError), match=named):
        BarsResource(**settings).open()


def test_catalog_and_data_path_are_one_value_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TRADEML_HOME", str(tmp_path))
    assert LakeResource().open().config.catalog == f"sqlite:{tmp_path / 'lake' / 'catalog.sqlite'}"
    moved = LakeResource(catalog="postgres:host=db dbname=lake", data_path="s3://bucket/prefix").open().config
    assert moved.kind == "postgres"
    assert moved.on_object_storage
    monkeypatch.setenv("TRADEML_LAKE_CATALOG", f"sqlite:{tmp_path / 'other.sqlite'}")
    assert LakeResource().open().config.catalog == f"sqlite:{tmp_path / 'other.sqlite'}"


@pytest.mark.slow
def test_processes_that_start_together_make_one_mlflow_store(tmp_path: Path):
    code = (
        "from trademl_pipeline.defs.resources import TrackingResource\n"
        "with TrackingResource().run('model_x', '2015-01-01', {}) as run: print('RUN', run.run_id)\n"
    )
    environment = {**os.environ, "TRADEML_HOME": str(tmp_path), "PYTHONPATH": str(ROOT)}
    started = [
        subprocess.Popen([sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    said = [process.communicate()[0] for process in started]
    assert [process.returncode for process in started] == [0, 0, 0]
    assert len({line for text in said for line in text.splitlines() if line.startswith("RUN")}) == 3
