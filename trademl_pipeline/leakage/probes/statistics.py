"""Tripwires: results that are too good, and results where there can be none (probe "statistics")

No proof of anything, in either direction. A daily rank IC above the ceiling is an alarm, not a success:
published signals on daily data of liquid stocks stay well below. And a pipeline that is run again on permuted
or shifted targets must find nothing in them; if it does, the targets reach the predictions by another way
than through the market.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl

from trademl_pipeline.evaluation.metrics import rank_ic_by_session
from trademl_pipeline.leakage.errors import AuditInputError, ExtractorError
from trademl_pipeline.leakage.report import AuditReport, Violation

STATISTICS = "statistics"
SCORES = ("score", "prediction", "expected_return", "p_buy")
OUTCOMES = ("forward_return", "target", "return", "label")

# A mean this many standard errors from zero is told from chance.
SIGMAS = 2.0
CHANCE_SIGMAS = 4.0
PERFECT = 0.95


def audit_statistics(
    predictions: pl.DataFrame,
    targets: pl.DataFrame,
    *,
    score: str | None = None,
    outcome: str | None = None,
    ceiling: float = 0.06,
    refit: Callable[[pl.DataFrame], pl.DataFrame] | None = None,
    shift: int = 21,
    repeats: int = 1,
    min_symbols: int = 5,
    seed: int = 0,
) -> AuditReport:
    """Sound the alarms on a set of predictions.

    Args:
        predictions: `symbol`, `session` and the score (higher is better).
        targets: `symbol`, `session` and the `outcome` column.
        score: column of the prediction; None: the first of score, prediction, expected_return, p_buy.
        outcome: column of what followed; None: the first of forward_return, target, return, label.
        ceiling: mean daily rank correlation above which (in either direction, and told from zero) it is an
            alarm.
        refit: takes targets of the same shape, trains anew and returns predictions. If given, it is run on
            targets permuted within each session and on targets taken `shift` sessions further ahead;
            its predictions may then know nothing of these targets.
        shift: sessions by which targets are moved; more than the horizon.
        repeats: runs of each kind.
        min_symbols: rows that a session needs to be ranked.
        seed: of the permutations.

    Raises:
        AuditInputError: a column is missing, keys are not unique, or no session can be ranked.
        ExtractorError: `refit` raised.
    """
    score = score or next((c for c in SCORES if c in predictions.columns), "score")
    outcome = outcome or next((c for c in OUTCOMES if c in targets.columns), "")
    _check("predictions", predictions, score)
    _check("targets", targets, outcome)
    daily = _daily(predictions, targets, score, outcome, min_symbols)
    ic = daily["ic"].to_numpy()
    mean, error = float(ic.mean()), _error(daily)
    coverage: dict[str, Any] = {
        "rows": int(daily["n"].sum()),
        "sessions": daily.height,
        "mean_daily_rank_ic": round(mean, 5),
        "standard_error": round(error, 5),
        "ceiling": ceiling,
    }
    violations: list[Violation] = []
    if abs(mean) > ceiling and abs(mean) > SIGMAS * error:
        worst = daily.row(int(np.argmax(np.abs(ic))), named=True)["session"]
        detail = (
            f"mean daily rank IC {mean:+.3f} ± {error:.3f} over {daily.height} sessions is beyond the "
            f"ceiling of {ceiling}: an alarm, not a success. Look for targets or later prices among the "
            "inputs"
        )
        violations.append(Violation(STATISTICS, score, None, None, worst, abs(mean), detail, daily.height))
    perfect = daily.filter((pl.col("ic").abs() > PERFECT) & (pl.col("n") >= 4 * min_symbols))
    if perfect.height:
        first = perfect.row(0, named=True)
        detail = f"on {perfect.height} sessions the scores rank the outcomes almost perfectly, first {first['ic']:+.3f}"
        violations.append(
            Violation(
                STATISTICS, score, None, None, first["session"], abs(first["ic"]), detail, perfect.height
            )
        )
    if refit is not None:
        coverage["refits"] = 2 * repeats
        rng = np.random.default_rng(seed)
        for _ in range(repeats):
            for what, moved, floor in (
                ("permuted within each session", _permuted(targets, outcome, rng), 0.0),
                (f"of {shift} sessions further ahead", _shifted(targets, outcome, shift), ceiling),
            ):
                violations += _chance(refit, moved, score, outcome, min_symbols, what, floor)
    return AuditReport(tuple(violations), {STATISTICS: coverage})


def _chance(
    refit: Callable[[pl.DataFrame], pl.DataFrame],
    targets: pl.DataFrame,
    score: str,
    outcome: str,
    min_symbols: int,
    what: str,
    floor: float,
) -> list[Violation]:
    try:
        predictions = refit(targets)
    except Exception as error:
        raise ExtractorError(f"refit raised {type(error).__name__} on targets {what}: {error}") from error
    _check("predictions of the refit", predictions, score)
    daily = _daily(predictions, targets, score, outcome, min_symbols)
    ic = daily["ic"].to_numpy()
    mean = float(ic.mean())
    # Slow features may foresee a little of what comes later; what is permuted nothing can foresee.
    bound = max(CHANCE_SIGMAS * _error(daily), floor)
    if abs(mean) <= bound:
        return []
    detail = (
        f"trained anew on targets {what}, the predictions still rank them with {mean:+.3f}; chance is within "
        f"{bound:.3f}. The targets reach the predictions by another way than the market"
    )
    return [Violation(STATISTICS, score, None, None, daily["session"][0], abs(mean), detail, daily.height)]


def _daily(
    predictions: pl.DataFrame, targets: pl.DataFrame, score: str, outcome: str, min_symbols: int
) -> pl.DataFrame:
    joined = predictions.select("symbol", "session", pl.col(score).cast(pl.Float64).alias("_score")).join(
        targets.select("symbol", "session", pl.col(outcome).cast(pl.Float64).alias("_outcome")),
        on=["symbol", "session"],
    )
    joined = joined.filter(pl.col("_score").is_finite() & pl.col("_outcome").is_finite())
    daily = pl.DataFrame()
    if joined.height:
        daily = rank_ic_by_session(joined, score="_score", outcome="_outcome", min_symbols=min_symbols)
    if daily.is_empty():
        raise AuditInputError(
            f"no session has {min_symbols} symbols with both a different score and an outcome "
            f"({joined.height} rows match); nothing can be ranked. Lower min_symbols, or check the keys"
        )
    return daily


def _permuted(targets: pl.DataFrame, outcome: str, rng: np.random.Generator) -> pl.DataFrame:
    shuffled = targets.with_columns(pl.Series("_order", rng.random(targets.height)))
    return shuffled.with_columns(pl.col(outcome).sort_by("_order").over("session")).drop("_order")


def _shifted(targets: pl.DataFrame, outcome: str, shift: int) -> pl.DataFrame:
    moved = pl.col(outcome).shift(-shift).over("symbol", order_by="session")
    return targets.with_columns(moved.alias(outcome)).filter(pl.col(outcome).is_not_null())


def _error(daily: pl.DataFrame) -> float:
    """Standard error of the mean daily rank IC, never less than under independence.

    A rank correlation of n independent pairs has variance 1 / (n - 1).
    """
    ic = daily["ic"].to_numpy()
    chance = float(np.sqrt(np.sum(1.0 / np.maximum(daily["n"].to_numpy() - 1, 1))) / len(ic))
    return max(chance, float(np.std(ic, ddof=1) / np.sqrt(len(ic)))) if len(ic) > 1 else chance


def _check(name: str, frame: object, column: str) -> None:
    if not isinstance(frame, pl.DataFrame) or frame.is_empty():
        raise AuditInputError(f"there are no {name}; give a pl.DataFrame with rows")
    for needed in ("symbol", "session", column):
        if needed not in frame.columns:
            raise AuditInputError(
                f"the {name} have no column {needed or 'of outcomes'!r}; they have {', '.join(frame.columns)}"
            )
    if not frame.schema[column].is_numeric():
        raise AuditInputError(
            f"column {column!r} of the {name} is {frame.schema[column]}; it must be numeric"
        )
    if frame.select(pl.struct("symbol", "session").is_duplicated().any()).item():
        raise AuditInputError(f"the {name} have several rows for one (symbol, session)")
