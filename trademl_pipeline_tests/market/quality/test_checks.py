"""What is planted is found, on the session on which it could be known; what is sound is left alone."""

from datetime import date
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trademl_pipeline.market import FileSource, split_bars
from trademl_pipeline.market.calendar import sessions
from trademl_pipeline.market.quality.checks import (
    CHECKS,
    flat_bars,
    interpolated_bars,
    missing_sessions,
    missing_volume,
    reverting_spikes,
    stale_runs,
    unadjusted_splits,
    vendor_disagreement,
    window,
    zero_volume,
)

DAYS = sessions(date(2016, 1, 4), date(2016, 12, 30))
PRICES = ("open", "high", "low", "close")


@pytest.fixture(scope="module")
def bars(small_market: pl.DataFrame) -> pl.DataFrame:
    """A year of simulated bars of the names that trade through it."""
    year = small_market.filter(pl.col("session").is_between(DAYS[0], DAYS[-1]))
    return year.filter(pl.len().over("symbol") == len(DAYS)).sort("symbol", "session")


def name(bars: pl.DataFrame) -> str:
    return bars["symbol"][0]


def at(bars: pl.DataFrame, first: int, last: int | None = None) -> pl.Expr:
    return (pl.col("symbol") == name(bars)) & pl.col("session").is_between(
        DAYS[first], DAYS[last if last is not None else first]
    )


def test_sound_bars_with_splits_and_dividends_give_no_finding(small_market: pl.DataFrame):
    assert (small_market["split_factor"] != 1).any() or (small_market["dividend"] > 0).any()
    seen = window(small_market)
    for check, find in CHECKS.items():
        assert find(seen).is_empty(), check


def test_missing_sessions_count_at_the_bar_that_ends_the_gap(bars: pl.DataFrame):
    got = missing_sessions(window(bars.filter(~at(bars, 50, 52) & ~at(bars, 100))))
    assert got.select("session", "count").rows() == [(DAYS[53], 3), (DAYS[101], 1)]
    # What never traded before is no gap, and neither is what trades no more.
    assert missing_sessions(window(bars.filter(~at(bars, 0, 30) & ~at(bars, 200, 251)))).is_empty()


def test_gaps_follow_the_calendar(bars: pl.DataFrame):
    around = missing_sessions(window(bars.filter(pl.col("symbol") == name(bars)), "24/7"))
    assert around["count"].sum() == (DAYS[-1] - DAYS[0]).days + 1 - len(DAYS)


@pytest.mark.parametrize(("length", "runs"), [(4, 0), (5, 1), (6, 1), (12, 1)])
def test_a_run_is_stale_from_its_fifth_session_and_counts_once(bars: pl.DataFrame, length: int, runs: int):
    idle, last = at(bars, 20, 20 + length - 1), bars.filter(at(bars, 20))["close"].item()
    frozen = bars.with_columns(
        *(pl.when(idle).then(last).otherwise(pl.col(c)).alias(c) for c in PRICES),
        pl.when(idle).then(0.0).otherwise(pl.col("volume")).alias("volume"),
    )
    got = stale_runs(window(frozen))
    assert got["session"].to_list() == [DAYS[24]] * runs
    assert zero_volume(window(frozen)).height == length


def test_volume_that_is_zero_and_volume_that_is_not_there(bars: pl.DataFrame):
    changed = bars.with_columns(
        pl.when(at(bars, 5)).then(0.0).when(at(bars, 9)).then(None).otherwise("volume").alias("volume")
    )
    assert zero_volume(window(changed))["session"].to_list() == [DAYS[5]]
    assert missing_volume(window(changed))["session"].to_list() == [DAYS[9]]


def test_a_bar_with_only_a_close(bars: pl.DataFrame):
    flat = bars.with_columns(
        pl.when(at(bars, 7, 8)).then("close").otherwise(pl.col(c)).alias(c) for c in PRICES
    )
    assert flat_bars(window(flat))["session"].to_list() == DAYS[7:9]
    idle = flat.with_columns(pl.when(at(bars, 7)).then(0.0).otherwise("volume").alias("volume"))
    assert flat_bars(window(idle))["session"].to_list() == [DAYS[8]]


