"""On a random walk breakouts can be told apart without skill, and the verdict must not be taken in by it."""

from dataclasses import replace
from datetime import date

import numpy as np
import polars as pl
import pytest

from trademl_pipeline.features.consolidation import RULES
from trademl_pipeline.features.patterns import pattern_observations
from trademl_pipeline.features.prepare import prepare
from trademl_pipeline.labels.breakout import STRATEGIC_VALUES, breakout_labels
from trademl_pipeline.market.calendar import month_expr, sessions
from trademl_pipeline.reports import ReportConfig, ReportInputs, build_report

DAYS = sessions(date(2010, 1, 4), date(2017, 12, 29))
SPLIT = date(2014, 1, 1)
STEPS, SYMBOLS = 8, 40
CONFIG = ReportConfig("walk", "A random walk", horizon=100, seed=1, task="breakout", draws=500)


def walk(seed):
    """Bars of martingales whose volatility changes every sixty sessions."""
    rng, n = np.random.default_rng(seed), len(DAYS)
    level = rng.standard_normal((n // 60 + 1, SYMBOLS)).repeat(60, axis=0)[:n]
    sigma = 0.02 / np.sqrt(STEPS) * np.exp(0.5 * level).repeat(STEPS, axis=0)
    steps = sigma * rng.standard_normal(sigma.shape) - sigma**2 / 2
    path = 100 * np.exp(np.cumsum(steps, axis=0)).reshape(n, STEPS, SYMBOLS)
    close = path[:, -1]
    opening = np.vstack([close[:1], close[:-1]])
    return pl.DataFrame(
        {
            "symbol": np.tile([f"S{i:02d}" for i in range(SYMBOLS)], n),
            "session": np.repeat(np.array(DAYS, dtype="datetime64[D]"), SYMBOLS),
            "open": opening.ravel(),
            "high": np.maximum(path.max(axis=1), opening).ravel(),
            "low": np.minimum(path.min(axis=1), opening).ravel(),
            "close": close.ravel(),
            "volume": np.exp(rng.normal(14, 0.3, n * SYMBOLS)),
        }
    )


def by_place_in_channel(bars):
    """Predictions that know how often each class came, by where the price stood in how wide a channel."""
    channel = pattern_observations(prepare(bars), RULES).select("symbol", "session", "upper", "lower")
    rows = (
        breakout_labels(bars)
        .join(channel, on=["symbol", "session"])
        .join(bars.select("symbol", "session", "close"), on=["symbol", "session"])
        .with_columns(
            place=(pl.col("close") - pl.col("lower")) / (pl.col("upper") - pl.col("lower")),
            width=pl.col("upper") / pl.col("lower") - 1,
        )
    )
    before, after = rows.filter(pl.col("label_end") < SPLIT), rows.filter(pl.col("session") >= SPLIT)
    places = np.quantile(before["place"], (0.2, 0.4, 0.6, 0.8))
    widths = np.quantile(before["width"], (0.25, 0.5, 0.75))

    def cell(frame):
        return np.searchsorted(places, frame["place"].to_numpy()) * 4 + np.searchsorted(
            widths, frame["width"].to_numpy()
        )

    counts = np.full((20, 6), 0.5)
    np.add.at(counts, (cell(before), before["target"].to_numpy().astype(int)), 1)
    p = (counts / counts.sum(axis=1, keepdims=True))[cell(after)]
    ev = p @ np.array(STRATEGIC_VALUES)
    predictions = after.select("symbol", "session").with_columns(
        *(pl.Series(f"p_k{k}", p[:, k]) for k in range(6)),
        ev=ev,
        signal=pl.Series(np.where(ev >= np.quantile(ev, 0.7), "MODERATE", "AVOID")),
        score=ev,
        fold=month_expr(),
    )
    columns = ("symbol", "session", "target", "forward_return", "best_gain", "label_start", "label_end")
    return ReportInputs(predictions, after.select(columns), bars.filter(pl.col("session") >= SPLIT))


@pytest.mark.slow
def test_place_in_the_channel_tells_classes_but_is_rarely_called_an_edge():
    reports = [build_report(by_place_in_channel(walk(seed)), CONFIG) for seed in range(40)]
    told = [r.summary()["scores"]["EV correlation"]["value"] for r in reports]
    assert np.mean(told) > 4 * np.std(told) / np.sqrt(len(told))
    assert np.mean(told) > 0.05
    # Two primary tests at 2.5 %; the 99.9 % point of a binomial of 40 at 5 % is 7.
    assert sum(r.verdict.kind == "edge" for r in reports) <= 7


@pytest.fixture(scope="module")
def inputs():
    return by_place_in_channel(walk(0))


def test_races_too_young_to_have_run_are_not_scored(inputs):
    e = build_report(inputs, CONFIG).evaluation
    last = inputs.bars["session"].unique().sort()[-101]
    young = inputs.predictions.join(inputs.outcomes, on=["symbol", "session"]).filter(
        pl.col("session") > last
    )
    assert young.height > 0
    # What is known of the last hundred sessions was decided early: a sample chosen by its outcome.
    assert 0 not in set(young["target"])
    assert (young["target"] == 5).mean() > 2 * (inputs.outcomes["target"] == 5).mean()
    assert e.last <= last
    assert e.dropped == young.height
    text = build_report(inputs, CONFIG).to_markdown()
    assert f"{young.height} first-passage labels that began within 100 sessions of the end" in text


def test_where_no_race_has_run_its_length_no_edge_is_shown(inputs):
    days = inputs.bars["session"].unique().sort()
    early = replace(
        inputs,
        bars=inputs.bars.filter(pl.col("session") <= days[99]),
        predictions=inputs.predictions.filter(pl.col("session") <= days[90]),
        outcomes=inputs.outcomes.filter(pl.col("label_end") <= days[99]),
    )
    report = build_report(early, replace(CONFIG, ev_ceiling=1.0))
    assert report.evaluation.immature
    assert (
        report.verdict.headline
        == "No edge shown: no first-passage label has run its full length, only those decided early are known."
    )
