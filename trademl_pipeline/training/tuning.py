"""Hyper-parameter search with Optuna's TPE, on inner folds of the training rows only.

Single objective: maximise the mean score, and prune a trial whose running mean over the inner folds falls
behind the median of others. Two objectives: maximise the score, minimise the training seconds; Optuna does
not prune these. The storage can be resumed: trials that it already holds count towards the number asked for.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from trademl_pipeline.training.inner_folds import inner_folds
from trademl_pipeline.training.inner_split import FitError
from trademl_pipeline.training.ledger import FitLedger
from trademl_pipeline.training.trials import COMPLETE, FAILED, PRUNED, Trial, TrialLedger

Score = Callable[[Mapping[str, Any], np.ndarray, np.ndarray], float]


@dataclass(frozen=True)
class Choice:
    """One of several values."""

    values: tuple[Any, ...]


@dataclass(frozen=True)
class Range:
    """A number between two ends; whole if both ends are ints; on a log scale where ``log``."""

    low: float
    high: float
    log: bool = False


Space = Mapping[str, Choice | Range]


@dataclass(frozen=True)
class TuneConfig:
    """How to search.

    Attributes:
        trials: in all, those of an earlier, interrupted search included.
        folds, validation_sessions, embargo: of the inner folds.
        with_time: second objective, training seconds.
        startup: random trials before TPE, and before pruning.
        seed: of the sampler.
    """

    trials: int = 20
    folds: int = 3
    validation_sessions: int = 63
    embargo: int = 5
    with_time: bool = False
    startup: int = 5
    seed: int = 0


@dataclass(frozen=True)
class SearchResult:
    """Result of a search.

    Attributes:
        params: the best trial's; of two objectives the best-scoring one of the Pareto front.
        score: its mean over the inner folds.
        front: (params, score, seconds) of the trials that no other beats in both; one entry for one
            objective.
        trials: how many the storage holds.
    """

    params: dict[str, Any]
    score: float
    front: tuple[tuple[dict[str, Any], float, float], ...]
    trials: int


def tune(
    name: str,
    keys: pl.DataFrame,
    score: Score,
    space: Space,
    config: TuneConfig,
    *,
    ledger: FitLedger,
    trials: TrialLedger,
    storage: str | None = None,
) -> SearchResult:
    """Search the space for the configuration that scores best on the inner folds.

    Args:
        name: of the search; the same name, fold and storage go on where an earlier search stopped.
        keys: symbol, session, label_end of the fold's training rows; nothing else is handed out.
        score: (params, training positions, validation positions) -> score, higher is better. A FitError fails
            the trial, not the search.
        space: by parameter name.
        config: settings.
        ledger: records the search over all training rows as one fit.
        trials: every trial is written there.
        storage: Optuna's, e.g. ``sqlite:///data/optuna.db``; None: in memory.

    Raises:
        FitError: no trial completed.
    """
    fold = ledger.fold or ""
    splits = inner_folds(
        keys, folds=config.folds, validation_sessions=config.validation_sessions, embargo=config.embargo
    )

    def search(_: pl.DataFrame) -> SearchResult:
        import optuna

        # a failed trial is on record with its reason; Optuna would print its traceback, too
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        study = optuna.create_study(
            study_name=f"{name}/{fold}",
            storage=storage,
            load_if_exists=True,
            directions=["maximize", "minimize"] if config.with_time else ["maximize"],
            sampler=optuna.samplers.TPESampler(seed=config.seed, n_startup_trials=config.startup),
            pruner=optuna.pruners.MedianPruner(n_startup_trials=config.startup, n_warmup_steps=0),
        )

        def run(trial: Any) -> float | tuple[float, float]:
            params = {key: _suggest(trial, key, dimension) for key, dimension in space.items()}
            scores: list[float] = []
            start = time.perf_counter()

            def record(state: str, detail: str = "") -> float:
                seconds = time.perf_counter() - start
                mean = float(np.mean(scores)) if scores else None
                trials.add(Trial(name, fold, trial.number, state, mean, seconds, params, detail))
                return seconds

            for split in splits:
                try:
                    scores.append(float(score(params, split.train, split.validation)))
                except BaseException as error:  # an interrupted trial was tried, too
                    record(FAILED, str(error) or type(error).__name__)
                    raise
                if not config.with_time:
                    trial.report(float(np.mean(scores)), split.number)
                    if split.number < len(splits) - 1 and trial.should_prune():
                        record(PRUNED)
                        raise optuna.TrialPruned
            seconds = record(COMPLETE)
            mean = float(np.mean(scores))
            return (mean, seconds) if config.with_time else mean

        left = config.trials - sum(t.state.is_finished() for t in study.trials)
        if left > 0:
            study.optimize(run, n_trials=left, catch=(FitError,))
        best = study.best_trials if any(t.values for t in study.trials) else []
        if not best:
            details = trials.to_frame().filter(pl.col("study") == name, pl.col("detail") != "")["detail"]
            raise FitError(
                f"no trial of {name} completed; the last said: {details[-1] if len(details) else 'nothing'}"
            )
        front = sorted(((t.params, t.values[0], _seconds(t)) for t in best), key=lambda entry: -entry[1])
        return SearchResult(front[0][0], front[0][1], tuple(front), len(study.trials))

    return ledger.fit(f"{name} search", keys, search, kind="tuning")


def _seconds(trial: Any) -> float:
    return trial.values[1] if len(trial.values) > 1 else trial.duration.total_seconds()


def _suggest(trial: Any, key: str, dimension: Choice | Range) -> Any:
    if isinstance(dimension, Choice):
        return trial.suggest_categorical(key, dimension.values)
    if isinstance(dimension.low, int) and isinstance(dimension.high, int):
        return trial.suggest_int(key, dimension.low, dimension.high, log=dimension.log)
    return trial.suggest_float(key, dimension.low, dimension.high, log=dimension.log)
