"""Each operator against a slow reference that looks at one window at a time."""

import math
from collections.abc import Callable

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trademl_pipeline.features import operators as op

N = 5


def rank(w: np.ndarray) -> float:
    others = w[:-1]
    return (np.sum(others < w[-1]) + 0.5 * np.sum(others == w[-1])) / len(others)


def skewness(w: np.ndarray) -> float:
    n, d = len(w), w - w.mean()
    m2 = np.mean(d**2)
    return math.sqrt(n * (n - 1)) / (n - 2) * np.mean(d**3) / m2**1.5 if m2 > 0 else math.nan


WINDOWS: dict[str, tuple[Callable[[pl.Expr], pl.Expr], Callable[[np.ndarray], float]]] = {
    "total": (lambda x: op.total(x, N), np.sum),
    "mean": (lambda x: op.mean(x, N), np.mean),
    "variance": (lambda x: op.variance(x, N), lambda w: np.var(w, ddof=1)),
    "population": (lambda x: op.std(x, N, ddof=0), np.std),
    "deviation": (lambda x: op.deviation(x, N), lambda w: np.mean(np.abs(w - w.mean()))),
    "highest": (lambda x: op.highest(x, N), np.max),
    "lowest": (lambda x: op.lowest(x, N), np.min),
    "since_highest": (lambda x: op.since_highest(x, N), lambda w: np.argmax(w[::-1])),
    "since_lowest": (lambda x: op.since_lowest(x, N), lambda w: np.argmin(w[::-1])),
    "slope": (lambda x: op.slope(x, N), lambda w: np.polyfit(np.arange(len(w)), w, 1)[0]),
    "rank": (lambda x: op.rank(x, N), rank),
    "lag": (lambda x: op.lag(x, N - 1), lambda w: w[0]),
}

values = st.one_of(
    st.just(math.nan),
    st.integers(-3, 3).map(float),
    st.floats(-1e6, 1e6, allow_nan=False).map(lambda v: round(v, 6)),
)
columns = st.lists(st.lists(values, min_size=1, max_size=30), min_size=1, max_size=4)


def panel_of(symbols: list[list[float]]) -> pl.DataFrame:
    ages = np.concatenate([np.arange(len(s)) for s in symbols]).astype(np.int32)
    return pl.DataFrame({op.AGE: ages, "x": np.concatenate(symbols)}, schema_overrides={"x": pl.Float64})


def reference(symbols: list[list[float]], n: int, of: Callable[[np.ndarray], float]) -> np.ndarray:
    out = []
    for x in (np.array(s, dtype=float) for s in symbols):
        for i in range(len(x)):
            w = x[max(0, i - n + 1) : i + 1]
            out.append(
                of(w) if len(w) == n and (of is WINDOWS["lag"][1] or not np.isnan(w).any()) else math.nan
            )
    return np.array(out, dtype=float)


@pytest.mark.parametrize("name", list(WINDOWS))
@settings(max_examples=60, deadline=None)
@given(symbols=columns)
def test_window_equals_the_same_window_alone(name: str, symbols: list[list[float]]) -> None:
    build, slow = WINDOWS[name]
    got = panel_of(symbols).select(build(pl.col("x"))).to_series().to_numpy()
    want = reference(symbols, N, slow)
    assert (np.isnan(got) == np.isnan(want)).all()
    scale = max(1.0, float(np.nanmax(np.abs(np.concatenate(symbols)), initial=0.0)))
    power = 2 if name == "variance" else 1
    np.testing.assert_allclose(got, want, rtol=1e-9, atol=1e-9 * scale**power)


@pytest.mark.parametrize("n", [1, 2, 3, 7, 20, 64, 100, 250])
def test_sums_and_extremes_of_any_length(n: int) -> None:
    rng = np.random.default_rng(n)
    symbols = [list(rng.normal(size=size)) for size in (5000, 1, 260, 3)]
    got = panel_of(symbols).select(
        total=op.total("x", n), high=op.highest("x", n), low=op.lowest("x", n), std=op.std("x", n, ddof=0)
    )
    for name, of in (("total", np.sum), ("high", np.max), ("low", np.min), ("std", np.std)):
        np.testing.assert_allclose(got[name].to_numpy(), reference(symbols, n, of), rtol=1e-11, atol=1e-11)


