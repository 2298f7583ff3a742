"""Members of a study's ensemble: a network, trees or a linear baseline, fitted and asked in the same way."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from trademl_pipeline.sequences.index import flat
from trademl_pipeline.training.groups import numbered
from trademl_pipeline.training.inner_split import FitError
from trademl_pipeline.training.ledger import FitLedger
from trademl_pipeline.training.networks.schedule import TrainConfig
from trademl_pipeline.training.saved import LINEAR, NETWORK, TREES, VALUE_TREES, SavedModel
from trademl_pipeline.training.tasks import Task
from trademl_pipeline.training.trials import TrialLedger
from trademl_pipeline.training.windows import Windows

BOOSTED = ("lightgbm", "xgboost")
Progress = Callable[[str, dict[str, float]], None]
# Windows whose means are taken at once.
_BLOCK = 4096


@dataclass(frozen=True)
class Effort:
    """How much a member may cost at one size of a study.

    Attributes:
        preset: size of the network, see `models.registry.presets`; None: its defaults.
        epochs: most epochs of a network.
        max_rows: most training rows, drawn with the seed where the fold has more; None: all.
        trials: trials of the hyper-parameter search over `MemberSpec.space`; 0: none.
        training: fields of `training.schedule.TrainConfig` that this size sets otherwise than the member.
    """

    preset: str | None = None
    epochs: int = 20
    max_rows: int | None = None
    trials: int = 0
    training: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class MemberSpec:
    """One member.

    Attributes:
        name: in tables and reports.
        kind: `lightgbm`, `xgboost`, `linear`, or a network of `models.registry.NETWORKS`.
        efforts: by size of the study.
        settings: fields of the tree config, or of the network's config.
        training: fields of `training.schedule.TrainConfig`.
        lags: sessions back that trees and the linear model see.
        means: they also see the means of the window's last so many sessions, for each of these numbers.
        apart: trees learn what tells the symbols of a session apart, not what the market did: rows that share the
            session, the end of the label and the signs of these features are taken together, see `trees.fit_lightgbm`
            and `value_trees.fit_value_trees`; None: they are not.
        space: hyper-parameters to search in the fold (trees).
        baseline: fitted and shown beside the study's prediction, never part of it.
    """

    name: str
    kind: str
    efforts: Mapping[str, Effort]
    settings: Mapping[str, Any] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)
    lags: tuple[int, ...] = (0,)
    means: tuple[int, ...] = ()
    apart: tuple[str, ...] | None = None
    space: Mapping[str, Any] = field(default_factory=dict)
    baseline: bool = False

    @property
    def is_network(self) -> bool:
        """Return whether it reads windows rather than rows."""
        return self.kind not in (*BOOSTED, "linear")


@dataclass(frozen=True)
class Setting:
    """Settings that all members of a fold share.

    Attributes:
        names: features, in the order of the windows' matrix.
        size: key of `MemberSpec.efforts`.
        epochs: overrides every network's; None: the effort's.
        validation_sessions, embargo: of the inner split.
        seed: of everything drawn.
        threads: of each library.
        search_folds: inner folds of a hyper-parameter search.
    """

    names: tuple[str, ...]
    size: str
    validation_sessions: int
    embargo: int
    seed: int
    epochs: int | None = None
    threads: int = 1
    search_folds: int = 2


@dataclass(frozen=True)
class FittedMember:
    """A member that can predict.

    Attributes:
        name, kind: of its spec.
        saved: the model with its pre-processing.
        lags, means: what trees and the linear model see, see `MemberSpec`.
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
    means: tuple[int, ...] = ()
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
        x = rows_of(windows, self.lags, self.means)
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
        kept = self.best_iteration
        return self.history[kept]["validation_loss"] if 0 <= kept < len(self.history) else None

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


def rows_of(windows: Windows, lags: tuple[int, ...], means: tuple[int, ...] = ()) -> np.ndarray:
    """(rows, (lags + means) * features): the last steps of each window side by side, then means over it."""
    steps = flat(windows.matrix, windows.row, lags, windows.n_valid)
    return np.concatenate([steps, _window_means(windows, means)], axis=1) if means else steps


