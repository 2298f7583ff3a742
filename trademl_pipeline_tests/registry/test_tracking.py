from pathlib import Path

import pytest

from trademl_pipeline.registry.tracking import Tracker
from trademl_pipeline.training.trials import COMPLETE, FAILED, Trial


@pytest.fixture
def tracking(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tracker:
    """A tracker on a database of its own."""
    monkeypatch.chdir(tmp_path)  # a database given by address keeps its artifacts in ./mlruns
    return Tracker(tmp_path, uri=f"sqlite:///{tmp_path / 'mlflow.db'}")


def client(tracking: Tracker):
    from mlflow.tracking import MlflowClient

    return MlflowClient(tracking.tracking_uri())


@pytest.mark.slow
def test_each_partition_has_a_run_of_its_own_that_ends_as_it_ended(tracking: Tracker):
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


@pytest.mark.slow
def test_epochs_and_trials_of_a_fold_are_kept_with_its_run(tracking: Tracker):
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


@pytest.mark.slow
def test_a_model_is_registered_once_and_aliases_move(tracking: Tracker):
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
