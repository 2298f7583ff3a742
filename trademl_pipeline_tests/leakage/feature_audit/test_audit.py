import itertools
import json
from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trademl_pipeline.leakage import (
    AuditInputError,
    ExtractorError,
    ExtractorOutputError,
    NonDeterministicExtractorError,
    audit_features,
)
from trademl_pipeline_tests.leakage.panels import (
    CLOSE,
    RETURN,
    VOLUME,
    bars,
    features,
    probes,
    rank_within_session,
)

BARS = bars()
LAST = BARS["session"].max()

CLEAN = {
    "returns": (features(RETURN, CLOSE / CLOSE.shift(10) - 1), 15),
    "moving averages": (features(CLOSE / CLOSE.rolling_mean(20) - 1, VOLUME / VOLUME.rolling_mean(20)), 25),
    "volatility": (features(RETURN.rolling_std(10), RETURN.rolling_std(10).rolling_mean(10)), 25),
    "ratios with an epsilon": (
        features((CLOSE - CLOSE.rolling_mean(10)) / (CLOSE.rolling_std(10) + 1e-8)),
        15,
    ),
    "drops its warm-up": (lambda b: features(RETURN.rolling_std(10))(b).drop_nulls(), 15),
    "rank among symbols": (rank_within_session, 8),
    "market mean": (
        lambda b: features(RETURN)(b).select("symbol", "session", m=pl.col("x0").mean().over("session")),
        5,
    ),
    "calendar": (lambda b: b.select("symbol", "session", d=pl.col("session").dt.weekday()), 0),
    "booleans and dates": (
        lambda b: features(RETURN > 0)(b).with_columns(known=pl.col("session").cast(pl.Datetime("us"))),
        3,
    ),
}

LEAKS = {
    "tomorrow's return": (features(RETURN.shift(-1)), {"truncation", "perturbation"}),
    "centred window": (features(CLOSE.rolling_mean(5, center=True) / CLOSE), {"truncation", "perturbation"}),
    "backward fill": (features(CLOSE.pct_change(5).backward_fill()), {"truncation", "perturbation"}),
    "mean of the sample": (features((RETURN - RETURN.mean()) / RETURN.std()), {"truncation", "perturbation"}),
    "interpolated gaps": (
        features(pl.when(pl.col("session").dt.weekday() == 3).then(None).otherwise(RETURN).interpolate()),
        {"truncation", "perturbation"},
    ),
    "sessions until the end": (features(pl.len() - pl.int_range(pl.len())), {"truncation"}),
    "only who survives": (
        lambda b: features(RETURN)(b.filter((pl.col("session").max() == LAST).over("symbol"))),
        {"truncation"},
    ),
    "only who trades long enough": (
        lambda b: features(RETURN)(b.filter((pl.len() > 60).over("symbol"))),
        {"truncation"},
    ),
    "one column per symbol seen": (
        lambda b: features(RETURN)(b).with_columns(
            (pl.col("symbol") == s).cast(pl.Int8).alias(f"is_{s}") for s in b["symbol"].unique()
        ),
        {"truncation"},
    ),
    "rows sorted backwards": (
        lambda b: b.sort("symbol", "session", descending=True).select(
            "symbol", "session", x=(CLOSE / CLOSE.shift(1) - 1).over("symbol")
        ),
        {"truncation", "perturbation"},
    ),
    "rolls over the border of two symbols": (
        lambda b: b.sort("symbol", "session").select("symbol", "session", x=CLOSE / CLOSE.shift(1) - 1),
        {"truncation", "perturbation"},
    ),
    "a filter on tomorrow's crash": (
        features((CLOSE.shift(-1) < 0.7 * CLOSE).cast(pl.Float64)),
        {"perturbation"},
    ),
    "price level": (features(CLOSE.rolling_mean(5)), {"adjustment"}),
    "log price": (features(CLOSE.log()), {"adjustment"}),
    "share volume": (features(VOLUME.rolling_mean(5)), {"adjustment"}),
    "cheap stocks flagged": (features((CLOSE < 20).cast(pl.Int8)), {"adjustment"}),
    "look-back beyond the warm-up": (features(CLOSE / CLOSE.shift(40) - 1), {"incremental"}),
}


