"""A refusal tells how far ahead a column sees and by which pattern, where its behaviour singles one out."""

from datetime import timedelta

import polars as pl
import pytest

from trademl_pipeline.leakage import audit_features
from trademl_pipeline.leakage.diagnosis import (
    CENTRED,
    FILL,
    LATE,
    LATER_ROWS,
    LEVEL,
    MEMORY,
    SAMPLE,
    SHIFT,
    SOURCE,
    STATE,
    UNCLEAR,
    Diagnosis,
)
from trademl_pipeline.market.calendar import close_utc
from trademl_pipeline_tests.leakage.panels import CLOSE, RETURN, Extract, bars, features

BARS = bars()
LAST = BARS["session"].max()
HIGH, LOW = pl.col("high"), pl.col("low")

# Extractor, pattern, how many sessions ahead it sees, whether it may be more.
SEEN: dict[str, tuple[Extract, str, int, bool]] = {
    "tomorrow's return": (features(RETURN.shift(-1)), SHIFT, 1, False),
    "the close of ten sessions later": (features(CLOSE.shift(-10) / CLOSE), SHIFT, 10, False),
    "a trailing mean moved back": (features((CLOSE.rolling_mean(12) / CLOSE).shift(-3)), SHIFT, 3, False),
    "rows sorted backwards": (
        lambda b: b.sort("symbol", "session", descending=True).select(
            "symbol", "session", x=(CLOSE / CLOSE.shift(1) - 1).over("symbol")
        ),
        SHIFT,
        1,
        False,
    ),
    "a rank of tomorrow's returns among symbols": (
        lambda b: features(RETURN.shift(-1))(b).select(
            "symbol", "session", x=(pl.col("x0").rank() / pl.col("x0").count()).over("session")
        ),
        SHIFT,
        1,
        False,
    ),
    "a condition on tomorrow": (features((CLOSE.shift(-1) < 0.7 * CLOSE).cast(pl.Float64)), SHIFT, 1, False),
    "a gap between yesterday and tomorrow": (
        features((HIGH.shift(1) < LOW.shift(-1)).cast(pl.Int8)),
        SHIFT,
        1,
        False,
    ),
    "centred window of five": (features(CLOSE.rolling_mean(5, center=True) / CLOSE), CENTRED, 2, False),
    "centred window of three": (features(CLOSE.rolling_mean(3, center=True) / CLOSE), CENTRED, 1, False),
    "warm-up filled backwards": (features(CLOSE.pct_change(5).backward_fill()), FILL, 5, False),
    "scaled by the sample": (features((RETURN - RETURN.mean()) / RETURN.std()), SAMPLE, 64, True),
    "highest of the sample": (features(CLOSE / CLOSE.max()), SAMPLE, 0, False),
    "sessions until the end": (features(pl.len() - pl.int_range(pl.len())), LATER_ROWS, 65, True),
    "only who survives": (
        lambda b: features(RETURN)(b.filter((pl.col("session").max() == LAST).over("symbol"))),
        LATER_ROWS,
        65,
        True,
    ),
    "one column per symbol": (
        lambda b: features(RETURN)(b).with_columns(
            (pl.col("symbol") == s).cast(pl.Int8).alias(f"is_{s}") for s in b["symbol"].unique().sort()
        ),
        LATER_ROWS,
        10,
        False,
    ),
}


def diagnosis(extract: Extract, **options) -> Diagnosis:
    """Of the first violation of an audit by truncation and perturbation."""
    report = audit_features(extract, BARS, **{"probes": ("truncation", "perturbation"), **options})
    found = report.violations[0].diagnosis
    assert found is not None
    return found


@pytest.mark.parametrize("name", SEEN)
def test_a_leak_is_told_by_how_it_behaves(name):
    extract, pattern, horizon, is_minimum = SEEN[name]
    found = diagnosis(extract)
    assert found.pattern == pattern, found.words
    if horizon:
        assert (found.horizon, found.is_minimum) == (horizon, is_minimum)
    assert found.fix


@pytest.mark.parametrize("name", ["tomorrow's return", "centred window of five", "scaled by the sample"])
def test_a_month_that_is_audited_at_two_sessions_is_told_the_same(name):
    extract, pattern, horizon, _ = SEEN[name]
    days = BARS["session"].unique().sort()
    found = diagnosis(extract, cutoffs=2, sessions=[days[20], days[50]])
    assert found.pattern == pattern
    if pattern != SAMPLE:
        assert found.horizon == horizon


@pytest.mark.parametrize(
    "leak",
    [
        # One row takes tomorrow's return, which would be told as a backward fill by its copied value alone.
        pl.when((pl.col("session") == BARS["session"][30]) & (pl.col("symbol") == "S00"))
        .then(RETURN.shift(-1))
        .otherwise(RETURN),
        # Interpolated: neither a copy, nor the same in every row.
        pl.when(pl.col("session").dt.weekday() == 3).then(None).otherwise(RETURN).interpolate(),
    ],
    ids=["one peek", "interpolated gaps"],
)
def test_what_fits_several_patterns_is_called_unclear(leak):
    found = diagnosis(features(leak))
    assert (found.pattern, found.horizon) == (UNCLEAR, 1)
    assert "unclear" in found.words


