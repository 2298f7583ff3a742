"""Ridge regression on the features of the decision and some earlier sessions: the plain baseline of value tasks."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from trademl_pipeline.evaluation.groups import demean_within
from trademl_pipeline.training.inner_split import FitError
from trademl_pipeline.training.scaling import fit_robust_scaling

_CLIP = 5.0
_MIN_SHARE = 0.01


@dataclass(frozen=True)
class LinearModel:
    """A fitted regression of several columns.

    Attributes:
        columns: names of the predicted columns.
        log_scale: columns regressed as logarithms, and predicted above 0.
        centre, scale: (features,) robust scaling of the inputs; a missing value counts as the centre.
        weights: (columns, features).
        intercept: (columns,).
        volatility_scaled: column -> the column in units of which it was regressed, a return -> its volatility.
        shares: the columns are probabilities, kept above 0 and scaled to sum to 1.
    """

    columns: tuple[str, ...]
    log_scale: frozenset[str]
    centre: np.ndarray
    scale: np.ndarray
    weights: np.ndarray
    intercept: np.ndarray
    volatility_scaled: Mapping[str, str] = field(default_factory=dict)
    shares: bool = False

    def predict(self, x: np.ndarray) -> np.ndarray:
        """(rows, features) -> (rows, columns)."""
        values = _prepared(x, self.centre, self.scale) @ self.weights.T + self.intercept
        for i, name in enumerate(self.columns):
            if name in self.log_scale:
                values[:, i] = np.exp(values[:, i])
        for name, unit in self.volatility_scaled.items():
            values[:, self.columns.index(name)] *= values[:, self.columns.index(unit)]
        if self.shares:
            values = np.clip(values, _MIN_SHARE, None)
            values /= values.sum(axis=1, keepdims=True)
        return values

    def to_text(self) -> str:
        """One JSON document that `from_text` reads back."""
        return json.dumps(
            {
                "columns": self.columns,
                "logs": sorted(self.log_scale),
                "units": dict(self.volatility_scaled),
                "shares": self.shares,
                **{n: getattr(self, n).tolist() for n in ("centre", "scale", "weights", "intercept")},
            }
        )

    @staticmethod
    def from_text(text: str) -> "LinearModel":
        """The model that `to_text` wrote."""
        data = json.loads(text)
        arrays = {n: np.array(data[n]) for n in ("centre", "scale", "weights", "intercept")}
        return LinearModel(
            tuple(data["columns"]),
            frozenset(data["logs"]),
            volatility_scaled=data["units"],
            shares=data["shares"],
            **arrays,
        )


def fit_linear(
    x: np.ndarray,
    y: np.ndarray,
    columns: Sequence[str],
    sessions: np.ndarray,
    *,
    log_scale: Sequence[str] = (),
    volatility_scaled: Mapping[str, str] | None = None,
    shares: bool = False,
    penalty: float = 1000.0,
) -> LinearModel:
    """Fit each column on the rows where it is known.

    A column with a unit is regressed in units of that column's own forecast, so that calm rows count as much as wild
    ones. Such columns and shares are regressed within sessions: what moves all symbols of a session alike is taken out
    of both sides, since a few hundred sessions say little about it and hide what tells symbols apart.

    Args:
        x: (rows, features), NaN where missing.
        y: (rows, columns), NaN where there is no label; columns in `log_scale` above 0.
        columns: names of the columns of `y`.
        sessions: (rows,) session of each row.
        log_scale: columns to regress as logarithms.
        volatility_scaled: column -> one of `log_scale` that gives its unit.
        shares: the columns are classes, 1 in the one that came and 0 in the others.
        penalty: L2 penalty of the weights of scaled features.

    Raises:
        FitError: a column has no row with a label.
    """
    from sklearn.linear_model import Ridge

    volatility_scaled, names = dict(volatility_scaled or {}), list(columns)
    scaling = fit_robust_scaling(x)
    inputs = _prepared(x, scaling.centre, scaling.scale)
    weights, intercept = np.zeros((len(names), x.shape[1])), np.zeros(len(names))
    for name in sorted(names, key=lambda n: n in volatility_scaled):  # units before what is measured in them
        i = names.index(name)
        value = np.log(np.maximum(y[:, i], 1e-6)) if name in log_scale else y[:, i]
        known = np.isfinite(value)
        if not known.any():
            raise FitError(f"no training row has a value of {name}; check the labels of this fold")
        features, value = inputs[known], value[known]
        if name in volatility_scaled:
            j = names.index(volatility_scaled[name])
            value = value / np.exp(features @ weights[j] + intercept[j])
            widest = _CLIP * value.std()
            value = np.clip(value, -widest, widest)
        if shares or name in volatility_scaled:
            within = Ridge(alpha=penalty, fit_intercept=False)
            known_sessions = sessions[known]
            within.fit(demean_within(features, known_sessions), demean_within(value, known_sessions))
            weights[i] = within.coef_
            intercept[i] = value.mean() - features.mean(axis=0) @ weights[i]
        else:
            ridge = Ridge(alpha=penalty).fit(features, value)
            weights[i], intercept[i] = ridge.coef_, ridge.intercept_
    return LinearModel(
        tuple(names),
        frozenset(log_scale),
        scaling.centre,
        scaling.scale,
        weights,
        intercept,
        volatility_scaled,
        shares,
    )


def _prepared(x: np.ndarray, centre: np.ndarray, scale: np.ndarray) -> np.ndarray:
    return np.nan_to_num(np.clip((x - centre) / scale, -_CLIP, _CLIP), nan=0.0)
