"""The estimators of a study's ensemble: how they are declared, what they see, and how they predict."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from trademl_pipeline.sequences.index import flat
from trademl_pipeline.sequences.windows import Windows
from trademl_pipeline.tasks.protocol import Task
from trademl_pipeline.training.saved import NETWORK, TREES, VALUE_TREES, SavedModel

BOOSTED = ("lightgbm", "xgboost")
# Windows whose means are taken at once.
_BLOCK = 4096


@dataclass(frozen=True)
class TrainingPreset:
    """How much an estimator may cost at one preset of a study.

    Attributes:
        network_preset: preset of the network, see `models.registry.presets`; None: its defaults.
        epochs: most epochs of a network.
        max_rows: most training rows, drawn with the seed where the fold has more; None: all.
        trials: trials of the hyper-parameter search over `EstimatorSpec.space`; 0: none.
        training: fields of `training.networks.schedule.NetworkTrainingConfig` that this preset sets otherwise than the
            estimator.
    """

    network_preset: str | None = None
    epochs: int = 20
    max_rows: int | None = None
    trials: int = 0
    training: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class EstimatorSpec:
    """One estimator.

    Attributes:
        name: in tables and reports.
        kind: `lightgbm`, `xgboost`, `linear`, or a network of `models.registry.NETWORKS`.
        presets: what it may cost, by preset of the study.
        settings: fields of the tree config, or of the network's config.
        training: fields of `training.networks.schedule.NetworkTrainingConfig`.
        lags: sessions back that trees and the linear model see.
        rolling_mean_windows: they also see the means of the window's last so many sessions, for each of these numbers.
        demean_within: trees learn what tells the symbols of a session apart, not what the market did: rows that share
            the session, the end of the label and the signs of these features are taken together, see
            `trees.classes.fit_lightgbm` and `trees.values.fit_value_trees`; None: they are not.
        space: hyper-parameters to search in the fold (trees).
        benchmark: fitted and shown beside the study's prediction, never part of it.
    """

    name: str
    kind: str
    presets: Mapping[str, TrainingPreset]
    settings: Mapping[str, Any] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)
    lags: tuple[int, ...] = (0,)
    rolling_mean_windows: tuple[int, ...] = ()
    demean_within: tuple[str, ...] | None = None
    space: Mapping[str, Any] = field(default_factory=dict)
    benchmark: bool = False

    @property
    def is_network(self) -> bool:
        """Return whether it reads windows rather than rows."""
        return self.kind not in (*BOOSTED, "linear")


@dataclass(frozen=True)
class TrainingContext:
    """Settings that all estimators of a fold share.

    Attributes:
        names: features, in the order of the windows' matrix.
        preset: key of `EstimatorSpec.presets`.
        epochs: overrides every network's; None: the preset's.
        validation_sessions, embargo: of the inner split.
        seed: of everything drawn.
        threads: of each library.
        search_folds: inner folds of a hyper-parameter search.
    """

    names: tuple[str, ...]
    preset: str
    validation_sessions: int
    embargo: int
    seed: int
    epochs: int | None = None
    threads: int = 1
    search_folds: int = 2


@dataclass(frozen=True)
class FittedEstimator:
    """An estimator that can predict.

    Attributes:
        name, kind: of its spec.
        saved: the model with its pre-processing.
        lags, rolling_mean_windows: what trees and the linear model see, see `EstimatorSpec`.
        history: of a network's training, one entry an epoch.
        seconds: of the fit.
        parameters: trainable numbers of a network, leaves of trees, weights of a linear model.
        rows: training rows drawn.
        chosen: hyper-parameters that the search chose.
    """

    name: str
    kind: str
    saved: SavedModel
    lags: tuple[int, ...]
    rolling_mean_windows: tuple[int, ...] = ()
    history: tuple[dict[str, float], ...] = ()
    seconds: float = 0.0
    parameters: int = 0
    rows: int = 0
    chosen: Mapping[str, Any] = field(default_factory=dict)

    def predict(self, windows: Windows, task: Task) -> np.ndarray:
        """(rows, columns of the task)."""
        if self.saved.kind == NETWORK:
            from trademl_pipeline.training.networks.predict import predict

            return task.from_network(predict(self.saved.model, windows))
        x = rows_of(windows, self.lags, self.rolling_mean_windows)
        return self.saved.model.predict_proba(x) if self.saved.kind == TREES else self.saved.model.predict(x)

    @property
    def best_iteration(self) -> int:
        """Boosting rounds kept (of all columns), the epoch kept (from 0), or 0."""
        if self.saved.kind in (TREES, VALUE_TREES):
            return self.saved.model.rounds
        return int(self.saved.metadata.get("best_epoch", 0))

    @property
    def validation_loss(self) -> float | None:
        """Loss on the inner validation rows at `best_iteration`; None where nothing was chosen on them."""
        if self.saved.kind in (TREES, VALUE_TREES):
            return self.saved.model.validation_loss
        best = self.best_iteration
        return self.history[best]["validation_loss"] if 0 <= best < len(self.history) else None

    @property
    def saw_no_validation(self) -> bool:
        """Return whether the inner validation rows had no say in it.

        So it is for a network that keeps its last epoch, or had one only.
        """
        if self.saved.kind != NETWORK:
            return False
        return len(self.history) == 1 or self.saved.metadata.get("keep") == "last"

    @property
    def importance(self) -> Mapping[str, float]:
        """Share of the gain by feature; empty for what has none."""
        return self.saved.model.importance if self.saved.kind in (TREES, VALUE_TREES) else {}


def rows_of(
    windows: Windows, lags: tuple[int, ...], rolling_mean_windows: tuple[int, ...] = ()
) -> np.ndarray:
    """(rows, (lags + means) * features): the last steps of each window side by side, then means over it."""
    steps = flat(windows.matrix, windows.row, lags, windows.n_valid)
    return (
        np.concatenate([steps, _rolling_means(windows, rolling_mean_windows)], axis=1)
        if rolling_mean_windows
        else steps
    )


def _rolling_means(windows: Windows, rolling_mean_windows: tuple[int, ...]) -> np.ndarray:
    """Means of the window's last sessions over the values that are there; NaN where none is."""
    width = windows.features
    averages = np.full((len(windows), width * len(rolling_mean_windows)), np.nan)
    for start in range(0, len(windows), _BLOCK):
        rows = slice(start, min(start + _BLOCK, len(windows)))
        x, mask = windows.batch(np.arange(rows.start, rows.stop))
        there = mask[:, :, None] & ~np.isnan(x)
        known = np.where(there, x, 0.0)
        for i, span in enumerate(rolling_mean_windows):
            n = there[:, -span:].sum(axis=1)
            total = known[:, -span:].sum(axis=1, dtype=np.float64)
            np.divide(total, n, out=averages[rows, i * width : (i + 1) * width], where=n > 0)
    return averages


def row_names(
    names: tuple[str, ...], lags: tuple[int, ...], rolling_mean_windows: tuple[int, ...] = ()
) -> tuple[str, ...]:
    """`<feature>` for the decision's session, `<feature>@<lag>` for earlier ones, `<feature>~<sessions>` for means."""
    steps = tuple(name if lag == 0 else f"{name}@{lag}" for lag in lags for name in names)
    return (*steps, *(f"{name}~{span}" for span in rolling_mean_windows for name in names))


def subsampled(windows: Windows, max_rows: int | None, seed: int) -> Windows:
    """At most so many windows, drawn without replacement and kept in order."""
    if max_rows is None or len(windows) <= max_rows:
        return windows
    chosen = np.random.default_rng(seed).choice(len(windows), max_rows, replace=False)
    return windows.take(np.sort(chosen))