@pytest.mark.parametrize("name", CLEAN)
def test_a_causal_feature_passes_every_probe(name):
    extract, warmup = CLEAN[name]
    report = audit_features(extract, BARS, warmup=warmup)
    report.assert_clean()
    assert report.suspicions == ()
    assert set(report.tested) == {"truncation", "perturbation", "adjustment", "incremental", "plausibility"}


@pytest.mark.parametrize("name", LEAKS)
def test_a_leak_is_refused_by_the_probe_that_is_made_for_it(name):
    extract, expected = LEAKS[name]
    report = audit_features(extract, BARS, warmup=25)
    assert expected <= probes(report)
    assert not report.passed


@pytest.mark.parametrize("name", [n for n in LEAKS if "crash" not in n])
def test_a_few_drawn_cutoffs_find_what_happens_often(name):
    extract, _ = LEAKS[name]
    assert not audit_features(extract, BARS, warmup=25, cutoffs=12).passed


@pytest.mark.parametrize("name", ["tomorrow's return", "mean of the sample", "only who survives"])
def test_listed_cutoffs_are_the_ones_tested(name):
    extract, _ = LEAKS[name]
    days = [date(2019, 2, 5), date(2019, 3, 1), date(2019, 4, 2)]
    report = audit_features(extract, BARS, cutoffs=days, probes=["truncation"])
    assert report.coverage["truncation"]["cutoffs"] == 3
    assert {v.cutoff for v in report.violations} <= set(days)
    assert not report.passed


def test_one_peek_in_ten_thousand_rows_is_found_by_the_exhaustive_audit():
    panel = bars(40, 260, gaps=False)
    rare = (pl.col("symbol") == "S17") & (pl.col("session") == date(2019, 8, 14))

    def extract(frame: pl.DataFrame) -> pl.DataFrame:
        peek = (CLOSE.shift(-1) / CLOSE - 1).over("symbol")
        return frame.select(
            "symbol",
            "session",
            x=pl.when(rare).then(peek).otherwise(RETURN.over("symbol")),
            y=RETURN.over("symbol"),
        )

    report = audit_features(extract, panel, probes=["truncation"])
    (violation,) = report.violations
    assert (violation.column, violation.symbol, violation.first_leak) == ("x", "S17", date(2019, 8, 14))
    assert violation.count == 1


def test_a_violation_names_the_first_leaking_session_and_the_worst():
    late = date(2019, 3, 1)
    peek = pl.when(pl.col("session") >= late).then(RETURN.shift(-1)).otherwise(RETURN)
    report = audit_features(features(peek, RETURN), BARS, probes=["perturbation"])
    first, worst = report.violations
    assert {first.column, worst.column} == {"x0"}
    assert first.first_leak == late
    assert worst.max_delta == first.max_delta > 0.1
    assert first.count > 1
    assert "became" in first.detail


def test_the_audit_can_be_restricted_to_a_month_with_its_history():
    march = (date(2019, 3, 1), date(2019, 3, 29))

    def extract(when: pl.Expr):
        return features(pl.when(when).then(RETURN.shift(-1)).otherwise(RETURN))

    inside = extract(pl.col("session").dt.month() == 3)
    outside = extract(pl.col("session").dt.month() == 2)
    assert not audit_features(inside, BARS, sessions=march, warmup=5, cutoffs=5).passed
    report = audit_features(outside, BARS, sessions=march, warmup=5, cutoffs=5)
    report.assert_clean()
    coverage = report.coverage["truncation"]
    assert (coverage["cutoffs"], coverage["from"][:7], coverage["to"][:7]) == (5, "2019-03", "2019-03")


def test_the_same_seed_draws_the_same_cutoffs():
    def drawn(seed: int) -> str:
        return json.dumps(audit_features(features(RETURN), BARS, cutoffs=3, seed=seed).coverage["truncation"])

    assert drawn(1) == drawn(1)
    assert len({drawn(s) for s in range(6)}) > 1


