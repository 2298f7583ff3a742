"""The models of one fold of a study as one: how their predictions become the study's, saved as one folder."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from trademl_pipeline.sequences.windows import Windows
from trademl_pipeline.tasks.protocol import Task
from trademl_pipeline.tasks.registry import TASKS
from trademl_pipeline.training.ensemble.calibrate import Calibration
from trademl_pipeline.training.ensemble.weights import StackedEnsemble, WeightedEnsemble
from trademl_pipeline.training.estimators import FittedEstimator
from trademl_pipeline.training.inner_split import FitError
from trademl_pipeline.training.saved import NETWORK, load_model

CARD, TIMES, FINE_TUNED = "study.json", "seconds.json", "tuned"


@dataclass(frozen=True)
class FittedStudy:
    """A fold's models.

    Attributes:
        task: key of `TASKS`.
        names: features that they read, in order.
        base_learners: names of the estimators that make the prediction, in order.
        estimators: all estimators, benchmark models included.
        weights: by column ("" for all), then by estimator.
        stacked: the second level, if there is one.
        calibrators: by base learner, its calibration, if there is one.
        dropped: features left out by the selection, and why.
        fine_tuned: by symbol, the first base learner with heads of its own.
    """

    task: str
    names: tuple[str, ...]
    base_learners: tuple[str, ...]
    estimators: Mapping[str, FittedEstimator]
    weights: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    stacked: StackedEnsemble | None = None
    calibrators: Mapping[str, Calibration] = field(default_factory=dict)
    dropped: Mapping[str, str] = field(default_factory=dict)
    fine_tuned: Mapping[str, FittedEstimator] = field(default_factory=dict)

    @property
    def recorded_fits(self) -> tuple[str, ...]:
        """Names under which the fit ledger has to have what the predictions are made with, one for each object."""
        models = [*self.estimators.values(), *self.fine_tuned.values()]
        names = ["model"] * len(models)
        names += ["early_stopping" for model in models if model.saved.kind == NETWORK]
        names += ["scaler" for model in self.estimators.values() if model.saved.kind == NETWORK]
        names += ["feature_importance", "feature_correlation"] if self.dropped else []
        names += ["calibration"] if self.calibrators else []
        names += ["stacked ensemble"] if self.stacked is not None else []
        # Equal weights are nothing that was fitted.
        names += ["ensemble weights" for weights in self.weights.values() if len(set(weights.values())) > 1]
        return tuple(names)

    def estimator_values(self, windows: Windows) -> dict[str, np.ndarray]:
        """Every estimator's own predictions, (rows, columns)."""
        task = TASKS[self.task]
        values = {name: estimator.predict(windows, task) for name, estimator in self.estimators.items()}
        for symbol, estimator in self.fine_tuned.items():
            rows = np.flatnonzero((windows.keys["symbol"] == symbol).to_numpy())
            if len(rows):
                values[self.base_learners[0]][rows] = estimator.predict(windows.take(rows), task)
        return values

    def combine(self, values: Mapping[str, np.ndarray]) -> np.ndarray:
        """The study's prediction out of its estimators', (rows, columns)."""
        task = TASKS[self.task]
        values = calibrated(self.calibrators, values)
        if self.stacked is not None:
            return self.stacked.predict(values)
        if self.weights:
            return _weighted(self.weights, values, task)
        return np.asarray(values[self.base_learners[0]], dtype=np.float64)

    def predict(self, windows: Windows) -> dict[str, np.ndarray]:
        """The study's prediction by column of its task, (rows,) each."""
        values = self.combine(self.estimator_values(windows))
        return {column: values[:, i] for i, column in enumerate(TASKS[self.task].columns)}

    def save(self, folder: Path) -> str:
        """Write the folder; returns the SHA-256 of its card, which holds those of all other files.

        The same fold trained again gives the same digest, as far as the libraries are deterministic.
        """
        folder.mkdir(parents=True, exist_ok=True)
        for name, estimator in self._all().items():
            estimator.saved.save(folder / name)
        files = {
            str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest()
            for p in sorted(folder.rglob("*"))
            if p.is_file() and p.name not in (CARD, TIMES)
        }
        card = {
            "task": self.task,
            "features": list(self.names),
            "voters": list(self.base_learners),
            "weights": {c: dict(w) for c, w in self.weights.items()},
            "stacked": _plain(self.stacked),
            "calibrators": {name: asdict(c) for name, c in self.calibrators.items()},
            "dropped": dict(self.dropped),
            "members": {name: _estimator_card(m) for name, m in self.estimators.items()},
            "tuned": {symbol: _estimator_card(m) for symbol, m in self.fine_tuned.items()},
            "files": files,
        }
        data = json.dumps(card, indent=1).encode()
        (folder / CARD).write_bytes(data)
        # Seconds differ from run to run; the same fold must give the same digest.
        times = {name: estimator.seconds for name, estimator in self.estimators.items()}
        (folder / TIMES).write_text(json.dumps(times, indent=1))
        return hashlib.sha256(data).hexdigest()

    def _all(self) -> dict[str, FittedEstimator]:
        return {**self.estimators, **{f"{FINE_TUNED}/{symbol}": m for symbol, m in self.fine_tuned.items()}}