def _window_means(windows: Windows, means: tuple[int, ...]) -> np.ndarray:
    """Means of the window's last sessions over the values that are there; NaN where none is."""
    width = windows.features
    found = np.full((len(windows), width * len(means)), np.nan)
    for start in range(0, len(windows), _BLOCK):
        rows = slice(start, min(start + _BLOCK, len(windows)))
        x, mask = windows.batch(np.arange(rows.start, rows.stop))
        there = mask[:, :, None] & ~np.isnan(x)
        known = np.where(there, x, 0.0)
        for i, span in enumerate(means):
            n = there[:, -span:].sum(axis=1)
            total = known[:, -span:].sum(axis=1, dtype=np.float64)
            np.divide(total, n, out=found[rows, i * width : (i + 1) * width], where=n > 0)
    return found


def row_names(names: tuple[str, ...], lags: tuple[int, ...], means: tuple[int, ...] = ()) -> tuple[str, ...]:
    """`<feature>` for the decision's session, `<feature>@<lag>` for earlier ones, `<feature>~<sessions>` for means."""
    steps = tuple(name if lag == 0 else f"{name}@{lag}" for lag in lags for name in names)
    return (*steps, *(f"{name}~{span}" for span in means for name in names))


def drawn(windows: Windows, most: int | None, seed: int) -> Windows:
    """At most so many windows, drawn without replacement and kept in order."""
    if most is None or len(windows) <= most:
        return windows
    chosen = np.random.default_rng(seed).choice(len(windows), most, replace=False)
    return windows.take(np.sort(chosen))


def fit_member(
    spec: MemberSpec,
    task: Task,
    windows: Windows,
    setting: Setting,
    *,
    ledger: FitLedger,
    checkpoint: Path | None = None,
    progress: Progress | None = None,
    trials: TrialLedger | None = None,
) -> FittedMember:
    """Fit one member on a fold's training windows.

    Args:
        spec: the member.
        task: what it learns; `windows.targets` are its targets.
        windows: the fold's training rows; keys hold symbol, session, label_end, knowledge_time and the labels.
        setting: what the fold's members share.
        ledger: records every fit.
        checkpoint: folder for a network's state after each epoch, taken up after a kill.
        progress: called with the member's name and figures as it learns.
        trials: every trial of a search is written there.

    Raises:
        FitError: as the member's own fit; or the kind does not do the task.
    """
    effort = spec.efforts.get(setting.size)
    if effort is None:
        raise FitError(f"member {spec.name} has no size {setting.size!r}; it has {', '.join(spec.efforts)}")
    windows = drawn(windows, effort.max_rows, setting.seed)
    start = time.perf_counter()
    if spec.kind in BOOSTED:
        fitted = _fit_trees(spec, effort, task, windows, setting, ledger, trials)
    elif spec.kind == "linear":
        fitted = _fit_linear(spec, task, windows, setting, ledger)
    else:
        fitted = _fit_network(spec, effort, task, windows, setting, ledger, checkpoint, progress)
    return replace(fitted, seconds=time.perf_counter() - start, rows=len(windows))


def _fit_trees(
    spec: MemberSpec,
    effort: Effort,
    task: Task,
    windows: Windows,
    setting: Setting,
    ledger: FitLedger,
    trials: TrialLedger | None,
) -> FittedMember:
    from trademl_pipeline.training.trees.classes import fit_lightgbm, fit_xgboost
    from trademl_pipeline.training.trees.config import LightGBMConfig, XGBoostConfig

    if task.kind != "class":
        return _fit_value_trees(spec, effort, task, windows, setting, ledger)
    fit, config_of = {"lightgbm": (fit_lightgbm, LightGBMConfig), "xgboost": (fit_xgboost, XGBoostConfig)}[
        spec.kind
    ]
    x = rows_of(windows, spec.lags, spec.means)
    names = row_names(setting.names, spec.lags, spec.means)
    keys = windows.keys.with_columns(pl.Series("target", windows.targets["target"]))
    together = None if spec.apart is None else groups_of(windows, setting.names, spec.apart)
    fixed = {
        "n_classes": len(task.columns),
        "validation_sessions": setting.validation_sessions,
        "embargo": setting.embargo,
        **spec.settings,
    }

    def fitted(params: Mapping[str, Any], rows: np.ndarray, own: FitLedger) -> Any:
        config = config_of(**(fixed | dict(params)))
        return fit(
            keys[rows],
            x[rows],
            names,
            config,
            seed=setting.seed,
            threads=setting.threads,
            ledger=own,
            together=None if together is None else together[rows],
        )

    chosen: dict[str, Any] = {}
    if effort.trials and spec.space:
        chosen = _searched(spec, effort, task, keys, setting, ledger, trials, fitted, x)
    model = fitted(chosen, np.arange(len(keys)), ledger)
    saved = SavedModel(
        TREES, spec.kind, names, 1, {}, {"lags": list(spec.lags), "means": list(spec.means)}, model
    )
    leaves = model.rounds * len(task.columns) * int(getattr(config_of(**fixed), "num_leaves", 0) or 2**6)
    return FittedMember(spec.name, spec.kind, saved, spec.lags, spec.means, parameters=leaves, chosen=chosen)


