"""Gradient-boosted trees over values and probabilities: one booster for each column that a task predicts.

As in `trees.classes` every column is one fit with its number of rounds, chosen on an inner temporal split or given. A
column that is known on too few rows, or that has one value only, is predicted by its mean.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np
import polars as pl

from trademl_pipeline.evaluation.groups import cross_sectional_demean, shrunken_means
from trademl_pipeline.training.inner_split import FitError, inner_split
from trademl_pipeline.training.ledger import FitLedger
from trademl_pipeline.training.trees.boosters import LIBRARIES, Boosted, Boosting, Rows
from trademl_pipeline.training.trees.config import TreeConfig
from trademl_pipeline.training.trees.rows import feature_matrix

_FLOOR = 1e-6


@dataclass(frozen=True)
class Columns:
    """The predicted columns.

    Attributes:
        names: of the columns.
        log_scale: columns above 0, regressed as logarithms.
        probabilities: columns that are probabilities; their labels lie between 0 and 1.
        simplexes: groups of probabilities that sum to 1.
    """

    names: tuple[str, ...]
    log_scale: frozenset[str] = frozenset()
    probabilities: frozenset[str] = frozenset()
    simplexes: tuple[tuple[str, ...], ...] = ()


@dataclass(frozen=True)
class ColumnTrees:
    """The trees of one column.

    Attributes:
        booster: the library's text form; "": the column is predicted by `mean`.
        mean: of the labels, as they were regressed.
        rounds: boosting rounds.
        validation_loss: on the inner validation rows at `rounds`; None without early stopping.
        rows: training rows that had a label.
        offset: log odds that the trees' are added to; None: theirs are whole.
    """

    booster: str = field(repr=False)
    mean: float
    rounds: int
    validation_loss: float | None
    rows: int
    offset: float | None = None


@dataclass(frozen=True)
class ValueTrees:
    """Fitted trees as plain data.

    Attributes:
        kind: "lightgbm" or "xgboost".
        features: names of the inputs in order.
        columns: what is predicted.
        trees: by column.
        importance: share of the gain of each feature, mean over the columns that have trees.
        rows: training rows.
    """

    kind: Literal["lightgbm", "xgboost"]
    features: tuple[str, ...]
    columns: Columns
    trees: tuple[ColumnTrees, ...]
    importance: dict[str, float]
    rows: int

    @property
    def rounds(self) -> int:
        """Boosting rounds of all columns."""
        return sum(column.rounds for column in self.trees)

    @property
    def validation_loss(self) -> float | None:
        """Losses of different columns are in different units; see `trees`."""
        return None

    def predict(self, x: pl.DataFrame | np.ndarray, *, threads: int = 1) -> np.ndarray:
        """(rows, columns).

        Args:
            x: a frame that has the feature columns, or (rows, features) in the order of `features`.
            threads: threads of the library.

        Raises:
            FitError: if columns are missing, the width differs or values are infinite.
        """
        matrix = feature_matrix(x, self.features)
        library, names = LIBRARIES[self.kind], self.columns.names
        values = np.empty((len(matrix), len(names)))
        for i, (name, column) in enumerate(zip(names, self.trees, strict=True)):
            prediction = column.mean
            if column.booster and len(matrix):
                prediction = library.predict(library.load(column.booster), matrix, threads)
                if column.offset is not None:
                    prediction = 1 / (1 + np.exp(-(_log_odds(prediction) + column.offset)))
            values[:, i] = np.exp(prediction) if name in self.columns.log_scale else prediction
        for group in self.columns.simplexes:
            positions = [names.index(name) for name in group]
            values[:, positions] = np.maximum(values[:, positions], _FLOOR)
            values[:, positions] /= values[:, positions].sum(axis=1, keepdims=True)
        return values

    def to_text(self) -> str:
        """One JSON document that `from_text` reads back."""
        data = asdict(self)
        c = self.columns
        # The names of the stored form are older than those of the fields.
        data["columns"] = {
            "names": c.names,
            "logs": sorted(c.log_scale),
            "chances": sorted(c.probabilities),
            "exclusive": c.simplexes,
        }
        return json.dumps(data)

    @staticmethod
    def from_text(text: str) -> "ValueTrees":
        """The model that `to_text` wrote."""
        data: dict[str, Any] = json.loads(text)
        stored = data["columns"]
        columns = Columns(
            tuple(stored["names"]),
            frozenset(stored["logs"]),
            frozenset(stored["chances"]),
            tuple(tuple(group) for group in stored["exclusive"]),
        )
        trees = tuple(ColumnTrees(**column) for column in data["trees"])
        return ValueTrees(**data | {"features": tuple(data["features"]), "columns": columns, "trees": trees})


def fit_value_trees(
    kind: Literal["lightgbm", "xgboost"],
    keys: pl.DataFrame,
    x: pl.DataFrame | np.ndarray,
    y: np.ndarray,
    features: Sequence[str],
    columns: Columns,
    config: TreeConfig,
    *,
    seed: int,
    threads: int,
    ledger: FitLedger,
    groups: np.ndarray | None = None,
) -> ValueTrees:
    """Fit every column on the rows where it is known; the same rows, config and seed give the same model.

    Args:
        kind: library.
        keys: symbol, session, label_end, and what the ledger reads (knowledge_time).
        x: feature values aligned with `keys`: a frame with the columns, or (rows, features).
        y: (rows, columns), NaN where there is no label.
        features: names of the features.
        columns: what is predicted.
        config: hyper-parameters; those of classes are not used.
        seed: seed of the row and feature draws.
        threads: threads of the library.
        ledger: records the choice of rounds and the model.
        groups: (rows,) numbers of groups of rows that share what the market did, such as those of a session; None:
            rows are learned as they are. What a group has in common comes once for all its rows and hides what tells
            them apart, so that it is taken out: of values their mean over the group, where it has `GROUP` rows and
            more, and of probabilities their log odds in it, drawn towards those of all rows as if `GROUP` more had
            been seen.

    Raises:
        FitError: too few training rows, infinite values, a column without any label, or with `early_stopping` one
            without any on the inner validation rows.
    """
    names = tuple(features)
    matrix = feature_matrix(x, names)
    if len(matrix) != keys.height or y.shape != (keys.height, len(columns.names)):
        raise FitError(
            f"{keys.height} training keys, but features {matrix.shape} and labels {y.shape} for "
            f"{len(columns.names)} columns; align them first"
        )
    labels = _regression_targets(y, columns)
    if keys.height < max(1, config.min_rows):
        raise FitError(
            f"{keys.height} training rows, fewer than min_rows={max(1, config.min_rows)}; "
            "give more history or symbols, or lower min_rows"
        )
    known = ~np.isnan(labels)
    for i, name in enumerate(columns.names):
        if not known[:, i].any():
            raise FitError(f"no training row has a label of {name}; check the labels of this fold")
    library = LIBRARIES[kind]

    def boost(i: int, learn: np.ndarray, rounds: int, validates: np.ndarray | None = None) -> Boosted:
        objective = "probability" if columns.names[i] in columns.probabilities else "value"
        learned = learn & known[:, i]
        value, offset, start = labels[learned, i], None, None
        if groups is not None and objective == "value":
            value = cross_sectional_demean(value, groups[learned])
        elif groups is not None:
            offset = _log_odds(shrunken_means(value, groups[learned], value.mean()))
            start = float(_log_odds(value.mean()))
        validation = None
        if validates is not None:
            known_validation = validates & known[:, i]
            begin = None if start is None else np.full(int(known_validation.sum()), start)
            validation = Rows(
                matrix[known_validation],
                labels[known_validation, i],
                np.ones(int(known_validation.sum())),
                begin,
            )
        rows = Rows(matrix[learned], value, np.ones(len(value)), offset)
        how = Boosting(config, seed, threads, objective=objective)
        return library.train(rows, validation, rounds, how)

    taught = [i for i in range(len(columns.names)) if _teaches(labels[known[:, i], i], config)]
    rows, everything = keys, np.ones(keys.height, dtype=bool)
    stopped: dict[int, Boosted] = {}
    if config.early_stopping and taught:
        split = inner_split(keys, validation_sessions=config.validation_sessions, embargo=config.embargo)
        for i in taught:
            if not known[split.validation, i].any():
                raise FitError(
                    f"no inner validation row has a label of {columns.names[i]}; give the number of rounds "
                    "(early_stopping 0) or validate on more sessions"
                )
        stopped = ledger.fit(
            "early_stopping",
            rows.filter(split.train | split.validation),
            lambda _: {i: boost(i, split.train, config.max_rounds, split.validation) for i in taught},
        )
        if not config.refit:
            rows, everything = rows.filter(split.train), split.train

    def fit(_: pl.DataFrame) -> dict[int, Boosted]:
        if stopped and not config.refit:
            return stopped
        return {
            i: boost(i, everything, stopped[i].rounds if i in stopped else config.max_rounds) for i in taught
        }

    boosted = ledger.fit("model", rows, fit)
    trees = []
    for i in range(len(columns.names)):
        column_labels = labels[known[:, i] & everything, i]
        mean = float(column_labels.mean()) if len(column_labels) else float(labels[known[:, i], i].mean())
        fitted = boosted.get(i)
        loss = stopped[i].loss if i in stopped else None
        shifted = groups is not None and columns.names[i] in columns.probabilities and fitted is not None
        trees.append(
            ColumnTrees(
                fitted.text if fitted else "",
                mean,
                fitted.rounds if fitted else 0,
                loss,
                len(column_labels),
                float(_log_odds(mean)) if shifted else None,
            )
        )
    return ValueTrees(kind, names, columns, tuple(trees), _importance(names, boosted), rows.height)


def _log_odds(p: np.ndarray | float) -> np.ndarray:
    p = np.clip(p, _FLOOR, 1 - _FLOOR)
    return np.log(p) - np.log1p(-p)


def _teaches(labels: np.ndarray, config: TreeConfig) -> bool:
    return len(labels) >= max(2, config.min_rows) and float(np.ptp(labels)) > 0


def _regression_targets(y: np.ndarray, columns: Columns) -> np.ndarray:
    """The labels as they are regressed: logarithms where the column asks for them."""
    labels = np.array(y, dtype=np.float64)
    if np.isinf(labels).any():
        name = columns.names[int(np.isinf(labels).any(axis=0).argmax())]
        raise FitError(f"the labels of {name} hold infinite values")
    for i, name in enumerate(columns.names):
        if name in columns.log_scale:
            labels[:, i] = np.log(np.maximum(labels[:, i], _FLOOR))
        if name in columns.probabilities:
            column_labels = labels[~np.isnan(labels[:, i]), i]
            if column_labels.size and (column_labels.min() < 0 or column_labels.max() > 1):
                raise FitError(
                    f"the labels of {name} run from {column_labels.min():g} to {column_labels.max():g}; a probability "
                    f"lies between 0 and 1"
                )
    return labels


def _importance(names: tuple[str, ...], boosted: dict[int, Boosted]) -> dict[str, float]:
    shares = [b.gain / b.gain.sum() for b in boosted.values() if b.gain.sum() > 0]
    mean = np.mean(shares, axis=0) if shares else np.zeros(len(names))
    return dict(zip(names, mean.tolist(), strict=True))
