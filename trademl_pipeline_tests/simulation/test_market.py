"""The simulated market: the same whatever is asked first, with what was planted in it."""

from datetime import UTC, date, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trademl_pipeline.market import BarSource, EmptyMonthError, UnknownSymbolError, fetch_month, split_bars
from trademl_pipeline.market.calendar import month_bounds, month_range, sessions
from trademl_pipeline.market.schema import SOURCE_COLUMNS
from trademl_pipeline.simulation import SimulatedMarket
from trademl_pipeline.simulation.price_generator import VOLUME_WEIGHT
from trademl_pipeline.tables import RAW_BARS

EPOCH, END = date(2014, 1, 2), date(2015, 12, 31)
MONTHS = month_range("2014-01-01", "2015-12-01")
KEY = ["symbol", "session"]


def market(**settings: object) -> SimulatedMarket:
    return SimulatedMarket(**{"seed": 3, "n_symbols": 8, "epoch": EPOCH, "end": END, **settings})


@pytest.fixture(scope="module")
def whole() -> pl.DataFrame:
    return market().bars


@pytest.fixture(scope="module")
def eventful() -> SimulatedMarket:
    """Long enough for splits of several kinds, dividends, listings and delistings."""
    return SimulatedMarket(seed=5, n_symbols=40)


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    asked=st.lists(
        st.tuples(st.sampled_from(MONTHS), st.one_of(st.none(), st.sets(st.integers(0, 7), min_size=1))),
        min_size=1,
        max_size=4,
    )
)
def test_bars_do_not_depend_on_what_is_asked_first(whole: pl.DataFrame, asked: list):
    source = market()
    known = source.symbols()
    for month, chosen in asked:
        symbols = None if chosen is None else [known[i % len(known)] for i in chosen]
        expected = whole.filter(pl.col("session").is_between(*month_bounds(month)))
        if symbols is not None:
            expected = expected.filter(pl.col("symbol").is_in(symbols))
        if expected.is_empty():
            with pytest.raises(EmptyMonthError):
                fetch_month(source, month, symbols)
        else:
            assert fetch_month(source, month, symbols).equals(expected)


