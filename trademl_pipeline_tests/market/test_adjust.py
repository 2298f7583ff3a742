"""Adjusted at t means: with the splits and dividends known at t, and no other."""

from datetime import UTC, date, datetime

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trademl_pipeline.features.prepare import prepare
from trademl_pipeline.features.registry import compute
from trademl_pipeline.leakage import audit_features
from trademl_pipeline.market.adjust import adjusted, known, total_return
from trademl_pipeline.market.calendar import close_utc, sessions
from trademl_pipeline.market.errors import BarsSchemaError
from trademl_pipeline.simulation import SimulatedMarket

DAYS = sessions(date(2016, 3, 1), date(2016, 3, 31))


def series(closes: list[float], splits: dict[int, float] | None = None, paid: dict[int, float] | None = None):
    """One symbol's bars as traded."""
    rows = []
    for i, close in enumerate(closes):
        event = close_utc(DAYS[i])
        rows.append(
            {
                "symbol": "A",
                "session": DAYS[i],
                "open": close,
                "high": close * 1.1,
                "low": close * 0.9,
                "close": close,
                "volume": 1000.0,
                "split_factor": (splits or {}).get(i, 1.0),
                "dividend": (paid or {}).get(i, 0.0),
                "adjusted": False,
                "event_time": event,
                "knowledge_time": event,
            }
        )
    return pl.DataFrame(rows).with_columns(pl.col("event_time", "knowledge_time").dt.cast_time_unit("us"))


def test_a_split_is_in_the_prices_before_it_once_it_is_known():
    bars = series([100.0, 102.0, 51.0], splits={2: 2.0}, paid={1: 1.0})
    after = adjusted(bars, close_utc(DAYS[2]))
    assert after["close"].to_list() == [50.0, 51.0, 51.0]
    assert after["volume"].to_list() == [2000.0, 2000.0, 1000.0]
    assert after["dividend"].to_list() == [0.0, 0.5, 0.0]
    assert adjusted(after).equals(after)
    assert total_return(after)["wealth"].to_list() == pytest.approx(total_return(bars)["wealth"].to_list())


def test_before_the_split_is_known_nothing_has_happened():
    bars = series([100.0, 102.0, 51.0], splits={2: 2.0})
    assert adjusted(bars, close_utc(DAYS[1]))["close"].to_list() == [100.0, 102.0]
    late = bars.with_columns(
        pl.when(pl.col("split_factor") != 1)
        .then(pl.col("knowledge_time").dt.offset_by("2d"))
        .otherwise("knowledge_time")
        .alias("knowledge_time")
    )
    assert adjusted(late, close_utc(DAYS[2])).height == 2


def test_total_return_reinvests_what_was_paid():
    bars = series([100.0, 99.0, 51.0, 51.0], splits={2: 2.0}, paid={1: 1.0, 3: 0.51})
    found = total_return(bars)
    assert found["total_return"].to_list() == [
        None,
        pytest.approx(0.0),
        pytest.approx(102 / 99 - 1),
        pytest.approx(0.01),
    ]
    assert found["wealth"][0] == 1.0
    assert found["adjusted_close"][-1] == pytest.approx(51.0)
    ratios = found["adjusted_close"] / found["wealth"]
    assert ratios.to_list() == pytest.approx([ratios[0]] * 4)


def test_rows_that_a_source_has_adjusted_are_not_adjusted_again():
    bars = series([50.0, 51.0, 51.0], splits={2: 2.0}, paid={1: 1.0}).with_columns(
        pl.lit(True).alias("adjusted")
    )
    assert adjusted(bars)["close"].to_list() == [50.0, 51.0, 51.0]
    assert total_return(bars)["wealth"].to_list() == pytest.approx([1.0, 1.02, 1.02])


def test_what_is_missing_is_named():
    with pytest.raises(BarsSchemaError, match="'adjusted'"):
        adjusted(series([1.0]).drop("adjusted"))
    with pytest.raises(ValueError, match="time zone"):
        known(series([1.0]), datetime(2016, 3, 1))


HISTORIES = st.lists(
    st.tuples(
        st.floats(1, 1000), st.sampled_from([1.0, 1.0, 2.0, 0.1, 1.5]), st.sampled_from([0.0, 0.0, 0.5])
    ),
    min_size=2,
    max_size=12,
)


@settings(max_examples=30, deadline=None)
@given(history=HISTORIES, cut=st.integers(0, 11))
def test_nothing_that_comes_later_reaches_back(history: list[tuple[float, float, float]], cut: int):
    bars = series(
        [price for price, _, _ in history],
        {i: split for i, (_, split, _) in enumerate(history)},
        {i: paid for i, (_, _, paid) in enumerate(history)},
    )
    moment = close_utc(DAYS[cut])
    past = bars.head(cut + 1)
    assert adjusted(bars, moment).equals(adjusted(past))
    assert total_return(bars, moment).equals(total_return(past))
    whole = total_return(bars).head(cut + 1)
    assert whole["wealth"].equals(total_return(past)["wealth"])
    # The same returns as features are made of.
    wealth = prepare(bars)["wealth"]
    assert (wealth / wealth[0]).to_list() == pytest.approx(total_return(bars)["wealth"].to_list(), rel=1e-9)


@pytest.mark.parametrize("marked", [False, True], ids=["as traded", "adjusted by the source"])
def test_features_know_no_price_level(small_market_source: SimulatedMarket, marked: bool):
    names = small_market_source.symbols()[:4]
    bars = small_market_source.fetch(names, date(2014, 1, 1), date(2015, 6, 30))
    ex_date = date(2015, 3, 2)
    bars = bars.with_columns(
        pl.when(pl.col("session") == ex_date).then(3.0).otherwise("split_factor").alias("split_factor")
    )
    assert (bars["split_factor"] == 3.0).any()
    if marked:
        bars = adjusted(bars).with_columns(pl.lit(True).alias("adjusted"))
    report = audit_features(lambda frame: compute(frame, "forecast"), bars, probes=("adjustment",))
    report.assert_clean()
    assert report.tested


def test_adjusted_prices_and_prices_as_traded_give_the_same_features(small_market_source: SimulatedMarket):
    names = small_market_source.symbols()[:3]
    bars = small_market_source.fetch(names, date(2014, 1, 1), date(2014, 12, 31)).with_columns(
        dividend=pl.lit(0.0)
    )
    moment = datetime(2015, 1, 1, tzinfo=UTC)
    as_traded, on_one_share = compute(bars, "forecast"), compute(adjusted(bars, moment), "forecast")
    for name in as_traded.columns[2:]:
        a, b = (
            as_traded[name].cast(pl.Float64).fill_nan(None),
            on_one_share[name].cast(pl.Float64).fill_nan(None),
        )
        assert ((a - b).abs() <= 1e-6 * (1 + b.abs())).fill_null(True).all(), name
