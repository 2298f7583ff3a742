from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest

from trademl_pipeline.market.calendar import close_utc, open_utc, sessions
from trademl_pipeline.portfolio.costs import Costs
from trademl_pipeline.portfolio.errors import PortfolioError
from trademl_pipeline.portfolio.long_short import LongShortConfig, long_short

DAYS = sessions(date(2020, 1, 6), date(2020, 12, 31))
TWO = LongShortConfig(min_symbols=2, quantile=0.5)


def bars_of(opens, closes=None, *, symbols="AB", drop=(), **columns):
    """Bars from (session, symbol) opens; `drop` holds (session number, symbol) without a bar."""
    closes = opens if closes is None else closes
    rows = [
        {
            "symbol": s,
            "session": DAYS[t],
            "open": float(opens[t][i]),
            "close": float(closes[t][i]),
            "volume": 1e9,
            "split_factor": 1.0,
            "dividend": 0.0,
        }
        for t in range(len(opens))
        for i, s in enumerate(symbols)
        if (t, s) not in drop
    ]
    frame = pl.DataFrame(rows)
    for name, changes in columns.items():
        for (t, s), value in changes.items():
            hit = (pl.col("session") == DAYS[t]) & (pl.col("symbol") == s)
            frame = frame.with_columns(pl.when(hit).then(value).otherwise(name).alias(name))
    return frame


def calls(*rows, symbols="AB"):
    """Predictions from scores: {session number: (score of A, score of B)}."""
    return pl.DataFrame(
        [(s, DAYS[t], float(v)) for t, values in rows for s, v in zip(symbols, values, strict=True)],
        schema=["symbol", "session", "score"],
        orient="row",
    )


def test_decided_at_the_close_filled_at_the_next_open_held_to_the_open_after():
    # Long A, short B, decided on day 0: A goes 110 -> 121 and B 50 -> 60 from open 1 to open 2.
    bars = bars_of([[100, 40], [110, 50], [121, 60], [500, 1]])
    book = long_short(calls((0, (1, -1))), bars, TWO)
    assert book.equity["session"].to_list() == [DAYS[1]]
    assert book.equity["until"].to_list() == [DAYS[2]]
    assert book.equity["gross_return"][0] == pytest.approx(0.5 * 0.1 - 0.5 * 0.2)
    assert book.equity.select("long", "short", "exposure", "net_exposure").row(0) == pytest.approx(
        (0.5, -0.5, 1.0, 0.0)
    )


def test_costs_are_a_share_of_all_that_is_traded_entry_and_exit():
    bars = bars_of([[100, 40], [110, 50], [121, 60], [500, 1]])
    book = long_short(calls((0, (1, -1))), bars, TWO)
    gain = 0.5 * 0.1 - 0.5 * 0.2
    carried = (0.5 * 1.1 + 0.5 * 1.2) / (1 + gain)
    cost = 0.002 * (1 + carried)
    assert book.equity["turnover"][0] == pytest.approx(1 + carried)
    assert book.equity["net_return"][0] == pytest.approx((1 - cost) * (1 + gain) - 1)
    free = long_short(
        calls((0, (1, -1))), bars, LongShortConfig(min_symbols=2, quantile=0.5, costs=Costs(0, 0))
    )
    assert free.equity["net_return"][0] == free.equity["gross_return"][0]


def test_splits_and_dividends_count_as_return():
    # B splits 2:1 and A pays 1.1 on day 2: both are worth what they were, A by its dividend.
    bars = bars_of(
        [[110, 50], [110, 50], [108.9, 25], [1, 1]], split_factor={(2, "B"): 2.0}, dividend={(2, "A"): 1.1}
    )
    book = long_short(calls((0, (1, -1))), bars, TWO)
    assert book.equity["gross_return"][0] == pytest.approx(0.0)


def test_dividend_on_the_day_of_a_split_is_paid_on_the_new_shares():
    bars = bars_of(
        [[100, 50], [100, 50], [49, 50], [1, 1]], split_factor={(2, "A"): 2.0}, dividend={(2, "A"): 1.0}
    )
    assert long_short(calls((0, (1, -1))), bars, TWO).equity["gross_return"][0] == pytest.approx(0.0)


def test_equity_compounds_over_sessions_and_weights_follow_prices():
    bars = bars_of([[100, 100], [100, 100], [110, 100], [121, 90], [121, 90]])
    book = long_short(calls((0, (1, -1)), (1, (1, -1))), bars, TWO)
    assert book.equity["gross_return"].to_list() == pytest.approx([0.05, 0.5 * 0.1 + 0.5 * 0.1])
    assert book.equity["gross_equity"].to_list() == pytest.approx([1.05, 1.05 * 1.1])
    carried_long, carried_short = 0.55 / 1.05, 0.5 / 1.05
    rebalance = abs(0.5 - carried_long) + abs(0.5 - carried_short)
    last = (0.55 + 0.45) / 1.1
    assert book.equity["turnover"].to_list() == pytest.approx([1.0, rebalance + last])