@pytest.mark.slow
@given(
    window=st.integers(2, 15),
    lag=st.integers(0, 5),
    kind=st.sampled_from(["rolling_mean", "rolling_std", "rolling_max", "ewm_mean", "shift"]),
    seed=st.integers(0, 1000),
)
@settings(max_examples=15, deadline=None)
def test_any_causal_window_passes_and_the_same_one_shifted_ahead_never_does(window, lag, kind, seed):
    panel = bars(3, 45, seed=seed)
    expression = {
        "rolling_mean": RETURN.rolling_mean(window),
        "rolling_std": RETURN.rolling_std(window),
        "rolling_max": CLOSE / CLOSE.rolling_max(window),
        "ewm_mean": CLOSE / CLOSE.ewm_mean(span=window),
        "shift": CLOSE / CLOSE.shift(window),
    }[kind].shift(lag)
    audit_features(features(expression), panel, seed=seed).assert_clean()
    ahead = features(expression.shift(-lag - 1))
    assert "truncation" in probes(audit_features(ahead, panel, seed=seed))
    assert "perturbation" in probes(audit_features(ahead, panel, seed=seed, probes=["perturbation"]))


def test_a_float32_feature_is_held_to_its_own_precision():
    extract = features((CLOSE / CLOSE.rolling_mean(5)).cast(pl.Float32))
    audit_features(extract, BARS, warmup=8).assert_clean()


def test_unsorted_bars_and_output_are_the_same_audit():
    shuffled = BARS.sample(fraction=1.0, shuffle=True, seed=1)
    clean, leaky = features(RETURN), features(RETURN.shift(-1))
    audit_features(lambda b: clean(b).reverse(), shuffled).assert_clean()
    assert not audit_features(lambda b: leaky(b).reverse(), shuffled).passed


def test_hourly_sessions_are_audited_too():
    hours = [pl.datetime(2022, 1, 1, time_zone="UTC") + pl.duration(hours=i) for i in range(60)]
    panel = (
        bars(2, 60, gaps=False)
        .with_columns(pl.int_range(pl.len()).over("symbol").alias("i"))
        .join(
            pl.select(*[h.alias(str(i)) for i, h in enumerate(hours)])
            .unpivot(variable_name="i")
            .cast({"i": pl.Int64}),
            on="i",
        )
        .with_columns(session="value")
        .drop("i", "value")
    )
    audit_features(features(RETURN), panel).assert_clean()
    report = audit_features(features(RETURN.shift(-1)), panel, sessions=(date(2022, 1, 2), date(2022, 1, 2)))
    assert probes(report) == {"truncation", "perturbation"}
    assert report.to_frame()["first_leak"].min() == date(2022, 1, 2)


@pytest.mark.parametrize(
    ("extract", "error", "message"),
    [
        (lambda b: 1 / 0, ExtractorError, "raised ZeroDivisionError on all bars"),
        (lambda b: None, ExtractorOutputError, "returned NoneType"),
        (lambda b: b.select("symbol", x="close"), ExtractorOutputError, "no column 'session'"),
        (lambda b: b.select("symbol", "session"), ExtractorOutputError, "keys only"),
        (lambda b: features(RETURN)(b).clear(), ExtractorOutputError, "returned no rows"),
        (lambda b: pl.concat([features(RETURN)(b)] * 2), ExtractorOutputError, "occurs already"),
        (
            lambda b: features(RETURN)(b).with_columns(pl.col("session") + pl.duration(days=9000)),
            ExtractorOutputError,
            "not in the bars",
        ),
        (
            lambda b: features(RETURN)(b).with_columns(symbol=pl.lit("ZZZ")),
            ExtractorOutputError,
            "such as ZZZ",
        ),
        (
            lambda b: features(RETURN)(bars()),
            ExtractorOutputError,
            "not in the bars it was given",
        ),
        (
            lambda b: b.select("symbol", "session", tag=pl.lit("a")),
            ExtractorOutputError,
            "'tag' of the output is String",
        ),
        (
            lambda b: b.select("symbol", "session", o=pl.Series([object()] * b.height, dtype=pl.Object)),
            ExtractorOutputError,
            "'o' of the output is Object",
        ),
        (lambda b: b.select("symbol", "session", w=pl.concat_list("close")), ExtractorOutputError, "is List"),
        (
            lambda b: b.select("symbol", pl.col("session").cast(pl.Datetime), "close"),
            ExtractorOutputError,
            "that of the bars is Date",
        ),
        (
            lambda b: b.select(
                "symbol", "session", x=pl.Series(np.random.default_rng().normal(size=b.height))
            ),
            NonDeterministicExtractorError,
            "two calls",
        ),
        (
            lambda b: features(RETURN)(b) if b.height > 200 else 1 / 0,
            ExtractorError,
            "raised ZeroDivisionError on the bars up to 2019",
        ),
        (7, AuditInputError, "give a function"),
    ],
)
def test_an_extractor_that_breaks_its_contract_is_an_error_and_never_a_pass(extract, error, message):
    with pytest.raises(error, match=message):
        audit_features(extract, BARS)


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (BARS.drop("symbol"), "no column 'symbol'"),
        (BARS.clear(), "are empty"),
        (pl.concat([BARS, BARS.head(2)]), "4 bars share"),
        (BARS.with_columns(session=pl.col("session").cast(pl.String)), "must be Date or Datetime"),
        (BARS.with_columns(session=pl.when(pl.col("close") > 60).then("session")), "nulls"),
        (BARS.with_columns(symbol=pl.lit(1)), "must be String"),
        (BARS.lazy(), "give a pl.DataFrame"),
        (BARS.filter(pl.col("session") == LAST), "nothing can be deleted"),
    ],
)
def test_bars_that_cannot_be_audited_are_an_error(frame, message):
    with pytest.raises(AuditInputError, match=message):
        audit_features(features(RETURN), frame)


