"""Return and volatility over 1 and 30 sessions."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from trademl_pipeline.sequences.windows import Windows
from trademl_pipeline.tasks.arrays import column, demean_sessions, frame_of, typical_size
from trademl_pipeline.tasks.comparison import SCORE_TIMES_OUTCOME
from trademl_pipeline.tasks.measures import DIRECTION, RANK_IC
from trademl_pipeline.tasks.protocol import Comparison, Outputs, Task, Values
from trademl_pipeline.tasks.report_spec import ReportSpec

if TYPE_CHECKING:
    from torch import nn

HORIZONS = (1, 30)
COLUMNS = ("mean_1", "volatility_1", "mean_30", "volatility_30")
LABELS = ("return_1", "volatility_1", "return_30", "volatility_30")


def _y_true(keys: pl.DataFrame) -> np.ndarray:
    return np.column_stack([column(keys, name) for name in LABELS])


def _y(targets: Outputs) -> np.ndarray:
    mean, volatility = targets["forward_return"], targets["volatility"]
    return np.column_stack([mean[:, 0], volatility[:, 0], mean[:, 1], volatility[:, 1]])


class Forecast(Task):
    """Return and volatility over 1 and 30 sessions. Score: the mean over 1 session.

    It is judged by how it ranks returns, which is what the mean forecasts; over its volatility it would rank returns in
    units of risk.
    """

    name: str = "forecast"
    columns: tuple[str, ...] = COLUMNS
    labels: tuple[str, ...] = LABELS
    output_schema: Mapping[str, Any] = dict.fromkeys((*COLUMNS, "score"), pl.Float64)
    column_docs: Mapping[str, str] = {
        "mean_1": "Log return of the next session, forecast.",
        "volatility_1": "Absolute size of it, forecast, as a volatility per session.",
        "mean_30": "Log return over the next 30 sessions, forecast.",
        "volatility_30": "Root mean square of the daily log returns over them, forecast, per session.",
        "score": "mean_1.",
    }
    epoch_metrics: tuple[str, ...] = ("directional_accuracy",)
    values: Values | None = Values(
        _y_true,
        _y,
        log_scale=("volatility_1", "volatility_30"),
        volatility_scaled={"mean_1": "volatility_1", "mean_30": "volatility_30"},
        horizons={f"mean_{h}": h for h in HORIZONS},
    )
    comparison: Comparison = SCORE_TIMES_OUTCOME
    report: ReportSpec = ReportSpec(
        outcomes=LABELS,
        outcome="return_1",
        horizon=1,
        measures=(RANK_IC, DIRECTION),
        primary_metric=RANK_IC.name,
    )

    def targets(self, keys: pl.DataFrame) -> dict[str, np.ndarray]:
        """Returns, learned apart from the market's moves, see `demean_sessions`, and volatilities."""
        returns, volatility = (
            np.column_stack([column(keys, f"{label}_{h}") for h in HORIZONS])
            for label in ("return", "volatility")
        )
        return {"forward_return": demean_sessions(keys, returns), "volatility": volatility}

    def loss(self, windows: Windows) -> "nn.Module":
        """The multi-objective loss in units of each horizon's typical return."""
        from trademl_pipeline.models.losses import FinancialLoss

        returns = windows.targets["forward_return"]
        return FinancialLoss(tuple(typical_size(returns[:, i]) for i in range(returns.shape[1])))

    def metric(self, outputs: Outputs, windows: Windows) -> dict[str, float]:
        """Share of right signs of the 1-session return, apart from the market's move as it is learned."""
        real = windows.targets["forward_return"][:, 0]
        moved = real != 0
        right = (outputs["mean"][:, 0] > 0) == (real > 0)
        return {"directional_accuracy": float(right[moved].mean()) if moved.any() else 0.0}

    def from_network(self, outputs: Outputs) -> np.ndarray:
        """See `Task.from_network`."""
        mean, volatility = np.asarray(outputs["mean"]), np.exp(np.asarray(outputs["log_volatility"]))
        return np.column_stack([mean[:, 0], volatility[:, 0], mean[:, 1], volatility[:, 1]]).astype(
            np.float64
        )

    def to_predictions(self, values: np.ndarray, context: pl.DataFrame) -> pl.DataFrame:
        """See `Task.to_predictions`."""
        return frame_of(self.columns, values).with_columns(score=pl.col("mean_1"))
