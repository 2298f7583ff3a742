"""All that a study fits in one fold: selection of features, members, their ensemble, calibration; saved as one folder.

Everything goes through the fold's ledger, on training rows alone. Weights and second levels are fitted on predictions
of inner folds that no member learned from.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import polars as pl

from trademl_pipeline.sequences.windows import Windows
from trademl_pipeline.tasks.protocol import Task
from trademl_pipeline.tasks.registry import TASKS
from trademl_pipeline.training.cross_validation import GappedSplits
from trademl_pipeline.training.ensemble.calibrate import Calibration, base_rates, fit_calibration
from trademl_pipeline.training.ensemble.weights import (
    OutOfFold,
    StackedEnsemble,
    WeightedEnsemble,
    fit_stacked,
    fit_weights,
    out_of_fold,
    weighted_by_horizon,
)
from trademl_pipeline.training.inner_split import FitError, inner_split
from trademl_pipeline.training.ledger import FitLedger
from trademl_pipeline.training.members import (
    FittedMember,
    MemberSpec,
    Progress,
    Setting,
    fine_tuned,
    fit_member,
)
from trademl_pipeline.training.saved import NETWORK, load_model
from trademl_pipeline.training.selection import SelectionPlan, select_features
from trademl_pipeline.training.trials import TrialLedger

Ensemble = Literal["first", "mean", "weighted", "stacked", "horizon"]
CARD, TIMES, TUNED = "study.json", "seconds.json", "tuned"
# Fewer rows of a symbol teach its heads nothing that the shared ones do not know.
LEAST_TO_TUNE = 100
# How far weights that one inner fold tells are drawn towards equal ones.
EQUAL_SHARE = 0.5
# The same where the market's moves are taken out first: symbols of a session then count as so many outcomes.
EQUAL_SHARE_WITHIN = 0.1


@dataclass(frozen=True)
class FitPlan:
    """How a study's fold is fitted.

    Attributes:
        task: key of `TASKS`.
        members: those without `baseline` make the prediction.
        ensemble: `first`: the first member alone; `mean`: all voters alike; `weighted`, `stacked`: as inner folds tell;
            `horizon`: weighted for each horizon, Mamba counting more on short ones.
        select: choose among the features in the fold.
        calibrate: fit the voters' probabilities to frequencies on the inner validation rows, before they are combined:
            all voters where inner folds predict them anyway, else the networks, which did not learn from those rows.
        inner_folds: of weights and second levels.
        fine_tune: symbols for which the heads of the first voter, a network, are trained on with their own rows.
        cross_validate: how the first voter is also tried on each symbol within the training rows; None: it is not.
    """

    task: str
    members: tuple[MemberSpec, ...]
    ensemble: Ensemble = "first"
    select: SelectionPlan | None = None
    calibrate: bool = False
    inner_folds: int = 1
    fine_tune: tuple[str, ...] = ()
    cross_validate: GappedSplits | None = None

    @property
    def voters(self) -> tuple[MemberSpec, ...]:
        """Members that make the prediction."""
        return tuple(m for m in self.members if not m.baseline)


@dataclass(frozen=True)
class FittedStudy:
    """A fold's models.

    Attributes:
        task: key of `TASKS`.
        names: features that they read, in order.
        voters: names of the members that make the prediction, in order.
        members: all members, baselines included.
        weights: by column ("" for all), then by member.
        stacked: the second level, if there is one.
        calibrators: by voter, its calibration, if there is one.
        dropped: features left out by the selection, and why.
        tuned: by symbol, the first voter with heads of its own.
    """

    task: str
    names: tuple[str, ...]
    voters: tuple[str, ...]
    members: Mapping[str, FittedMember]
    weights: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    stacked: StackedEnsemble | None = None
    calibrators: Mapping[str, Calibration] = field(default_factory=dict)
    dropped: Mapping[str, str] = field(default_factory=dict)
    tuned: Mapping[str, FittedMember] = field(default_factory=dict)

    def member_values(self, windows: Windows) -> dict[str, np.ndarray]:
        """Every member's own predictions, (rows, columns)."""
        task = TASKS[self.task]
        found = {name: member.predict(windows, task) for name, member in self.members.items()}
        for symbol, member in self.tuned.items():
            own = np.flatnonzero((windows.keys["symbol"] == symbol).to_numpy())
            if len(own):
                found[self.voters[0]][own] = member.predict(windows.take(own), task)
        return found

    def combine(self, values: Mapping[str, np.ndarray]) -> np.ndarray:
        """The study's prediction out of its members', (rows, columns)."""
        task = TASKS[self.task]
        values = _calibrated(self.calibrators, values)
        if self.stacked is not None:
            return self.stacked.predict(values)
        if self.weights:
            return _weighted(self.weights, values, task)
        return np.asarray(values[self.voters[0]], dtype=np.float64)

    def predict(self, windows: Windows) -> dict[str, np.ndarray]:
        """The study's prediction by column of its task, (rows,) each."""
        values = self.combine(self.member_values(windows))
        return {column: values[:, i] for i, column in enumerate(TASKS[self.task].columns)}

    def save(self, folder: Path) -> str:
        """Write the folder; returns the SHA-256 of its card, which holds those of all other files.

        The same fold trained again gives the same digest, as far as the libraries are deterministic.
        """
        folder.mkdir(parents=True, exist_ok=True)
        for name, member in self._all().items():
            member.saved.save(folder / name)
        files = {
            str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest()
            for p in sorted(folder.rglob("*"))
            if p.is_file() and p.name not in (CARD, TIMES)
        }
        card = {
            "task": self.task,
            "features": list(self.names),
            "voters": list(self.voters),
            "weights": {c: dict(w) for c, w in self.weights.items()},
            "stacked": _plain(self.stacked),
            "calibrators": {name: asdict(c) for name, c in self.calibrators.items()},
            "dropped": dict(self.dropped),
            "members": {name: _member_card(m) for name, m in self.members.items()},
            "tuned": {symbol: _member_card(m) for symbol, m in self.tuned.items()},
            "files": files,
        }
        data = json.dumps(card, indent=1).encode()
        (folder / CARD).write_bytes(data)
        # Seconds differ from run to run; the same fold must give the same digest.
        times = {name: member.seconds for name, member in self.members.items()}
        (folder / TIMES).write_text(json.dumps(times, indent=1))
        return hashlib.sha256(data).hexdigest()

    def _all(self) -> dict[str, FittedMember]:
        return {**self.members, **{f"{TUNED}/{symbol}": m for symbol, m in self.tuned.items()}}


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
    members = {name: _loaded(folder / name, name, told) for name, told in card["members"].items()}
    tuned = {symbol: _loaded(folder / TUNED / symbol, symbol, told) for symbol, told in card["tuned"].items()}
    return FittedStudy(
        card["task"],
        tuple(card["features"]),
        tuple(card["voters"]),
        members,
        card["weights"],
        _stacked(card["stacked"]),
        {name: Calibration(c["temperature"], tuple(c["weights"])) for name, c in card["calibrators"].items()},
        card["dropped"],
        tuned,
    )