def _fit_value_trees(
    spec: MemberSpec, effort: Effort, task: Task, windows: Windows, setting: Setting, ledger: FitLedger
) -> FittedMember:
    from trademl_pipeline.training.trees.config import LightGBMConfig, XGBoostConfig
    from trademl_pipeline.training.trees.values import Columns, fit_value_trees

    regressed = getattr(task, "regressed", None)
    if regressed is None:
        raise FitError(f"{spec.kind} needs classes or values to learn, and task {task.name} has neither")
    if effort.trials and spec.space:
        raise FitError(
            f"member {spec.name} searches hyper-parameters, which only tasks of classes score; leave `space` empty"
        )
    config_of = {"lightgbm": LightGBMConfig, "xgboost": XGBoostConfig}[spec.kind]
    config = config_of(
        **{
            "validation_sessions": setting.validation_sessions,
            "embargo": setting.embargo,
            **spec.settings,
        }
    )
    columns = Columns(
        task.columns,
        frozenset(getattr(task, "logs", ())),
        frozenset(getattr(task, "chances", ())),
        tuple(getattr(task, "exclusive", ())),
    )
    names = row_names(setting.names, spec.lags, spec.means)
    model = fit_value_trees(
        spec.kind,  # pyright: ignore[reportArgumentType]
        windows.keys,
        rows_of(windows, spec.lags, spec.means),
        regressed(windows.targets),
        names,
        columns,
        config,
        seed=setting.seed,
        threads=setting.threads,
        ledger=ledger,
        together=None if spec.apart is None else groups_of(windows, setting.names, spec.apart),
    )
    metadata = {"lags": list(spec.lags), "means": list(spec.means)}
    saved = SavedModel(VALUE_TREES, spec.kind, names, 1, {}, metadata, model)
    leaves = model.rounds * int(getattr(config, "num_leaves", 0) or 2 ** getattr(config, "max_depth", 6))
    return FittedMember(spec.name, spec.kind, saved, spec.lags, spec.means, parameters=leaves)


def groups_of(windows: Windows, names: tuple[str, ...], signs: tuple[str, ...]) -> np.ndarray:
    """(rows,) number of each row's group: session, end of the label and signs of some features, NaN being 0."""
    columns = {name: np.sign(np.nan_to_num(windows.matrix[windows.row, names.index(name)])) for name in signs}
    groups = windows.keys.select("session", "label_end").with_columns(
        pl.Series(name, values) for name, values in columns.items()
    )
    return numbered(groups)


def _searched(
    spec: MemberSpec,
    effort: Effort,
    task: Task,
    keys: pl.DataFrame,
    setting: Setting,
    ledger: FitLedger,
    trials: TrialLedger | None,
    fitted: Callable[[Mapping[str, Any], np.ndarray, FitLedger], Any],
    x: np.ndarray,
) -> dict[str, Any]:
    from trademl_pipeline.training.tuning import TuneConfig, tune

    target = keys["target"].to_numpy()

    def score(params: Mapping[str, Any], train: np.ndarray, validation: np.ndarray) -> float:
        # Each trial fits on inner rows of its own; the search as a whole is what the fold's ledger records. The model
        # that stopped early tells as much as one fitted again on a few more rows, at half the cost.
        model = fitted({**params, "refit": False}, train, FitLedger(ledger.fold))
        p = model.predict_proba(x[validation], threads=setting.threads)
        return float(np.log(np.clip(p[np.arange(len(validation)), target[validation]], 1e-12, None)).mean())

    config = TuneConfig(
        trials=effort.trials,
        folds=setting.search_folds,
        validation_sessions=setting.validation_sessions,
        embargo=setting.embargo,
        seed=setting.seed,
    )
    if trials is None:
        raise FitError(
            f"member {spec.name} searches hyper-parameters; give the ledger that counts its trials"
        )
    name = f"{task.name}/{spec.name}"
    return tune(name, keys, score, spec.space, config, ledger=ledger, trials=trials).params