@pytest.mark.parametrize(
    ("settings_", "message"),
    [
        ({"probes": ["truncate"]}, "unknown probes"),
        ({"probes": []}, "unknown probes"),
        ({"probes": ["incremental"]}, "needs the declared warm-up"),
        ({"cutoffs": "some"}, 'give "all"'),
        ({"cutoffs": 0}, "at least 1"),
        ({"cutoffs": []}, "empty list"),
        ({"cutoffs": [LAST]}, "is not between"),
        ({"cutoffs": ["2019-03-01"]}, "give dates"),
        ({"warmup": -1}, "warmup is -1"),
        ({"sessions": [date(2019, 3, 1)]}, "first and the last"),
        ({"sessions": (date(2030, 1, 1), date(2030, 2, 1))}, "no session between"),
    ],
)
def test_settings_that_make_no_sense_are_an_error(settings_, message):
    with pytest.raises(AuditInputError, match=message):
        audit_features(features(RETURN), BARS, **settings_)


def test_a_missing_warmup_is_reported_as_not_run():
    report = audit_features(features(RETURN), BARS)
    assert "no warm-up" in report.coverage["incremental"]["skipped"]
    assert "incremental" not in report.tested
    assert report.passed


def test_bars_without_prices_skip_the_adjustment():
    panel = BARS.select("symbol", "session", signal="close")
    report = audit_features(features(pl.col("signal").rolling_mean(3)), panel)
    assert "no price column" in report.coverage["adjustment"]["skipped"]
    assert not audit_features(features(pl.col("signal").shift(-1)), panel).passed


def test_a_cutoff_on_a_weekend_is_the_session_before():
    report = audit_features(features(RETURN), BARS, cutoffs=[date(2019, 3, 2) + timedelta(days=1)])
    assert report.coverage["truncation"]["from"] == "2019-03-01"


def test_the_warmup_counts_a_symbols_own_sessions():
    # One symbol trades every third session; 20 sessions of its own reach three times as far back.
    sparse = BARS.filter((pl.col("symbol") != "S03") | (pl.col("session").rank("dense") % 3 == 0))
    extract = features(CLOSE / CLOSE.shift(20) - 1)
    audit_features(extract, sparse, probes=["incremental"], warmup=20).assert_clean()
    assert not audit_features(extract, sparse, probes=["incremental"], warmup=19).passed


def refuses_short(frame: pl.DataFrame, sources: object = None) -> pl.DataFrame:
    if frame["session"].n_unique() < 20:
        raise ValueError("give at least 20 sessions")
    return features(RETURN.rolling_std(19))(frame)


def test_an_extractor_may_refuse_what_is_shorter_than_its_warmup():
    report = audit_features(refuses_short, BARS, warmup=20)
    report.assert_clean()
    one_by_one = audit_features(
        refuses_short, BARS, probes=["truncation"], sources={"dated": BARS.select("session")}
    )
    one_by_one.assert_clean()
    assert one_by_one.coverage["truncation"]["history_too_short"] == 19
    leaky = lambda b: refuses_short(b).with_columns(pl.col("x0").shift(-1).over("symbol"))  # noqa: E731
    with pytest.raises(ExtractorError, match="at least 20 sessions"):
        audit_features(leaky, BARS)