def test_longer_holding_is_that_many_equal_parts():
    bars = bars_of(np.full((8, 2), 100.0))
    book = long_short(
        calls((0, (1, -1)), (1, (1, -1)), (2, (-1, 1))),
        bars,
        LongShortConfig(min_symbols=2, quantile=0.5, holding=2),
    )
    assert book.equity["session"].to_list() == DAYS[1:5]
    assert book.equity["long"].to_list() == pytest.approx([0.25, 0.5, 0.0, 0.25])
    assert book.equity["turnover"].to_list() == pytest.approx([0.5, 0.5, 1.0, 0.5 + 0.5])


def test_clock_runs_signal_order_fill():
    bars = bars_of(np.full((6, 2), 100.0))
    book = long_short(calls((0, (1, -1)), (1, (-1, 1))), bars, TWO)
    assert book.fills.height == book.orders.height == 6
    joined = book.fills.join(book.signals, on=["symbol", "session"])
    assert (joined["signal_time"] < joined["order_time"]).all()
    assert (joined["order_time"] < joined["fill_time"]).all()
    first = book.fills.row(0, named=True)
    assert first["session"] == DAYS[0]
    assert first["fill_session"] == DAYS[1]
    assert first["fill_time"] == open_utc(DAYS[1])
    assert book.signals["signal_time"][0] == close_utc(DAYS[0])


def test_decision_made_after_the_next_open_is_filled_a_session_later():
    late = calls((0, (1, -1))).with_columns(decision_time=pl.lit(open_utc(DAYS[1]) + timedelta(hours=1)))
    book = long_short(late, bars_of(np.full((6, 2), 100.0)), TWO)
    assert set(book.fills["fill_session"]) == {DAYS[2], DAYS[3]}


def test_market_that_never_closes_is_filled_at_the_open_after_the_order():
    days = sessions(date(2020, 1, 6), date(2020, 1, 12), "24/7")
    bars = pl.DataFrame(
        [(s, d, 100.0, 100.0, 1e9) for d in days for s in "AB"],
        schema=["symbol", "session", "open", "close", "volume"],
        orient="row",
    )
    score = pl.DataFrame({"symbol": ["A", "B"], "session": [days[0]] * 2, "score": [1.0, -1.0]})
    config = LongShortConfig(min_symbols=2, quantile=0.5, calendar="24/7")
    book = long_short(score, bars, config)
    assert (book.fills["order_time"] < book.fills["fill_time"]).all()
    assert book.fills["fill_session"].min() == days[2]


def test_symbol_that_stops_trading_is_closed_at_its_last_close_and_named():
    bars = bars_of(
        [[100, 100]] * 6,
        [[100, 100], [100, 100], [80, 100]] + [[100, 100]] * 3,
        drop={(t, "A") for t in (3, 4, 5)},
    )
    book = long_short(calls((0, (1, -1)), (1, (1, -1)), (2, (1, -1))), bars, TWO)
    assert book.equity["gross_return"].to_list() == pytest.approx([0.0, 0.5 * -0.2, 0.0])
    stopped = book.events.filter(pl.col("kind") == "stopped trading")
    assert stopped.select("symbol", "session").rows() == [("A", DAYS[3])]
    assert book.equity["long"].to_list() == pytest.approx([0.5, 0.5, 0.0])
    unfilled = book.events.filter(pl.col("kind") == "no bar")
    assert unfilled.select("symbol", "session", "weight").rows() == [("A", DAYS[3], 0.5)]


def test_halted_symbol_stays_in_the_book_until_it_trades_again():
    bars = bars_of(
        [[100, 100], [100, 100], [100, 100], [100, 100], [130, 100]],
        [[100, 100], [90, 100]] + [[100, 100]] * 3,
        drop={(2, "A"), (3, "A")},
    )
    book = long_short(calls((0, (1, -1)), (1, (0.5, 0.5)), (2, (0.5, 0.5))), bars, TWO)
    # Marked to the close of 90 on the day of the halt, then 130 / 90 when it opens again.
    first = 0.5 * -0.1
    carried = 0.5 * 0.9 / (1 + first)
    assert book.equity["gross_return"].to_list() == pytest.approx([first, 0.0, carried * (130 / 90 - 1)])
    assert book.equity["positions"].to_list() == [2, 1, 1]
    assert book.events.filter(pl.col("kind") == "no bar")["session"].to_list() == [DAYS[2], DAYS[3]]


