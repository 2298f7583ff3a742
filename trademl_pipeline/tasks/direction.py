"""Sell, Hold or Buy over the horizon of the label."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from trademl_pipeline.sequences.windows import Windows
from trademl_pipeline.tasks.arrays import class_numbers, frame_of, softmax
from trademl_pipeline.tasks.comparison import LOG_LIKELIHOOD
from trademl_pipeline.tasks.measures import DIRECTION, RANK_IC, class_measures
from trademl_pipeline.tasks.protocol import Comparison, Outputs, Task
from trademl_pipeline.tasks.report_spec import ClassView, ReportSpec

if TYPE_CHECKING:
    from torch import nn

SIDES = ("p_sell", "p_hold", "p_buy")
SIDE_DOCS = {
    "p_sell": "Probability of Sell.",
    "p_hold": "Probability of Hold.",
    "p_buy": "Probability of Buy.",
}
SIDES_VIEW = ClassView("", ("Sell", "Hold", "Buy"), SIDES, "target")


class Direction(Task):
    """Sell, Hold or Buy. Score: P(buy) - P(sell)."""

    name: str = "direction"
    columns: tuple[str, ...] = SIDES
    labels: tuple[str, ...] = ("target",)
    class_label: str | None = "target"
    output_schema: Mapping[str, Any] = dict.fromkeys((*SIDES, "score"), pl.Float64)
    column_docs: Mapping[str, str] = {**SIDE_DOCS, "score": "P(buy) less P(sell)."}
    epoch_metrics: tuple[str, ...] = ("accuracy",)
    comparison: Comparison = LOG_LIKELIHOOD
    report: ReportSpec = ReportSpec(
        outcomes=("forward_return", "target"),
        measures=(RANK_IC, DIRECTION, *class_measures(SIDES_VIEW)),
        primary_metric=RANK_IC.name,
        views=(SIDES_VIEW,),
    )

    def targets(self, keys: pl.DataFrame) -> dict[str, np.ndarray]:
        """See `Task.targets`."""
        return {"target": class_numbers(keys)}

    def loss(self, windows: Windows) -> "nn.Module":
        """Cross-entropy: probabilities are wanted as they are."""
        from trademl_pipeline.models.losses import CrossEntropyLoss

        return CrossEntropyLoss()

    def metric(self, outputs: Outputs, windows: Windows) -> dict[str, float]:
        """See `Task.metric`."""
        return {"accuracy": float((outputs["logits"].argmax(1) == windows.targets["target"]).mean())}

    def from_network(self, outputs: Outputs) -> np.ndarray:
        """See `Task.from_network`."""
        return softmax(np.asarray(outputs["logits"], dtype=np.float64))

    def to_predictions(self, values: np.ndarray, context: pl.DataFrame) -> pl.DataFrame:
        """See `Task.to_predictions`."""
        return frame_of(self.columns, values).with_columns(score=pl.col("p_buy") - pl.col("p_sell"))
