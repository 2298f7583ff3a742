"""Index, sector and VIX beside the symbol: joined by session, null where missing, never filled."""

from datetime import date

import polars as pl
import pytest

from trademl_pipeline.features import FEATURE_SETS, FeatureInputError, compute, feature_inputs
from trademl_pipeline.features.references import (
    REFERENCE_COLUMNS,
    ReferenceNames,
    reference_wealth,
    with_references,
)
from trademl_pipeline_tests.features.panels import random_bars, reference_bars, sectors

BARS = random_bars(2, 200, seed=1)
REFERENCE = reference_bars(200)

OF_REFERENCES = {
    n for names in FEATURE_SETS.values() for n in names if set(feature_inputs(n)) & set(REFERENCE_COLUMNS)
}


def computed(reference: pl.DataFrame | None, universe: pl.DataFrame | None = None) -> pl.DataFrame:
    values = [compute(BARS, s, reference=reference, universe=universe) for s in ("indicators", "pattern")]
    return values[0].join(values[1], on=["symbol", "session"], maintain_order="left")


def test_six_features_read_references() -> None:
    assert {
        "relative_strength_20",
        "index_beta_60",
        "index_momentum_20",
        "sector_relative_strength",
        "market_beta_instability",
        "vix_term_structure",
    } == OF_REFERENCES


def test_without_references_their_features_are_null_and_all_others_stand() -> None:
    none, all_of_them = computed(None), computed(REFERENCE, sectors(BARS))
    for name in none.columns[2:]:
        if name in OF_REFERENCES:
            assert none[name].null_count() == BARS.height
            assert all_of_them[name].null_count() < BARS.height
        else:
            assert none[name].equals(all_of_them[name]), name


def test_a_missing_session_of_the_index_is_null_in_every_window_that_holds_it() -> None:
    sessions = BARS["session"].unique().sort()
    hole = sessions[100]
    got = computed(REFERENCE.filter((pl.col("session") != hole) | (pl.col("symbol") != "SPY")))
    own = got.filter(pl.col("symbol") == "S000")
    assert own["index_beta_60"].to_list()[100:161] == [None] * 61
    assert own["index_beta_60"][161] is not None
    momentum = own["index_momentum_20"]
    assert momentum[100] is None
    assert momentum[120] is None
    assert momentum[110] is not None


def test_vix_falls_back_where_the_three_month_index_is_missing() -> None:
    sessions = BARS["session"].unique().sort()
    without = REFERENCE.filter((pl.col("symbol") != "^VIX3M") | (pl.col("session") < sessions[150]))
    got = compute(BARS, "vix_term_structure", reference=without).filter(pl.col("symbol") == "S000")
    vix = REFERENCE.filter(pl.col("symbol") == "^VIX")["close"]
    far = REFERENCE.filter(pl.col("symbol") == "^VIX3M")["close"]
    assert got["vix_term_structure"][149] == pytest.approx(vix[149] / far[149] - 1)
    assert got["vix_term_structure"][150] == pytest.approx(vix[150] / vix[91:151].mean() - 1)


def test_the_names_of_the_series_are_configuration() -> None:
    named = with_references(BARS.select("symbol", "session"), REFERENCE, None, ReferenceNames(index="XLK"))
    fund = REFERENCE.filter(pl.col("symbol") == "XLK")["close"]
    assert named.filter(pl.col("symbol") == "S000")["index_wealth"].to_list() == fund.to_list()


def test_a_change_of_sector_does_not_reach_back() -> None:
    moved = pl.DataFrame(
        {
            "symbol": ["S000", "S000", "S001"],
            "sector": ["XLK", "XLF", "XLF"],
            "start_date": [date(2015, 1, 1), date(2015, 6, 1), date(2015, 3, 2)],
        }
    )
    got = with_references(BARS.select("symbol", "session"), REFERENCE, moved)
    first = got.filter(pl.col("symbol") == "S000")
    of = {s: REFERENCE.filter(pl.col("symbol") == s) for s in ("XLK", "XLF")}
    before = first.filter(pl.col("session") < date(2015, 6, 1))
    after = first.filter(pl.col("session") >= date(2015, 6, 1))
    assert before["sector_wealth"].to_list() == of["XLK"]["close"].head(before.height).to_list()
    assert after["sector_wealth"].to_list() == of["XLF"]["close"].tail(after.height).to_list()
    second = got.filter((pl.col("symbol") == "S001") & (pl.col("session") < date(2015, 3, 2)))
    assert second["sector_wealth"].null_count() == second.height


def test_dividends_and_splits_of_a_fund_are_no_returns() -> None:
    fund = pl.DataFrame(
        {
            "symbol": ["SPY"] * 3,
            "session": [date(2020, 1, 2), date(2020, 1, 3), date(2020, 1, 6)],
            "close": [100.0, 49.0, 49.0],
            "split_factor": [1.0, 2.0, 1.0],
            "dividend": [0.0, 1.0, 0.0],
        }
    )
    wealth = reference_wealth(fund)["wealth"]
    assert (wealth / wealth[0]).to_list() == pytest.approx([1, 1, 1])
    adjusted = reference_wealth(fund.with_columns(adjusted=pl.lit(True)))["wealth"]
    assert adjusted.to_list() == [100.0, 49.0, 49.0]


def test_wrong_references_are_refused() -> None:
    with pytest.raises(FeatureInputError, match=r"reference bars lack the column\(s\) close"):
        compute(BARS, "indicators", reference=REFERENCE.drop("close"))
    with pytest.raises(FeatureInputError, match="a symbol twice for one session"):
        compute(BARS, "indicators", reference=pl.concat([REFERENCE, REFERENCE.head(1)]))
    with pytest.raises(FeatureInputError, match=r"the universe lack the column\(s\) sector"):
        compute(BARS, "pattern", reference=REFERENCE, universe=sectors(BARS).drop("sector"))
    with pytest.raises(FeatureInputError, match="names a symbol twice"):
        compute(BARS, "pattern", reference=REFERENCE, universe=pl.concat([sectors(BARS)] * 2))