def _fit_linear(
    spec: MemberSpec, task: Task, windows: Windows, setting: Setting, ledger: FitLedger
) -> FittedMember:
    from trademl_pipeline.training.linear import fit_linear

    declared = {"logs": getattr(task, "logs", ()), "units": getattr(task, "units", {}), **spec.settings}
    truth = getattr(task, "truth", None)
    if task.kind == "class":
        y, declared = np.eye(len(task.columns))[windows.targets["target"]], {"shares": True, **spec.settings}
    elif truth is None or getattr(task, "chances", ()):
        raise FitError(
            f"the linear baseline regresses on values, and task {task.name} has none or has chances beside them; "
            "use trees or a network"
        )
    else:
        y = truth(windows.keys)
    x = rows_of(windows, spec.lags, spec.means)
    names = row_names(setting.names, spec.lags, spec.means)
    sessions = windows.keys["session"].to_numpy()
    model = ledger.fit("model", windows.keys, lambda _: fit_linear(x, y, task.columns, sessions, **declared))
    saved = SavedModel(
        LINEAR, spec.kind, names, 1, {}, {"lags": list(spec.lags), "means": list(spec.means)}, model
    )
    return FittedMember(
        spec.name, spec.kind, saved, spec.lags, spec.means, parameters=int(model.weights.size)
    )


def _train_config(spec: MemberSpec, effort: Effort, setting: Setting) -> TrainConfig:
    return TrainConfig(
        **{
            "validation_sessions": setting.validation_sessions,
            "embargo": setting.embargo,
            "seed": setting.seed,
            "threads": setting.threads,
            **spec.training,
            **effort.training,
            "epochs": setting.epochs or effort.epochs,
        }
    )


def _fit_network(
    spec: MemberSpec,
    effort: Effort,
    task: Task,
    windows: Windows,
    setting: Setting,
    ledger: FitLedger,
    checkpoint: Path | None,
    progress: Progress | None,
) -> FittedMember:
    from trademl_pipeline.models.registry import build, count_parameters
    from trademl_pipeline.training.networks.loop import fit_network
    from trademl_pipeline.training.saved import saved_network

    config = _train_config(spec, effort, setting)
    network = build(spec.kind, windows.features, effort.preset, seed=setting.seed, **spec.settings)
    parameters = count_parameters(network)
    fitted = fit_network(
        network,
        windows,
        task.loss,
        config,
        ledger=ledger,
        metric=task.metric,
        checkpoint=None if checkpoint is None else checkpoint / f"{spec.name}.pt",
        progress=None if progress is None else lambda record: progress(spec.name, record),
    )
    metadata = {"best_epoch": fitted.best_epoch, "preset": effort.preset or "default", "keep": config.keep}
    saved = saved_network(spec.kind, fitted, setting.names, windows.length, metadata)
    return FittedMember(spec.name, spec.kind, saved, spec.lags, history=fitted.history, parameters=parameters)


def fine_tuned(
    spec: MemberSpec, task: Task, base: FittedMember, rows: Windows, setting: Setting, *, ledger: FitLedger
) -> FittedMember:
    """Return a copy of a network member whose heads are trained on these rows, such as one symbol's.

    The base competes with every epoch, so that rows that teach nothing change nothing.

    Args:
        spec: the member's declaration; its training settings are used again.
        task: whose loss and metric the heads are trained by.
        base: the fitted member; left as it is.
        rows: windows with targets, of the fold's training rows.
        setting: what all members of the fold share.
        ledger: records the fit.

    Raises:
        FitError: the member is no network, or as `fit_network`.
    """
    if base.saved.kind != NETWORK:
        raise FitError(f"member {base.name} is no network; only the heads of networks are tuned by symbol")
    from trademl_pipeline.training.networks.fine_tune import fine_tune
    from trademl_pipeline.training.networks.loop import FittedNetwork
    from trademl_pipeline.training.saved import saved_network
    from trademl_pipeline.training.scaling import RobustScaling

    model = base.saved.model
    scaling = RobustScaling(model.centre.numpy(), model.scale.numpy(), ())
    start = FittedNetwork(model, base.history, base.best_iteration, scaling, base.rows)
    config = _train_config(spec, spec.efforts[setting.size], setting)
    tuned = fine_tune(start, rows, task.loss, config, ledger=ledger, metric=task.metric)
    metadata = {"best_epoch": tuned.best_epoch, "tuned": True}
    saved = saved_network(spec.kind, tuned, setting.names, rows.length, metadata)
    return replace(base, saved=saved, history=tuned.history, rows=len(rows))
