"""The synthetic index: only returns move it, weights are those of the session before, nothing later reaches it."""

from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trademl_pipeline.market import members
from trademl_pipeline.market.calendar import close_utc, sessions
from trademl_pipeline.market.errors import BarsSchemaError, MarketError
from trademl_pipeline.market.index_builder import IndexSpec, build_index
from trademl_pipeline.simulation import SimulatedMarket

DAYS = sessions(date(2016, 1, 4), date(2016, 6, 30))
WEIGHTINGS = ("cap", "price", "equal")


def bars(symbols: int = 4, n: int = 60, seed: int = 0) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    frames = []
    for k in range(symbols):
        close = 20 * (k + 1) * np.exp(np.cumsum(rng.normal(0, 0.02, n)))
        opened = close * np.exp(rng.normal(0, 0.01, n))
        frames.append(
            pl.DataFrame(
                {
                    "symbol": [f"S{k}"] * n,
                    "session": DAYS[:n],
                    "open": opened,
                    "high": np.maximum(opened, close) * 1.01,
                    "low": np.minimum(opened, close) * 0.99,
                    "close": close,
                    "volume": np.round(1e5 * (k + 1) * np.exp(rng.normal(0, 0.3, n))),
                    "split_factor": 1.0,
                    "dividend": 0.0,
                    "adjusted": False,
                }
            )
        )
    frame = pl.concat(frames)
    close = close_utc(frame["session"])
    return frame.with_columns(close.alias("event_time"), close.alias("knowledge_time"))


def split(frame: pl.DataFrame, symbol: str, day: date, ratio: float) -> pl.DataFrame:
    """The bars as traded had the symbol split on that day."""
    own = pl.col("symbol") == symbol
    fall = pl.when(own & (pl.col("session") >= day)).then(ratio).otherwise(1.0)
    on = pl.when(own & (pl.col("session") == day)).then(ratio).otherwise(1.0)
    return frame.with_columns(
        *(pl.col(c) / fall for c in ("open", "high", "low", "close")),
        pl.col("volume") * fall,
        on.alias("split_factor"),
    )


def paid(frame: pl.DataFrame, symbol: str, day: date, share: float) -> pl.DataFrame:
    """The bars had the symbol paid that share of its price, and fallen by it."""
    own, on = pl.col("symbol") == symbol, pl.col("session") == day
    drop = pl.when(own & (pl.col("session") >= day)).then(1 - share).otherwise(1.0)
    cash = frame.filter(own & on)["close"].item() * share
    return frame.with_columns(
        *((pl.col(c) * drop).alias(c) for c in ("open", "high", "low", "close")),
        pl.when(own & on).then(cash).otherwise(0.0).alias("dividend"),
    )


def closes(frame: pl.DataFrame, weighting: str, **more: object) -> np.ndarray:
    return build_index(frame, IndexSpec(weighting), **more)["close"].to_numpy()


@pytest.mark.parametrize("weighting", WEIGHTINGS)
@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000), at=st.integers(5, 50), ratio=st.sampled_from([0.1, 1.5, 2.0, 20.0]))
def test_a_split_does_not_move_the_index_on_its_day(weighting: str, seed: int, at: int, ratio: float) -> None:
    whole = bars(seed=seed)
    got = closes(split(whole, "S1", DAYS[at], ratio), weighting)
    # Weights by price change from the next session on, as those of the Dow Jones do.
    until = at if weighting == "price" else len(got)
    np.testing.assert_allclose(got[:until], closes(whole, weighting)[:until], rtol=1e-6)


@pytest.mark.parametrize("weighting", WEIGHTINGS)
@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000), at=st.integers(5, 50), share=st.floats(0.001, 0.5))
def test_a_dividend_does_not_move_the_index(weighting: str, seed: int, at: int, share: float) -> None:
    whole = bars(seed=seed)
    got = closes(paid(whole, "S2", DAYS[at], share), weighting)
    np.testing.assert_allclose(got[:at], closes(whole, weighting)[:at], rtol=1e-12)


