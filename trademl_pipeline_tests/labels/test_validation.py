"""The four pattern validations, against a reference in pandas, row by row."""

import numpy as np
import pandas as pd
import polars as pl
import pytest

from trademl_pipeline.labels import pattern_validations
from trademl_pipeline_tests.features.panels import random_bars

NAMES = ["momentum_persistence", "volatility_regime", "trend_exhaustion", "volume_divergence"]


def expected(b: pd.DataFrame) -> pd.DataFrame:
    c = b["close"]
    r = c.pct_change()
    drift, std_20 = np.sign(r.rolling(5).mean()), r.rolling(20).std()
    features = {
        "momentum_persistence": drift.rolling(7).apply(lambda w: np.mean(w == w[-1]), raw=True),
        "volatility_regime": std_20 / std_20.rolling(60).mean() - 1,
        "trend_exhaustion": r.rolling(10).mean().abs() / r.rolling(10).std(),
        "volume_divergence": -r.rolling(20).corr(np.log(b["volume"]).diff()),
    }
    usual = r.rolling(5).std().rolling(20).mean()
    out = pd.DataFrame(np.nan, index=b.index, columns=NAMES)
    for t in range(len(b) - 5):
        following = r.iloc[t + 1 : t + 6]
        ahead = np.sign(c.iloc[t + 5] / c.iloc[t] - 1)
        moves = following[following != 0]
        answers = {
            "momentum_persistence": np.mean(np.sign(moves) == drift.iloc[t]) > 0.6 if len(moves) else None,
            "volatility_regime": (following.std() > usual.iloc[t])
            == (features["volatility_regime"].iloc[t] > 0),
            "trend_exhaustion": ahead * np.sign(c.iloc[t] / c.iloc[max(t - 10, 0)] - 1) < 0,
            "volume_divergence": ahead * np.sign(c.iloc[t] / c.iloc[max(t - 5, 0)] - 1) < 0,
        }
        for name, x in features.items():
            w = x.iloc[max(0, t - 249) : t + 1]
            if len(w) < 250 or w.isna().any():
                continue
            others = w.iloc[:-1]
            rank = ((others < w.iloc[-1]).sum() + 0.5 * (others == w.iloc[-1]).sum()) / 249
            if rank > 0.70 and answers[name] is not None:
                out.loc[b.index[t], name] = float(answers[name])
    return out


@pytest.mark.parametrize("tick", [None, 0.25])
def test_validations_equal_the_slow_reference(tick: float | None) -> None:
    bars = random_bars(1, 760, seed=4, tick=tick)
    want = expected(bars.to_pandas())
    got = bars.select("symbol", "session").join(
        pattern_validations(bars), on=["symbol", "session"], how="left", maintain_order="left"
    )
    for name in NAMES:
        np.testing.assert_array_equal(
            got[name].cast(pl.Float64).to_numpy(), want[name].to_numpy(), err_msg=name
        )
        assert want[name].notna().sum() > 20


def test_about_three_in_ten_sessions_fire() -> None:
    labels = pattern_validations(random_bars(4, 1200, seed=6))
    sessions = 4 * 1200 - 4 * 330
    for name in NAMES[1:]:
        assert 0.2 < labels[name].len() * (1 - labels[name].null_count() / labels.height) / sessions < 0.4


def test_the_trigger_is_blind_to_the_whole_sample() -> None:
    """A feature that only grows is always above its own past: a full-sample percentile would fire late only."""
    bars = random_bars(1, 700, seed=7)
    early = bars.head(500)
    full = pattern_validations(bars).filter(pl.col("label_end") <= early["session"].max())
    assert pattern_validations(early).equals(full)


def test_a_market_without_moves_tells_nothing_of_momentum() -> None:
    bars = random_bars(1, 420, seed=8)
    still = pl.int_range(pl.len()) > 300
    frozen = bars.with_columns(
        pl.when(still).then(pl.col(c).gather(300)).otherwise(pl.col(c)).alias(c)
        for c in ("open", "high", "low", "close")
    )
    later = pattern_validations(frozen).filter(pl.col("session") >= bars["session"][310])
    assert later["momentum_persistence"].null_count() == later.height
