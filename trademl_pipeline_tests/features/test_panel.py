"""A month of features with references: values, the choice of the index, and the clock."""

from datetime import date, timedelta

import polars as pl
import pytest

from trademl_pipeline.features import FeatureInputError, compute
from trademl_pipeline.features.panel import DECISION_DELAY, feature_month
from trademl_pipeline.features.references import index_of_history
from trademl_pipeline.leakage import audit_features, audit_knowledge
from trademl_pipeline.market.calendar import close_utc, sessions
from trademl_pipeline.market.symbols import INDEX_SYMBOL
from trademl_pipeline_tests.features.panels import random_bars, reference_bars, sectors

MONTH = "2016-05-01"
DAYS = sessions(date(2015, 1, 5), date(2016, 5, 31))


def timed(frame: pl.DataFrame) -> pl.DataFrame:
    """The frame's k-th weekday as the k-th session, known at its close."""
    old = frame["session"].unique().sort()[: len(DAYS)]
    days = pl.DataFrame({"session": old, "day": DAYS[: len(old)]})
    frame = frame.join(days, on="session").drop("session").rename({"day": "session"})
    close = close_utc(frame["session"]).alias("event_time")
    return frame.with_columns(close, close.alias("knowledge_time")).sort("symbol", "session")


BARS = timed(random_bars(3, 400, seed=3))
REFERENCE = timed(reference_bars(400))
UNIVERSE = sectors(BARS)


def late(symbol: str, session: date, by: timedelta) -> pl.DataFrame:
    hit = (pl.col("symbol") == symbol) & (pl.col("session") == session)
    known = pl.when(hit).then(pl.col("knowledge_time") + by).otherwise(pl.col("knowledge_time"))
    return REFERENCE.with_columns(known.alias("knowledge_time"))


def month_of(
    set_name: str, reference: pl.DataFrame | None, universe: pl.DataFrame | None = UNIVERSE
) -> pl.DataFrame:
    return feature_month(BARS, set_name, MONTH, reference=reference, universe=universe)


def test_a_month_holds_what_compute_says_with_the_references() -> None:
    got = month_of("pattern", REFERENCE)
    whole = compute(BARS, "pattern", reference=REFERENCE, universe=UNIVERSE)
    whole = whole.filter(pl.col("session") >= date(2016, 5, 1))
    assert got.height == whole.height == 3 * 21
    for name in ("sector_relative_strength", "market_beta_instability", "vix_term_structure", "return_3"):
        assert got[name].null_count() == 0
        assert got[name].equals(whole[name])


def test_the_synthetic_index_stands_in_where_there_is_no_spy() -> None:
    synthetic = REFERENCE.with_columns(pl.col("symbol").replace("SPY", INDEX_SYMBOL))
    assert month_of("indicators", synthetic).equals(month_of("indicators", REFERENCE))


@pytest.mark.parametrize(
    ("first", "last", "index"),
    [
        (date(2015, 1, 5), date(2016, 5, 31), "SPY"),
        (date(2015, 1, 5), date(2016, 4, 20), "SPY"),
        (date(2015, 1, 5), date(2015, 9, 1), INDEX_SYMBOL),
        (date(2016, 1, 4), date(2016, 5, 31), INDEX_SYMBOL),
        (date(2016, 5, 3), date(2016, 5, 31), INDEX_SYMBOL),
    ],
)
def test_the_index_is_chosen_by_the_past_alone(first: date, last: date, index: str) -> None:
    spy = REFERENCE.filter((pl.col("symbol") == "SPY") & pl.col("session").is_between(first, last))
    both = pl.concat(
        [spy, REFERENCE.filter(pl.col("symbol") == "XLK").with_columns(pl.lit(INDEX_SYMBOL).alias("symbol"))]
    )
    day = date(2016, 5, 2)
    assert index_of_history(both, day).index == index
    assert index_of_history(both.filter(pl.col("session") <= day), day).index == index


def test_a_reference_restated_late_shows_from_its_session_on_in_the_rows_that_read_it() -> None:
    session = date(2016, 5, 10)
    known = close_utc(session) + timedelta(days=40)
    got = month_of("indicators", late("SPY", session, timedelta(days=40)))
    after = pl.col("session") >= session
    assert (got.filter(after)["knowledge_time"] == known).all()
    assert got.filter(~after).equals(month_of("indicators", REFERENCE).filter(~after))
    assert not audit_knowledge(got).passed
    # The set reads the index only, and another fund's bars do not matter to it.
    assert audit_knowledge(month_of("indicators", late("^VIX", session, timedelta(days=40)))).passed
    assert audit_knowledge(month_of("forecast", late("SPY", session, timedelta(days=40)))).passed


def test_a_sector_fund_known_late_shows_in_its_own_names_only() -> None:
    session = date(2016, 5, 10)
    got = month_of("pattern", late("XLK", session, timedelta(hours=3)))
    refused = got.filter(pl.col("knowledge_time") > pl.col("decision_time"))
    assert refused["symbol"].unique().to_list() == ["S001"]
    assert refused["session"].to_list() == [session]


def test_references_may_be_known_a_quarter_after_the_close() -> None:
    rows = REFERENCE.with_columns(pl.col("knowledge_time") + timedelta(minutes=15))
    got = month_of("pattern", rows)
    assert audit_knowledge(got).passed
    lag = (got["knowledge_time"] - close_utc(got["session"])).unique().to_list()
    assert lag == [timedelta(minutes=15)]
    assert timedelta(minutes=15) < DECISION_DELAY


def test_references_without_a_clock_are_refused() -> None:
    with pytest.raises(FeatureInputError, match="knowledge_time"):
        month_of("indicators", REFERENCE.drop("knowledge_time"))


def test_a_month_with_references_passes_the_gate_with_the_references_as_sources() -> None:
    def extract(bars: pl.DataFrame, reference: pl.DataFrame) -> pl.DataFrame:
        got = feature_month(bars, "pattern", MONTH, reference=reference, universe=UNIVERSE)
        return got.drop("decision_time", "knowledge_time")

    report = audit_features(
        extract,
        BARS,
        sources={"reference": REFERENCE},
        # Sectors of made-up names have no day since when they hold.
        allow=["UNIVERSE"],
        probes=("truncation", "perturbation"),
        cutoffs=3,
        sessions=sessions(date(2016, 5, 1), date(2016, 5, 31)),
    )
    report.assert_clean()