@pytest.mark.parametrize("weighting", WEIGHTINGS)
@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000), at=st.integers(2, 50), price=st.floats(0.01, 1e5), leaves=st.booleans())
def test_an_entry_or_exit_does_not_move_the_index(
    weighting: str, seed: int, at: int, price: float, leaves: bool
) -> None:
    """A stranger at any price, that moves just as the others together do, changes nothing when it comes or goes.

    It does not trade, so that it is the last in rank and leaves the others' weights to each other as they were.
    """
    whole = bars(seed=seed)
    index = build_index(whole, IndexSpec(weighting))
    level = pl.concat(
        [pl.DataFrame({"session": [DAYS[0]], "close": [1000.0]}), index.select("session", "close")]
    )
    stranger = whole.filter(pl.col("symbol") == "S0").drop("close").join(level, on="session")
    stranger = stranger.with_columns(
        pl.lit("NEW").alias("symbol"), pl.col("close") * price / 1000, volume=0.0
    )
    stranger = stranger.with_columns(pl.col("close").alias(c) for c in ("open", "high", "low"))
    day = DAYS[at]
    there = pl.col("session") < day if leaves else pl.col("session") >= day
    got = closes(pl.concat([whole, stranger.filter(there).select(whole.columns)]), weighting)
    np.testing.assert_allclose(got, index["close"].to_numpy(), rtol=1e-9)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000), at=st.integers(1, 59), weighting=st.sampled_from(WEIGHTINGS))
def test_no_later_bar_reaches_the_index(seed: int, at: int, weighting: str) -> None:
    whole = bars(seed=seed)
    past = build_index(whole.filter(pl.col("session") <= DAYS[at]), IndexSpec(weighting))
    assert past.equals(build_index(whole, IndexSpec(weighting)).head(past.height))


@pytest.mark.parametrize("weighting", WEIGHTINGS)
def test_a_month_alone_is_the_month_of_the_whole(weighting: str) -> None:
    market = SimulatedMarket(seed=5, n_symbols=20, epoch=date(2014, 1, 2), end=date(2015, 6, 30))
    spec = IndexSpec(weighting)
    whole = build_index(market.bars, spec)
    first = date(2015, 4, 1)
    start = sessions(date(2015, 1, 1), first)[-2 - spec.warmup]
    base = whole.filter(pl.col("session") < first)["close"][-1]
    alone = build_index(market.bars.filter(pl.col("session") >= start), spec, first=first, base=base)
    same = whole.filter(pl.col("session") >= first)
    assert alone.drop("open", "high", "low", "close", "volume").equals(
        same.drop("open", "high", "low", "close", "volume")
    )
    for column in ("open", "high", "low", "close", "volume"):
        np.testing.assert_allclose(alone[column], same[column], rtol=1e-12)


def test_weights_are_of_the_bar_before() -> None:
    a, b = 0.1, -0.05
    frame = bars(2, 3)
    move = pl.when(pl.col("symbol") == "S0").then(1 + a).otherwise(1 + b)
    base = pl.when(pl.col("symbol") == "S0").then(10.0).otherwise(30.0)
    age = pl.int_range(pl.len()).over("symbol")
    frame = frame.with_columns((base * move.pow(age)).alias(c) for c in ("open", "high", "low", "close"))
    assert closes(frame, "equal")[0] == pytest.approx(1000 * (1 + (a + b) / 2))
    assert closes(frame, "price")[0] == pytest.approx(1000 * (10 * (1 + a) + 30 * (1 + b)) / 40)
    # S1 trades more dollars: ranks 1 and 2, weights 2/3 and 1/3.
    assert closes(frame, "cap")[0] == pytest.approx(1000 * (1 + (2 * b + a) / 3))
    shares = pl.DataFrame({"symbol": ["S0", "S1"], "shares": [9, 1]})
    assert closes(frame, "cap", shares=shares)[0] == pytest.approx(1000 * (90 * (1 + a) + 30 * (1 + b)) / 120)
    later = shares.with_columns(pl.Series("start_date", [DAYS[0], DAYS[1]]))
    assert closes(frame, "cap", shares=later)[0] == pytest.approx(1000 * (1 + a))


def test_constituents_are_those_of_the_day() -> None:
    frame = bars(2, 20)
    membership_intervals = pl.DataFrame(
        {"symbol": ["S0", "S1"], "start_date": [DAYS[0], DAYS[5]], "end_date": [DAYS[10], None]}
    )
    got = build_index(frame, IndexSpec("equal"), membership_intervals=membership_intervals)
    assert dict(got.select("session", "members").rows()) == {
        day: (1 if at < 5 or at >= 10 else 2) for at, day in enumerate(DAYS[:20]) if at
    }