def _loaded(folder: Path, name: str, told: dict[str, Any]) -> FittedMember:
    told = dict(told)
    lags, means, history = (tuple(told.pop(key)) for key in ("lags", "means", "history"))
    return FittedMember(name=name, saved=load_model(folder), lags=lags, means=means, history=history, **told)


def fit_study(
    plan: FitPlan,
    windows: Windows,
    setting: Setting,
    *,
    ledger: FitLedger,
    checkpoint: Path | None = None,
    progress: Progress | None = None,
    trials: TrialLedger | None = None,
) -> FittedStudy:
    """Fit a fold.

    Args:
        plan: what is fitted.
        windows: the training windows over all of `setting.names`; keys hold symbol, session, label_end,
            knowledge_time and the task's label columns. Their targets are set here.
        setting: what the members share.
        ledger: records every fit.
        checkpoint, progress, trials: as for `members.fit_member`.

    Raises:
        FitError: there is no row, no member makes the prediction, or as a member's fit.
    """
    task = TASKS[plan.task]
    if not plan.voters:
        raise FitError(
            f"all members of task {plan.task} are baselines; one at least must make the prediction"
        )
    if not len(windows):
        raise FitError("the fold has no training rows; give more history, or check the labels and the purge")
    dropped: Mapping[str, str] = {}
    if plan.select is not None:
        windows, setting, dropped = _selected(plan.select, task, windows, setting, ledger)
    windows = replace(windows, targets=task.targets(windows.keys))

    def fit(spec: MemberSpec, rows: Windows, own: FitLedger, folder: Path | None) -> FittedMember:
        return fit_member(
            spec, task, rows, setting, ledger=own, checkpoint=folder, progress=progress, trials=trials
        )

    members = {spec.name: fit(spec, windows, ledger, checkpoint) for spec in plan.members}
    voters = tuple(spec.name for spec in plan.voters)
    fold = _Fold(plan, task, windows, setting, ledger, fit, members)
    weights, stacked, calibrators = _combined(fold)
    tuned = _tuned(plan, task, members[plan.voters[0].name], windows, setting, ledger)
    return FittedStudy(
        plan.task, setting.names, voters, members, weights, stacked, calibrators, dropped, tuned
    )