def test_pairs_equal_numpy() -> None:
    rng = np.random.default_rng(3)
    x = rng.normal(size=200)
    y = 0.5 * x + rng.normal(size=200)
    frame = pl.DataFrame({op.AGE: np.arange(200, dtype=np.int32), "x": x, "y": y})
    got = frame.select(
        covariance=op.covariance("x", "y", 20),
        correlation=op.correlation("x", "y", 20),
        beta=op.beta("x", "y", 20),
    )
    for i in range(19, 200):
        a, b = x[i - 19 : i + 1], y[i - 19 : i + 1]
        assert got["covariance"][i] == pytest.approx(np.cov(a, b, ddof=0)[0, 1], rel=1e-10)
        assert got["correlation"][i] == pytest.approx(np.corrcoef(a, b)[0, 1], rel=1e-10)
        assert got["beta"][i] == pytest.approx(np.cov(a, b, ddof=0)[0, 1] / np.var(b), rel=1e-10)
    assert got.head(19).null_count().row(0) == (19, 19, 19)


def test_skewness_equals_the_textbook() -> None:
    x = np.random.default_rng(4).normal(size=60) ** 3
    frame = pl.DataFrame({op.AGE: np.arange(60, dtype=np.int32), "x": x})
    got = frame.select(op.skewness("x", 7)).to_series().to_numpy()
    np.testing.assert_allclose(got, reference([list(x)], 7, skewness), rtol=1e-9)


def test_constant_windows_have_no_spread_at_any_level() -> None:
    for level in (0.1, 1 / 3, 1e9 / 7, 1e-9):
        frame = pl.DataFrame({op.AGE: np.arange(60, dtype=np.int32), "x": np.full(60, level)})
        got = frame.select(
            s=op.std("x", 20), d=op.deviation("x", 20), z=op.zscore("x", 20), k=op.skewness("x", 7)
        )
        assert set(got["s"].drop_nulls()) == {0.0}
        assert set(got["d"].drop_nulls()) == {0.0}
        assert got["z"].null_count() == 60
        assert got["k"].null_count() == 60


def test_a_huge_value_leaves_no_trace_once_it_has_left_the_window() -> None:
    x = np.random.default_rng(5).uniform(1, 2, 300)
    spiked = x.copy()
    spiked[50] = 1e15
    build = [op.mean("x", 20).alias("m"), op.std("x", 20).alias("s"), op.slope("x", 20).alias("k")]
    a, b = (
        pl.DataFrame({op.AGE: np.arange(300, dtype=np.int32), "x": v}).select(build).slice(70)
        for v in (x, spiked)
    )
    assert a.equals(b)


@settings(max_examples=60, deadline=None)
@given(symbols=columns, n=st.integers(1, 6))
def test_recursions_start_afresh_after_a_missing_value(symbols: list[list[float]], n: int) -> None:
    want = []
    for x in symbols:
        seen: list[float] = []
        y = math.nan
        for v in x:
            if math.isnan(v):
                seen, y = [], math.nan
            elif len(seen) < n:
                seen.append(v)
                y = float(np.mean(seen)) if len(seen) == n else math.nan
            else:
                y += 2 / (n + 1) * (v - y)
            want.append(y if not math.isnan(v) else math.nan)
    got = panel_of(symbols).select(op.ema("x", n)).to_series().to_numpy()
    np.testing.assert_allclose(got, want, rtol=1e-9, atol=1e-6)


@settings(max_examples=100, deadline=None)
@given(
    symbols=st.lists(
        st.lists(st.sampled_from([True, False, None]), min_size=1, max_size=25), min_size=1, max_size=3
    ),
    cap=st.integers(1, 6),
)
def test_run_length_is_null_until_it_is_known(symbols: list[list[bool | None]], cap: int) -> None:
    want: list[float | None] = []
    for states in symbols:
        for i in range(len(states)):
            length: int | None = 0
            for j in range(i, -2, -1):
                if length == cap:
                    break
                if j < 0 or states[j] is None:
                    length = None
                    break
                if states[j] is False:
                    break
                length += 1
            want.append(length)
    ages = np.concatenate([np.arange(len(s)) for s in symbols]).astype(np.int32)
    frame = pl.DataFrame(
        {op.AGE: ages, "state": [v for s in symbols for v in s]}, schema_overrides={"state": pl.Boolean}
    )
    assert frame.select(op.run_length(pl.col("state"), cap)).to_series().to_list() == want


def test_division_by_zero_is_what_was_said() -> None:
    frame = pl.DataFrame({"a": [1.0, 0.0, None], "b": [0.0, 0.0, 2.0]})
    assert frame.select(op.divide("a", "b")).to_series().to_list() == [None, None, None]
    assert frame.select(op.divide("a", "b", otherwise=0.5)).to_series().to_list() == [0.5, 0.5, None]