def test_only_the_first_columns_are_looked_into_and_the_others_say_so():
    many = features(*(CLOSE.shift(-n) / CLOSE for n in range(1, 8)))
    report = audit_features(many, BARS, probes=["truncation"])
    told = {v.column: v.diagnosis for v in report.violations}
    assert [told[f"x{n}"].horizon for n in range(3)] == [1, 2, 3]
    assert all("only the first 3 columns" in told[f"x{n}"].evidence for n in range(3, 7))


def test_a_clean_audit_makes_no_call_more():
    calls = []

    def counted(frame: pl.DataFrame) -> pl.DataFrame:
        calls.append(frame.height)
        return features(RETURN)(frame)

    report = audit_features(counted, BARS, probes=["truncation"], cutoffs=4)
    assert report.passed
    # Twice on everything, once to see that it moves with its input, and once for each cut-off.
    assert len(calls) <= report.coverage["truncation"]["calls"] + 4


def test_a_function_that_breaks_on_other_bars_is_refused_all_the_same():
    def brittle(frame: pl.DataFrame) -> pl.DataFrame:
        if (frame.select((CLOSE / CLOSE.shift(1)).over("symbol").max()).item() or 0) > 1.5:
            raise ValueError("no such price")
        return features(RETURN.shift(-1))(frame)

    report = audit_features(brittle, BARS, probes=["truncation"])
    found = report.violations[0].diagnosis
    assert found.pattern == UNCLEAR
    assert "no such price" in found.evidence


def rates(days: pl.Series) -> pl.DataFrame:
    return pl.DataFrame({"session": days, "rate": range(days.len())}, schema_overrides={"rate": pl.Float64})


def joined(bars: pl.DataFrame, rates: pl.DataFrame) -> pl.DataFrame:
    later = rates.sort("session").with_columns(pl.col("rate").shift(-2))
    return features(RETURN)(bars).join(later, on="session", how="left").with_columns(pl.col("rate") * 1.0)


def test_a_source_that_is_read_ahead_is_named():
    source = rates(BARS["session"].unique().sort())
    report = audit_features(joined, BARS, sources={"rates": source}, probes=["truncation"])
    (found,) = {v.diagnosis for v in report.violations}
    assert (found.pattern, found.horizon) == (SOURCE, 2)
    assert "only rates is cut" in found.evidence


def test_rows_that_became_known_late_are_told_from_later_ones():
    days = BARS["session"].unique().sort()
    source = rates(days).with_columns(knowledge_time=close_utc(days) + timedelta(days=5))

    def extract(bars: pl.DataFrame, rates: pl.DataFrame) -> pl.DataFrame:
        return features(RETURN)(bars).join(rates.select("session", "rate"), on="session", how="left")

    report = audit_features(extract, BARS, sources={"rates": source}, probes=["truncation"])
    (found,) = {v.diagnosis for v in report.violations}
    assert found.pattern == LATE
    assert "rates" in found.evidence


def test_bars_that_became_known_late_are_told_from_later_ones():
    clock = close_utc(BARS["session"]) + timedelta(minutes=15)
    late = (BARS["symbol"] == "S00") & (BARS["session"].dt.day() == 15)
    known = BARS.with_columns(knowledge_time=clock).with_columns(
        pl.when(late).then(pl.col("knowledge_time") + timedelta(days=4)).otherwise("knowledge_time")
    )

    def market(frame: pl.DataFrame) -> pl.DataFrame:
        return frame.select("symbol", "session", x=(CLOSE / CLOSE.mean()).over("session"))

    found = audit_features(market, known, probes=["truncation"]).violations[0].diagnosis
    assert found.pattern == LATE


def test_a_longer_memory_is_measured():
    report = audit_features(
        features(CLOSE / CLOSE.shift(20) - 1), bars(n_sessions=120), warmup=5, probes=["incremental"]
    )
    (found,) = {v.diagnosis for v in report.violations}
    assert found.pattern == MEMORY
    assert found.horizon is None
    assert "declare a warm-up of 20 sessions" in found.fix


def test_state_between_calls_is_told_from_memory():
    cache: dict[str, pl.DataFrame] = {}

    def cached(frame: pl.DataFrame) -> pl.DataFrame:
        cache.setdefault("first", features(CLOSE / CLOSE.rolling_mean(4) - 1)(frame))
        return frame.select("symbol", "session").join(cache["first"], on=["symbol", "session"], how="left")

    report = audit_features(cached, BARS, warmup=4, probes=["incremental"])
    assert {v.diagnosis.pattern for v in report.violations} == {STATE}


def test_price_levels_are_told():
    found = audit_features(features(CLOSE.log()), BARS, probes=["adjustment"]).violations[0].diagnosis
    assert (found.pattern, found.horizon) == (LEVEL, None)
