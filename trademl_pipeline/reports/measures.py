"""The figures of a task as functions of rows, so that periods and members are judged by the same ones."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import polars as pl

from trademl_pipeline.evaluation import metrics
from trademl_pipeline.evaluation.metrics import Score
from trademl_pipeline.reports.inputs import ReportConfig
from trademl_pipeline.reports.tasks import ClassView, Task
from trademl_pipeline.reports.tasks.spec import PATTERNS

K4, K3_K4 = (4,), (3, 4)
# Chance of a gain over its usual chance, from which on the gain is called.
PLAINLY = 1.5


@dataclass(frozen=True)
class Measure:
    """One figure.

    Attributes:
        name: what is measured.
        style: see `text.figure`.
        of: the figure of rows as `inputs.scored_rows` gives them; None where they do not tell it.
        better: "high" or "low".
    """

    name: str
    style: str
    of: Callable[[pl.DataFrame, ReportConfig], Score | None]
    better: str = "high"


@dataclass(frozen=True)
class Yardstick:
    """A figure by which a study's probabilities are set beside the oracle's.

    Attributes:
        name: as its line in the report.
        of: the figure of rows as `inputs.scored_rows` gives them; None where they do not tell it.
        floor: baseline of the figure that knowing nothing reaches; "": 0.
    """

    name: str
    of: Callable[[pl.DataFrame, ReportConfig], Score | None]
    floor: str = ""

    @property
    def lead(self) -> str:
        """Return what a share is of: the figure, or its lead over the floor."""
        return f"lead in {self.name.removesuffix(' over all patterns')}" if self.floor else self.name


def yardsticks(task: Task) -> list[Yardstick]:
    """Return the questions to the oracle of a task, weightiest first; their columns are those of the task's views."""
    if task.name == "breakout":
        view = task.views[0]
        return [
            Yardstick("EV correlation", ev),
            Yardstick("K4 recall", lambda r, c: recall_of(r, c, K4)),
            Yardstick("K3+K4 recall", lambda r, c: recall_of(r, c, K3_K4)),
            Yardstick("Class accuracy", lambda r, c: _class(r, c, view, metrics.class_accuracy), "majority"),
        ]
    return [Yardstick("AUC over all patterns", pooled_auc, "chance")] if task.name == "pattern" else []


def measures(task: Task) -> list[Measure]:
    """The figures by which a task's periods and members are compared, weightiest first."""
    found = [Measure("rank IC", "signed", ranking)]
    if task.directional:
        found.append(Measure("directional accuracy", "percent", direction))
    if task.name == "breakout":
        found = [
            Measure("EV correlation", "signed", ev),
            Measure("K4 recall", "percent", lambda r, c: recall_of(r, c, K4)),
            Measure("K3+K4 recall", "percent", lambda r, c: recall_of(r, c, K3_K4)),
            *found,
        ]
    if task.name == "pattern":
        found = [Measure("AUC over all patterns", "number", pooled_auc), *found]
    if len(task.views) == 1:
        view = task.views[0]
        found += [
            Measure("class accuracy", "percent", lambda r, c: _class(r, c, view, metrics.class_accuracy)),
            Measure("Brier score", "number", lambda r, c: _class(r, c, view, metrics.brier), "low"),
        ]
    return found


def ranking(rows: pl.DataFrame, config: ReportConfig) -> Score | None:
    """Mean daily rank IC."""
    daily = metrics.rank_ic_by_session(rows, min_symbols=config.min_symbols)
    return None if daily.is_empty() else metrics.rank_ic(daily, config.bootstrap)


def direction(rows: pl.DataFrame, config: ReportConfig) -> Score | None:
    """Directional accuracy."""
    if not has_calls(rows):
        return None
    return metrics.directional_accuracy(rows, config.bootstrap)


def has_calls(rows: pl.DataFrame) -> bool:
    """Return whether any row has both a call and a direction."""
    return not rows.filter((pl.col("score") != 0) & (pl.col("forward_return") != 0)).is_empty()


def ev(rows: pl.DataFrame, config: ReportConfig) -> Score | None:
    """Correlation of the expected value with the strategic value of the class that came."""
    from trademl_pipeline.labels.breakout import STRATEGIC_VALUES

    valued = rows.with_columns(
        realised_value=pl.col("target").replace_strict(
            dict(enumerate(STRATEGIC_VALUES)), return_dtype=pl.Float64
        )
    )
    return metrics.ev_correlation(valued, config.bootstrap, expected="score", realised="realised_value")


def breakout_calls(rows: pl.DataFrame) -> pl.DataFrame:
    """Return rows with `predicted`, the most probable class, and `called`, the class that a call is made of.

    Called is K4 or else K3 where that is plainly likelier than usual, by a factor of `PLAINLY`, or else the
    class that is likeliest beside its usual chance.

    A class's usual chance is the mean of what was said of it up to and including the row's session, so that a
    call can be made when the prediction is. A class of one snapshot in 250 is hardly ever the most probable,
    however plainly it shows; the network of seed 001 calls it by weights of its loss, which are of the
    inverse size of its frequency, and the seed's target for the recall of K4 is meant for such calls. The
    gains come before the other classes because what is told of so rare a class stays near its usual chance:
    beside that of others it is seldom raised most.

    Args:
        rows: session and the probabilities of the classes.
    """
    from trademl_pipeline.reports.tasks import TASKS

    columns = list(TASKS["breakout"].views[0].columns)
    usual = (
        rows.group_by("session")
        .agg(pl.col(columns).cast(pl.Float64).sum(), n=pl.len())
        .sort("session")
        .with_columns(pl.col(*columns, "n").cum_sum())
        .select("session", pl.col(columns) / pl.col("n"))
    )
    usual = rows.select("session").join(usual, on="session", how="left", maintain_order="left")
    p = rows.select(pl.col(columns).cast(pl.Float64)).to_numpy()
    lift = p / np.maximum(usual.select(columns).to_numpy(), 1e-12)
    called = lift.argmax(axis=1)
    for gain in K3_K4:
        called[lift[:, gain] >= PLAINLY] = gain
    return rows.with_columns(
        predicted=pl.Series(p.argmax(axis=1), dtype=pl.Int64), called=pl.Series(called, dtype=pl.Int64)
    )


def recall_of(rows: pl.DataFrame, config: ReportConfig, classes: tuple[int, ...]) -> Score | None:
    """Recall of some breakout classes, called as `breakout_calls` does; None where none came."""
    return metrics.recall(breakout_calls(rows), config.bootstrap, classes=classes, predicted="called")


def pooled_auc(rows: pl.DataFrame, config: ReportConfig) -> Score | None:
    """Area under the ROC curve over the rows of all patterns that can be told, each compared within its pattern.

    Across patterns a model that knows nothing but how often each comes true would score above a half.
    """
    parts = [
        rows.select("session", said=f"p_{p}", came=p, pattern=pl.lit(p))
        .drop_nulls()
        .cast({"came": pl.Int8, "said": pl.Float64})
        for p in PATTERNS
    ]
    both = pl.concat(parts)
    if both["came"].n_unique() < 2:
        return None
    return metrics.roc_auc(both, config.bootstrap, score="said", target="came", within="pattern")


def _class(rows: pl.DataFrame, config: ReportConfig, view: ClassView, figure: Callable) -> Score | None:
    known = view.with_classes(rows)
    if known.is_empty():
        return None
    return figure(known, config.bootstrap, probabilities=view.all_columns, target=view.target)
