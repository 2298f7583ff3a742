"""Studies: one frozen declaration each, from which every asset, check, job and schedule of it is made."""

from dataclasses import dataclass, field
from typing import Literal, get_args

from trademl_pipeline.features import FEATURE_SETS
from trademl_pipeline.labels.targets import TARGETS
from trademl_pipeline.lake.schema import GatedTable
from trademl_pipeline.portfolio.long_short import LongShortConfig
from trademl_pipeline.tables import (
    cross_validation_table,
    estimator_prediction_table,
    feature_table,
    model_table,
    prediction_table,
    sequence_table,
)
from trademl_pipeline.tasks.checks import TaskError, check_outcomes, check_task
from trademl_pipeline.tasks.protocol import Task
from trademl_pipeline.tasks.registry import TASKS
from trademl_pipeline.training.estimators import BOOSTED, EstimatorSpec
from trademl_pipeline.training.study import Ensemble, TrainingConfig

STUDY_NAME_RULE = "lower-case letters, digits and underscores, starting with a letter"
Decisions = Literal["sessions", "pattern_observations"]
Refit = Literal["month", "quarter"]
REFIT_MONTHS: dict[Refit, int] = {"month": 1, "quarter": 3}


class StudySpecError(ValueError):
    """A study declaration that cannot work; the message names the field and what it may be."""


@dataclass(frozen=True)
class WalkForwardConfig:
    """How a study walks forward.

    Attributes:
        min_train: least number of sessions of training labels before the first fold (sessions).
        window: sessions of training labels a sliding fold keeps; None expands from the first session.
        embargo: sessions left empty between the last label a model learns from and its first decision.
        refit: how often models are trained; months between go on with the quarter's.
        calendar: exchange calendar whose sessions are counted; None: the data set's.
    """

    min_train: int = 252
    window: int | None = None
    embargo: int = 5
    refit: Refit = "month"
    calendar: str | None = None

    def __post_init__(self) -> None:
        if self.min_train < 1:
            raise StudySpecError(f"folds.min_train is {self.min_train}; it must be at least 1 session")
        if self.embargo < 0:
            raise StudySpecError(f"folds.embargo is {self.embargo}; it must be 0 or more sessions")
        if self.window is not None and self.window < self.min_train:
            raise StudySpecError(
                f"folds.window is {self.window} sessions, less than folds.min_train ({self.min_train}); "
                "a sliding window must hold at least the minimal training set"
            )
        if self.refit not in REFIT_MONTHS:
            raise StudySpecError(f"folds.refit is {self.refit!r}; it may be {', '.join(REFIT_MONTHS)}")