@pytest.mark.parametrize("ratio", [2.0, 3.0, 10.0, 1 / 5, 1 / 20])
def test_a_split_nobody_told_of(bars: pl.DataFrame, ratio: float):
    after = (pl.col("symbol") == name(bars)) & (pl.col("session") >= DAYS[60])
    fall = pl.when(after).then(ratio).otherwise(1.0)
    wrong = bars.with_columns(*(pl.col(c) / fall for c in PRICES), pl.col("volume") * fall)
    got = unadjusted_splits(window(wrong))
    assert got.select("symbol", "session").rows() == [(name(bars), DAYS[60])]
    told = pl.when(at(bars, 60)).then(ratio).otherwise(pl.col("split_factor")).alias("split_factor")
    assert unadjusted_splits(window(wrong.with_columns(told))).is_empty()
    # An adjusted source counts its factors into the prices already.
    assert unadjusted_splits(window(wrong.with_columns(told, adjusted=pl.lit(True)))).height == 1


def test_a_crash_is_no_split(bars: pl.DataFrame):
    after = (pl.col("symbol") == name(bars)) & (pl.col("session") >= DAYS[60])
    fall = pl.when(after).then(2.0).otherwise(1.0)
    rush = pl.when(at(bars, 60)).then(25.0).otherwise(1.0)
    crashed = bars.with_columns(*(pl.col(c) / fall for c in PRICES), pl.col("volume") * rush)
    assert unadjusted_splits(window(crashed)).is_empty()


@pytest.mark.parametrize(("factor", "found"), [(1.6, True), (0.5, True), (1.15, False)])
def test_a_spike_is_known_by_its_return(bars: pl.DataFrame, factor: float, found: bool):
    spike = pl.when(at(bars, 80)).then(factor).otherwise(1.0)
    got = reverting_spikes(window(bars.with_columns(pl.col(c) * spike for c in PRICES)))
    assert got["session"].to_list() == ([DAYS[81]] if found else [])
    stays = (
        pl.when((pl.col("symbol") == name(bars)) & (pl.col("session") >= DAYS[80]))
        .then(factor)
        .otherwise(1.0)
    )
    assert reverting_spikes(window(bars.with_columns(pl.col(c) * stays for c in PRICES))).is_empty()


def test_bars_drawn_between_two_real_ones(bars: pl.DataFrame):
    own = bars.filter(pl.col("symbol") == name(bars))
    hole = pl.col("session").is_between(DAYS[41], DAYS[46])
    drawn = own.with_columns(pl.when(hole).then(None).otherwise(pl.col(c)).alias(c) for c in PRICES)
    drawn = drawn.with_columns(pl.col(c).interpolate() for c in PRICES)
    # Day 40 to 43 are the first four on a line.
    assert interpolated_bars(window(drawn))["session"].to_list() == [DAYS[43]]
    filled = own.with_columns(
        pl.when(hole).then(None).otherwise(pl.col(c)).forward_fill().alias(c) for c in (*PRICES, "volume")
    )
    assert interpolated_bars(window(filled))["session"].to_list() == DAYS[41:47]


def test_two_sources_are_compared_by_returns(bars: pl.DataFrame):
    other = bars.with_columns(pl.col(c) * 7 for c in PRICES)
    assert vendor_disagreement(window(bars), window(other)).is_empty()
    wrong = pl.when(at(bars, 30)).then(1.05).otherwise(1.0)
    got = vendor_disagreement(window(bars), window(other.with_columns(pl.col("close") * wrong)))
    assert got.select("symbol", "session").rows() == [(name(bars), DAYS[30]), (name(bars), DAYS[31])]
    # A source without the bar before says nothing of the return.
    gone = other.with_columns(pl.col("close") * wrong).filter(~at(bars, 29))
    assert vendor_disagreement(window(bars), window(gone))["session"].to_list() == [DAYS[31]]


