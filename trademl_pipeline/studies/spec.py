"""What a study is: one frozen declaration from which every asset, check and job of it is made."""

from dataclasses import dataclass, field
from typing import Any

STUDY_NAME_RULE = "lower-case letters, digits and underscores, starting with a letter"


class StudySpecError(ValueError):
    """A study declaration that cannot work; the message names the field and what it may be."""


@dataclass(frozen=True)
class FoldPlan:
    """How a study walks forward.

    Attributes:
        min_train: least number of sessions of training labels before the first fold (sessions).
        window: sessions of training labels a sliding fold keeps; None expands from the first session.
        embargo: sessions left empty between the last label a model learns from and its first decision.
    """

    min_train: int = 252
    window: int | None = None
    embargo: int = 5

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


@dataclass(frozen=True)
class StudySpec:
    """One study over the asset graph.

    Attributes:
        name: used in asset keys (`sequences_<name>`, `model_<name>`, ...).
        title: one line for people.
        feature_set: name in `features.FEATURE_SETS`.
        window: sessions per input window.
        lags: sessions back from the decision whose features a tree sees, 0 being the decision's own.
        horizon: sessions ahead that the label reads.
        k: width of the Hold band in units of the volatility expected over the horizon.
        folds: the walk-forward plan.
        model: keyword arguments of the model's config.
        validation_sessions: last sessions of a fold's training labels kept for early stopping.
        seed: seeds the model and every sample the gate draws.
    """

    name: str
    title: str
    feature_set: str
    window: int
    lags: tuple[int, ...]
    horizon: int
    k: float
    folds: FoldPlan = field(default_factory=FoldPlan)
    model: dict[str, Any] = field(default_factory=dict)
    validation_sessions: int = 63
    seed: int = 7

    def __post_init__(self) -> None:
        if not self.name.isidentifier() or self.name != self.name.lower():
            raise StudySpecError(f"name is {self.name!r}; use {STUDY_NAME_RULE}")
        for name, value, least in (
            ("window", self.window, 1),
            ("horizon", self.horizon, 1),
            ("validation_sessions", self.validation_sessions, 1),
        ):
            if value < least:
                raise StudySpecError(f"{name} is {value}; it must be at least {least}")
        if self.k <= 0:
            raise StudySpecError(f"k is {self.k}; the Hold band needs a width above 0")
        if not self.lags or min(self.lags) < 0 or max(self.lags) >= self.window:
            raise StudySpecError(
                f"lags is {self.lags}; give at least one lag, each from 0 to window - 1 ({self.window - 1})"
            )
        if self.validation_sessions >= self.folds.min_train:
            raise StudySpecError(
                f"validation_sessions is {self.validation_sessions}, not less than folds.min_train "
                f"({self.folds.min_train}); nothing would be left to train on"
            )
