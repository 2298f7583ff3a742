import numpy as np
import polars as pl
import pytest

from trademl_pipeline.leakage import audit_features
from trademl_pipeline.leakage.feature_audit.cutoffs import Cutoffs, cutoffs_of, events_first
from trademl_pipeline.leakage.feature_audit.extractor import Extractor
from trademl_pipeline.leakage.feature_audit.views import Panel
from trademl_pipeline_tests.leakage.panels import CLOSE, RETURN, bars, features

BARS = bars(4, 120, gaps=False)
DAYS = BARS["session"].unique().sort().to_list()
EVENTS = [DAYS[k] for k in (17, 58, 101)]
IS_EVENT = pl.col("session").is_in(EVENTS) & (pl.col("symbol") == "S02")
AHEAD = CLOSE.shift(-1) / CLOSE - 1


def chosen(extract, cutoffs=3, frame: pl.DataFrame = BARS, seed: int = 0) -> Cutoffs:
    panel = Panel(frame.sort("symbol", "session"))
    base, _ = Extractor(extract, panel).base(panel, 1e-7, 1e-9)
    window = (0, panel.last)
    return events_first(cutoffs_of(panel, window, cutoffs, seed), panel, base, window, seed)


@pytest.mark.parametrize("usual", [0.0, None])
@pytest.mark.parametrize("seed", range(4))
def test_a_leak_of_rare_rows_is_cut_at_one_of_them(usual, seed):
    peek = pl.when(IS_EVENT).then(AHEAD).otherwise(usual)
    report = audit_features(features(RETURN, peek), BARS, probes=["truncation"], cutoffs=2, seed=seed)
    assert {v.column for v in report.violations} == {"x1"}
    assert {v.first_leak for v in report.violations} <= set(EVENTS)
    assert report.coverage["truncation"]["event_sessions"] == 1


def test_a_flag_is_cut_where_it_fires_and_what_is_missed_is_named():
    flags = [pl.when(pl.col("session") == day).then(1).otherwise(0) for day in EVENTS]
    cut = chosen(features(RETURN, *flags), cutoffs=3)
    assert (len(cut.sessions), cut.events) == (3, 2)
    assert len(set(EVENTS) & {DAYS[t] for t in cut.sessions}) >= 2
    coverage = audit_features(features(RETURN, *flags), BARS, probes=["truncation"], cutoffs=3).coverage
    assert len(coverage["truncation"]["rare_columns_at_no_cutoff"]) <= 1
    every = chosen(features(RETURN, *flags), cutoffs=4)
    assert every.missed == ()
    assert set(EVENTS) <= {DAYS[t] for t in every.sessions}


def test_without_rare_columns_the_largest_moves_are_cut_at():
    crash = pl.when((pl.col("symbol") == "S01") & (pl.col("session") >= DAYS[70])).then(0.5).otherwise(1.0)
    frame = BARS.with_columns(pl.col("close") * crash)
    cut = chosen(features(RETURN), frame=frame)
    assert 70 in cut.sessions
    assert cut.sessions[0] < 6
    report = audit_features(
        features(pl.when(RETURN < -0.4).then(AHEAD).otherwise(RETURN)),
        frame,
        probes=["truncation"],
        cutoffs=2,
    )
    assert not report.passed


def test_draws_are_the_same_for_a_seed_and_others_for_another():
    flag = pl.when(pl.int_range(pl.len()) % 40 == 7).then(1).otherwise(0)
    draws = [tuple(chosen(features(RETURN, flag), seed=seed).sessions) for seed in (0, 0, *range(1, 8))]
    assert draws[0] == draws[1]
    assert len(set(draws)) >= 4
    assert len({t for draw in draws for t in draw}) >= 6


@pytest.mark.parametrize("cutoffs", ["all", [DAYS[3], DAYS[9]], 1, 5, 119])
def test_as_many_as_were_asked_for_and_never_the_last(cutoffs):
    cut = chosen(features(RETURN, pl.when(IS_EVENT).then(1).otherwise(0)), cutoffs)
    expected = 119 if cutoffs == "all" else len(cutoffs) if isinstance(cutoffs, list) else cutoffs
    assert len(cut.sessions) == expected
    assert cut.sessions == sorted(set(cut.sessions))
    assert cut.sessions[-1] < 119
    assert cut.exhaustive is (expected == 119)


def test_a_column_that_varies_is_not_rare():
    assert chosen(features(RETURN, CLOSE, pl.int_range(pl.len()) % 3, pl.lit(4))).missed == ()
    assert np.isfinite(chosen(features(RETURN)).events)
