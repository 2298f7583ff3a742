"""All figures of a report, computed once; the pages only show them."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Any

import numpy as np
import polars as pl

from trademl_pipeline.evaluation import metrics
from trademl_pipeline.evaluation.metrics import Score
from trademl_pipeline.market.calendar import month_expr
from trademl_pipeline.portfolio.performance import Performance
from trademl_pipeline.reports.books import Book, judged_book, lead_over, other_book
from trademl_pipeline.reports.classes import ClassScores, class_scores
from trademl_pipeline.reports.drift import drift
from trademl_pipeline.reports.fold_table import certificates, fold_table, training_cost
from trademl_pipeline.reports.gate_results import GateResults, gate_results
from trademl_pipeline.reports.inputs import ReportConfig, ReportInputs, check, ripe_rows, scored_rows
from trademl_pipeline.reports.measures import has_calls
from trademl_pipeline.reports.oracle import Oracle, score_oracle
from trademl_pipeline.reports.periods import consistency
from trademl_pipeline.reports.section import Assessment, Section
from trademl_pipeline.reports.tasks.assess import assess
from trademl_pipeline.reports.tasks.examples import examples
from trademl_pipeline.reports.verdict import Verdict, judge


@dataclass(frozen=True)
class Evaluation:
    """The figures.

    Attributes:
        config: how they were measured.
        first, last: first and last scored session.
        months: month keys that have scored predictions.
        predictions: number of predictions; `scored` of them have an outcome.
        dropped: predictions with an outcome that are not scored, since only races decided early are known of
            their days.
        unripe: no race has run its full length, so that all known ones are scored though they were decided early.
        sessions, symbols: of the scored rows.
        directional_accuracy, directional_excess: see `training.metrics`; None where the score calls no
            direction.
        rank_ic, icir: None where no session has enough symbols.
        ic_daily: session, ic, n, cumulative.
        ic_monthly: month, ic, low, high, sessions.
        classes: one entry a set of class probabilities; empty where the study gives none.
        importance: feature, mean, low, high (over folds), folds; largest first.
        judged: the book that is judged; None where the study called for no trade.
        other: the book to read it beside, if any: held for one session, or without the choice of signals.
        lead: what the judged book earns a year after costs above the other, where there is one.
        gate: what the gate recorded.
        certificates: fold, certificate, predictions; what the predictions carry, empty where they carry none.
        cost: train_seconds over all folds and members, parameters of the largest fold; None where not known.
        folds: one row a fold: what it was trained on, and how it did.
        oracle: None on real data.
        task: what only this kind of study has.
        consistency, drift, examples: parts that every study has; no examples where none can be shown.
        metadata: as given.
    """

    config: ReportConfig
    first: date
    last: date
    months: list[str]
    predictions: int
    scored: int
    dropped: int
    unripe: bool
    sessions: int
    symbols: int
    directional_accuracy: Score | None
    directional_excess: Score | None
    rank_ic: Score | None
    icir: Score | None
    ic_daily: pl.DataFrame
    ic_monthly: pl.DataFrame
    classes: tuple[ClassScores, ...]
    importance: pl.DataFrame
    judged: Book | None
    other: Book | None
    lead: Score | None
    gate: GateResults
    certificates: pl.DataFrame
    cost: Mapping[str, float | None]
    folds: pl.DataFrame
    oracle: Oracle | None
    task: Assessment
    consistency: Section
    drift: Section
    examples: Section | None
    metadata: Mapping[str, Any] = field(default_factory=dict)

    @property
    def verdict(self) -> Verdict:
        """The judgement of these figures."""
        return judge(self)

    @property
    def gross(self) -> Performance | None:
        """The judged book before costs."""
        return self.judged.gross if self.judged else None

    @property
    def net(self) -> Performance | None:
        """The judged book after costs."""
        return self.judged.net if self.judged else None

    @property
    def quick(self) -> Book | None:
        """The other book where it is the judged one held for one session."""
        return None if self.config.kind.unchosen else self.other

    @property
    def class_accuracy(self) -> Score | None:
        """Accuracy of the only set of classes; None where there is none, or more than one."""
        return self.classes[0].accuracy if len(self.classes) == 1 else None

    @property
    def confusion(self) -> np.ndarray | None:
        """(came, called) counts of the only set of classes; None where there is none, or more than one."""
        return self.classes[0].confusion if len(self.classes) == 1 else None


def evaluate(inputs: ReportInputs, config: ReportConfig) -> Evaluation:
    """Measure everything a report shows.

    Raises:
        ReportError: if inputs are empty, lack columns or keys, or no prediction has an outcome.
    """
    kind = config.kind
    config = replace(config, horizon=kind.horizon or config.horizon)
    check(inputs, kind)
    rows = scored_rows(inputs, kind)
    known, unripe = rows.height, False
    if kind.race:
        ripe = ripe_rows(rows, inputs.bars, config.horizon)
        rows, unripe = (rows, True) if ripe.is_empty() else (ripe, False)
    boot = config.bootstrap
    daily = metrics.rank_ic_by_session(rows, min_symbols=config.min_symbols)
    ranked = not daily.is_empty()
    called = kind.directional and has_calls(rows)
    direction = metrics.directional_accuracy(rows, boot) if called else None
    ic = metrics.rank_ic(daily, boot) if ranked else None
    gate = gate_results(inputs.audits)
    judged, other = judged_book(inputs, config), other_book(inputs, config)
    classes = (class_scores(rows, view, boot) for view in kind.views)
    return Evaluation(
        config=config,
        first=rows["session"][0],
        last=rows["session"][-1],
        months=rows.select(month_expr())["month"].unique().sort().to_list(),
        predictions=inputs.predictions.height,
        scored=rows.height,
        dropped=known - rows.height,
        unripe=unripe,
        sessions=rows["session"].n_unique(),
        symbols=rows["symbol"].n_unique(),
        directional_accuracy=direction,
        directional_excess=metrics.directional_excess(rows, boot) if called else None,
        rank_ic=ic,
        icir=metrics.icir(daily, boot) if ranked else None,
        ic_daily=daily.with_columns(cumulative=pl.col("ic").cum_sum()),
        ic_monthly=_monthly(daily, config),
        classes=tuple(c for c in classes if c is not None),
        importance=_importance(inputs.importances),
        judged=judged,
        other=other,
        lead=lead_over(judged, other, config),
        gate=gate,
        certificates=certificates(inputs.predictions),
        cost=training_cost(inputs),
        folds=fold_table(inputs, rows, daily, gate, config),
        oracle=score_oracle(inputs.oracle, rows, daily, direction, ic, config),
        task=assess(rows, inputs, config),
        consistency=consistency(rows, config),
        drift=drift(inputs.predictions),
        examples=examples(rows, inputs, config),
        metadata=dict(inputs.metadata),
    )


def _monthly(daily: pl.DataFrame, config: ReportConfig) -> pl.DataFrame:
    scores = [
        (month, metrics.rank_ic(own, config.bootstrap))
        for (month,), own in daily.with_columns(month_expr()).group_by("month", maintain_order=True)
    ]
    return pl.DataFrame(
        [(month, s.value, s.low, s.high, s.sessions) for month, s in scores],
        schema={
            "month": pl.String,
            "ic": pl.Float64,
            "low": pl.Float64,
            "high": pl.Float64,
            "sessions": pl.Int64,
        },
        orient="row",
    )


def _importance(importances: pl.DataFrame | None) -> pl.DataFrame:
    if importances is None or importances.is_empty():
        figures = dict.fromkeys(("mean", "low", "high"), pl.Float64)
        return pl.DataFrame(schema={"feature": pl.String, **figures, "folds": pl.Int64})
    return (
        importances.group_by("feature")
        .agg(
            pl.col("importance").mean().alias("mean"),
            pl.col("importance").min().alias("low"),
            pl.col("importance").max().alias("high"),
            pl.len().cast(pl.Int64).alias("folds"),
        )
        .sort("mean", "feature", descending=[True, False])
    )
