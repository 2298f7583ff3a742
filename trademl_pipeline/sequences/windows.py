"""Training rows of a network: windows into a feature matrix, their targets and the keys they belong to."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import polars as pl

from trademl_pipeline.sequences.errors import FitError
from trademl_pipeline.sequences.index import gather, window_index


@dataclass(frozen=True)
class Windows:
    """Rows of one fold. No window is stored: a batch is gathered from the matrix.

    Attributes:
        matrix: (sessions, features), NaN where a value is missing, sorted as in ``sequences.index``.
        row: (n,) last matrix row of each window.
        n_valid: (n,) real steps of each window.
        length: steps of a window, padding included.
        keys: n rows; symbol, session, and label_end and knowledge_time where they are to be trained on.
        targets: by name, (n,) or (n, …); NaN or a negative class: no label. Empty for prediction.
        inputs: further inputs of the network by argument name, (n, …), e.g. the hybrid's ``position``.
    """

    matrix: np.ndarray
    row: np.ndarray
    n_valid: np.ndarray
    length: int
    keys: pl.DataFrame
    targets: Mapping[str, np.ndarray] = field(default_factory=dict)
    inputs: Mapping[str, np.ndarray] = field(default_factory=dict)

    def __post_init__(self) -> None:
        n = len(self.row)
        parts = {"n_valid": self.n_valid, "keys": self.keys, **self.targets, **self.inputs}
        for name, part in parts.items():
            if len(part) != n:
                raise FitError(f"{name} has {len(part)} rows but there are {n} windows; align them first")
        if self.matrix.ndim != 2:
            raise FitError(f"the feature matrix must be (sessions, features), got shape {self.matrix.shape}")
        if n and (self.n_valid.min() < 1 or self.n_valid.max() > self.length):
            bad = int(np.flatnonzero((self.n_valid < 1) | (self.n_valid > self.length))[0])
            raise FitError(
                f"window {bad} has {self.n_valid[bad]} real steps; each needs 1 to {self.length}. "
                "Drop decisions without any session"
            )

    def __len__(self) -> int:
        return len(self.row)

    @property
    def features(self) -> int:
        """Columns of the matrix."""
        return self.matrix.shape[1]

    def take(self, which: np.ndarray) -> "Windows":
        """The windows that a mask or an array of positions selects, over the same matrix."""
        position = np.flatnonzero(which) if which.dtype == bool else which
        return replace(
            self,
            row=self.row[position],
            n_valid=self.n_valid[position],
            keys=self.keys[position],
            targets={name: values[position] for name, values in self.targets.items()},
            inputs={name: values[position] for name, values in self.inputs.items()},
        )

    def batch(self, position: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """x (batch, length, features) float32, left-padded with 0, and mask (batch, length)."""
        return gather(self.matrix, self.row[position], self.n_valid[position], self.length)

    def rows_read(self) -> np.ndarray:
        """Matrix rows that any window reads, each once, sorted."""
        edges = np.zeros(len(self.matrix) + 1, dtype=np.int64)
        np.add.at(edges, self.row - self.n_valid + 1, 1)
        np.add.at(edges, self.row + 1, -1)
        return np.flatnonzero(np.cumsum(edges[:-1]) > 0)


def windows_for(
    keys: pl.DataFrame,
    features: pl.DataFrame,
    names: Sequence[str],
    length: int,
    targets: Sequence[str] = (),
    inputs: Mapping[str, Sequence[str]] | None = None,
) -> Windows:
    """Return the windows that end at the decisions in ``keys``.

    Args:
        keys: symbol, session, the target columns, and label_end and knowledge_time where they are to be
            trained on; one row a decision, any order.
        features: symbol, session and the feature columns, sorted by key; must reach back far enough for the
            windows, else these are padded.
        names: feature columns, in order.
        length: steps of a window.
        targets: columns of ``keys``; null becomes NaN. A List or Array column gives a target of several
            columns.
        inputs: further inputs of the network by name, each the named columns of ``keys``.

    Raises:
        FitError: a decision has no feature row.
    """
    key = ["symbol", "session"]
    index = window_index(features, length).select(*key, "row", "n_valid")
    positions = keys.select(key).join(index, on=key, how="left", maintain_order="left")
    unmatched = positions.filter(pl.col("row").is_null())
    if unmatched.height:
        first = unmatched.row(0, named=True)
        raise FitError(
            f"{unmatched.height} of {keys.height} decisions have no feature row, e.g. {first['symbol']} "
            f"{first['session']}; compute the features of that session first"
        )
    matrix = features.select(pl.col(list(names)).cast(pl.Float64).fill_null(float("nan"))).to_numpy()
    return Windows(
        matrix,
        positions["row"].to_numpy(),
        positions["n_valid"].to_numpy(),
        length,
        keys,
        {name: _values(keys[name]) for name in targets},
        {
            name: keys.select(pl.col(list(c)).cast(pl.Float32)).to_numpy()
            for name, c in (inputs or {}).items()
        },
    )


def windows_of_arrays(x: np.ndarray, symbol: np.ndarray | None = None) -> Windows:
    """Windows out of features as a server is given them.

    Args:
        x: (batch, length, features), NaN where missing; leading steps that are NaN throughout are padding.
        symbol: (batch,), for models with heads of a symbol's own.

    Raises:
        FitError: x is not three-dimensional, or a window is padding only.
    """
    x = np.asarray(x)
    if x.ndim != 3:
        raise FitError(f"windows must be (batch, length, features), got shape {x.shape}")
    n, length, features = x.shape
    real = np.logical_or.accumulate(~np.isnan(x).all(axis=2), axis=1)
    row = np.arange(n, dtype=np.int64) * length + length - 1
    names = [""] * n if symbol is None else np.asarray(symbol).astype(str).tolist()
    keys = pl.DataFrame({"symbol": names}, schema={"symbol": pl.String})
    return Windows(x.reshape(n * length, features), row, real.sum(axis=1), length, keys)


def _values(column: pl.Series) -> np.ndarray:
    """Integers as they are, else floats with NaN for null; (n,) or (n, width)."""
    if isinstance(column.dtype, pl.List | pl.Array):
        return np.array([_values(row) for row in column])
    if column.dtype.is_integer() and column.null_count() == 0:
        return column.cast(pl.Int64).to_numpy()
    return column.cast(pl.Float64).fill_null(float("nan")).to_numpy()
