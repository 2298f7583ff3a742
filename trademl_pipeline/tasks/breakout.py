"""Which class of breakout follows a consolidation, K0 to K5."""

import operator
from collections.abc import Callable, Mapping
from functools import reduce
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from trademl_pipeline.evaluation import metrics
from trademl_pipeline.evaluation.scores import Score
from trademl_pipeline.labels.breakout import CLASSES, STRATEGIC_VALUES
from trademl_pipeline.sequences.windows import Windows
from trademl_pipeline.tasks.arrays import class_numbers, frame_of, sigmoid
from trademl_pipeline.tasks.comparison import LOG_LIKELIHOOD
from trademl_pipeline.tasks.measures import RANK_IC, class_measures, class_score
from trademl_pipeline.tasks.protocol import Comparison, Outputs, Task
from trademl_pipeline.tasks.report_spec import ClassView, Measure, Measuring, ReportSpec, Yardstick

if TYPE_CHECKING:
    from torch import nn

PROBABILITIES = tuple(f"p_k{k}" for k in range(len(CLASSES)))
VIEW = ClassView("", tuple(name.replace("_", " ").capitalize() for name in CLASSES), PROBABILITIES, "target")
K4, K3_K4 = (4,), (3, 4)
# Probability of a gain over its usual chance, from which on the gain is called.
CALL_LIFT = 1.5
LONG_SIGNALS = ("STRONG", "GOOD", "MODERATE")
SIGNALS = (*LONG_SIGNALS, "NONE", "AVOID")
# A chance of failure above this is avoided, whatever the expected value; least expected values of the signals to buy.
MAX_FAILURE = 0.30
MIN_EV = {"STRONG": 5, "GOOD": 3, "MODERATE": 1}


def ev(rows: pl.DataFrame, how: Measuring) -> Score | None:
    """Correlation of the expected value with the strategic value of the class that came."""
    valued = rows.with_columns(
        realised_value=pl.col("target").replace_strict(
            dict(enumerate(STRATEGIC_VALUES)), return_dtype=pl.Float64
        )
    )
    return metrics.ev_correlation(valued, how.bootstrap, expected="score", realised="realised_value")


def breakout_calls(rows: pl.DataFrame) -> pl.DataFrame:
    """Return the rows with `predicted`, the most probable class, and `called`, the class that is called.

    K4 or else K3 is called where that is plainly likelier than usual, by a factor of `CALL_LIFT`, or else the class
    that is likeliest beside its usual chance.

    A class's usual chance is the mean of what was said of it up to and including the row's session, so that a call can
    be made when the prediction is. A class of one observation in 250 is hardly ever the most probable, however plainly
    it shows; the network of the published design calls it by weights of its loss, which are of the inverse size of its
    frequency, and the design's target for the recall of K4 is meant for such calls. The gains come before the other
    classes because what is told of so rare a class stays near its usual chance: beside that of others it is seldom
    raised most.

    Args:
        rows: session and the probabilities of the classes.
    """
    columns = list(PROBABILITIES)
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
        called[lift[:, gain] >= CALL_LIFT] = gain
    return rows.with_columns(
        predicted=pl.Series(p.argmax(axis=1), dtype=pl.Int64), called=pl.Series(called, dtype=pl.Int64)
    )


def recall_of(classes: tuple[int, ...]) -> Callable[[pl.DataFrame, Measuring], Score | None]:
    """Make a measure: recall of some classes, called as `breakout_calls` does; None where none came."""

    def of(rows: pl.DataFrame, how: Measuring) -> Score | None:
        return metrics.recall(breakout_calls(rows), how.bootstrap, classes=classes, predicted="called")

    return of


def signals_to_buy(predictions: pl.DataFrame, threshold: float | None) -> pl.DataFrame:
    """Give the predictions that the portfolio buys; without a threshold every observation, long and alike."""
    if threshold is None:
        return predictions.with_columns(score=pl.lit(1.0))
    return predictions.filter(pl.col("signal").is_in(LONG_SIGNALS) & (pl.col("score") > 0))


# The expected strategic value of the class.
_EXPECTED_VALUE = reduce(
    operator.add,
    (value * pl.col(column) for value, column in zip(STRATEGIC_VALUES, PROBABILITIES, strict=True)),
)
_EV = Measure("EV correlation", "signed", ev, by_symbol=True)
_RECALLS = (
    Measure("K4 recall", "percent", recall_of(K4)),
    Measure("K3+K4 recall", "percent", recall_of(K3_K4)),
)