class _Fold(NamedTuple):
    """A fold whose members are fitted, with `fit(spec, rows, ledger, folder of checkpoints)` to fit them again."""

    plan: FitPlan
    task: Task
    windows: Windows
    setting: Setting
    ledger: FitLedger
    fit: Callable[[MemberSpec, Windows, FitLedger, Path | None], FittedMember]
    members: Mapping[str, FittedMember]


def _combined(
    fold: _Fold,
) -> tuple[dict[str, dict[str, float]], StackedEnsemble | None, dict[str, Calibration]]:
    """How the voters make one prediction: (weights by column, second level, calibrators), those that the plan asks."""
    plan, task, windows, setting, ledger, _, members = fold
    voters = [spec.name for spec in plan.voters]
    alone = plan.ensemble == "first" or len(voters) == 1
    if alone or plan.ensemble == "mean":
        asked = [members[name] for name in (voters[:1] if alone else voters)]
        held = _held(asked, task, windows, setting) if plan.calibrate else None
        calibrators = _calibrators(held, task, windows, ledger) if held else {}
        return {} if alone else {"": dict.fromkeys(voters, 1 / len(voters))}, None, calibrators
    oof, calibrators = _out_of_fold(fold), {}
    if plan.calibrate:
        calibrators = _calibrators(oof, task, windows, ledger)
        oof = replace(oof, predictions=_calibrated(calibrators, oof.predictions))
    if plan.ensemble == "stacked":
        target = _class_numbers(task, windows)
        return {}, fit_stacked(oof, target, windows.keys, kind="class", ledger=ledger), calibrators
    return _fit_weights(plan, task, oof, windows, ledger), None, calibrators


def _tuned(
    plan: FitPlan, task: Task, base: FittedMember, windows: Windows, setting: Setting, ledger: FitLedger
) -> dict[str, FittedMember]:
    """The base with heads of each symbol's own, where the symbol has rows enough; else the base serves it too."""
    found: dict[str, FittedMember] = {}
    spec = next(m for m in plan.members if m.name == base.name)
    for symbol in plan.fine_tune:
        rows = windows.take((windows.keys["symbol"] == symbol).to_numpy())
        if len(rows) < LEAST_TO_TUNE:
            continue
        found[symbol] = fine_tuned(spec, task, base, rows, setting, ledger=ledger)
    return found


def _selected(
    plan: SelectionPlan, task: Task, windows: Windows, setting: Setting, ledger: FitLedger
) -> tuple[Windows, Setting, Mapping[str, str]]:
    """Windows over the chosen features only; the choice looks at the decisions' own sessions."""
    if task.selection_label is None:
        raise FitError(f"task {task.name} has no label of classes to select features by; leave `select` out")
    target = windows.keys[task.selection_label].cast(pl.Int64).alias("_target")
    rows = pl.DataFrame(windows.matrix[windows.row], schema=list(setting.names)).with_columns(target)
    rows = windows.keys.select("symbol", "session", "label_end", "knowledge_time").hstack(rows)
    chosen = select_features(rows, setting.names, "_target", ledger=ledger, plan=plan)
    if not chosen.names:
        raise FitError(
            f"none of {len(setting.names)} features varies over {len(windows)} rows; nothing to learn"
        )
    position = [setting.names.index(name) for name in chosen.names]
    matrix = np.ascontiguousarray(windows.matrix[:, position])
    return (
        replace(windows, matrix=matrix),
        replace(setting, names=chosen.names),
        {**chosen.dropped},
    )


def _out_of_fold(fold: _Fold) -> OutOfFold:
    plan, task, windows, setting, ledger, fit, members = fold

    def asked(spec: MemberSpec) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
        if plan.inner_folds == 1 and members[spec.name].saw_no_validation:
            # The one inner fold is the split that the member was trained by: it is out of fold there as it is.
            return lambda _, held: members[spec.name].predict(windows.take(held), task)
        # The search's choice is the outer fit's; here each member is fitted with its plain settings.
        plain = replace(spec, space={})

        def fit_predict(train: np.ndarray, held: np.ndarray) -> np.ndarray:
            member = fit(plain, windows.take(train), FitLedger(ledger.fold), None)
            return member.predict(windows.take(held), task)

        return fit_predict

    return out_of_fold(
        windows.keys,
        {spec.name: asked(spec) for spec in plan.voters},
        folds=plan.inner_folds,
        validation_sessions=setting.validation_sessions,
        embargo=setting.embargo,
        ledger=ledger,
    )


