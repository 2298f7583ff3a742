"""Ridge regression on the features of the decision and some earlier sessions: the plain baseline of value tasks."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from trademl_pipeline.training.inner_split import FitError
from trademl_pipeline.training.scaling import fit_robust_scaling

_CLIP = 5.0


@dataclass(frozen=True)
class LinearModel:
    """A fitted regression of several columns.

    Attributes:
        columns: what is predicted.
        logs: columns regressed as logarithms, and predicted above 0.
        centre, scale: (features,) robust scaling of the inputs; a missing value counts as the centre.
        weights: (columns, features); intercept: (columns,).
    """

    columns: tuple[str, ...]
    logs: frozenset[str]
    centre: np.ndarray
    scale: np.ndarray
    weights: np.ndarray
    intercept: np.ndarray

    def predict(self, x: np.ndarray) -> np.ndarray:
        """(rows, features) -> (rows, columns)."""
        values = _prepared(x, self.centre, self.scale) @ self.weights.T + self.intercept
        for i, name in enumerate(self.columns):
            if name in self.logs:
                values[:, i] = np.exp(values[:, i])
        return values

    def to_text(self) -> str:
        """One JSON document that `from_text` reads back."""
        return json.dumps(
            {
                "columns": self.columns,
                "logs": sorted(self.logs),
                **{n: getattr(self, n).tolist() for n in ("centre", "scale", "weights", "intercept")},
            }
        )

    @staticmethod
    def from_text(text: str) -> "LinearModel":
        """The model that `to_text` wrote."""
        data = json.loads(text)
        arrays = {n: np.array(data[n]) for n in ("centre", "scale", "weights", "intercept")}
        return LinearModel(tuple(data["columns"]), frozenset(data["logs"]), **arrays)


def fit_linear(
    x: np.ndarray, y: np.ndarray, columns: Sequence[str], *, logs: Sequence[str] = (), penalty: float = 1000.0
) -> LinearModel:
    """Fit each column on the rows where it is known.

    Args:
        x: (rows, features), NaN where missing.
        y: (rows, columns), NaN where there is no label; columns in `logs` above 0.
        columns: names of the columns of `y`.
        logs: columns to regress as logarithms.
        penalty: L2 penalty of the weights of scaled features.

    Raises:
        FitError: a column has no row with a label.
    """
    from sklearn.linear_model import Ridge

    scaling = fit_robust_scaling(x)
    inputs = _prepared(x, scaling.centre, scaling.scale)
    weights, intercept = np.zeros((len(columns), x.shape[1])), np.zeros(len(columns))
    for i, name in enumerate(columns):
        value = np.log(np.maximum(y[:, i], 1e-6)) if name in logs else y[:, i]
        known = np.isfinite(value)
        if not known.any():
            raise FitError(f"no training row has a value of {name}; check the labels of this fold")
        ridge = Ridge(alpha=penalty).fit(inputs[known], value[known])
        weights[i], intercept[i] = ridge.coef_, ridge.intercept_
    return LinearModel(tuple(columns), frozenset(logs), scaling.centre, scaling.scale, weights, intercept)


def _prepared(x: np.ndarray, centre: np.ndarray, scale: np.ndarray) -> np.ndarray:
    return np.nan_to_num(np.clip((x - centre) / scale, -_CLIP, _CLIP), nan=0.0)
