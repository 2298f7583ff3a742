"""Gradient-boosted trees over classes: LightGBM and XGBoost behind one interface.

A fit is three fitted objects, each recorded by the fold's ledger: the class weights, the number of rounds
(chosen on an inner temporal split) and the model. The number of rounds found, the model is fitted once more
on all training rows, so that the newest sessions are learnt from too.

Missing values are left to the trees. Defined behaviour at the edges: a class that no training row has gets
probability 0; a fold that is empty, too small, of a single class, or without a feature that varies is a
`FitError`; infinite values are a `FitError`; columns that are constant or wholly missing are kept, unused and
named in the model.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

import numpy as np
import polars as pl

from trademl_pipeline.evaluation.groups import shrunken_means
from trademl_pipeline.training.inner_split import FitError, inner_split
from trademl_pipeline.training.ledger import FitLedger
from trademl_pipeline.training.trees.boosters import LIBRARIES, Boosted, Boosting
from trademl_pipeline.training.trees.config import LightGBMConfig, TreeConfig, XGBoostConfig
from trademl_pipeline.training.trees.rows import (
    checked_targets,
    class_shares,
    class_weights,
    feature_matrix,
    weighted_rows,
)

__all__ = [
    "FitError",
    "LightGBMConfig",
    "TreeConfig",
    "TreeModel",
    "XGBoostConfig",
    "fit_lightgbm",
    "fit_xgboost",
    "shap_values",
]

_ROW, _VALIDATES = "_row", "_validates"


@dataclass(frozen=True)
class TreeModel:
    """A fitted model as plain data; the booster is its library's own text.

    Attributes:
        kind: "lightgbm" or "xgboost".
        features: names of the columns in order.
        n_classes: width of `predict_proba`.
        classes: classes that the training rows had; the others get probability 0.
        weights: weight of each of `classes` in training.
        undo_weights: whether predictions divide the weights out again.
        rounds: boosting rounds kept.
        validation_loss: log loss on the inner validation rows at `rounds`; None without early stopping.
        rows: training rows of the final fit.
        importance: share of the total gain of each feature, summing to 1 (all 0 if no split was made).
        unused: features constant or wholly missing in the training rows.
        booster: the library's text form.
        prior: log shares of `classes` that the booster's scores are added to; (): its scores are whole.
    """

    kind: Literal["lightgbm", "xgboost"]
    features: tuple[str, ...]
    n_classes: int
    classes: tuple[int, ...]
    weights: tuple[float, ...]
    undo_weights: bool
    rounds: int
    validation_loss: float | None
    rows: int
    importance: dict[str, float]
    unused: tuple[str, ...]
    booster: str = field(repr=False)
    prior: tuple[float, ...] = ()

    def predict_proba(self, x: pl.DataFrame | np.ndarray, *, threads: int = 1) -> np.ndarray:
        """Class probabilities, (rows, n_classes), rows summing to 1.

        Args:
            x: a frame that has the feature columns, in any order, or (rows, features) in the order of
                `features`.
            threads: threads of the library; one is quickest up to some thousand rows.

        Raises:
            FitError: if columns are missing or the width differs.
        """
        matrix = feature_matrix(x, self.features)
        probabilities = np.zeros((len(matrix), self.n_classes))
        if len(matrix) == 0:
            return probabilities
        raw = LIBRARIES[self.kind].predict(self.native(), matrix, threads)
        raw = raw.reshape(len(matrix), len(self.classes))
        if self.prior:
            raw = raw * np.exp(self.prior)
        if self.undo_weights:
            raw = raw / np.asarray(self.weights)
        probabilities[:, list(self.classes)] = raw / raw.sum(axis=1, keepdims=True)
        return probabilities

    def native(self) -> Any:
        """The library's own booster."""
        return LIBRARIES[self.kind].load(self.booster)

    def to_text(self) -> str:
        """One JSON document that `from_text` reads back."""
        return json.dumps(asdict(self))

    @staticmethod
    def from_text(text: str) -> "TreeModel":
        """The model that `to_text` wrote."""
        data = json.loads(text)
        for name in ("features", "classes", "weights", "unused", "prior"):
            data[name] = tuple(data.get(name, ()))
        return TreeModel(**data)


def fit_lightgbm(
    keys: pl.DataFrame,
    x: pl.DataFrame | np.ndarray,
    features: Sequence[str],
    config: LightGBMConfig,
    *,
    seed: int,
    threads: int,
    ledger: FitLedger,
    groups: np.ndarray | None = None,
) -> TreeModel:
    """Fit LightGBM on one fold's training rows; the same rows, config and seed give the same model.

    Args:
        keys: symbol, session, label_end, target (0 … n_classes - 1), and what the ledger reads
            (knowledge_time).
        x: feature values aligned with `keys`: a frame with the columns, or (rows, features).
        features: names of the features.
        config: hyper-parameters.
        seed: seed of the row and feature draws.
        threads: threads of the library; the result does not depend on it.
        ledger: records the class weights, the choice of rounds and the model.
        groups: (rows,) numbers of groups of rows that share what the market did, such as those of a session: the
            trees start from the shares of the classes in the group, drawn towards those of all rows as if `GROUP` more
            had been seen, and learn what tells its rows apart. None: rows are learned as they are.

    Returns:
        The fitted model.

    Raises:
        FitError: empty, too small, single-class or featureless training rows, infinite values, unaligned
            inputs.
    """
    return _fit("lightgbm", keys, x, features, config, seed, threads, ledger, groups)


