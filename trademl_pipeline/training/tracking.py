"""MLflow: what a fit logged, the model registry, and who is champion.

A study's registered model bears its name. ``champion`` serves; ``challenger`` is the latest candidate. A
challenger takes over only by :func:`decide`, on predictions that both made out of sample for the same rows.
"""

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from trademl_pipeline.training.intervals import Bootstrap, block_bootstrap_interval
from trademl_pipeline.training.saved import SavedModel, load_model
from trademl_pipeline.training.scores import MetricsError, ratio, require
from trademl_pipeline.training.trials import FAILED, Trial

CHAMPION, CHALLENGER = "champion", "challenger"
_EXCLUDED_FROM_METRICS = ("epoch",)


@dataclass(frozen=True)
class PromotionRule:
    """When a challenger replaces the champion.

    Attributes:
        metric: name of the per-row score that is compared, higher is better; for the record.
        least_gain: the mean gain must exceed this.
        least_sessions: sessions that both must have predicted.
        sure: also demand that the 95 % interval of the gain lies above ``least_gain``.
    """

    metric: str
    least_gain: float = 0.0
    least_sessions: int = 60
    sure: bool = False


@dataclass(frozen=True)
class Decision:
    """The outcome of a comparison; written to the challenger's tags."""

    promote: bool
    gain: float | None
    low: float | None
    high: float | None
    sessions: int
    rows: int
    reason: str


def decide(rule: PromotionRule, scores: pl.DataFrame | None, bootstrap: Bootstrap) -> Decision:
    """Compare champion and challenger row by row, out of sample.

    Args:
        rule: the rule.
        scores: session, champion, challenger: a score of each prediction of the same row, higher is better
            (log likelihood, hit or miss, return earned). None: there is no champion yet.
        bootstrap: how the interval of the mean gain is drawn.
    """
    if scores is None:
        return Decision(True, None, None, None, 0, 0, "there is no champion yet")
    require(scores, ("session", CHAMPION, CHALLENGER))
    by_session = (
        scores.with_columns(gain=pl.col(CHALLENGER) - pl.col(CHAMPION))
        .group_by("session")
        .agg(pl.col("gain").sum(), pl.len().alias("n"))
        .sort("session")
    )
    n, rows = by_session.height, scores.height
    if n < rule.least_sessions:
        return Decision(
            False, None, None, None, n, rows, f"only {n} sessions in common, {rule.least_sessions} needed"
        )
    sums = by_session.select("gain", "n").to_numpy().astype(np.float64)
    gain = float(ratio(sums.sum(axis=0)))
    interval = block_bootstrap_interval(sums, ratio, bootstrap)
    bar = interval.low if rule.sure else gain
    promote = gain > rule.least_gain and bar is not None and bar > rule.least_gain
    told = f"{rule.metric} gains {gain:+.4g} a row, {'above' if promote else 'not surely above'} {rule.least_gain:g}"
    return Decision(promote, gain, interval.low, interval.high, n, rows, told)


def log_history(run_id: str, history: tuple[dict[str, float], ...]) -> None:
    """Every figure of every epoch, as metrics of the run with the epoch as step."""
    from mlflow import MlflowClient
    from mlflow.entities import Metric

    # the timestamp orders equal steps only; steps differ, so it carries nothing and stays 0
    metrics = [
        Metric(name, float(value), 0, int(record["epoch"]))
        for record in history
        for name, value in record.items()
        if name not in _EXCLUDED_FROM_METRICS
    ]
    client = MlflowClient()
    for first in range(0, len(metrics), 1000):
        client.log_batch(run_id, metrics=metrics[first : first + 1000])


