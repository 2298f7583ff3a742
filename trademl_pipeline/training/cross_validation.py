"""Gapped cross-validation of every symbol inside a fold's training rows, beside the walk-forward.

It belongs to the pattern confidence design.

Each symbol's rows are split by scikit-learn's `TimeSeriesSplit` with a gap, and purged: no label that a model learns
from reaches a row that it is tested on, of whichever symbol. Estimators share one backbone over all symbols, so the
model of a split learns from all of them; symbols whose test rows begin in the same month share it.

What it is for: to see on which symbols a model says something, and how much that hangs on the stretch of time. Models
are not chosen by it, and only the walk-forward's figures are out of sample for the study as a whole.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Any

import numpy as np
import polars as pl

from trademl_pipeline.sequences.windows import Windows
from trademl_pipeline.tables import CROSS_VALIDATION_COLUMNS
from trademl_pipeline.tasks.protocol import Task
from trademl_pipeline.training.estimators import (
    EstimatorSpec,
    FittedEstimator,
    TrainingContext,
    TrainingPreset,
)
from trademl_pipeline.training.fitting import fit_estimator
from trademl_pipeline.training.inner_split import FitError
from trademl_pipeline.training.ledger import FitLedger

# Sessions of training rows below which nothing is fitted.
MIN_SESSIONS = 30


@dataclass(frozen=True)
class GappedSplits:
    """How each symbol's rows are split, and what a model of a split may cost.

    Attributes:
        splits: of each symbol.
        gap: sessions between the rows that are learned from and those that are tested on.
        min_rows: fewest rows of a symbol; one with fewer is left out.
        presets: of the first base learner, by preset of the study; a preset that is missing costs what the estimator
            itself does.
    """

    splits: int = 3
    gap: int = 5
    min_rows: int = 60
    presets: Mapping[str, TrainingPreset] = field(default_factory=dict)


@dataclass(frozen=True)
class Split:
    """One split of one symbol.

    Attributes:
        symbol: whose.
        number: from 0, the earliest.
        test: positions of its test rows.
        start: first session of the test rows.
    """

    symbol: str
    number: int
    test: np.ndarray
    start: date

    @property
    def cut(self) -> date:
        """First day of the month in which the test begins; what a model may know ended before it."""
        return self.start.replace(day=1)


def gapped_splits(keys: pl.DataFrame, plan: GappedSplits) -> list[Split]:
    """The splits of every symbol that has rows enough, by `TimeSeriesSplit`.

    Args:
        keys: symbol, session, label_end, one row a label.
        plan: how to split.
    """
    from sklearn.model_selection import TimeSeriesSplit

    splitter = TimeSeriesSplit(n_splits=plan.splits, gap=plan.gap)
    splits: list[Split] = []
    numbered = keys.select("symbol", "session").with_row_index("position").sort("symbol", "session")
    for (symbol,), rows in numbered.group_by("symbol", maintain_order=True):
        if rows.height < plan.min_rows:
            continue
        position = rows["position"].to_numpy().astype(np.int64)
        for number, (_, test) in enumerate(splitter.split(position)):
            splits.append(Split(str(symbol), number, position[test], rows["session"][int(test[0])]))
    return splits


def known_before(keys: pl.DataFrame, cut: date, gap: int) -> np.ndarray:
    """Mask of the rows whose label ends before a day, and which `gap` sessions or more separate from it."""
    sessions = keys["session"].unique().sort()
    before = sessions.filter(sessions < cut)
    if len(before) <= gap:
        return np.zeros(keys.height, dtype=bool)
    last = before[len(before) - gap - 1]
    return keys.select((pl.col("label_end") < cut) & (pl.col("session") <= last)).to_series().to_numpy()


def cross_validate(
    spec: EstimatorSpec,
    task: Task,
    windows: Windows,
    context: TrainingContext,
    plan: GappedSplits,
    *,
    ledger: FitLedger,
) -> tuple[pl.DataFrame, list[tuple[pl.DataFrame, pl.DataFrame]]]:
    """Fit an estimator on every split and score it on each symbol's test rows.

    Args:
        spec: the estimator.
        task: what it learns; its `binary_calls` say what is scored.
        windows: the fold's training rows, as for `fit_estimator`, without targets.
        context: what the fold's estimators share.
        plan: how to split.
        ledger: records every fit.

    Returns:
        (scores, evidence): the columns of `tables.CROSS_VALIDATION_COLUMNS`, and for each model the keys that it
        learned from and those that it was tested on, for `leakage.audit_folds`.

    Raises:
        FitError: the task has no such outcomes, or as the estimator's fit.
    """
    calls = task.binary_calls
    if calls is None:
        raise FitError(f"task {task.name} has no outcomes of 0 and 1 to cross-validate on")
    windows = replace(windows, targets=task.targets(windows.keys))
    preset = plan.presets.get(context.preset, spec.presets[context.preset])
    spec = replace(spec, presets={context.preset: preset})
    rows: list[dict[str, Any]] = []
    evidence: list[tuple[pl.DataFrame, pl.DataFrame]] = []
    splits = gapped_splits(windows.keys, plan)
    for cut in sorted({split.cut for split in splits}):
        train = windows.take(known_before(windows.keys, cut, plan.gap))
        # A fifth of what there is chooses the epoch: early splits are too short for the fold's own share.
        sessions = train.keys["session"].n_unique()
        if sessions < MIN_SESSIONS:
            continue
        inner = replace(context, validation_sessions=min(context.validation_sessions, sessions // 5))

        def fit(_: pl.DataFrame, train: Windows = train, inner: TrainingContext = inner) -> FittedEstimator:
            return fit_estimator(spec, task, train, inner, ledger=FitLedger(ledger.fold))

        name = f"{spec.name}/cross-validation {cut}"
        estimator = ledger.fit(name, train.keys, fit, kind="cross_validation")
        for split in (s for s in splits if s.cut == cut):
            test = windows.take(split.test)
            evidence.append((train.keys, test.keys.select("symbol", "session")))
            rows.append(
                {
                    "symbol": split.symbol,
                    "split": split.number,
                    "train_rows": len(train),
                    "last_label_end": train.keys["label_end"].max(),
                    "test_start": split.start,
                    "test_end": test.keys["session"].max(),
                    **_scores(*calls(estimator.predict(test, task), test.keys)),
                }
            )
    return pl.DataFrame(rows, schema=CROSS_VALIDATION_COLUMNS).sort("symbol", "split"), evidence


def _scores(p: np.ndarray, outcome: np.ndarray) -> dict[str, float | int | None]:
    """Of probabilities (n,) and outcomes (n,) of 0 and 1; None where it takes both outcomes, or different calls."""
    from sklearn.metrics import roc_auc_score

    n = len(outcome)
    share = float(outcome.mean()) if n else 0.0
    both, varies = 0 < share < 1, n > 1 and float(np.std(p)) > 0
    return {
        "rows": n,
        "auc": float(roc_auc_score(outcome, p)) if both else None,
        "accuracy": float(((p > 0.5) == (outcome > 0.5)).mean()) if n else None,
        "majority": max(share, 1 - share) if n else None,
        "correlation": float(np.corrcoef(p, outcome)[0, 1]) if both and varies else None,
    }