def fit_xgboost(
    keys: pl.DataFrame,
    x: pl.DataFrame | np.ndarray,
    features: Sequence[str],
    config: XGBoostConfig,
    *,
    seed: int,
    threads: int,
    ledger: FitLedger,
    groups: np.ndarray | None = None,
) -> TreeModel:
    """Fit XGBoost on one fold's training rows; the same rows, config and seed give the same model.

    Args:
        keys, x, features, config, seed, threads, ledger, groups: as in `fit_lightgbm`.

    Returns:
        The fitted model.

    Raises:
        FitError: as `fit_lightgbm`.
    """
    return _fit("xgboost", keys, x, features, config, seed, threads, ledger, groups)


def shap_values(model: TreeModel, x: pl.DataFrame | np.ndarray) -> np.ndarray:
    """SHAP values of the raw class scores by shap's TreeExplainer.

    Args:
        model: the fitted model.
        x: rows to explain, as for `predict_proba`.

    Returns:
        (rows, features, n_classes); zeros for classes the model has not seen.
    """
    import shap

    matrix = feature_matrix(x, model.features)
    values = np.zeros((len(matrix), len(model.features), model.n_classes))
    if len(matrix):
        explained = np.asarray(shap.TreeExplainer(model.native()).shap_values(matrix))
        values[:, :, list(model.classes)] = explained
    return values


def _fit(
    kind: Literal["lightgbm", "xgboost"],
    keys: pl.DataFrame,
    x: pl.DataFrame | np.ndarray,
    features: Sequence[str],
    config: TreeConfig,
    seed: int,
    threads: int,
    ledger: FitLedger,
    groups: np.ndarray | None,
) -> TreeModel:
    names = tuple(features)
    matrix = feature_matrix(x, names)
    y = checked_targets(keys, matrix, config)
    low, high = np.fmin.reduce(matrix, axis=0), np.fmax.reduce(matrix, axis=0)
    unused = tuple(name for name, a, b in zip(names, low, high, strict=True) if not a < b)
    if len(unused) == len(names):
        raise FitError(f"none of {len(names)} features varies over {len(y)} training rows; nothing to learn")
    library = LIBRARIES[kind]

    def boost(
        learn: np.ndarray, weight: np.ndarray, rounds: int, validates: np.ndarray | None = None
    ) -> Boosted:
        classes = np.flatnonzero(weight)
        rows = weighted_rows(matrix[learn], y[learn], classes, weight)
        validation = (
            None if validates is None else weighted_rows(matrix[validates], y[validates], classes, weight)
        )
        if groups is not None:
            shares = class_shares(rows.y, len(classes))
            group_shares = shrunken_means(np.eye(len(classes))[rows.y], groups[learn], shares)
            rows = replace(rows, offset=np.log(group_shares))
            if validation is not None:
                start = np.tile(np.log(shares), (len(validation.y), 1))
                validation = replace(validation, offset=start)
        return library.train(rows, validation, rounds, Boosting(config, seed, threads, len(classes)))

    def choose_rounds(frame: pl.DataFrame) -> Boosted:
        row, validates = frame[_ROW].to_numpy(), frame[_VALIDATES].to_numpy()
        weight = class_weights(y[row[~validates]], config)
        # A class that only the validation rows have cannot be predicted and would make their loss infinite.
        validation_rows = row[validates & (weight[y[row]] > 0)]
        if not len(validation_rows):
            raise FitError("no inner validation row is of a class that the inner training rows have")
        return boost(row[~validates], weight, config.max_rounds, validation_rows)

    rows = keys.with_row_index(_ROW)
    chosen = None
    if config.early_stopping:
        split = inner_split(keys, validation_sessions=config.validation_sessions, embargo=config.embargo)
        marked = rows.with_columns(pl.Series(_VALIDATES, split.validation))
        chosen = ledger.fit("early_stopping", marked.filter(split.train | split.validation), choose_rounds)
        rows = rows if config.refit else rows.filter(split.train)
    weight = ledger.fit("class_weights", rows, lambda frame: class_weights(y[frame[_ROW].to_numpy()], config))
    if chosen is not None and not config.refit:
        boosted = ledger.fit("model", rows, lambda _: chosen)
    else:
        rounds = chosen.rounds if chosen else config.max_rounds
        boosted = ledger.fit("model", rows, lambda frame: boost(frame[_ROW].to_numpy(), weight, rounds))
    classes = np.flatnonzero(weight)
    learned = np.searchsorted(classes, y[rows[_ROW].to_numpy()])
    prior = () if groups is None else tuple(np.log(class_shares(learned, len(classes))).tolist())
    total = float(boosted.gain.sum())
    return TreeModel(
        kind=kind,
        features=names,
        n_classes=config.n_classes,
        classes=tuple(int(c) for c in classes),
        weights=tuple(float(w) for w in weight[classes]),
        undo_weights=config.undo_weights,
        rounds=boosted.rounds,
        validation_loss=chosen.loss if chosen else None,
        rows=rows.height,
        importance={n: float(g) / total if total else 0.0 for n, g in zip(names, boosted.gain, strict=True)},
        unused=unused,
        booster=boosted.text,
        prior=prior,
    )
