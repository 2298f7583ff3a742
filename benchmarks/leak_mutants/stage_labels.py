"""Mutants of labels. A label may read the future up to its label_end, and nothing later."""

from datetime import date

import polars as pl
from mutant import CLOSE, DAYS, RETURN, Mutant, feature_mutant

from trademl_pipeline.leakage import audit_folds

GITHUB = "https://github.com/"
H = 5


def filed_at_end(*expressions: pl.Expr, ahead: int = H):
    """Labels keyed by the session on which they claim to be known: what they say there may not need more."""
    named = [e.over("symbol").alias(f"y{i}") for i, e in enumerate(expressions)]

    def extract(bars: pl.DataFrame) -> pl.DataFrame:
        return (
            bars.sort("symbol", "session")
            .with_columns(end=pl.col("session").shift(-ahead).over("symbol"))
            .with_columns(named)
            .filter(pl.col("end").is_not_null())
            .select("symbol", pl.col("end").alias("session"), *[f"y{i}" for i in range(len(expressions))])
        )

    return extract


FORWARD = CLOSE.shift(-H) / CLOSE - 1
SIGMA = RETURN.rolling_std(10)
BEST_HORIZON = pl.max_horizontal(*[(CLOSE.shift(-h) / CLOSE - 1).abs() for h in (2, 5, 12)])
KNOWN_HORIZON = pl.max_horizontal(*[(CLOSE.shift(-h) / CLOSE - 1).abs() for h in (2, 3, 5)])


def barrier(reach: int) -> pl.Expr:
    """Up, down or neither within `reach` sessions, whichever 3 % barrier is met first."""
    outcome = pl.lit(0)
    for h in range(reach, 0, -1):
        move = CLOSE.shift(-h) / CLOSE - 1
        outcome = pl.when(move > 0.03).then(1).when(move < -0.03).then(-1).otherwise(outcome)
    return outcome


def rows(horizon: int) -> pl.DataFrame:
    days = pl.Series("session", DAYS)
    return (
        pl.DataFrame({"symbol": ["S0", "S1"]})
        .join(pl.DataFrame({"session": days, "label_end": days.shift(-horizon)}), how="cross")
        .filter(pl.col("label_end").is_not_null())
    )


TEST_START = DAYS[50]


def calendar_days(leaky: bool):
    """A horizon of ten sessions whose end is written down ten calendar days later."""
    labels = rows(10).with_columns(horizon=pl.lit(10, pl.Int16))
    test = labels.filter(pl.col("session") >= TEST_START)
    if leaky:
        labels = labels.with_columns(label_end=pl.col("session") + pl.duration(days=10))
    train = labels.filter(pl.col("label_end") < date(TEST_START.year, TEST_START.month, TEST_START.day))
    return audit_folds(train, test, embargo=0)


MUTANTS = [
    feature_mutant(
        "labels/sample_quantile",
        "classes cut at quantiles of the whole sample",
        "Kapoor & Narayanan, https://arxiv.org/abs/2207.07048: no separation of training and test data",
        filed_at_end((FORWARD.quantile(0.7) < FORWARD).cast(pl.Int8)),
        filed_at_end((FORWARD > 0.5 * SIGMA * H**0.5).cast(pl.Int8)),
        "truncation perturbation",
    ),
    feature_mutant(
        "labels/sample_spread",
        "entry thresholds from mean and deviation of the whole period",
        f"{GITHUB}simaomsarmento/PairsTrading/issues/2",
        filed_at_end(((FORWARD - FORWARD.mean()) / FORWARD.std() > 1).cast(pl.Int8)),
        filed_at_end((FORWARD > SIGMA).cast(pl.Int8)),
        "truncation perturbation",
    ),
    feature_mutant(
        "labels/unseen_horizon",
        "the end of a trend label told as where the trend was best, not how far was looked",
        f"{GITHUB}hudson-and-thames/mlfinlab/issues/288",
        filed_at_end(BEST_HORIZON),
        filed_at_end(KNOWN_HORIZON),
        "truncation perturbation",
    ),
    feature_mutant(
        "labels/late_barrier",
        "a barrier that may be met after the declared end",
        f"{GITHUB}hudson-and-thames/mlfinlab/issues/295: events that run into the test fold",
        filed_at_end(barrier(9)),
        filed_at_end(barrier(H)),
        "truncation perturbation",
    ),
    Mutant(
        "labels/calendar_days",
        "a horizon in sessions whose end is written in calendar days",
        f"{GITHUB}stefan-jansen/machine-learning-for-trading/pull/461: labels sealed on another date than "
        "they settle",
        frozenset({"folds"}),
        calendar_days,
    ),
]
