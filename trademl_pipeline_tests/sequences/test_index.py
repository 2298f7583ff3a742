"""Windows: which rows they hold, where they are padded, and that gathering them copies the right ones."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trademl_pipeline.sequences import SequenceInputError, feature_matrix, flat, gather, window_index
from trademl_pipeline_tests.features.panels import weekdays

lengths = st.lists(st.integers(1, 12), min_size=1, max_size=5)


def frame_of(rows: list[int]) -> pl.DataFrame:
    """Symbols of the given numbers of rows; feature a is the row's number, b its square or null."""
    symbol = [f"S{k}" for k, n in enumerate(rows) for _ in range(n)]
    session = np.concatenate([weekdays(n) for n in rows])
    a = np.arange(len(symbol), dtype=float)
    return pl.DataFrame({"symbol": symbol, "session": session, "a": a}).with_columns(
        b=pl.when(pl.col("a") % 3 == 1).then(None).otherwise(pl.col("a") ** 2)
    )


@settings(max_examples=80, deadline=None)
@given(rows=lengths, length=st.integers(1, 15))
def test_every_window_holds_its_symbols_last_rows_and_padding_before_the_first(
    rows: list[int], length: int
) -> None:
    features = frame_of(rows)
    index = window_index(features, length)
    matrix = feature_matrix(features)
    x, mask = gather(matrix, index["row"].to_numpy(), index["n_valid"].to_numpy(), length)
    assert x.shape == (len(features), length, 2)
    assert x.dtype == np.float32
    assert mask.dtype == bool
    assert index.select("symbol", "session").equals(features.select("symbol", "session"))
    first = 0
    for n in rows:
        for k in range(n):
            r = first + k
            valid = min(k + 1, length)
            assert index["row"][r] == r
            assert index["n_valid"][r] == valid
            assert index["window_start"][r] == features["session"][r - valid + 1]
            assert mask[r].tolist() == [False] * (length - valid) + [True] * valid
            assert (x[r, : length - valid] == 0).all()
            np.testing.assert_array_equal(x[r, length - valid :], matrix[r - valid + 1 : r + 1])
        first += n


@settings(max_examples=60, deadline=None)
@given(rows=lengths, length=st.integers(1, 15), seed=st.integers(0, 5))
def test_any_batch_is_a_choice_of_all_windows(rows: list[int], length: int, seed: int) -> None:
    features = frame_of(rows)
    index = window_index(features, length)
    row, n_valid, matrix = index["row"].to_numpy(), index["n_valid"].to_numpy(), feature_matrix(features)
    every, every_mask = gather(matrix, row, n_valid, length)
    chosen = np.random.default_rng(seed).integers(0, len(row), 7)
    x, mask = gather(matrix, row[chosen], n_valid[chosen], length)
    np.testing.assert_array_equal(x, every[chosen])
    np.testing.assert_array_equal(mask, every_mask[chosen])
    x[:] = -1
    np.testing.assert_array_equal(feature_matrix(features), matrix)


def test_rows_of_any_type_and_layout_will_do() -> None:
    features = frame_of([9, 4])
    index = window_index(features, 5)
    row, n_valid = index["row"].to_numpy(), index["n_valid"].to_numpy()
    plain = feature_matrix(features)
    want, _ = gather(plain, row, n_valid, 5)
    for matrix in (plain.astype(np.float64), np.asfortranarray(plain)):
        np.testing.assert_array_equal(gather(matrix, row, n_valid, 5)[0], want)


def test_null_becomes_nan_and_stays_in_the_window() -> None:
    features = frame_of([5])
    x, mask = gather(feature_matrix(features), np.array([4]), np.array([4]), 4)
    assert np.isnan(x[0, 0, 1])
    assert mask.all()
    assert feature_matrix(features, ["b"]).shape == (5, 1)


@settings(max_examples=60, deadline=None)
@given(rows=lengths, lags=st.lists(st.integers(0, 6), min_size=1, max_size=4))
def test_flat_rows_hold_earlier_sessions_of_the_same_symbol(rows: list[int], lags: list[int]) -> None:
    features = frame_of(rows)
    index = window_index(features, 20)
    matrix = feature_matrix(features)
    got = flat(matrix, index["row"].to_numpy(), tuple(lags), index["n_valid"].to_numpy())
    age = np.concatenate([np.arange(n) for n in rows])
    for j, lag in enumerate(lags):
        part = got[:, 2 * j : 2 * j + 2]
        known = age >= lag
        np.testing.assert_array_equal(part[known], matrix[np.flatnonzero(known) - lag])
        assert np.isnan(part[~known]).all()


def test_wrong_input_is_refused() -> None:
    features = frame_of([4, 3])
    matrix = feature_matrix(features)
    with pytest.raises(SequenceInputError, match="window length is 0"):
        window_index(features, 0)
    with pytest.raises(SequenceInputError, match="must be sorted"):
        window_index(features.reverse(), 3)
    with pytest.raises(SequenceInputError, match="each key once"):
        window_index(pl.concat([features.head(1), features]), 3)
    with pytest.raises(SequenceInputError, match="negative lag would read the future"):
        flat(matrix, np.array([3]), (0, -1), np.array([4]))
    with pytest.raises(SequenceInputError, match="need n_valid"):
        flat(matrix, np.array([3]), (0, 1))


def test_an_empty_frame_has_no_windows() -> None:
    index = window_index(frame_of([3]).clear(), 5)
    assert index.height == 0
    assert index.columns == ["symbol", "session", "row", "n_valid", "window_start"]