@settings(max_examples=6, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(end=st.dates(date(2014, 3, 3), date(2015, 12, 30)))
def test_a_market_that_ends_earlier_begins_alike(whole: pl.DataFrame, end: date):
    assert market(end=end).bars.equals(whole.filter(pl.col("session") <= end))


def test_another_seed_is_another_market(whole: pl.DataFrame):
    other = market(seed=4).bars.join(whole, on=KEY)
    assert other.filter(pl.col("close") == pl.col("close_right")).height < other.height * 0.01


def test_a_larger_market_begins_with_the_same_symbols(whole: pl.DataFrame):
    few = market(n_symbols=3)
    assert few.bars.equals(whole.filter(pl.col("symbol").is_in(few.symbols())))


def test_bars_are_on_the_calendar_and_pass_every_quality_rule(eventful: SimulatedMarket):
    bars = eventful.bars
    assert tuple(bars.columns) == SOURCE_COLUMNS
    good, quarantined = split_bars(bars, ingested_at=datetime(2026, 1, 2, tzinfo=UTC))
    assert quarantined.is_empty()
    assert good.schema == RAW_BARS.polars_schema
    days = set(sessions(*eventful.span()))
    traded = bars.group_by("symbol").agg(
        pl.len(), pl.col("session").min(), pl.col("session").max().alias("last")
    )
    assert set(bars["session"].unique()) == days
    for _, count, first, last in traded.iter_rows():
        assert count == len(sessions(first, last)), "a listed symbol trades on every session"
    assert isinstance(eventful, BarSource)


def test_half_days_close_early_and_knowledge_follows_by_the_delay():
    bars = market(delay=timedelta(minutes=20)).fetch(None, date(2014, 11, 28), date(2014, 12, 1))
    closes = (
        bars.group_by("session").agg(pl.col("event_time").unique()).sort("session")["event_time"].to_list()
    )
    assert closes == [[datetime(2014, 11, 28, 18, tzinfo=UTC)], [datetime(2014, 12, 1, 21, tzinfo=UTC)]]
    assert (bars["knowledge_time"] - bars["event_time"]).unique().to_list() == [timedelta(minutes=20)]


def test_total_return_is_continuous_over_splits_and_dividends(eventful: SimulatedMarket):
    gross = (
        pl.col("split_factor")
        * (pl.col("close") + pl.col("dividend"))
        / pl.col("close").shift(1).over("symbol")
    )
    table = eventful.bars.with_columns(total=gross.log()).join(eventful.realized(1), on=KEY, how="left")
    table = table.with_columns(expected=pl.col("forward_return").shift(1).over("symbol")).drop_nulls(
        ["total", "expected"]
    )
    # Prices have four decimals, the cheapest are near three.
    assert (table["total"] - table["expected"]).abs().max() < 5e-5
    events = table.filter((pl.col("split_factor") != 1) | (pl.col("dividend") > 0))
    assert events.height > 500
    assert events["total"].abs().max() < 0.25


def test_a_split_divides_the_quote_and_multiplies_the_volume(eventful: SimulatedMarket):
    before = [pl.col(n).shift(1).over("symbol").alias(f"{n}_before") for n in ("close", "volume")]
    splits = eventful.bars.with_columns(before).filter(pl.col("split_factor") != 1).drop_nulls()
    assert {1.5, 2.0, 3.0} <= set(splits["split_factor"].unique())
    quote = (splits["close_before"] / splits["close"] / splits["split_factor"]).log()
    assert quote.abs().max() < 0.2
    # What is left of the volume's change, the signal aside, is a little noise and the odd change of regime.
    signal = eventful.signal().with_columns(before=pl.col("signal").shift(1).over("symbol"))
    splits = splits.join(signal, on=KEY)
    volume = (splits["volume"] / splits["volume_before"] / splits["split_factor"]).log()
    left = volume - VOLUME_WEIGHT * (splits["signal"] - splits["before"])
    assert left.abs().median() < 0.1
    assert left.abs().max() < 0.4
    assert splits["dividend"].to_list() == [0.0] * splits.height


def test_dividends_come_every_quarter(eventful: SimulatedMarket):
    paid = eventful.bars.filter(pl.col("dividend") > 0)
    share = paid["symbol"].n_unique() / len(eventful.symbols())
    assert 0.3 < share < 0.9
    days = eventful.bars.select(pl.col("session").unique().sort()).with_row_index("at")
    gaps = (
        paid.join(days, on="session")
        .sort(KEY)
        .select(pl.col("at").cast(pl.Int64).diff().over("symbol"))["at"]
    )
    assert gaps.drop_nulls().unique().to_list() == [63]


def test_symbols_are_listed_late_and_delisted(eventful: SimulatedMarket):
    listings = eventful.listings()
    first, last = eventful.span()
    assert listings["symbol"].to_list() == eventful.symbols()
    assert listings.filter(pl.col("listed") > first).height >= 3
    assert listings.filter(pl.col("delisted").is_not_null()).height >= 5
    ends = eventful.bars.group_by("symbol").agg(pl.col("session").max().alias("end"))
    joined = listings.join(ends, on="symbol")
    assert joined.filter(pl.col("delisted").fill_null(last) != pl.col("end")).is_empty()


def test_volatility_clusters(eventful: SimulatedMarket):
    size = eventful.realized(1).with_columns(size=pl.col("forward_return").abs())
    lagged = size.with_columns(
        near=pl.col("size").shift(1).over("symbol"), far=pl.col("size").shift(250).over("symbol")
    )
    near, far = lagged.select(pl.corr("size", "near"), far=pl.corr("size", "far")).row(0)
    assert near > 0.1
    assert near > far + 0.05


def test_symbols_of_a_sector_move_together(eventful: SimulatedMarket):
    wide = (
        eventful.realized(1)
        .pivot(on="symbol", index="session", values="forward_return")
        .sort("session")
        .drop("session")
    )
    market_move = np.nanmean(wide.to_numpy(), axis=1, keepdims=True)
    own = wide.to_numpy() - market_move
    sector = dict(eventful.sectors().iter_rows())
    same, other = [], []
    for i, a in enumerate(wide.columns):
        for j, b in enumerate(wide.columns[:i]):
            both = ~np.isnan(own[:, i]) & ~np.isnan(own[:, j])
            if both.sum() > 500:
                (same if sector[a] == sector[b] else other).append(
                    np.corrcoef(own[both, i], own[both, j])[0, 1]
                )
    assert np.mean(same) > np.mean(other) + 0.03
    assert np.corrcoef(np.nan_to_num(wide.to_numpy()[:, 0]), market_move[:, 0])[0, 1] > 0.3


def test_the_index_is_made_of_its_members(eventful: SimulatedMarket):
    index = eventful.index_bars()
    assert tuple(index.columns) == SOURCE_COLUMNS
    assert index["session"].to_list() == sessions(*eventful.span())
    assert split_bars(index, ingested_at=datetime(2026, 1, 2, tzinfo=UTC)).quarantined.is_empty()
    mean = eventful.realized(1).group_by("session").agg(pl.col("forward_return").mean()).sort("session")
    move = index.select("session", move=pl.col("close").log().diff().shift(-1)).join(mean, on="session")
    assert move.select(pl.corr("move", "forward_return")).item() > 0.9


def test_the_signal_shows_in_volume_and_close_location(eventful: SimulatedMarket):
    bars = eventful.bars.join(eventful.signal(), on=KEY)
    seen = bars.with_columns(
        location=(pl.col("close") - pl.col("low")) / (pl.col("high") - pl.col("low")),
        volume_ratio=(pl.col("volume") / pl.col("volume").rolling_mean(20).over("symbol")).log(),
    ).drop_nulls()
    assert seen.select(pl.corr("signal", "location", method="spearman")).item() > 0.98
    assert seen.select(pl.corr("signal", "volume_ratio")).item() > 0.7
    # It is no echo of the day's own return, and a fresh draw most of the way after ten sessions.
    later = seen.with_columns(pl.col("signal").shift(-1).over("symbol").alias("next")).drop_nulls()
    assert later.select(pl.corr("signal", "next")).item() == pytest.approx(0.8, abs=0.01)
    assert seen["signal"].std() == pytest.approx(1.0, abs=0.03)


def test_unknown_symbols_and_empty_ranges_are_errors(whole: pl.DataFrame):
    source = market()
    with pytest.raises(UnknownSymbolError, match=r"'SIM00' \(near: SIM00\d"):
        source.fetch(["SIM00"], EPOCH, END)
    with pytest.raises(
        EmptyMonthError, match=r"'simulated' has no bars in 2030-01.*2014-01-02 to 2015-12-31"
    ):
        fetch_month(source, "2030-01-01")


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"n_symbols": 0}, "at least one symbol"),
        ({"end": date(2013, 1, 1)}, "before it begins"),
        ({"delay": timedelta(seconds=-1)}, "before the close"),
        ({"strength": 1.0}, "strength"),
        ({"class_frequencies": {"K0": 0.5}}, "sum to 1"),
        ({"class_frequencies": {"K9": 1.0}}, "K0, K1"),
    ],
)
def test_impossible_markets_are_refused(settings: dict, said: str):
    with pytest.raises(ValueError, match=said):
        market(**settings)