def trial_logger(parent_run_id: str) -> Callable[[Trial], None]:
    """For ``tune(on_trial=…)``: each trial becomes a run below the parent run, with its parameters and
    score."""
    from mlflow import MlflowClient
    from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID

    client = MlflowClient()
    experiment = client.get_run(parent_run_id).info.experiment_id

    def log(trial: Trial) -> None:
        tags = {MLFLOW_PARENT_RUN_ID: parent_run_id, "fold": trial.fold, "state": trial.state}
        name = f"{trial.study} trial {trial.number}"
        run_id = client.create_run(experiment, tags=tags, run_name=name).info.run_id
        for key, value in trial.params.items():
            client.log_param(run_id, key, value)
        if trial.score is not None:
            client.log_metric(run_id, "score", trial.score)
        client.log_metric(run_id, "seconds", trial.seconds)
        client.set_terminated(run_id, "FAILED" if trial.state == FAILED else "FINISHED")

    return log


def register(
    saved: SavedModel, study: str, run_id: str, example: Mapping[str, np.ndarray], tags: Mapping[str, str]
) -> str:
    """Log a model to its run, register it under its study and make it the challenger.

    Args:
        saved: the model.
        study: name of the registered model.
        run_id: MLflow run that trained it; must be the active one.
        example: an input as ``{"x": (batch, length, features), …}``; signature and input example come from
        it. tags: fold, data snapshot, code version …, on the model version.

    Returns:
        The version.

    Raises:
        MetricsError: another run is active, or none.
    """
    import mlflow
    from mlflow import MlflowClient
    from mlflow.models import infer_signature

    _check_active(run_id)
    example = {k: np.asarray(v, dtype=np.float32) for k, v in example.items()}
    inputs = dict(example)
    outputs = saved.predict(inputs.pop("x"), **inputs)
    card = {"kind": saved.kind, "name": saved.name, "features": list(saved.features), **saved.metadata}
    with tempfile.TemporaryDirectory() as folder:
        saved.save(Path(folder) / "model")
        info = mlflow.pyfunc.log_model(
            name="model",
            python_model=str(Path(__file__).with_name("pyfunc_model.py")),
            artifacts={"model": str(Path(folder) / "model")},
            signature=infer_signature(example, outputs),
            input_example=example,
            registered_model_name=study,
            pip_requirements=["trademl-pipeline"],
            metadata=_plain(card),
        )
    client = MlflowClient()
    version = str(info.registered_model_version)
    for name, value in tags.items():
        client.set_model_version_tag(study, version, name, value)
    client.set_registered_model_alias(study, CHALLENGER, version)
    return version


def settle(study: str, version: str, rule: PromotionRule, decision: Decision) -> None:
    """Record rule and decision on the version and, where it won, make it the champion."""
    from mlflow import MlflowClient

    client = MlflowClient()
    for prefix, part in (("promotion_rule", asdict(rule)), ("promotion", asdict(decision))):
        for name, value in part.items():
            client.set_model_version_tag(study, version, f"{prefix}.{name}", str(value))
    if decision.promote:
        client.set_registered_model_alias(study, CHAMPION, version)


def aliased_version(study: str, alias: str = CHAMPION) -> str | None:
    """Version behind an alias; None where there is none yet."""
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    try:
        return str(MlflowClient().get_model_version_by_alias(study, alias).version)
    except MlflowException as error:
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            return None
        raise


def load_registered(study: str, alias: str = CHAMPION) -> SavedModel:
    """The model behind an alias.

    Raises:
        MetricsError: the study has no such model.
    """
    from mlflow.artifacts import download_artifacts

    version = aliased_version(study, alias)
    if version is None:
        raise MetricsError(f"study {study!r} has no {alias} yet; train and register a model first")
    # the artifacts of a models:/ address lie in a folder named after the artifact key
    folder = Path(download_artifacts(artifact_uri=f"models:/{study}/{version}"))
    found = sorted(folder.rglob("model.json"))
    return load_model(found[0].parent)


def _check_active(run_id: str) -> None:
    import mlflow

    active = mlflow.active_run()
    if active is None or active.info.run_id != run_id:
        raise MetricsError(
            f"run {run_id} is not the active MLflow run; call register inside `with mlflow.start_run(run_id=…)`"
        )


def _plain(card: Mapping[str, Any]) -> dict[str, Any]:
    return {k: v if isinstance(v, str | int | float | bool | list) else str(v) for k, v in card.items()}
