from datetime import date

import polars as pl
import pytest

from trademl_pipeline.leakage import audit_features
from trademl_pipeline.leakage.probes.published import audit_published
from trademl_pipeline_tests.leakage.panels import bars

WHICH = ("truncation", "perturbation", "adjustment", "incremental")


def shifted(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.sort("symbol", "session").select(
        "symbol", "session", x=pl.col("close").shift(-1).over("symbol")
    )


@pytest.mark.parametrize("cutoffs", ["all", 3])
def test_a_refusal_shows_the_published_value_beside_the_one_that_could_be_known(cutoffs):
    panel = bars(3, 40, gaps=False)
    found = audit_features(shifted, panel, probes="truncation", cutoffs=cutoffs).violations[0]
    trace = found.trace
    assert trace is not None
    at = trace.sessions.index(found.first_leak)
    own = panel.filter(pl.col("symbol") == found.symbol).sort("session")
    following = own.filter(pl.col("session") > found.first_leak)["close"][0]
    assert trace.published[at] == pytest.approx(following)
    assert trace.known[at] is None
    assert len(trace.sessions) <= 21
    assert all(a == b for a, b in zip(trace.published[:at], trace.known[:at], strict=True))


@pytest.mark.parametrize("probe", WHICH)
def test_every_probe_of_values_shows_them(probe):
    def leaky(frame: pl.DataFrame) -> pl.DataFrame:
        ordered = frame.sort("symbol", "session")
        level = pl.col("close").ewm_mean(span=30).over("symbol") + pl.col("close").shift(-1).over("symbol")
        return ordered.select("symbol", "session", x=level)

    report = audit_features(leaky, bars(3, 60, gaps=False), probes=[probe], warmup=5)
    trace = report.violations[0].trace
    assert trace is not None
    assert trace.published != trace.known


def test_rows_that_vanish_have_no_values_to_show():
    def survivors(frame: pl.DataFrame) -> pl.DataFrame:
        last = frame["session"].max()
        return frame.filter(pl.col("session").max().over("symbol") == last).select(
            "symbol", "session", x="close"
        )

    report = audit_features(survivors, bars(4, 40), probes="truncation")
    assert all(v.trace is None for v in report.violations if v.column == "<rows>")
    assert report.violations


def test_what_was_published_is_shown_beside_what_is_computed_now():
    frame = pl.DataFrame(
        {"symbol": ["A"] * 3, "session": [date(2020, 1, d) for d in (2, 3, 6)], "x": [1.0, 2.0, None]}
    )
    changed = frame.with_columns(x=pl.Series([1.0, 2.5, None]))
    (found,) = audit_published(changed, frame).violations
    assert found.trace is not None
    assert found.trace.published == (1.0, 2.5, None)
    assert found.trace.known == (1.0, 2.0, None)
