"""Windows of pattern observations: the boundaries known at the observation, on the steps of its own pattern and on no
other."""

import numpy as np
import polars as pl
import pytest

from trademl_pipeline.features import FEATURE_SETS, compute
from trademl_pipeline.features.consolidation import PATTERN_FEATURES
from trademl_pipeline.sequences import PatternWindows, pattern_windows
from trademl_pipeline_tests.features.panels import PRICES, random_bars, sleeping_bars

NAMES = FEATURE_SETS["breakout"]
PATTERN = [f.name for f in PATTERN_FEATURES]
OF = {n: NAMES.index(n) for n in NAMES}
LENGTH = 50


@pytest.fixture(scope="module")
def bars() -> pl.DataFrame:
    return pl.concat([random_bars(14, 700, seed=5), sleeping_bars("Z", 700, asleep=300, restless=17)])


@pytest.fixture(scope="module")
def windows(bars: pl.DataFrame) -> PatternWindows:
    return pattern_windows(bars, LENGTH)


@pytest.fixture(scope="module")
def gathered(windows: PatternWindows) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return windows.gather(np.arange(len(windows)))


def test_there_is_a_window_for_every_active_session(bars: pl.DataFrame, windows: PatternWindows) -> None:
    active = compute(bars, "breakout").filter(pl.col("is_active") == 1)
    assert len(windows) == active.height > 200
    assert windows.index.select("symbol", "session").equals(active.select("symbol", "session"))


def test_core_and_breakout_features_are_those_of_the_matrix(
    bars: pl.DataFrame, windows: PatternWindows, gathered: tuple[np.ndarray, ...]
) -> None:
    x, mask, _ = gathered
    features = compute(bars, "breakout")
    base = [n for n in NAMES if n not in PATTERN]
    row = windows.index["row"].to_numpy()
    for k in range(0, len(windows), 37):
        want = features[int(row[k]) - LENGTH + 1 : int(row[k]) + 1].select(base).to_numpy().astype(np.float32)
        assert mask[k].all()
        np.testing.assert_array_equal(x[k][:, [OF[n] for n in base]], want)


def test_steps_of_the_pattern_see_its_boundaries_and_earlier_ones_nothing(
    bars: pl.DataFrame, windows: PatternWindows, gathered: tuple[np.ndarray, ...]
) -> None:
    x, _, pattern_mask = gathered
    index = windows.index
    for k in range(len(windows)):
        row = index.row(k, named=True)
        days = min(row["row"] - row["start_row"] + 1, LENGTH)
        assert pattern_mask[k].tolist() == [False] * (LENGTH - days) + [True] * days
        inside, before = x[k, LENGTH - days :], x[k, : LENGTH - days]
        assert (before[:, OF[PATTERN[0]] :] == 0).all()
        total = row["row"] - row["start_row"] + 1
        assert inside[:, OF["days_in_pattern"]].tolist() == list(range(total - days + 1, total + 1))
        active = (inside[:, OF["days_in_pattern"]] >= 10).astype(float)
        assert inside[:, OF["is_active"]].tolist() == active.tolist()
        assert len(set(inside[:, OF["channel_width"]])) == 1
        assert len(set(inside[:, OF["baseline_bbw"]])) == 1
    starts = {tuple(r) for r in index.select("symbol", "pattern_start").rows()}
    assert len(starts) > 30
    assert (index["session"] > index["pattern_start"]).all()


def test_a_renewed_pattern_takes_its_own_boundaries(windows: PatternWindows) -> None:
    """The restless sleeper: a session is active in one pattern and qualifies for the next."""
    own = windows.index.with_row_index("k").filter(pl.col("symbol") == "Z")
    active = {s: k for k, s in own.select("k", "session").rows()}
    seen = 0
    for k, start, activation in (
        own.filter(pl.col("row") == pl.col("activation_row")).select("k", "pattern_start", "session").rows()
    ):
        if start not in active:
            continue
        seen += 1
        older, renewed = (windows.gather(np.array([j]))[0][0] for j in (active[start], k))
        assert older[-1, OF["days_in_pattern"]] > 10
        assert renewed[-10, OF["days_in_pattern"]] == 1
        assert older[-1, OF["channel_width"]] != renewed[-10, OF["channel_width"]]
        assert (renewed[:-10, OF["days_in_pattern"] :][:, : len(PATTERN) - 2] == 0).all(), activation
    assert seen > 3


def test_windows_are_blind_to_what_comes_after_the_snapshot(
    bars: pl.DataFrame, windows: PatternWindows, gathered: tuple[np.ndarray, ...]
) -> None:
    sessions = bars["session"].unique().sort()
    rng = np.random.default_rng(0)
    for at in (350, 420, 555, 690):
        cut = sessions[at]
        noise = pl.Series(np.exp(rng.normal(0, 1, bars.height)))
        after = pl.col("session") > cut
        changed = bars.with_columns(
            pl.when(after).then(pl.col(c) * noise).otherwise(pl.col(c)) for c in (*PRICES, "volume")
        )
        known = np.flatnonzero((windows.index["session"] <= cut).to_numpy())
        assert len(known) > 20
        for again in (bars.filter(~after), changed):
            got = pattern_windows(again, LENGTH)
            same = np.flatnonzero((got.index["session"] <= cut).to_numpy())
            keys = ["symbol", "session", "n_valid", "window_start", "pattern_start"]
            assert got.index[same].select(keys).equals(windows.index[known].select(keys))
            for a, b in zip(got.gather(same), gathered, strict=True):
                np.testing.assert_array_equal(a, b[known])


def test_short_histories_are_padded_in_front() -> None:
    bars = random_bars(14, 700, seed=5)
    long = pattern_windows(bars, 300)
    x, mask, pattern_mask = long.gather(np.arange(len(long)))
    short = long.index["n_valid"].to_numpy() < 300
    assert short.any()
    assert (mask.sum(axis=1) == long.index["n_valid"].to_numpy()).all()
    assert (x[~mask] == 0).all()
    assert not pattern_mask[~mask].any()
