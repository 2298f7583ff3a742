"""The kinds of study that can be reported on, and the columns that each brings."""

from dataclasses import dataclass
from typing import Final

import polars as pl

from trademl_pipeline.labels.breakout import CLASSES as BREAKOUT_CLASSES
from trademl_pipeline.labels.validation import FEATURE_OF
from trademl_pipeline.portfolio.weights import Weighting

PATTERNS: Final = tuple(FEATURE_OF)
LONG_SIGNALS: Final = ("STRONG", "GOOD", "MODERATE")
SIGNALS: Final = (*LONG_SIGNALS, "NONE", "AVOID")


@dataclass(frozen=True)
class ClassView:
    """One set of classes that a study gives probabilities of.

    Attributes:
        name: what the classes are about; "" where a study has one set only.
        labels: the classes as people name them, in the order of their numbers.
        columns: one probability column a class, or, for a yes or no, the probability of yes alone.
        target: column of the class that came; null where it cannot be told.
    """

    name: str
    labels: tuple[str, ...]
    columns: tuple[str, ...]
    target: str

    @property
    def binary(self) -> bool:
        """Whether one column says it all."""
        return len(self.columns) == 1

    @property
    def all_columns(self) -> tuple[str, ...]:
        """One probability column a class, as `with_classes` gives them."""
        return (f"not_{self.columns[0]}", self.columns[0]) if self.binary else self.columns

    def with_classes(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Rows whose class is known, with one probability column for every class."""
        known = rows.filter(pl.all_horizontal(pl.col(*self.columns, self.target).is_not_null()))
        if self.binary:
            known = known.with_columns((1 - pl.col(self.columns[0])).alias(self.all_columns[0]))
        return known


@dataclass(frozen=True)
class Task:
    """A kind of study.

    Attributes:
        name: as in `ReportConfig.task`.
        predicted: columns of the predictions beside symbol, session, fold and score.
        came: columns of the outcomes beside symbol and session.
        may_come: further columns of the outcomes that are used where they are there.
        outcome: the outcome that the score ranks, a log return.
        horizon: sessions that this outcome reaches ahead; None where the study says it.
        directional: the sign of the score is a call on the sign of the outcome.
        weighting: rule of the book that is judged.
        views: class probabilities.
        race: the outcome ends when a barrier is met, so that its median depends on where the barriers stand
            and ranks above chance without any skill; such a rank IC neither shows an edge nor alarms.
        unchosen: what the book holds where it chooses nothing, for studies that choose; else "".
        members_lack: columns that the predictions have and a member's do not.
    """

    name: str
    predicted: tuple[str, ...]
    came: tuple[str, ...]
    may_come: tuple[str, ...] = ()
    outcome: str = "forward_return"
    horizon: int | None = None
    directional: bool = True
    weighting: Weighting = "quantile"
    views: tuple[ClassView, ...] = ()
    race: bool = False
    unchosen: str = ""
    members_lack: tuple[str, ...] = ()

    @property
    def of_members(self) -> tuple[str, ...]:
        """Columns that a member's predictions have beside symbol, session, fold, member and score."""
        return tuple(c for c in self.predicted if c not in self.members_lack)

    def tradable(self, predictions: pl.DataFrame, threshold: float | None) -> pl.DataFrame:
        """The predictions that the book acts on, with their score.

        Args:
            predictions: all of them.
            threshold: least confidence of a kept signal; None gives every signal that could have been acted on,
                with the same weight: every snapshot long, every technical signal its way.
        """
        if self.name == "breakout":
            if threshold is None:
                return predictions.with_columns(score=pl.lit(1.0))
            return predictions.filter(pl.col("signal").is_in(LONG_SIGNALS) & (pl.col("score") > 0))
        if self.name == "pattern":
            kept = predictions.filter(pl.col("direction") != 0)
            if threshold is None:
                return kept.with_columns(score=pl.col("direction").cast(pl.Float64))
            return kept.filter(pl.col("confidence") >= threshold)
        return predictions


_DIRECTION = ClassView("", ("Sell", "Hold", "Buy"), ("p_sell", "p_hold", "p_buy"), "target")
_BREAKOUT = ClassView(
    "",
    tuple(name.replace("_", " ").capitalize() for name in BREAKOUT_CLASSES),
    tuple(f"p_k{k}" for k in range(len(BREAKOUT_CLASSES))),
    "target",
)
_PATTERNS = tuple(ClassView(p.replace("_", " "), ("no", "yes"), (f"p_{p}",), p) for p in PATTERNS)

TASKS: Final[dict[str, Task]] = {
    task.name: task
    for task in (
        Task("direction", _DIRECTION.columns, ("forward_return", "target"), views=(_DIRECTION,)),
        Task(
            "forecast",
            ("mean_1", "volatility_1", "mean_30", "volatility_30"),
            ("return_1", "volatility_1", "return_30", "volatility_30"),
            outcome="return_1",
            horizon=1,
        ),
        Task(
            "breakout",
            (*_BREAKOUT.columns, "ev", "signal"),
            ("forward_return", "target", "best_gain"),
            directional=False,
            weighting="sign",
            views=(_BREAKOUT,),
            race=True,
            unchosen="every snapshot",
            members_lack=("ev", "signal"),
        ),
        Task(
            "pattern",
            (*(v.columns[0] for v in _PATTERNS), "direction", "confidence"),
            ("forward_return", *PATTERNS),
            weighting="sign",
            views=_PATTERNS,
            unchosen="all signals",
            members_lack=("direction",),
        ),
        Task(
            "hybrid",
            (
                "return_1",
                "return_4",
                "return_24",
                *_DIRECTION.columns,
                "position",
                "volatility",
                "risk",
                "confidence",
            ),
            ("forward_return", "return_1", "return_4", "return_24", "target", "volatility_24"),
            may_come=("drawdown_24",),
            views=(_DIRECTION,),
        ),
    )
}
