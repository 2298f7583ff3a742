import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trademl_pipeline.reports.drift import drift, drift_by_fold, level, stability


def scores(*parts):
    return pl.concat(
        [pl.DataFrame({"fold": [f"2019-{m:02d}-01"] * len(p), "score": p}) for m, p in enumerate(parts, 1)]
    )


def test_index_is_that_of_the_formula():
    reference = np.arange(1000.0)
    moved = np.arange(500.0, 1500.0)
    was = np.full(10, 0.1)
    now = np.array([0.0005, 0.0005, 0.0005, 0.0005, 0.0005, 0.1, 0.1, 0.1, 0.1, 0.6])
    psi, bins = stability(reference, moved)
    assert bins == 10
    assert psi == pytest.approx(((now - was) * np.log(now / was)).sum(), rel=1e-6)


def test_same_distribution_drifts_no_more_than_sampling_and_a_shift_does():
    rng = np.random.default_rng(2)
    a, b, c = rng.standard_normal(2000), rng.standard_normal(500), rng.standard_normal(500) + 1
    frame = drift_by_fold(scores(a, b, c))
    assert frame["psi"][0] is None
    assert frame["psi"][1] < 3 * frame["sampling"][1]
    assert frame["psi"][2] > 0.25
    words = [level(r["psi"], r["sampling"]) for r in frame.iter_rows(named=True)]
    assert words == ["the first", "low", "high"]
    assert "scores of 1 drift much and of 0 moderately" in drift(scores(a, b, c)).text[0]


def test_constant_scores_have_one_bin_and_no_drift():
    frame = drift_by_fold(scores(np.zeros(50), np.zeros(50)))
    assert frame["psi"][1] == 0.0
    assert drift(scores(np.zeros(5))).figures == []


@given(
    st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=80),
    st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=80),
)
def test_index_is_finite_and_a_sample_does_not_drift_from_itself(reference, sample):
    psi, bins = stability(np.array(reference), np.array(sample))
    assert np.isfinite(psi)
    assert 1 <= bins <= 10
    assert stability(np.array(reference), np.array(reference))[0] == 0
