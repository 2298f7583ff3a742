"""Six tasks at once: returns over 1, 4 and 24 bars, direction, position, volatility, risk and confidence."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from trademl_pipeline.sequences.windows import Windows
from trademl_pipeline.tasks.arrays import (
    column,
    demean_sessions,
    frame_of,
    sigmoid,
    softmax,
    typical_size,
)
from trademl_pipeline.tasks.comparison import SCORE_TIMES_OUTCOME
from trademl_pipeline.tasks.direction import SIDE_DOCS, SIDES, SIDES_VIEW
from trademl_pipeline.tasks.measures import DIRECTION, RANK_IC, class_measures
from trademl_pipeline.tasks.protocol import Comparison, Outputs, Task, Values
from trademl_pipeline.tasks.report_spec import ReportSpec

if TYPE_CHECKING:
    from torch import nn

HORIZONS = (1, 4, 24)
RETURNS = tuple(f"return_{h}" for h in HORIZONS)
COLUMNS = (*RETURNS, *SIDES, "position", "volatility", "risk", "confidence")
# Positions beyond a fourth of what the label may hold are long or short: the edge of its band of half a volatility.
_FLAT = (-0.25, 0.25)


def _outcomes(keys: pl.DataFrame) -> dict[str, np.ndarray]:
    price = np.column_stack([column(keys, name) for name in RETURNS])
    position = column(keys, "position")
    # The threshold of the label is half a volatility over 24 bars; here that of 4 bars is asked.
    decided = np.abs(price[:, 1]) / (column(keys, "threshold") * (4 / 24) ** 0.5)
    return {
        "price": price,
        "direction": column(keys, "target"),
        "position": np.where(np.isnan(position), np.nan, np.digitize(position, _FLAT)),
        "volatility": column(keys, "volatility_24"),
        "risk": column(keys, "drawdown_24"),
        "confidence": np.where(np.isnan(decided), np.nan, (decided > 1).astype(float)),
    }


def _y(targets: Outputs) -> np.ndarray:
    """The targets by column; of the position its side: -1, 0 or 1."""
    side = targets["direction"][:, None]
    classes = np.where(np.isnan(side), np.nan, side == np.arange(3))
    rest = [targets["position"] - 1, targets["volatility"], targets["risk"], targets["confidence"]]
    return np.column_stack([targets["price"], classes, *rest])


class Hybrid(Task):
    """Six tasks at once: returns over 1, 4 and 24 bars, direction, position, volatility, risk, confidence.

    position: short, flat or long over 24 bars, the band being half a volatility known at the decision. risk: the
    deepest loss on the way. confidence: whether the 4-bar return left half a volatility, which is when acting on a
    forecast could pay at all. Score: the return that is forecast for a session, mean over the three horizons.
    """

    name: str = "hybrid"
    columns: tuple[str, ...] = COLUMNS
    labels: tuple[str, ...] = (*RETURNS, "threshold", "target", "position", "volatility_24", "drawdown_24")
    output_schema: Mapping[str, Any] = dict.fromkeys((*COLUMNS, "score"), pl.Float64)
    column_docs: Mapping[str, str] = {
        "return_1": "Log return over 1 bar, forecast.",
        "return_4": "Log return over 4 bars, forecast.",
        "return_24": "Log return over 24 bars, forecast.",
        **SIDE_DOCS,
        "position": "P(long) less P(short) over 24 bars, -1 to 1.",
        "volatility": "Root mean square of the log returns over 24 bars, forecast, per bar.",
        "risk": "Deepest loss on the way through 24 bars, forecast.",
        "confidence": "Probability that the 4-bar return leaves half a volatility.",
        "score": "Return forecast for a session, mean over the three horizons.",
    }
    epoch_metrics: tuple[str, ...] = ("accuracy",)
    selection_label: str | None = "target"
    values: Values | None = Values(
        lambda keys: _y(_outcomes(keys)),
        _y,
        log_scale=("volatility",),
        probabilities=(*SIDES, "confidence"),
        simplexes=(SIDES,),
    )
    comparison: Comparison = SCORE_TIMES_OUTCOME
    report: ReportSpec = ReportSpec(
        outcomes=("forward_return", *RETURNS, "target", "volatility_24"),
        optional_outcomes=("drawdown_24",),
        measures=(RANK_IC, DIRECTION, *class_measures(SIDES_VIEW)),
        primary_metric=RANK_IC.name,
        views=(SIDES_VIEW,),
    )

    def targets(self, keys: pl.DataFrame) -> dict[str, np.ndarray]:
        """See the class; returns are learned apart from the market's moves, see `demean_sessions`."""
        outcome = _outcomes(keys)
        return {**outcome, "price": demean_sessions(keys, outcome["price"])}

    def loss(self, windows: Windows) -> "nn.Module":
        """The weighted sum of the tasks, returns in units of their typical size."""
        from trademl_pipeline.models.losses import MultiTaskLoss

        price = windows.targets["price"]
        risk = typical_size(windows.targets["risk"])
        return MultiTaskLoss(tuple(typical_size(price[:, i]) for i in range(price.shape[1])), risk_scale=risk)

    def metric(self, outputs: Outputs, windows: Windows) -> dict[str, float]:
        """Accuracy of the direction task."""
        real = windows.targets["direction"]
        known = ~np.isnan(real)
        right = outputs["direction"].argmax(1) == real
        return {"accuracy": float(right[known].mean()) if known.any() else 0.0}

    def from_network(self, outputs: Outputs) -> np.ndarray:
        """See `Task.from_network`."""
        position = softmax(np.asarray(outputs["position"], dtype=np.float64))
        return np.column_stack(
            [
                np.asarray(outputs["price"], dtype=np.float64),
                softmax(np.asarray(outputs["direction"], dtype=np.float64)),
                position[:, 2] - position[:, 0],
                np.exp(np.asarray(outputs["volatility"], dtype=np.float64)),
                np.asarray(outputs["risk"], dtype=np.float64),
                sigmoid(np.asarray(outputs["confidence"], dtype=np.float64)),
            ]
        )

    def to_predictions(self, values: np.ndarray, context: pl.DataFrame) -> pl.DataFrame:
        """See `Task.to_predictions`."""
        a_session = [values[:, i] / h for i, h in enumerate(HORIZONS)]
        return frame_of(self.columns, values).with_columns(score=pl.Series(np.mean(a_session, axis=0)))
