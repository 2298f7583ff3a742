"""A column that is too good is suspected, an honest one never, and nobody is refused for it."""

import numpy as np
import polars as pl
import pytest

from trademl_pipeline.leakage import AuditInputError, AuditReport, audit_features
from trademl_pipeline.leakage.probes.plausibility import CEILING, audit_plausibility
from trademl_pipeline_tests.leakage.panels import CLOSE, RETURN, VOLUME, bars, features

NEXT = (CLOSE.shift(-1) / CLOSE - 1).over("symbol")


def with_column(panel: pl.DataFrame, noise: float, seed: int) -> pl.DataFrame:
    """The next return of each row with noise of so many times its deviation."""
    drawn = pl.Series(np.random.default_rng(seed).standard_normal(panel.height))
    return panel.select("symbol", "session", x=NEXT + noise * NEXT.std().over("symbol") * drawn)


@pytest.mark.parametrize(("symbols", "sessions"), [(8, 250), (40, 60), (1, 900), (3, 900)])
@pytest.mark.parametrize("seed", range(3))
def test_the_next_return_under_three_times_its_noise_is_suspected(symbols: int, sessions: int, seed: int):
    panel = bars(symbols, sessions, seed=seed, gaps=False)
    (suspicion,) = audit_plausibility(with_column(panel, 3.0, seed), panel).suspicions
    assert suspicion.column == "x"
    assert 0.2 < suspicion.correlation < 0.4
    assert suspicion.correlation - 2 * suspicion.error > CEILING


@pytest.mark.parametrize(("symbols", "sessions"), [(8, 250), (40, 60), (6, 30), (1, 900), (3, 900)])
def test_noise_and_honest_features_are_not(symbols: int, sessions: int):
    for seed in range(10):
        panel = bars(symbols, sessions, seed=seed, gaps=False)
        honest = features(RETURN, CLOSE / CLOSE.rolling_mean(10) - 1, VOLUME / VOLUME.rolling_mean(5), CLOSE)
        report = audit_plausibility(honest(panel), panel)
        assert report.suspicions == ()
        assert report.coverage["plausibility"]["columns"] == 4


def test_the_wrong_sign_is_as_suspicious():
    panel = bars(10, 200, gaps=False)
    mirrored = with_column(panel, 1.0, 0).with_columns(-pl.col("x"))
    (suspicion,) = audit_plausibility(mirrored, panel).suspicions
    assert suspicion.correlation < -CEILING


def test_so_few_sessions_that_chance_could_do_it_are_not_enough():
    panel = bars(6, 12, gaps=False)
    assert audit_plausibility(with_column(panel, 0.0, 0), panel).suspicions == ()


def test_bars_without_a_close_are_not_looked_at_and_the_report_says_so():
    panel = bars(6, 60)
    report = audit_plausibility(features(RETURN)(panel), panel.drop("close"))
    assert "no close among" in report.coverage["plausibility"]["skipped"]
    assert "plausibility" not in report.tested


def test_a_suspicion_refuses_nothing_and_stands_in_every_form_of_the_report():
    panel = bars(10, 200, gaps=False)
    given = panel.join(with_column(panel, 3.0, 1), on=["symbol", "session"])
    report = audit_features(lambda b: features(RETURN, pl.col("x"))(b), given, cutoffs=3, warmup=2)
    assert report.passed
    assert report.assert_clean() is report
    assert [s.column for s in report.suspicions] == ["x1"]
    assert "but SUSPICIOUS: x1" in report.to_markdown()
    assert "| plausibility | suspicious |" in report.to_markdown()
    row = report.to_frame().filter(pl.col("probe") == "plausibility").row(0, named=True)
    assert row["passed"]
    assert '"column": "x1"' in row["coverage"]
    assert len((report + report).suspicions) == 2
    assert AuditReport().suspicions == ()


def test_it_cannot_stand_for_an_audit_by_itself():
    with pytest.raises(AuditInputError, match="refuses nothing by itself"):
        audit_features(features(RETURN), bars(), probes=["plausibility"])


def test_two_listings_of_a_company_are_named():
    panel = bars(6, 60)
    rng = np.random.default_rng(0)
    twin = panel.filter(pl.col("symbol") == "S03").with_columns(
        pl.lit("S03.B").alias("symbol"), close=pl.col("close") * 20 * np.exp(rng.normal(0, 0.0005, 60))
    )
    both = pl.concat([panel, twin])
    report = audit_plausibility(features(RETURN)(both), both)
    assert report.coverage["plausibility"]["near_duplicates"] == ["S03 = S03.B"]
    assert "near_duplicates" in report.coverage["plausibility"]["blind_spots"][0]
    assert (
        "near_duplicates" not in audit_plausibility(features(RETURN)(panel), panel).coverage["plausibility"]
    )
    flat = panel.with_columns(close=pl.lit(5.0))
    assert "near_duplicates" not in audit_plausibility(features(VOLUME)(flat), flat).coverage["plausibility"]
