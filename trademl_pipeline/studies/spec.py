"""Studies: one frozen declaration each, from which every asset, check, job and schedule of it is made."""

from dataclasses import dataclass, field
from typing import Literal, get_args

from trademl_pipeline.features import FEATURE_SETS
from trademl_pipeline.labels.targets import TARGETS
from trademl_pipeline.lake.schema import TableSchema
from trademl_pipeline.portfolio.long_short import LongShortConfig
from trademl_pipeline.tables import (
    cross_validation_table,
    feature_table,
    member_table,
    model_table,
    prediction_table,
    sequence_table,
)
from trademl_pipeline.training.members import BOOSTED, MemberSpec
from trademl_pipeline.training.study import Ensemble, FitPlan
from trademl_pipeline.training.tasks import TASKS, Task

STUDY_NAME_RULE = "lower-case letters, digits and underscores, starting with a letter"
Decisions = Literal["sessions", "snapshots"]
Refit = Literal["month", "quarter"]
REFIT_MONTHS: dict[Refit, int] = {"month": 1, "quarter": 3}


class StudySpecError(ValueError):
    """A study declaration that cannot work; the message names the field and what it may be."""


@dataclass(frozen=True)
class FoldPlan:
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
        fit: task, members, ensemble, selection and calibration.
        window: sessions per input window.
        stride: sessions from one decision to the next, the same ones for all symbols.
        train_stride: every how many decisions of a symbol one trains; overlapping windows tell little new.
        decisions: at every session, or at the snapshots of active consolidation patterns only.
        universe: named universe of real data, see `market.universes`; the simulated market trades all it has.
        folds: the walk-forward plan.
        judged_over: sessions of the label's `forward_return`, against which reports rank, where they are not the
            target's horizon.
        book: decision rule and costs of the book that judges the study.
        sizes: names that run config and the command line may choose from; the first is the default.
        validation_sessions: last sessions of a fold's training labels kept for early stopping.
        seed: seeds the models and every sample the gate draws.
    """

    name: str
    title: str
    feature_set: str
    target: str
    fit: FitPlan
    window: int
    stride: int = 1
    train_stride: int = 1
    decisions: Decisions = "sessions"
    universe: str = "ALL"
    folds: FoldPlan = field(default_factory=FoldPlan)
    judged_over: int | None = None
    book: LongShortConfig | None = None
    sizes: tuple[str, ...] = ("small", "base")
    validation_sessions: int = 63
    seed: int = 7

    def __post_init__(self) -> None:
        if not self.name.isidentifier() or self.name != self.name.lower():
            raise StudySpecError(f"name is {self.name!r}; use {STUDY_NAME_RULE}")
        self._known("feature_set", self.feature_set, FEATURE_SETS)
        self._known("target", self.target, TARGETS)
        self._known("fit.task", self.fit.task, TASKS)
        self._known("fit.ensemble", self.fit.ensemble, get_args(Ensemble))
        self._known("decisions", self.decisions, get_args(Decisions))
        for name in ("window", "stride", "train_stride", "validation_sessions"):
            if getattr(self, name) < 1:
                raise StudySpecError(f"{name} is {getattr(self, name)}; it must be at least 1")
        if self.validation_sessions >= self.folds.min_train:
            raise StudySpecError(
                f"validation_sessions is {self.validation_sessions}, not less than folds.min_train "
                f"({self.folds.min_train}); nothing would be left to train on"
            )
        missing = set(TASKS[self.fit.task].labels) - set(TARGETS[self.target].values)
        if missing:
            raise StudySpecError(
                f"fit.task {self.fit.task!r} learns {sorted(missing)}, which target {self.target!r} does not have; "
                "choose a target that fits the task"
            )
        if self.fit.select is not None and self.decisions == "snapshots":
            raise StudySpecError(
                "fit.select cannot be used on snapshots, whose windows hold the whole feature set"
            )
        if self.fit.cross_validate is not None and not hasattr(self.task, "calls"):
            raise StudySpecError(
                f"fit.cross_validate scores outcomes of 0 and 1, and task {self.fit.task!r} has none; leave it out"
            )
        self._members()

    def _members(self) -> None:
        members = self.fit.members
        names = [m.name for m in members]
        if not self.fit.voters:
            raise StudySpecError("fit.members has no member that is not a baseline; nothing would predict")
        if len(set(names)) < len(names):
            raise StudySpecError(f"fit.members names {names} are not unique")
        if not self.sizes:
            raise StudySpecError("sizes is empty; name at least one, such as 'small'")
        for member in members:
            lacking = [size for size in self.sizes if size not in member.efforts]
            if lacking:
                raise StudySpecError(f"fit.members {member.name}: efforts lacks the sizes {lacking}")
            if not member.lags or min(member.lags) < 0 or max(member.lags) >= self.window:
                raise StudySpecError(
                    f"fit.members {member.name}: lags is {member.lags}; give at least one lag, each from 0 to "
                    f"window - 1 ({self.window - 1})"
                )
            if any(not 2 <= span <= self.window for span in member.means):
                raise StudySpecError(
                    f"fit.members {member.name}: means is {member.means}; each takes in from 2 sessions to the window "
                    f"({self.window})"
                )
            if member.kind in BOOSTED and self.task.kind != "class" and not hasattr(self.task, "regressed"):
                raise StudySpecError(
                    f"fit.members {member.name}: {member.kind} learns classes or values, and task "
                    f"{self.fit.task!r} has no `regressed` that gives them by column"
                )
            unknown = set(member.apart or ()) - set(self.feature_names)
            if unknown or (self.fit.select is not None and member.apart):
                raise StudySpecError(
                    f"fit.members {member.name}: apart names {sorted(unknown or member.apart or ())}; name features of "
                    f"{self.feature_set!r}, and none where fit.select may leave it out"
                )
            if member.apart is not None and member.kind not in BOOSTED:
                raise StudySpecError(f"fit.members {member.name}: apart is for trees; leave it out")
            if member.space and self.task.kind != "class":
                raise StudySpecError(
                    f"fit.members {member.name}: space is searched by the log loss of classes, and task "
                    f"{self.fit.task!r} has none; set what suits it in settings"
                )
        if len(self.fit.voters) > 1:
            if self.fit.ensemble in ("weighted", "horizon") and not self._told:
                raise StudySpecError(
                    f"fit.ensemble is {self.fit.ensemble!r}, and task {self.fit.task!r} has no `truth` to weight "
                    "members by; use 'mean' or 'first'"
                )
            if self.fit.ensemble == "stacked" and self.task.kind != "class":
                raise StudySpecError(
                    f"fit.ensemble is 'stacked', which learns classes, and task {self.fit.task!r} has none; use "
                    "'weighted' or 'mean'"
                )

    @property
    def _told(self) -> bool:
        return self.task.kind == "class" or hasattr(self.task, "truth")

    def _known(self, name: str, value: str, choices) -> None:
        if value not in choices:
            raise StudySpecError(f"{name} is {value!r}; it may be {', '.join(map(repr, choices))}")

    @property
    def horizon(self) -> int:
        """Sessions that the outcome by which the study is judged reaches ahead."""
        return self.judged_over or TARGETS[self.target].horizon

    @property
    def settled_after(self) -> int:
        """Sessions after which every label is decided, whatever the outcome."""
        return TARGETS[self.target].horizon

    @property
    def task(self) -> Task:
        """Return what the models are asked."""
        return TASKS[self.fit.task]

    @property
    def features(self) -> TableSchema:
        """Table of the features."""
        return feature_table(self.feature_set, FEATURE_SETS[self.feature_set])

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Columns of the features, in order."""
        return tuple(FEATURE_SETS[self.feature_set])

    @property
    def labels(self) -> TableSchema:
        """Table of the labels."""
        return TARGETS[self.target].table

    @property
    def windows(self) -> TableSchema:
        """Table of the decisions and their windows."""
        return sequence_table(self.name, snapshots=self.decisions == "snapshots")

    @property
    def cross_validation(self) -> TableSchema:
        """Table of the cross-validation by symbol."""
        return cross_validation_table(self.name)

    @property
    def models(self) -> TableSchema:
        """Table of the folds."""
        return model_table(self.name)

    @property
    def predictions(self) -> TableSchema:
        """Table of the predictions."""
        snapshots = self.decisions == "snapshots"
        return prediction_table(self.name, self.task.published, may_be_empty=snapshots)

    @property
    def members(self) -> TableSchema:
        """Table of every member's predictions."""
        return member_table(self.name, self.task.published)

    @property
    def networks(self) -> tuple[MemberSpec, ...]:
        """Members that are networks."""
        return tuple(m for m in self.fit.members if m.is_network)