def test_fills_stop_at_five_percent_of_the_session_s_volume():
    bars = bars_of(np.full((5, 2), 100.0), volume={(1, "A"): 20_000.0, (1, "B"): 1e9})
    book = long_short(calls((0, (1, -1))), bars, TWO)
    # 5 % of 20,000 shares at 100 is 100,000, a tenth of the million.
    first = book.fills.filter(pl.col("fill_session") == DAYS[1]).sort("symbol")
    assert first["weight_change"].to_list() == pytest.approx([0.1, -0.5])
    capped = book.events.filter(pl.col("kind") == "capped").row(0, named=True)
    assert (capped["symbol"], capped["weight"]) == ("A", pytest.approx(0.4))


def test_session_without_volume_cannot_be_traded():
    book = long_short(calls((0, (1, -1))), bars_of(np.full((5, 2), 100.0), volume={(1, "A"): 0.0}), TWO)
    assert book.equity["long"][0] == 0
    assert book.events["kind"].to_list() == ["no bar"]


def test_sessions_without_predictions_leave_the_book_flat_and_stay_in_the_curve():
    bars = bars_of(np.full((12, 2), 100.0))
    book = long_short(calls((0, (1, -1)), (6, (1, -1))), bars, TWO)
    assert book.equity["positions"].to_list() == [2, 0, 0, 0, 0, 0, 2]


def test_open_positions_at_the_end_of_the_bars_are_not_charged_an_exit():
    bars = bars_of(np.full((3, 2), 100.0))
    config = LongShortConfig(min_symbols=2, quantile=0.5, holding=3)
    book = long_short(calls((0, (1, -1))), bars, config)
    assert book.equity["turnover"].to_list() == pytest.approx([1 / 3])


def test_what_happens_after_the_last_fill_does_not_move_earlier_returns():
    rng = np.random.default_rng(0)
    opens = 100 * np.exp(np.cumsum(rng.standard_normal((40, 2)) * 0.02, axis=0))
    rows = [(t, tuple(rng.standard_normal(2))) for t in range(38)]
    whole = long_short(calls(*rows), bars_of(opens), TWO)
    cut = long_short(calls(*rows[:20]), bars_of(opens[:25]), TWO)
    n = cut.equity.height - 1
    assert whole.equity["net_return"][:n].to_list() == pytest.approx(cut.equity["net_return"][:n].to_list())


def test_scores_without_skill_earn_nothing_before_costs_and_pay_them_after():
    rng = np.random.default_rng(3)
    symbols = [f"S{i:02d}" for i in range(30)]
    n = 200
    opens = 100 * np.exp(np.cumsum(rng.standard_normal((n, 30)) * 0.01, axis=0))
    rows = [(t, rng.standard_normal(30)) for t in range(n - 2)]
    book = long_short(calls(*rows, symbols=symbols), bars_of(opens, symbols=symbols))
    gross = book.equity["gross_return"].to_numpy()
    assert abs(gross.mean()) < 3 * gross.std() / np.sqrt(len(gross))
    assert book.equity["net_return"].mean() < gross.mean() - 0.002
    assert book.equity["turnover"].mean() > 1.0


@pytest.mark.parametrize(
    ("predictions", "bars", "message"),
    [
        (calls((0, (1, -1))).clear(), bars_of(np.ones((3, 2))), "no predictions"),
        (calls((0, (1, -1))), bars_of(np.ones((3, 2))).drop("volume"), "lack the columns"),
        (calls((0, (1, -1))), bars_of(np.zeros((3, 2))), "not above 0"),
        (calls((5, (1, -1))), bars_of(np.ones((3, 2))), "no bars from the first decision"),
        (calls((1, (1, -1))), bars_of(np.ones((3, 2))), "no decision can be filled"),
        (calls((0, (1, -1)), symbols="AX"), bars_of(np.ones((4, 2))), r"no bar.*\['X'\]"),
    ],
)  # fmt: skip
def test_what_cannot_be_traded_is_named(predictions, bars, message):
    with pytest.raises(PortfolioError, match=f"(?s){message}"):
        long_short(predictions, bars, TWO)


def test_settings_out_of_range_are_refused():
    for wrong in ({"holding": 0}, {"capital": 0.0}, {"order_delay": timedelta(0)}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            LongShortConfig(**wrong)
    with pytest.raises(ValueError, match="volume_cap"):
        Costs(volume_cap=0.0)