def _fit_weights(
    plan: FitPlan, task: Task, oof: OutOfFold, windows: Windows, ledger: FitLedger
) -> dict[str, dict[str, float]]:
    if task.class_label is not None:
        target = windows.targets[task.class_label]
        fitted = fit_weights(oof, target, windows.keys, kind="class", ledger=ledger, equal_share=EQUAL_SHARE)
        return {"": dict(fitted.weights)}
    values = task.values
    if values is None:
        raise FitError(f"members of task {task.name} cannot be weighted; use ensemble 'first'")
    came = values.y_true(windows.keys)
    found: dict[str, dict[str, float]] = {}
    for i, column in enumerate(task.columns):
        known = ~np.isnan(came[oof.rows, i])
        own = OutOfFold(oof.rows[known], {m: p[known, i] for m, p in oof.predictions.items()})
        # A level, such as a volatility, is to be right for all symbols of a session together.
        level = column in values.log_scale
        fitted = fit_weights(
            own,
            came[:, i],
            windows.keys,
            kind="value",
            ledger=ledger,
            equal_share=EQUAL_SHARE if level else EQUAL_SHARE_WITHIN,
            within_sessions=not level,
        )
        weights = dict(fitted.weights)
        if plan.ensemble == "horizon" and column in values.horizons:
            weights = dict(weighted_by_horizon(weights, values.horizons[column]).weights)
        found[column] = weights
    return found


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
        own = [task.columns.index(column) for column in group]
        mixed[:, own] /= mixed[:, own].sum(axis=1, keepdims=True)
    return mixed


def _held(asked: Sequence[FittedMember], task: Task, windows: Windows, setting: Setting) -> OutOfFold:
    """Networks' predictions of the rows that chose their epochs, and that they learned nothing else from.

    Trees are left out: they were fitted once more on all rows, and by their log loss say frequencies as they are.

    Raises:
        FitError: none of them is a network.
    """
    networks = [member for member in asked if member.saved.kind == NETWORK]
    if not networks:
        raise FitError(
            f"{', '.join(m.name for m in asked)}: no network is among them, and nothing else is calibrated on rows "
            "that chose an epoch; use ensemble 'weighted' or no calibration"
        )
    split = inner_split(
        windows.keys, validation_sessions=setting.validation_sessions, embargo=setting.embargo
    )
    held = windows.take(split.validation)
    predicted = {member.name: member.predict(held, task) for member in networks}
    return OutOfFold(np.flatnonzero(split.validation), predicted)


def _class_numbers(task: Task, windows: Windows) -> np.ndarray:
    if task.class_label is None:
        raise FitError(
            f"task {task.name} has no class_label; leave `calibrate` and the ensemble 'stacked' out"
        )
    return windows.targets[task.class_label]


def _calibrators(oof: OutOfFold, task: Task, windows: Windows, ledger: FitLedger) -> dict[str, Calibration]:
    """One for each of the voters at hand, fitted out of fold; base rates are those of all training rows."""
    target = _class_numbers(task, windows)
    base = base_rates(target, len(task.columns))

    def fit(_: pl.DataFrame) -> dict[str, Calibration]:
        return {name: fit_calibration(p, target[oof.rows], base) for name, p in oof.predictions.items()}

    return ledger.fit("calibration", windows.keys, fit, kind="calibration")


def _calibrated(
    calibrators: Mapping[str, Calibration], values: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    return {name: calibrators[name].apply(p) if name in calibrators else p for name, p in values.items()}


def _member_card(member: FittedMember) -> dict[str, Any]:
    return {
        "kind": member.kind,
        "lags": list(member.lags),
        "means": list(member.means),
        "history": [{k: v for k, v in epoch.items() if k != "rows_per_second"} for epoch in member.history],
        "parameters": member.parameters,
        "rows": member.rows,
        "chosen": dict(member.chosen),
    }


def _plain(model: StackedEnsemble | None) -> dict[str, Any] | None:
    if model is None:
        return None
    return {
        "kind": model.kind,
        "members": list(model.members),
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
