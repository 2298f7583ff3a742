"""How far to trust a technical signal: will a pattern resolve as it should within five sessions?"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from trademl_pipeline.evaluation import metrics
from trademl_pipeline.evaluation.scores import Score
from trademl_pipeline.labels.validation import FEATURE_OF
from trademl_pipeline.sequences.windows import Windows
from trademl_pipeline.tasks.arrays import column, frame_of, sigmoid
from trademl_pipeline.tasks.comparison import SCORE_TIMES_OUTCOME
from trademl_pipeline.tasks.measures import DIRECTION, RANK_IC
from trademl_pipeline.tasks.protocol import BinaryCalls, Comparison, Outputs, Task, Values
from trademl_pipeline.tasks.report_spec import ClassView, Measure, Measuring, ReportSpec, Yardstick

if TYPE_CHECKING:
    from torch import nn

PATTERNS = tuple(FEATURE_OF)
COLUMNS = tuple(f"p_{p}" for p in PATTERNS)
VIEWS = tuple(ClassView(p.replace("_", " "), ("no", "yes"), (f"p_{p}",), p) for p in PATTERNS)
# More than 60 % of five sessions, of a coin: (5 + 1) / 2^5.
PERSISTENCE_BY_CHANCE = 6 / 32
# Smallest move of which a logarithm is taken, and the moves between which the market went nowhere.
MIN_MOVE, FLAT = 1e-4, (-0.01, 0.01)


def y_true(keys: pl.DataFrame) -> np.ndarray:
    """Return what came of each pattern, (rows, patterns), NaN where it did not fire."""
    return np.column_stack([column(keys, p) for p in PATTERNS])


def calls(values: np.ndarray, keys: pl.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """(probability, outcome 0 or 1) of every pattern that fired on some row, one after another."""
    outcome = y_true(keys)
    known = ~np.isnan(outcome)
    return values[known], outcome[known]


def pooled_auc(rows: pl.DataFrame, how: Measuring) -> Score | None:
    """Area under the ROC curve over the rows of all patterns that can be told, each compared within its pattern.

    Across patterns a model that knows nothing but how often each comes true would score above a half.
    """
    parts = [
        rows.select("session", predicted=f"p_{p}", outcome=p, pattern=pl.lit(p))
        .drop_nulls()
        .cast({"outcome": pl.Int8, "predicted": pl.Float64})
        for p in PATTERNS
    ]
    both = pl.concat(parts)
    if both["outcome"].n_unique() < 2:
        return None
    return metrics.roc_auc(both, how.bootstrap, score="predicted", target="outcome", within="pattern")


def confident_signals(predictions: pl.DataFrame, threshold: float | None) -> pl.DataFrame:
    """Give the signals of at least that confidence; without a threshold all of them, alike in weight."""
    signals = predictions.filter(pl.col("direction") != 0)
    if threshold is None:
        return signals.with_columns(score=pl.col("direction").cast(pl.Float64))
    return signals.filter(pl.col("confidence") >= threshold)


_AUC = Measure("AUC over all patterns", "number", pooled_auc, by_symbol=True)


class Pattern(Task):
    """Will a pattern resolve as it should within five sessions?

    The score is a meta-label. The technical signal is momentum, `direction`, the sign of the last seven sessions'
    return; the model does not choose it, it says how far to trust it. Confidence is the probability that the signal is
    right: the mean of 1 - P(it turns), turning being trend exhaustion and volume divergence alike, and of P(momentum
    persists), its odds taken against those of a coin: four of five sessions keep a sign by chance 6 times in 32 only,
    so that as it stands every signal would look wrong.
    """

    name: str = "pattern"
    columns: tuple[str, ...] = COLUMNS
    labels: tuple[str, ...] = PATTERNS
    context: tuple[str, ...] = ("return_7",)
    output_schema: Mapping[str, Any] = {
        **dict.fromkeys(COLUMNS, pl.Float64),
        "direction": pl.Int8,
        "confidence": pl.Float64,
        "score": pl.Float64,
    }
    column_docs: Mapping[str, str] = {
        "p_momentum_persistence": "Probability that more than 60 % of the next five returns keep the sign of the "
        "drift.",
        "p_volatility_regime": "Probability that volatility over five sessions is on the side the feature says.",
        "p_trend_exhaustion": "Probability that the next five sessions go against the last ten.",
        "p_volume_divergence": "Probability that the next five sessions go against the last five.",
        "direction": "The technical signal: sign of the last seven sessions' return.",
        "confidence": "How far to trust it, 0 to 1; a half is a coin.",
        "score": "direction times confidence less a half.",
    }
    epoch_metrics: tuple[str, ...] = ("accuracy",)
    values: Values | None = Values(y_true, lambda targets: targets["confidence"], probabilities=COLUMNS)
    comparison: Comparison = SCORE_TIMES_OUTCOME
    report: ReportSpec = ReportSpec(
        outcomes=("forward_return", *PATTERNS),
        measures=(_AUC, RANK_IC, DIRECTION),
        primary_metric=_AUC.name,
        views=VIEWS,
        not_of_estimators=("direction",),
        yardsticks=(Yardstick(_AUC.name, pooled_auc, "chance", short="AUC"),),
        weighting="sign",
        tradable=confident_signals,
        unfiltered_portfolio="all signals",
        portfolio_name="portfolio of the kept signals",
        portfolio_rule="long and short as the technical signals say, in equal parts, where the confidence is at least "
        "{confidence}",
        no_outcome_because="where no pattern's trigger fired",
    )

    @property
    def binary_calls(self) -> BinaryCalls | None:
        """See `calls`."""
        return calls

    def targets(self, keys: pl.DataFrame) -> dict[str, np.ndarray]:
        """The four outcomes, and the side tasks: did the drift pay, the regime, and the size of what followed."""
        outcome = y_true(keys)
        side = {
            "signal_quality": np.where(
                np.isnan(outcome).all(axis=1), np.nan, (np.nan_to_num(outcome).max(axis=1) > 0).astype(float)
            )
        }
        if "forward_return" in keys.columns:
            moved = column(keys, "forward_return")
            side["log_volatility"] = np.log(np.maximum(np.abs(moved), MIN_MOVE))
            side["regime"] = np.where(np.isnan(moved), np.nan, np.digitize(moved, FLAT))
        return {"confidence": outcome, **side}

    def loss(self, windows: Windows) -> "nn.Module":
        """Correlation-optimised confidence, with the side tasks at a small weight."""
        from trademl_pipeline.models.losses import PatternLoss

        return PatternLoss()

    def metric(self, outputs: Outputs, windows: Windows) -> dict[str, float]:
        """Share of right calls over all patterns that fired."""
        real = windows.targets["confidence"]
        known = ~np.isnan(real)
        right = (outputs["confidence"] > 0) == (real > 0.5)
        return {"accuracy": float(right[known].mean()) if known.any() else 0.0}

    def from_network(self, outputs: Outputs) -> np.ndarray:
        """See `Task.from_network`."""
        return sigmoid(np.asarray(outputs["confidence"], dtype=np.float64))

    def to_predictions(self, values: np.ndarray, context: pl.DataFrame) -> pl.DataFrame:
        """See `Task.to_predictions`; where the direction is not known it is 0, and so is the score."""
        turn = pl.mean_horizontal("p_trend_exhaustion", "p_volume_divergence")
        persists = pl.col("p_momentum_persistence")
        weighed = persists * (1 - PERSISTENCE_BY_CHANCE)
        frame = frame_of(self.columns, values).with_columns(
            direction=context["return_7"].sign().fill_null(0).fill_nan(0).cast(pl.Int8),
            confidence=(weighed / (weighed + (1 - persists) * PERSISTENCE_BY_CHANCE) + 1 - turn) / 2,
        )
        return frame.with_columns(score=pl.col("direction") * (pl.col("confidence") - 0.5))