class Breakout(Task):
    """Classes K0 to K5 of a consolidation pattern. Score: the expected strategic value.

    The networks learn with the asymmetric loss, whose class weights are costs: their sigmoids scaled to sum to 1 say
    what to call, not how often it happens. The study therefore calibrates them on rows that no estimator learned from.
    """

    name: str = "breakout"
    columns: tuple[str, ...] = PROBABILITIES
    labels: tuple[str, ...] = ("target",)
    class_label: str | None = "target"
    output_schema: Mapping[str, Any] = {
        **dict.fromkeys((*PROBABILITIES, "ev"), pl.Float64),
        "signal": pl.String,
        "score": pl.Float64,
    }
    column_docs: Mapping[str, str] = {
        "p_k0": "Probability of K0: stagnant, neither a gain of 5 % nor a failure.",
        "p_k1": "Probability of K1: minimal, a gain of 5 % above the upper boundary.",
        "p_k2": "Probability of K2: quality, of 15 %.",
        "p_k3": "Probability of K3: strong, of 35 %.",
        "p_k4": "Probability of K4: exceptional, of 75 %.",
        "p_k5": "Probability of K5: failed first, with no gain reached.",
        "ev": "Expected strategic value of the class.",
        "signal": "STRONG, GOOD, MODERATE, NONE or AVOID, by the expected value and the probability of K5.",
        "score": "The expected value.",
    }
    epoch_metrics: tuple[str, ...] = ("k4_recall", "ev_correlation", "both")
    comparison: Comparison = LOG_LIKELIHOOD
    report: ReportSpec = ReportSpec(
        outcomes=("forward_return", "target", "best_gain"),
        measures=(_EV, *_RECALLS, RANK_IC, *class_measures(VIEW)),
        primary_metric=_EV.name,
        directional=False,
        views=(VIEW,),
        first_passage=True,
        not_of_estimators=("ev", "signal"),
        yardsticks=(
            Yardstick("EV correlation", ev),
            *(Yardstick(measure.name, measure.of) for measure in _RECALLS),
            Yardstick("Class accuracy", class_score(VIEW, metrics.class_accuracy), "majority"),
        ),
        oracle_score=_EXPECTED_VALUE,
        weighting="sign",
        tradable=signals_to_buy,
        unfiltered_portfolio="every snapshot",
        portfolio_name="portfolio of the signals",
        portfolio_rule=f"long the signals {', '.join(LONG_SIGNALS)} in equal parts, nothing short",
    )

    def targets(self, keys: pl.DataFrame) -> dict[str, np.ndarray]:
        """See `Task.targets`."""
        return {"target": class_numbers(keys)}

    def loss(self, windows: Windows) -> "nn.Module":
        """One class against the rest, focused on the rare gains."""
        from trademl_pipeline.models.losses import AsymmetricLoss

        return AsymmetricLoss()

    def metric(self, outputs: Outputs, windows: Windows) -> dict[str, float]:
        """Recall of K4, correlation of expected and realised value, and their sum `both`; 0 where undefined."""
        p, y = self.from_network(outputs), windows.targets["target"]
        values = np.asarray(STRATEGIC_VALUES)
        called, outcome = p.argmax(1) == 4, y == 4
        recall = float(called[outcome].mean()) if outcome.any() else 0.0
        expected, real = p @ values, values[y]
        varies = len(y) > 1 and expected.std() > 0 and real.std() > 0
        correlation = float(np.corrcoef(expected, real)[0, 1]) if varies else 0.0
        return {"k4_recall": recall, "ev_correlation": correlation, "both": recall + correlation}

    def from_network(self, outputs: Outputs) -> np.ndarray:
        """See `Task.from_network`."""
        p = sigmoid(np.asarray(outputs["logits"], dtype=np.float64))
        return p / p.sum(axis=1, keepdims=True)

    def to_predictions(self, values: np.ndarray, context: pl.DataFrame) -> pl.DataFrame:
        """Signals: AVOID below an expected value of 0 or where failure is likely, else by the expected value."""
        expected = pl.col("ev")
        signal = (
            pl.when((expected < 0) | (pl.col("p_k5") > MAX_FAILURE))
            .then(pl.lit("AVOID"))
            .when(expected >= MIN_EV["STRONG"])
            .then(pl.lit("STRONG"))
            .when(expected >= MIN_EV["GOOD"])
            .then(pl.lit("GOOD"))
            .when(expected >= MIN_EV["MODERATE"])
            .then(pl.lit("MODERATE"))
            .otherwise(pl.lit("NONE"))
        )
        frame = frame_of(self.columns, values).with_columns(
            ev=pl.Series(values @ np.asarray(STRATEGIC_VALUES))
        )
        return frame.with_columns(signal=signal, score=expected)
