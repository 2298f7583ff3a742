"""What trees and the linear model see of a window."""

from datetime import date, timedelta

import numpy as np
import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from trademl_pipeline.sequences.windows import Windows
from trademl_pipeline.training.estimators import row_names, rows_of
from trademl_pipeline.training.fitting import groups_of

LENGTH, FEATURES = 6, 3


def windows(seed: int, n: int, missing: float) -> Windows:
    """Windows over random values, some missing, the first ones shorter than they may be."""
    rng = np.random.default_rng(seed)
    matrix = rng.normal(size=(n + LENGTH, FEATURES))
    matrix[rng.random(matrix.shape) < missing] = np.nan
    row = np.arange(n) + LENGTH - 1
    return Windows(matrix, row, rng.integers(1, LENGTH + 1, n), LENGTH, pl.DataFrame({"row": row}))


@given(
    seed=st.integers(0, 10**6),
    n=st.integers(1, 20),
    missing=st.sampled_from((0.0, 0.3, 1.0)),
    means=st.lists(st.integers(2, LENGTH), min_size=1, max_size=3).map(tuple),
)
def test_means_take_in_the_last_sessions_that_the_symbol_has_and_what_is_known_of_them(
    seed, n, missing, means
):
    source = windows(seed, n, missing)
    got = rows_of(source, (0,), means)
    assert got.shape == (n, FEATURES * (1 + len(means)))
    np.testing.assert_array_equal(got[:, :FEATURES], source.matrix[source.row])
    for k in range(n):
        own = source.matrix[source.row[k] + 1 - source.n_valid[k] : source.row[k] + 1].astype(np.float32)
        for i, span in enumerate(means, start=1):
            for f in range(FEATURES):
                known = own[-span:, f][~np.isnan(own[-span:, f])]
                want = known.astype(float).mean() if len(known) else np.nan
                np.testing.assert_allclose(got[k, i * FEATURES + f], want, rtol=1e-12, atol=1e-12)


def test_means_of_many_windows_are_those_of_each():
    source = windows(0, 5000, 0.2)
    some = np.array([0, 4095, 4096, 4999])
    np.testing.assert_array_equal(
        rows_of(source, (0, 1), (3, 6))[some], rows_of(source.take(some), (0, 1), (3, 6))
    )


def test_every_column_has_its_name_in_the_order_of_the_rows():
    assert row_names(("a", "b"), (0, 5), (10,)) == ("a", "b", "a@5", "b@5", "a~10", "b~10")


@given(seed=st.integers(0, 10**6), n=st.integers(1, 40))
def test_rows_are_together_if_session_end_and_signs_are_the_same(seed, n):
    rng = np.random.default_rng(seed)
    source = windows(seed, n, 0.2)
    first = date(2020, 1, 1)
    session = [first + timedelta(days=int(d)) for d in rng.integers(0, 3, n)]
    end = [day + timedelta(days=int(d)) for day, d in zip(session, rng.integers(5, 7, n), strict=True)]
    keys = pl.DataFrame({"session": session, "label_end": end})
    source = Windows(source.matrix, source.row, source.n_valid, LENGTH, keys)
    group = groups_of(source, ("a", "b", "c"), ("c", "a"))
    signs = np.sign(np.nan_to_num(source.matrix[source.row]))
    told = [(session[i], end[i], signs[i, 2], signs[i, 0]) for i in range(n)]
    for i in range(n):
        assert [group[i] == group[j] for j in range(n)] == [told[i] == told[j] for j in range(n)]
    whole = groups_of(source, ("a", "b", "c"), ())
    assert len(set(whole)) == len(set(zip(session, end, strict=True)))
