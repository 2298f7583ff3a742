"""Mutants of sequences: windows, their padding and their scaling."""

import numpy as np
import polars as pl
from mutant import CLOSE, RETURN, Mutant, columns, feature_mutant, panel

from trademl_pipeline.leakage import audit_windows
from trademl_pipeline.sequences import feature_matrix, gather, window_index

GITHUB = "https://github.com/"
LENGTH = 6
FEATURES = columns(RETURN)(panel())


def flat_windows(put_together):
    """Each row's window as columns, from a function of (matrix, index) to (rows, length)."""

    def extract(bars: pl.DataFrame) -> pl.DataFrame:
        features = columns(RETURN)(bars)
        x = put_together(feature_matrix(features)[:, :1], window_index(features, LENGTH))
        return features.select("symbol", "session").with_columns(
            pl.Series(f"step{k}", x[:, k].astype(np.float64)) for k in range(LENGTH)
        )

    return extract


def windows(matrix: np.ndarray, index: pl.DataFrame) -> np.ndarray:
    return gather(matrix, index["row"].to_numpy(), index["n_valid"].to_numpy(), LENGTH)[0][:, :, 0]


def across_symbols(matrix: np.ndarray, index: pl.DataFrame) -> np.ndarray:
    full = np.minimum(index["row"].to_numpy() + 1, LENGTH)
    return gather(matrix, index["row"].to_numpy(), full, LENGTH)[0][:, :, 0]


def one_row_on(matrix: np.ndarray, index: pl.DataFrame) -> np.ndarray:
    row = np.minimum(index["row"].to_numpy() + 1, len(matrix) - 1)
    return gather(matrix, row, index["n_valid"].to_numpy(), LENGTH)[0][:, :, 0]


AHEAD = 3
LEVELS = [CLOSE.shift(k) for k in range(LENGTH)]
TARGETS = [CLOSE.shift(-k) for k in range(1, AHEAD + 1)]


def scaled_window(with_target: bool):
    """A window scaled by its mean, with or without the steps that are to be predicted."""
    seen = LEVELS + (TARGETS if with_target else [])
    return columns(CLOSE / pl.mean_horizontal(*seen))


def index_of_other_rows(leaky: bool):
    index = window_index(FEATURES, LENGTH)
    if leaky:
        index = index.with_columns(n_valid=pl.min_horizontal(pl.col("row") + 1, LENGTH)).drop("window_start")
    return audit_windows(index, FEATURES, length=LENGTH)


def index_off_by_one(leaky: bool):
    index = window_index(FEATURES, LENGTH)
    if leaky:
        index = index.with_columns(row=(pl.col("row") + 1).clip(upper_bound=FEATURES.height - 1))
    return audit_windows(index, FEATURES, length=LENGTH)


MUTANTS = [
    feature_mutant(
        "sequences/across_symbols",
        "windows that begin in another symbol's last rows",
        f"{GITHUB}pandas-dev/pandas/issues/21200: values carried over the border of two groups",
        flat_windows(across_symbols),
        flat_windows(windows),
        "truncation perturbation",
    ),
    feature_mutant(
        "sequences/one_row_on",
        "windows that end with the next row",
        f"{GITHUB}VivekPa/AIAlpha/issues/8: a loop that takes the next candles",
        flat_windows(one_row_on),
        flat_windows(windows),
        "truncation perturbation",
    ),
    feature_mutant(
        "sequences/scaled_with_target",
        "windows normalized together with the steps to be predicted",
        f"{GITHUB}shiyu-coder/Kronos/pull/263",
        scaled_window(with_target=True),
        scaled_window(with_target=False),
        "truncation perturbation",
    ),
    Mutant(
        "sequences/index_of_other_rows",
        "an index whose windows reach into another symbol",
        f"{GITHUB}pandas-dev/pandas/issues/21200: values carried over the border of two groups",
        frozenset({"windows"}),
        index_of_other_rows,
    ),
    Mutant(
        "sequences/index_off_by_one",
        "an index that points one row too far",
        f"{GITHUB}VivekPa/AIAlpha/issues/8: a loop that takes the next candles",
        frozenset({"windows"}),
        index_off_by_one,
    ),
]