@dataclass(frozen=True)
class StudySpec:
    """One study over the asset graph.

    Attributes:
        name: used in asset keys (`sequences_<name>`, `model_<name>`, ...).
        title: one line for people.
        feature_set: name in `features.FEATURE_SETS`.
        target: name in `labels.TARGETS`.
        training: task, estimators, ensemble, selection and calibration.
        window: sessions per input window.
        stride: sessions from one decision to the next, the same ones for all symbols.
        train_stride: every how many decisions of a symbol one trains; overlapping windows tell little new.
        decisions: at every session, or at the observations of active consolidation patterns only.
        universe: named universe of real data, see `market.universes`; the simulated market trades all it has.
        folds: the walk-forward plan.
        evaluation_horizon: sessions of the label's `forward_return`, against which reports rank, where they are not the
            target's horizon.
        portfolio: decision rule and costs of the portfolio that judges the study.
        presets: names that run config and the command line may choose from; the first is the default.
        validation_sessions: last sessions of a fold's training labels kept for early stopping.
        seed: seeds the models and every sample the gate draws.
    """

    name: str
    title: str
    feature_set: str
    target: str
    training: TrainingConfig
    window: int
    stride: int = 1
    train_stride: int = 1
    decisions: Decisions = "sessions"
    universe: str = "ALL"
    folds: WalkForwardConfig = field(default_factory=WalkForwardConfig)
    evaluation_horizon: int | None = None
    portfolio: LongShortConfig | None = None
    presets: tuple[str, ...] = ("small", "base")
    validation_sessions: int = 63
    seed: int = 7

    def __post_init__(self) -> None:
        if not self.name.isidentifier() or self.name != self.name.lower():
            raise StudySpecError(f"name is {self.name!r}; use {STUDY_NAME_RULE}")
        self._known("feature_set", self.feature_set, FEATURE_SETS)
        self._known("target", self.target, TARGETS)
        self._known("training.task", self.training.task, TASKS)
        self._known("training.ensemble", self.training.ensemble, get_args(Ensemble))
        self._known("decisions", self.decisions, get_args(Decisions))
        for name in ("window", "stride", "train_stride", "validation_sessions"):
            if getattr(self, name) < 1:
                raise StudySpecError(f"{name} is {getattr(self, name)}; it must be at least 1")
        if self.validation_sessions >= self.folds.min_train:
            raise StudySpecError(
                f"validation_sessions is {self.validation_sessions}, not less than folds.min_train "
                f"({self.folds.min_train}); nothing would be left to train on"
            )
        self._abilities()
        self._check_estimators()

    def _abilities(self) -> None:
        """Refuse a plan that asks of the task what it does not declare."""
        task = self.task
        try:
            check_task(task)
            check_outcomes(task, self.target, TARGETS[self.target].values)
        except TaskError as error:
            raise StudySpecError(f"training.task: {error}") from error
        unknown = sorted(set(task.context) - set(self.feature_names))
        if unknown:
            raise StudySpecError(
                f"training.task {task.name!r} reads {unknown} as its context, which feature_set {self.feature_set!r} "
                f"does "
                "not have; choose a set that has them"
            )
        if self.training.select is not None and self.decisions == "pattern_observations":
            raise StudySpecError(
                "training.select cannot be used on pattern observations, whose windows hold the whole feature set"
            )
        if self.training.select is not None and task.selection_label is None:
            raise StudySpecError(
                f"training.select looks at classes, and task {task.name!r} has no selection_label; leave it out"
            )
        if self.training.calibrate and task.class_label is None:
            raise StudySpecError(
                f"training.calibrate fits frequencies of classes, and task {task.name!r} has no class_label; leave it "
                f"out"
            )
        if self.training.cross_validate is not None and task.binary_calls is None:
            raise StudySpecError(
                f"training.cross_validate scores outcomes of 0 and 1, and task {task.name!r} has none (binary_calls); "
                "leave it out"
            )

    def _check_estimators(self) -> None:
        estimators = self.training.estimators
        names = [m.name for m in estimators]
        if not self.training.base_learners:
            raise StudySpecError(
                "training.estimators has no estimator that is not a benchmark; nothing would predict"
            )
        if len(set(names)) < len(names):
            raise StudySpecError(f"training.estimators names {names} are not unique")
        if not self.presets:
            raise StudySpecError("presets is empty; name at least one, such as 'small'")
        for estimator in estimators:
            lacking = [size for size in self.presets if size not in estimator.presets]
            if lacking:
                raise StudySpecError(f"training.estimators {estimator.name}: presets lacks {lacking}")
            if not estimator.lags or min(estimator.lags) < 0 or max(estimator.lags) >= self.window:
                raise StudySpecError(
                    f"training.estimators {estimator.name}: lags is {estimator.lags}; give at least one lag, each "
                    f"from 0 to "
                    f"window - 1 ({self.window - 1})"
                )
            if any(not 2 <= span <= self.window for span in estimator.rolling_mean_windows):
                raise StudySpecError(
                    f"training.estimators {estimator.name}: rolling_mean_windows is {estimator.rolling_mean_windows}; "
                    f"each takes in from 2 sessions to the window "
                    f"({self.window})"
                )
            self._learns(estimator)
            unknown = set(estimator.demean_within or ()) - set(self.feature_names)
            if unknown or (self.training.select is not None and estimator.demean_within):
                raise StudySpecError(
                    f"training.estimators {estimator.name}: demean_within names "
                    f"{sorted(unknown or estimator.demean_within or ())}; name features of "
                    f"{self.feature_set!r}, and none where training.select may leave it out"
                )
            if estimator.demean_within is not None and estimator.kind not in BOOSTED:
                raise StudySpecError(
                    f"training.estimators {estimator.name}: demean_within is for trees; leave it out"
                )
            if estimator.space and self.task.class_label is None:
                raise StudySpecError(
                    f"training.estimators {estimator.name}: space is searched by the log loss of classes, and task "
                    f"{self.training.task!r} has none; set what suits it in settings"
                )
        if len(self.training.base_learners) > 1:
            if self.training.ensemble in ("weighted", "horizon") and not self._regressible:
                raise StudySpecError(
                    f"training.ensemble is {self.training.ensemble!r}, and task {self.training.task!r} has neither "
                    f"class_label nor "
                    "values to weight estimators by; use 'mean' or 'first'"
                )
            if self.training.ensemble == "stacked" and self.task.class_label is None:
                raise StudySpecError(
                    f"training.ensemble is 'stacked', which learns classes, and task {self.training.task!r} has none; "
                    f"use "
                    "'weighted' or 'mean'"
                )

    def _learns(self, estimator: EstimatorSpec) -> None:
        """Refuse an estimator that cannot learn the task, and an epoch figure that the task does not measure."""
        task, named = self.task, f"training.estimators {estimator.name}"
        if not estimator.is_network and not self._regressible:
            raise StudySpecError(
                f"{named}: {estimator.kind} learns classes or values, and task {task.name!r} has neither class_label "
                f"nor "
                "values; use networks"
            )
        if estimator.kind == "linear" and task.values is not None and task.values.probabilities:
            raise StudySpecError(
                f"{named}: the linear model regresses on values, and task {task.name!r} has probabilities among "
                "them; use trees or a network"
            )
        training = [estimator.training, *(preset.training for preset in estimator.presets.values())]
        monitors = {settings["monitor"] for settings in training if "monitor" in settings}
        unknown = sorted(monitors - {"loss", *task.epoch_metrics})
        if estimator.is_network and unknown:
            raise StudySpecError(
                f"{named}: training monitors {', '.join(unknown)}, and task {task.name!r} measures "
                f"{', '.join(('loss', *task.epoch_metrics))}"
            )

    @property
    def _regressible(self) -> bool:
        """Return whether the task has outcomes, column by column."""
        return self.task.class_label is not None or self.task.values is not None

    def _known(self, name: str, value: str, choices) -> None:
        if value not in choices:
            raise StudySpecError(f"{name} is {value!r}; it may be {', '.join(map(repr, choices))}")

    @property
    def horizon(self) -> int:
        """Sessions that the outcome by which the study is judged reaches ahead."""
        return self.evaluation_horizon or TARGETS[self.target].horizon

    @property
    def label_horizon(self) -> int:
        """Sessions after which every label is decided, whatever the outcome."""
        return TARGETS[self.target].horizon

    @property
    def task(self) -> Task:
        """Return what the models are asked."""
        return TASKS[self.training.task]

    @property
    def features(self) -> GatedTable:
        """Table of the features."""
        return feature_table(self.feature_set, FEATURE_SETS[self.feature_set])

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Columns of the features, in order."""
        return tuple(FEATURE_SETS[self.feature_set])

    @property
    def labels(self) -> GatedTable:
        """Table of the labels."""
        return TARGETS[self.target].table

    @property
    def windows(self) -> GatedTable:
        """Table of the decisions and their windows."""
        return sequence_table(self.name, pattern_observations=self.decisions == "pattern_observations")

    @property
    def cross_validation(self) -> GatedTable:
        """Table of the cross-validation by symbol."""
        return cross_validation_table(self.name)

    @property
    def models(self) -> GatedTable:
        """Table of the folds."""
        return model_table(self.name)

    @property
    def predictions(self) -> GatedTable:
        """Table of the predictions."""
        observations = self.decisions == "pattern_observations"
        return prediction_table(self.name, self.task.output_schema, may_be_empty=observations)

    @property
    def estimator_predictions(self) -> GatedTable:
        """Table of every estimator's predictions."""
        return estimator_prediction_table(self.name, self.task.output_schema)

    @property
    def networks(self) -> tuple[EstimatorSpec, ...]:
        """Estimators that are networks."""
        return tuple(m for m in self.training.estimators if m.is_network)