def load_study(folder: Path) -> FittedStudy:
    """Read what `FittedStudy.save` wrote.

    Raises:
        FileNotFoundError: the folder, or a file of it, is gone.
        FitError: a file is not the one that was saved.
    """
    card = json.loads((folder / CARD).read_bytes())
    for name, digest in card["files"].items():
        if hashlib.sha256((folder / name).read_bytes()).hexdigest() != digest:
            raise FitError(f"{folder / name} is not the file that was saved; train the fold again")
    estimators = {name: _loaded(folder / name, name, saved) for name, saved in card["members"].items()}
    heads = {
        symbol: _loaded(folder / FINE_TUNED / symbol, symbol, saved)
        for symbol, saved in card["tuned"].items()
    }
    return FittedStudy(
        card["task"],
        tuple(card["features"]),
        tuple(card["voters"]),
        estimators,
        card["weights"],
        _stacked(card["stacked"]),
        {name: Calibration(c["temperature"], tuple(c["weights"])) for name, c in card["calibrators"].items()},
        card["dropped"],
        heads,
    )


def _loaded(folder: Path, name: str, card: dict[str, Any]) -> FittedEstimator:
    card = dict(card)
    lags, rolling_mean_windows, history = (tuple(card.pop(key)) for key in ("lags", "means", "history"))
    return FittedEstimator(
        name=name,
        saved=load_model(folder),
        lags=lags,
        rolling_mean_windows=rolling_mean_windows,
        history=history,
        **card,
    )


def _weighted(
    weights: Mapping[str, Mapping[str, float]], values: Mapping[str, np.ndarray], task: Task
) -> np.ndarray:
    if "" in weights:
        return WeightedEnsemble(weights[""]).predict(values)
    mixed = np.column_stack(
        [
            WeightedEnsemble(weights[column]).predict({m: v[:, i] for m, v in values.items()})
            for i, column in enumerate(task.columns)
        ]
    )
    for group in task.values.simplexes if task.values is not None else ():
        # Weights of their own for each class do not keep their sum.
        positions = [task.columns.index(column) for column in group]
        mixed[:, positions] /= mixed[:, positions].sum(axis=1, keepdims=True)
    return mixed


def calibrated(
    calibrators: Mapping[str, Calibration], values: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Return the predictions (rows, classes) by estimator, calibrated where the estimator has a calibrator."""
    return {name: calibrators[name].apply(p) if name in calibrators else p for name, p in values.items()}


def _estimator_card(estimator: FittedEstimator) -> dict[str, Any]:
    return {
        "kind": estimator.kind,
        "lags": list(estimator.lags),
        "means": list(estimator.rolling_mean_windows),
        "history": [
            {k: v for k, v in epoch.items() if k != "rows_per_second"} for epoch in estimator.history
        ],
        "parameters": estimator.parameters,
        "rows": estimator.rows,
        "chosen": dict(estimator.chosen),
    }


def _plain(model: StackedEnsemble | None) -> dict[str, Any] | None:
    if model is None:
        return None
    return {
        "kind": model.kind,
        "members": list(model.estimators),
        "classes": list(model.classes),
        "n_classes": model.n_classes,
        "coefficients": model.coefficients.tolist(),
        "intercept": model.intercept.tolist(),
    }


def _stacked(card: dict[str, Any] | None) -> StackedEnsemble | None:
    if card is None:
        return None
    return StackedEnsemble(
        card["kind"],
        tuple(card["members"]),
        tuple(card["classes"]),
        card["n_classes"],
        np.array(card["coefficients"]),
        np.array(card["intercept"]),
    )
