import numpy as np
import polars as pl
import pytest

from trademl_pipeline.leakage.feature_audit.corrupt import STYLES, corrupt_future
from trademl_pipeline.leakage.feature_audit.extractor import Extractor, as_of
from trademl_pipeline.leakage.feature_audit.stacking import room, stackable, together
from trademl_pipeline.leakage.feature_audit.views import Panel
from trademl_pipeline_tests.leakage.panels import CLOSE, RETURN, bars, features

BARS = bars(6, 40)
BY_SYMBOL = BARS.select("symbol", "session", news=pl.col("volume"))


@pytest.mark.parametrize(
    "extract", [features(RETURN.rolling_std(5), RETURN.cum_sum()), features(CLOSE.shift(2))]
)
def test_views_side_by_side_come_out_as_they_do_alone(extract):
    panel = Panel(BARS)
    extractor = Extractor(extract, panel)
    views = [as_of(panel, cutoff, low) for cutoff, low in ((3, 0), (20, 10), (21, 0), (39, 30))]
    several = together(extractor, panel, views, "side by side", 0)
    assert extractor.calls == 1
    for view, table in zip(views, several, strict=True):
        alone = extractor(view, "alone")
        assert np.array_equal(table.keys, alone.keys)
        assert np.allclose(table.values, alone.values, rtol=1e-12, equal_nan=True)


def test_sources_by_symbol_lie_beside_their_copies():
    panel = Panel(BARS, {"news": BY_SYMBOL})
    assert stackable(panel)
    assert not stackable(Panel(BARS, {"index": BARS.select("session").unique()}))

    def extract(frame: pl.DataFrame, news: pl.DataFrame) -> pl.DataFrame:
        return frame.join(news, on=["symbol", "session"], how="left").select("symbol", "session", "news")

    extractor = Extractor(extract, panel)
    views = [as_of(panel, cutoff) for cutoff in (5, 9)]
    several = together(extractor, panel, views, "side by side", 0)
    for view, table in zip(views, several, strict=True):
        assert np.array_equal(table.values, extractor(view, "alone").values)


def test_absurd_bars_lie_at_both_ends_and_move_what_pools_over_all():
    panel, seen = Panel(BARS), []

    def extract(frame: pl.DataFrame) -> pl.DataFrame:
        seen.append(frame)
        return features(RETURN)(frame)

    together(Extractor(extract, panel), panel, [as_of(panel, 8), as_of(panel, 9)], "here", 0)
    names = seen[-1]["symbol"].unique().sort().to_list()
    ends = seen[-1].filter(pl.col("symbol").is_in([names[0], names[-1]]))
    honest = seen[-1].filter(~pl.col("symbol").is_in([names[0], names[-1]]))["close"]
    assert ends["session"].max() == panel.axis.sessions[9]
    by_session = ends.group_by("session").agg(low=pl.col("close").min(), high=pl.col("close").max())
    assert (by_session["low"] < honest.min()).all()
    assert (by_session["high"] > honest.max()).all()
    assert sum(f.height for f in seen) <= room(panel)


def test_styles_take_turns():
    one = BARS.filter(pl.col("symbol") == "S00")
    future = np.arange(one.height) == 20
    factors = set()
    for turn in range(len(STYLES)):
        rng = np.random.default_rng(0)
        made = corrupt_future(one, future, np.zeros(one.height, dtype=int), rng, turn=turn)
        factors.add(round(made["close"][20] / one["close"][20], 6))
    assert len(factors) == len(STYLES)