def test_an_extractor_may_not_refuse_sessions_that_it_publishes():
    eager = lambda b: refuses_short(b).with_columns(x0=features(RETURN)(b)["x0"])  # noqa: E731
    with pytest.raises(ExtractorError, match="at least 20 sessions"):
        audit_features(eager, BARS)


def test_bars_returned_beside_the_features_are_no_price_level():
    named = BARS.with_columns(vendor=pl.lit("a"))
    beside = lambda b: b.sort("symbol", "session").with_columns(r=RETURN.over("symbol"))  # noqa: E731
    report = audit_features(beside, named, warmup=3)
    report.assert_clean()
    assert report.coverage["adjustment"]["bars_returned"]
    assert report.coverage["truncation"]["ignored_columns"] == ["vendor"]
    level = lambda b: beside(b).with_columns(m=CLOSE.rolling_mean(3).over("symbol"))  # noqa: E731
    assert {v.column for v in audit_features(level, named).violations} == {"m"}
    assert probes(audit_features(lambda b: b.select("symbol", "session", "close"), BARS)) == {"adjustment"}


def test_objects_among_the_bars_are_an_error():
    odd = BARS.with_columns(o=pl.Series([object()] * BARS.height, dtype=pl.Object))
    with pytest.raises(AuditInputError, match="Python objects"):
        audit_features(features(RETURN), odd)


def test_columns_and_symbols_without_a_value_are_named_in_the_coverage():
    def extract(frame: pl.DataFrame) -> pl.DataFrame:
        kept = frame.filter(pl.col("symbol") != "S00")
        return features(RETURN)(kept).with_columns(nothing=pl.lit(None, pl.Float64))

    coverage = audit_features(extract, BARS, cutoffs=3).coverage["truncation"]
    assert coverage["empty_columns"] == ["nothing"]
    assert coverage["symbols_without_output"] == 1


def test_what_was_published_takes_the_place_of_a_second_call():
    # A list would be state of the extractor, which the audit puts back.
    panel, calls = bars(3, 40), itertools.count()

    def extract(frame: pl.DataFrame) -> pl.DataFrame:
        next(calls)
        return frame.select("symbol", "session", x=pl.col("close").pct_change().over("symbol"))

    made = extract(panel)
    plain = audit_features(extract, panel, probes="truncation", cutoffs=1)
    before = next(calls)
    report = audit_features(extract, panel, probes="truncation", cutoffs=1, published=made)
    assert plain.passed
    assert report.passed
    # One call made the rows, and one of `before`'s and of these is this test's own.
    assert next(calls) - before - 1 == before - 1 - 1
    assert report.coverage["incremental"]["rows"] == made.height


def test_published_rows_that_are_not_what_is_computed_are_refused():
    panel = bars(3, 40)

    def extract(frame: pl.DataFrame) -> pl.DataFrame:
        return frame.select("symbol", "session", x=pl.col("close").pct_change().over("symbol"))

    edited = extract(panel).with_columns(pl.col("x") * 1.01)
    report = audit_features(extract, panel, probes="truncation", cutoffs=2, published=edited)
    assert {v.probe for v in report.violations} == {"incremental"}
    assert {v.column for v in report.violations} == {"x"}


def test_a_rare_count_that_comes_out_the_same_by_chance_is_not_called_looked_up():
    """Two flagged rows among a hundred, on which a synthetic history happened to agree."""
    from trademl_pipeline.features.panel import feature_month, warmup_start
    from trademl_pipeline.market.calendar import month_sessions
    from trademl_pipeline.simulation import SimulatedMarket

    month, market = "2013-11-01", SimulatedMarket(seed=3, n_symbols=8)
    sessions = month_sessions(month)
    bars = market.fetch(market.symbols(), warmup_start("breakout", month), sessions[-1])

    def extract(frame: pl.DataFrame) -> pl.DataFrame:
        return feature_month(frame, "breakout", month).select("symbol", "session", "touches_lower")

    audit_features(extract, bars, probes=("truncation",), cutoffs=2, sessions=sessions).assert_clean()
