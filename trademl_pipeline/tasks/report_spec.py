"""The declarations of a task for its reports: outcomes, classes, measures and the portfolio that judges it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

import polars as pl

from trademl_pipeline.evaluation.intervals import Bootstrap
from trademl_pipeline.evaluation.scores import Score

Weighting = Literal["quantile", "rank", "sign"]
"""How a portfolio turns scores into weights, see `portfolio.weights.target_weights`."""
RETURN = "forward_return"
"""The outcome that every target has; reports rank by it unless the task names another."""


class Measuring(Protocol):
    """How figures are measured, as a report's configuration says."""

    @property
    def bootstrap(self) -> Bootstrap:
        """Draws of the intervals."""
        ...

    @property
    def min_symbols(self) -> int:
        """Fewest symbols of a session to rank."""
        ...


@dataclass(frozen=True)
class Measure:
    """One figure as a function of rows, so that periods, symbols and estimators are judged by the same ones.

    Attributes:
        name: what is measured.
        style: "percent", "signed", "points" or "number"; see `reports.text.figure`.
        of: the figure of rows as `reports.inputs.scored_rows` gives them; None where they do not tell it.
        better: "high" or "low".
        by_symbol: it can be told of the rows of one symbol.
    """

    name: str
    style: str
    of: Callable[[pl.DataFrame, Measuring], Score | None]
    better: Literal["high", "low"] = "high"
    by_symbol: bool = False


@dataclass(frozen=True)
class Yardstick:
    """A figure by which a study's probabilities are set beside the oracle's.

    Attributes:
        name: as its line in the report.
        of: the figure of rows as `reports.inputs.scored_rows` gives them; None where they do not tell it.
        floor: baseline of the figure that knowing nothing reaches; "": 0.
        short: the figure in a few words; "": its name.
    """

    name: str
    of: Callable[[pl.DataFrame, Measuring], Score | None]
    floor: str = ""
    short: str = ""

    @property
    def excess_name(self) -> str:
        """Return what a share is of: the figure, or its excess over the floor."""
        return f"excess in {self.short or self.name}" if self.floor else self.name


@dataclass(frozen=True)
class ClassView:
    """One set of classes that a study gives probabilities of.

    Attributes:
        name: what the classes are about; "" where a study has one set only.
        labels: the classes as people name them, in the order of their numbers.
        columns: one probability column a class, or, for a yes or no, the probability of yes alone.
        target: outcome column of the class that came; null where it cannot be told.
    """

    name: str
    labels: tuple[str, ...]
    columns: tuple[str, ...]
    target: str

    @property
    def binary(self) -> bool:
        """Return whether one column says it all."""
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


def all_predictions(predictions: pl.DataFrame, threshold: float | None) -> pl.DataFrame:
    """Give the predictions as they are: the portfolio acts on all of them."""
    return predictions


@dataclass(frozen=True)
class ReportSpec:
    """All that a report needs of a task.

    Attributes:
        outcomes: columns of the outcomes beside symbol and session.
        measures: the figures by which periods and estimators are compared, weightiest first; those of a report that has
            no pages of the task's own.
        primary_metric: the measure that sums the task up, by its name.
        optional_outcomes: further columns of the outcomes that are used where they are there.
        outcome: the outcome that the score ranks, a log return.
        horizon: sessions that this outcome reaches ahead; None where the study says it.
        directional: the sign of the score is a call on the sign of the outcome.
        views: class probabilities.
        first_passage: the outcome is a first passage, so that its median depends on where the barriers stand and ranks
            above chance without any skill; such a rank IC neither shows an edge nor alarms.
        not_of_estimators: columns that the predictions have and an estimator's do not.
        yardsticks: what the oracle of a simulated market is asked, weightiest first.
        oracle_score: the score that the oracle's probabilities make, of the views' columns; None: the model's.
        weighting: rule of the portfolio that is judged.
        tradable: `tradable(predictions, threshold)`: those that the portfolio acts on, with their score. threshold is
            the minimal confidence of a kept signal; None: every signal that could have been acted on, alike in weight.
        unfiltered_portfolio: the unfiltered benchmark portfolio, in words, for tasks that choose their trades; else "".
        portfolio_name: the judged portfolio, in words.
        portfolio_rule: how it weighs, in words, where that is the task's own; `{confidence}` stands for the threshold.
        no_outcome_because: why a prediction may never have an outcome, as the end of a sentence.
    """

    outcomes: tuple[str, ...]
    measures: tuple[Measure, ...]
    primary_metric: str
    optional_outcomes: tuple[str, ...] = ()
    outcome: str = RETURN
    horizon: int | None = None
    directional: bool = True
    views: tuple[ClassView, ...] = ()
    first_passage: bool = False
    not_of_estimators: tuple[str, ...] = ()
    yardsticks: tuple[Yardstick, ...] = ()
    oracle_score: pl.Expr | None = None
    weighting: Weighting = "quantile"
    tradable: Callable[[pl.DataFrame, float | None], pl.DataFrame] = all_predictions
    unfiltered_portfolio: str = ""
    portfolio_name: str = "naive long/short"
    portfolio_rule: str = ""
    no_outcome_because: str = ""

    @property
    def ranked_measures(self) -> tuple[Measure, ...]:
        """The measures, the primary one first."""
        return (self.primary, *(m for m in self.measures if m.name != self.primary_metric))

    @property
    def primary(self) -> Measure:
        """The measure that `primary_metric` names."""
        return next(measure for measure in self.measures if measure.name == self.primary_metric)