def test_a_halt_counts_once_and_a_long_absence_not_at_all() -> None:
    frame = bars(2, 30)
    own = pl.col("symbol") == "S0"
    halted = frame.filter(~own | ~pl.col("session").is_in(DAYS[10:13]))
    got = build_index(halted, IndexSpec("equal"))
    ratio = frame.filter(own)["close"][13] / frame.filter(own)["close"][9]
    other = frame.filter(~own)["close"][13] / frame.filter(~own)["close"][12]
    assert got["close"][12] / got["close"][11] == pytest.approx((ratio + other) / 2)
    gone = build_index(frame.filter(~own | ~pl.col("session").is_in(DAYS[10:16])), IndexSpec("equal"))
    assert gone.filter(pl.col("session") == DAYS[16])["members"].item() == 1


def test_a_bar_known_too_late_takes_no_part_and_the_clock_tells_of_those_that_do() -> None:
    frame = bars(3, 10)

    def known(by: timedelta) -> pl.DataFrame:
        hit = (pl.col("symbol") == "S1") & (pl.col("session") == DAYS[5])
        late = pl.col("knowledge_time") + pl.when(hit).then(by).otherwise(timedelta(0))
        return build_index(frame.with_columns(late.alias("knowledge_time")), IndexSpec("equal"))

    minutes = known(timedelta(minutes=30))
    assert (minutes["knowledge_time"] - minutes["event_time"]).to_list() == [
        timedelta(minutes=30) if day == DAYS[5] else timedelta(0) for day in DAYS[1:10]
    ]
    days = known(timedelta(days=3))
    assert days["members"].to_list() == [3, 3, 3, 3, 2, 3, 3, 3, 3]
    assert (days["knowledge_time"] == days["event_time"]).all()


def test_the_bars_of_the_index_do_not_contradict_themselves() -> None:
    got = build_index(bars(5, 60, seed=4))
    assert (got["high"] >= got.select(pl.max_horizontal("open", "close")).to_series()).all()
    assert (got["low"] <= got.select(pl.min_horizontal("open", "close")).to_series()).all()
    assert (got["volume"] > 0).all()
    assert got["symbol"].unique().to_list() == ["^INDEX"]


def test_wrong_settings_and_bars_are_named() -> None:
    with pytest.raises(MarketError, match="'float'; it may be cap, price, equal"):
        IndexSpec("float")  # pyright: ignore[reportArgumentType]
    with pytest.raises(BarsSchemaError, match="volume"):
        build_index(bars(1, 3).drop("volume"))


def test_a_split_left_unadjusted_is_left_out_on_its_day_and_a_fall_that_can_be_is_not() -> None:
    whole = bars(3, 20)
    day = DAYS[10]
    for ratio, moved in ((10.0, False), (3.0, True)):
        wrong = split(whole, "S1", day, ratio).with_columns(pl.lit(1.0).alias("split_factor"))
        got = build_index(wrong, IndexSpec("equal"))
        assert (abs(got["close"].pct_change()[9]) > 0.15) == moved
        assert got["members"].to_list() == [3] * 9 + [3 if moved else 2] + [3] * 9


@pytest.mark.real_data
def test_an_index_of_real_names_moves_with_spy(real_data) -> None:
    equities = pl.read_parquet(real_data / "us_equities_daily.parquet").rename({"date": "session"})
    equities = equities.filter(pl.col("session").is_between(date(2014, 1, 1), date(2015, 12, 31)))
    close = close_utc(equities["session"])
    frame = equities.with_columns(close.alias("event_time"), close.alias("knowledge_time"), adjusted=True)
    frame = frame.drop_nulls("event_time").with_columns(pl.col("volume").cast(pl.Float64))
    membership_intervals = members(
        "SP500", date(2014, 1, 1), date(2015, 12, 31), membership=real_data / "sp500_membership.csv"
    )
    spy = pl.read_parquet(real_data / "etf_index_daily.parquet").filter(pl.col("symbol") == "SPY")
    found = {}
    for weighting in WEIGHTINGS:
        got = build_index(frame, IndexSpec(weighting), membership_intervals=membership_intervals).select(
            "session", "close"
        )
        both = got.join(spy.select(session="date", spy="close"), on="session").sort("session")
        returns = both.select(pl.col("close", "spy").pct_change()).drop_nulls()
        found[weighting] = round(returns.select(pl.corr("close", "spy")).item(), 2)
    assert found == {"cap": 0.95, "price": 0.97, "equal": 0.98}
