"""All figures of a report, with the verdict on them; `measuring` computes them once, the pages only show them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import numpy as np
import polars as pl

from trademl_pipeline.evaluation.metrics import Score
from trademl_pipeline.portfolio.performance import Performance
from trademl_pipeline.reports.classes import ClassScores
from trademl_pipeline.reports.gate_results import GateResults
from trademl_pipeline.reports.inputs import ReportConfig
from trademl_pipeline.reports.oracle import Oracle
from trademl_pipeline.reports.portfolios import PortfolioResult
from trademl_pipeline.reports.section import Assessment, Section
from trademl_pipeline.reports.verdict import Verdict


@dataclass(frozen=True, kw_only=True)
class Measurements:
    """The figures, before they are judged.

    Attributes:
        config: how they were measured.
        first, last: first and last scored session.
        months: month keys that have scored predictions.
        predictions: number of predictions; `scored` of them have an outcome.
        dropped: predictions with an outcome that are not scored, since only first-passage labels decided early are
            known of their days.
        immature: no first-passage label has run its full length, so that all known ones are scored though they were
            decided early.
        sessions, symbols: of the scored rows.
        directional_accuracy, directional_excess: see `evaluation.metrics`; None where the score calls no
            direction.
        rank_ic, icir: None where no session has enough symbols.
        ic_daily: session, ic, n, cumulative.
        ic_monthly: month, ic, low, high, sessions.
        classes: one entry a set of class probabilities; empty where the study gives none.
        importance: feature, mean, low, high (over folds), folds; largest first.
        portfolio: the one that is evaluated; None where the study called for no trade.
        benchmark_portfolio: to read it beside, if any: held for one session, or without the choice of signals.
        excess: what the evaluated portfolio earns a year after costs above the other, where there is one.
        gate: what the gate recorded.
        certificates: fold, certificate, predictions; what the predictions carry, empty where they carry none.
        cost: train_seconds over all folds and estimators, parameters of the largest fold; None where not known.
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
    immature: bool
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
    portfolio: PortfolioResult | None
    benchmark_portfolio: PortfolioResult | None
    excess: Score | None
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
    def gross(self) -> Performance | None:
        """The evaluated portfolio before costs."""
        return self.portfolio.gross if self.portfolio else None

    @property
    def net(self) -> Performance | None:
        """The evaluated portfolio after costs."""
        return self.portfolio.net if self.portfolio else None

    @property
    def class_accuracy(self) -> Score | None:
        """Accuracy of the only set of classes; None where there is none, or more than one."""
        return self.classes[0].accuracy if len(self.classes) == 1 else None

    @property
    def confusion(self) -> np.ndarray | None:
        """(came, called) counts of the only set of classes; None where there is none, or more than one."""
        return self.classes[0].confusion if len(self.classes) == 1 else None


@dataclass(frozen=True, kw_only=True)
class Evaluation(Measurements):
    """The figures and what is made of them.

    Attributes:
        verdict: the judgement of these figures.
    """

    verdict: Verdict
