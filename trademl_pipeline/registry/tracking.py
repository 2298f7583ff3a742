"""MLflow tracking: one run per (asset, partition), and the registry of models that serve."""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trademl_pipeline.training.trials import FAILED, Trial

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient


@dataclass(frozen=True)
class Tracker:
    """One run per (asset, partition), closed as FINISHED or FAILED as it ended.

    The client is used with explicit run ids: MLflow's fluent API keeps one active run per process, which merges
    partitions that run in one process.

    Attributes:
        home: the data set's folder.
        uri: of the tracking server; empty: SQLite under `home`/mlflow.
        experiment: prefix of the experiments' names.
    """

    home: Path
    uri: str = ""
    experiment: str = "trademl"

    def tracking_uri(self) -> str:
        """The URI in force."""
        return self.uri or f"sqlite:///{self.home / 'mlflow' / 'mlflow.db'}"

    @property
    def files(self) -> list[Path]:
        """Return where runs are kept on this machine: the folder below `home`, and the file that `uri` may name."""
        kind, _, named = self.uri.partition("://")
        return [self.home / "mlflow", *([Path(named[1:] or "/")] if kind == "sqlite" and named else [])]

    def _client(self) -> "MlflowClient":
        from filelock import FileLock
        from mlflow.tracking import MlflowClient

        if self.uri:
            return MlflowClient(tracking_uri=self.uri)
        folder = self.home / "mlflow"
        (folder / "artifacts").mkdir(parents=True, exist_ok=True)
        # A client makes the database where there is none; two that make its tables at once collide.
        with FileLock(folder / "making.lock"):
            return MlflowClient(tracking_uri=self.tracking_uri())

    def _experiment_id(self, client: "MlflowClient", name: str) -> str:
        from mlflow.exceptions import MlflowException

        experiment = client.get_experiment_by_name(name)
        if experiment is not None:
            return experiment.experiment_id
        location = None if self.uri else (self.home / "mlflow" / "artifacts" / name).as_uri()
        try:
            return client.create_experiment(name, artifact_location=location)
        except MlflowException:
            # Another process made it between the look and the creation.
            experiment = client.get_experiment_by_name(name)
            if experiment is None:
                raise
            return experiment.experiment_id

    @contextmanager
    def run(self, asset: str, month: str, tags: dict[str, str]) -> Iterator["TrackedRun"]:
        """Open the run of one asset partition; FINISHED on leaving, FAILED if the body raises."""
        client = self._client()
        run = client.create_run(
            self._experiment_id(client, f"{self.experiment}/{asset}"),
            run_name=f"{asset} {month[:7]}",
            tags={"asset": asset, "partition": month, **tags},
        )
        tracked = TrackedRun(client, run.info.run_id)
        try:
            yield tracked
        except BaseException as error:
            client.set_tag(run.info.run_id, "error", str(error)[:500])
            client.set_terminated(run.info.run_id, "FAILED")
            raise
        client.set_terminated(run.info.run_id, "FINISHED")

    def alias(
        self,
        name: str,
        alias: str,
        run_id: str,
        path: str,
        tags: dict[str, str],
        make: Callable[[Path], None],
    ) -> str:
        """Point an alias of the model registry at a model that a run made; returns the version.

        A model that is registered already keeps its version and its files.

        Args:
            name: registered model.
            alias: e.g. `champion`.
            run_id: run that made the model.
            path: of the model within the run's artifacts.
            tags: set on the version, beside the run's own.
            make: writes the MLflow model into the folder that it is given.
        """
        from mlflow.exceptions import MlflowException

        client = self._client()
        try:
            client.get_registered_model(name)
        except MlflowException:
            client.create_registered_model(name)
        run = client.get_run(run_id)
        source = f"{run.info.artifact_uri}/{path}"
        known = [v for v in client.search_model_versions(f"name='{name}'") if v.source == source]
        if not known:
            with tempfile.TemporaryDirectory() as folder:
                make(Path(folder) / "model")
                client.log_artifacts(run_id, str(Path(folder) / "model"), path)
        version = known[0] if known else client.create_model_version(name, source, run_id=run_id)
        run_tags = {k: v for k, v in run.data.tags.items() if not k.startswith("mlflow.")}
        for key, value in (run_tags | tags).items():
            client.set_model_version_tag(name, str(version.version), key, value)
        client.set_registered_model_alias(name, alias, str(version.version))
        return str(version.version)


class TrackedRun:
    """One open MLflow run."""

    def __init__(self, client: "MlflowClient", run_id: str) -> None:
        self._client = client
        self.run_id = run_id

    def log_params(self, params: dict[str, Any]) -> None:
        """Log parameters in one request."""
        from mlflow.entities import Param

        self._client.log_batch(self.run_id, params=[Param(k, str(v)) for k, v in params.items()])

    def log_metrics(self, metrics: dict[str, float]) -> None:
        """Log metrics in one request; a metric that is not finite is a fault of the caller's."""
        from mlflow.entities import Metric

        now = self._client.get_run(self.run_id).info.start_time
        self._client.log_batch(self.run_id, metrics=[Metric(k, float(v), now, 0) for k, v in metrics.items()])

    def log_history(self, estimator: str, history: tuple[dict[str, float], ...]) -> None:
        """Every figure of every epoch of an estimator, as `<estimator>/<figure>` with the epoch as step."""
        from mlflow.entities import Metric

        now = self._client.get_run(self.run_id).info.start_time
        metrics = [
            Metric(f"{estimator}/{name}", float(value), now, int(record["epoch"]))
            for record in history
            for name, value in record.items()
            if name != "epoch"
        ]
        for first in range(0, len(metrics), 1000):  # as many as MLflow takes in one request
            self._client.log_batch(self.run_id, metrics=metrics[first : first + 1000])

    def log_trial(self, trial: Trial) -> None:
        """A trial of a search as a run below this one, with its parameters and score."""
        from mlflow.entities import Metric, Param
        from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID

        parent = self._client.get_run(self.run_id).info
        tags = {MLFLOW_PARENT_RUN_ID: self.run_id, "fold": trial.fold, "state": trial.state}
        name = f"{trial.study} trial {trial.number}"
        run_id = self._client.create_run(parent.experiment_id, tags=tags, run_name=name).info.run_id
        figures = {"seconds": trial.seconds} | ({} if trial.score is None else {"score": trial.score})
        self._client.log_batch(
            run_id,
            metrics=[Metric(k, v, parent.start_time, 0) for k, v in figures.items()],
            params=[Param(k, str(v)) for k, v in trial.params.items()],
        )
        self._client.set_terminated(run_id, "FAILED" if trial.state == FAILED else "FINISHED")

    def log_artifact(self, path: Path) -> None:
        """Copy a file or a folder into the run's artifacts."""
        if path.is_dir():
            self._client.log_artifacts(self.run_id, str(path))
        else:
            self._client.log_artifact(self.run_id, str(path))