@given(cut=st.integers(70, 250))
@settings(max_examples=15, deadline=None)
def test_findings_do_not_depend_on_what_came_later(small_market: pl.DataFrame, cut: int):
    spoiled = small_market.with_row_index().with_columns(
        pl.when(pl.col("index") % 97 == 0).then(pl.col("close") * 1.9).otherwise("close").alias("close"),
        pl.when(pl.col("index") % 31 < 6).then(0.0).otherwise("volume").alias("volume"),
    )
    spoiled = spoiled.filter(pl.col("index") % 53 > 1).drop("index")
    spoiled = spoiled.filter(pl.col("session").is_between(DAYS[0], DAYS[-1]))
    whole, past = window(spoiled), window(spoiled.filter(pl.col("session") <= DAYS[cut]))
    for check, find in CHECKS.items():
        known = find(whole).filter(pl.col("session") <= DAYS[cut])
        assert known.equals(find(past)), check


@pytest.mark.real_data
def test_the_known_defects_of_real_equities(real_data: Path):
    """The counts that the files really hold; their description was made on a larger pack."""
    real = pl.read_parquet(real_data / "us_equities_daily.parquet").rename({"date": "session"})
    seen = window(real.with_columns(adjusted=pl.lit(True), volume=pl.col("volume").cast(pl.Float64)))
    packs = real.select("symbol", "source").unique()

    def counts(find) -> dict[str, tuple[int, int]]:
        found = find(seen).join(packs, on="symbol").group_by("source")
        return {
            s: (n, k) for s, n, k in found.agg(pl.col("count").sum(), pl.col("symbol").n_unique()).iter_rows()
        }

    assert counts(missing_sessions) == {"stooq_2017": (3722, 175), "pystock_2015_17": (114, 43)}
    idle = counts(zero_volume)
    assert idle == {"yahoo_2024": (9880, 133), "pystock_2015_17": (4740, 132), "stooq_2017": (24, 23)}
    assert round(idle["yahoo_2024"][0] / (real["source"] == "yahoo_2024").sum(), 4) == 0.0046
    assert counts(stale_runs) == {"yahoo_2024": (250, 39), "pystock_2015_17": (194, 30)}
    split = unadjusted_splits(seen)
    assert split.height == 54
    for known in (("NSPH", date(2015, 4, 9)), ("HERO", date(2015, 11, 10))):
        assert known in split.select("symbol", "session").rows()
    assert "APIC" not in packs["symbol"]
    assert reverting_spikes(seen).height == 87
    assert interpolated_bars(seen).height == 249


@pytest.mark.real_data
def test_the_known_defects_of_real_funds_and_indices(real_data: Path):
    source = FileSource(real_data / "etf_index_daily.parquet")
    from datetime import UTC, datetime

    rows = source.fetch(None, *source.span())
    good, bad = split_bars(rows, ingested_at=datetime(2026, 1, 5, tzinfo=UTC), volume_required=False)
    assert bad["symbol"].to_list() == ["^VIX", "^VIX3M"]
    seen = window(good)
    assert missing_volume(seen).height == 12_730 - 2
    flat = dict(flat_bars(seen)["symbol"].value_counts().iter_rows())
    assert {s: flat.get(s, 0) for s in ("^VIX", "^VIX3M", "^VIX9D", "^VVIX")} == {
        "^VIX": 0,
        "^VIX3M": 217,
        "^VIX9D": 722,
        "^VVIX": 3420,
    }
    assert missing_sessions(seen)["count"].sum() == 118 + 2


@pytest.mark.real_data
def test_two_real_vendors_over_two_years(real_data: Path):
    vintages = pl.read_parquet(real_data / "vintages_daily.parquet").sort("symbol", "date", "crawl")
    first = vintages.group_by("symbol", "date", maintain_order=True).first().rename({"date": "session"})
    ours = pl.read_parquet(real_data / "us_equities_daily.parquet").rename({"date": "session"})
    theirs = first.filter(pl.col("close").is_not_null() & (pl.col("close") > 0))
    a, b = (f.with_columns(adjusted=pl.lit(True)) for f in (ours, theirs))
    both = window(a).rows.join(window(b).rows, on=["symbol", "session"])
    found = vendor_disagreement(window(a), window(b))
    assert both.height > 50_000
    assert 0 < found.height / both.height < 0.01
