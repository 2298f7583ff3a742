"""Mutants of execution: when is decided, ordered and filled, at which price, and what the account makes of it."""

from dataclasses import replace
from datetime import timedelta

import polars as pl
from mutant import DAYS, Mutant
from traded import (
    CONFIG,
    KEY,
    LongShort,
    LongShortConfig,
    Make,
    Rule,
    made,
    portfolio_mutant,
    with_bars,
    with_equity,
    with_fills,
)

from trademl_pipeline.leakage import audit_trades
from trademl_pipeline.market.calendar import close_utc, next_session, open_utc

GITHUB = "https://github.com/"
TRADED = DAYS[10:40]
MINUTE = pl.duration(minutes=1)
TRADES = pl.DataFrame({"trade_id": range(len(TRADED)), "symbol": "S0"}).with_columns(
    close=close_utc(pl.Series(TRADED)),
    opening=open_utc(pl.Series(TRADED)),
    next_open=pl.Series([open_utc(next_session(d)) for d in TRADED]),
)
TRADE = ("trade_id", "symbol")


def trade_mutant(name: str, title: str, origin: str, **times: pl.Expr) -> Mutant:
    """Times of the leaky portfolio; the twin decides at the close, orders after it and is filled after the next
    open."""
    clean = {
        "signal": pl.col("close"),
        "order": pl.col("close") + 60 * MINUTE,
        "fill": pl.col("next_open") + MINUTE,
        "known": pl.col("close"),
    }

    def audit(leaky: bool):
        at = clean | times if leaky else clean
        signals = TRADES.select(*TRADE, signal_time=at["signal"], knowledge_time=at["known"])
        orders = TRADES.select(*TRADE, order_time=at["order"])
        fills = TRADES.select(*TRADE, fill_time=at["fill"])
        return audit_trades(signals, orders, fills)

    return Mutant(name, title, origin, frozenset({"execution"}), audit)


EARLY = replace(CONFIG)
# What a configuration would refuse is what is planted here.
object.__setattr__(EARLY, "order_delay", timedelta(days=-1))
AT_ONCE = LongShortConfig(min_symbols=3, quantile=0.34, holding=3, calendar="24/7")
SAME_INSTANT = replace(AT_ONCE)
object.__setattr__(SAME_INSTANT, "order_delay", timedelta(microseconds=-1))
CROWDED = replace(CONFIG, capital=1e9)
BUY = pl.col("weight_change") > 0


def of_bars(fills: pl.DataFrame, bars: pl.DataFrame, *values: pl.Expr) -> pl.DataFrame:
    """Fills with columns of the bar that they are filled in."""
    own = [v.over("symbol") for v in values]
    there = bars.sort(KEY).select("symbol", pl.col("session").alias("fill_session"), *own)
    return fills.join(there, on=["symbol", "fill_session"], how="left", maintain_order="left")


def as_decided(config: LongShortConfig) -> Rule:
    return lambda make: made(config)


def price_of_the_session_before(fills: pl.DataFrame, bars: pl.DataFrame) -> pl.DataFrame:
    joined = of_bars(fills, bars, pl.col("open").shift(1).alias("_before"))
    return joined.with_columns(price=pl.coalesce("_before", "price")).drop("_before")


def limit_at_the_low(make: Make) -> Make:
    """Buys at the low and sells at the high of the day, an hour after the open, and books the gain."""

    def run(predictions: pl.DataFrame, bars: pl.DataFrame) -> LongShort:
        portfolio = make(predictions, bars)
        touched = of_bars(portfolio.fills, bars, pl.col("low").alias("_low"), pl.col("high").alias("_high"))
        best = pl.when(BUY).then("_low").otherwise("_high")
        touched = touched.with_columns(
            gain=pl.col("weight_change") * (1 - best / pl.col("price")), price=best
        ).with_columns(pl.col("fill_time") + pl.duration(hours=1))
        booked = touched.group_by(session="fill_session").agg(pl.col("gain").sum())
        gross = pl.col("gross_return") + pl.col("gain").fill_null(0.0)
        equity = portfolio.equity.join(booked, on="session", how="left", maintain_order="left")
        equity = equity.with_columns(
            gross_return=gross, net_return=(1 - pl.col("cost")) * (1 + gross) - 1
        ).drop("gain")
        return replace(portfolio, equity=equity, fills=touched.drop("_low", "_high", "gain"))

    return run


def stop_without_gap(fills: pl.DataFrame, bars: pl.DataFrame) -> pl.DataFrame:
    """A sale after a gap is booked at the close before it, where the stop was."""
    joined = of_bars(fills, bars, pl.col("close").shift(1).alias("_stop"))
    gapped = ~BUY & (pl.col("price") < pl.col("_stop"))
    return joined.with_columns(price=pl.when(gapped).then("_stop").otherwise("price")).drop("_stop")


def before_the_open(fills: pl.DataFrame, bars: pl.DataFrame) -> pl.DataFrame:
    """Filled at the close before, half an hour before the market opens."""
    joined = of_bars(fills, bars, pl.col("close").shift(1).alias("_close"))
    return joined.with_columns(
        pl.col("fill_time") - pl.duration(minutes=30), price=pl.coalesce("_close", "price")
    ).drop("_close")


def unfilled(bad: pl.Expr) -> Rule:
    """Orders of these bars do not come through: nothing is said to have been traded there."""
    volume = pl.when(bad).then(0.0).otherwise("volume").over("symbol")
    return with_bars(lambda bars: bars.with_columns(volume=volume))


def without_last_bar(bars: pl.DataFrame) -> pl.DataFrame:
    last = pl.col("session").max().over("symbol")
    return bars.filter((pl.col("session") < last) | (last == pl.col("session").max()))


def every_session(bars: pl.DataFrame) -> pl.DataFrame:
    """Sessions without a bar have the last one again."""
    keys = bars.select("symbol").unique().join(bars.select("session").unique(), how="cross")
    ends = bars.group_by("symbol").agg(first=pl.col("session").min(), last=pl.col("session").max())
    keys = keys.join(ends, on="symbol").filter(pl.col("session").is_between("first", "last")).select(KEY)
    whole = keys.join(bars, on=KEY, how="left").sort(KEY)
    values = [pl.col(c).forward_fill().over("symbol") for c in ("open", "high", "low", "close", "volume")]
    return whole.with_columns(
        *values, pl.col("split_factor").fill_null(1.0), pl.col("dividend").fill_null(0.0)
    )


def netted(make: Make) -> Make:
    """What is bought in one session and sold in the next counts as not traded."""

    def run(predictions: pl.DataFrame, bars: pl.DataFrame) -> LongShort:
        portfolio = make(predictions, bars)
        net = pl.min_horizontal("turnover", pl.col("turnover").shift(-1, fill_value=0.0))
        cost = pl.col("cost") * (net / pl.col("turnover")).fill_nan(0.0)
        equity = portfolio.equity.with_columns(turnover=net, cost=cost)
        net_return = (1 - pl.col("cost")) * (1 + pl.col("gross_return")) - 1
        return replace(portfolio, equity=equity.with_columns(net_return=net_return))

    return run


def spread_of_good_days(equity: pl.DataFrame) -> pl.DataFrame:
    """Costs are half as high on the days on which the portfolio traded most, as they turned out later."""
    cost = (
        pl.when(pl.col("turnover") > pl.col("turnover").median()).then(pl.col("cost") / 2).otherwise("cost")
    )
    return equity.with_columns(cost=cost).with_columns(
        net_return=(1 - pl.col("cost")) * (1 + pl.col("gross_return")) - 1
    )


def a_session_early(equity: pl.DataFrame) -> pl.DataFrame:
    gross = pl.col("gross_return").shift(-1, fill_value=0.0)
    return equity.with_columns(gross_return=gross, net_return=(1 - pl.col("cost")) * (1 + gross) - 1)


def turned_round(fills: pl.DataFrame, bars: pl.DataFrame) -> pl.DataFrame:
    """Trades on the side of the day's move, whatever was ordered."""
    joined = of_bars(fills, bars, (pl.col("close") - pl.col("open")).alias("_move"))
    change = pl.col("weight_change").abs() * pl.col("_move").sign()
    return joined.with_columns(weight_change=change).drop("_move")


def decided_a_day_before(make: Make) -> Make:
    """Signals stamped a day before they could be decided, and so traded a day early."""

    def run(predictions: pl.DataFrame, bars: pl.DataFrame) -> LongShort:
        at = pl.Series("decision_time", close_utc(predictions["session"])).dt.offset_by("-1d")
        return make(predictions.with_columns(at), bars)

    return run


MUTANTS = [
    trade_mutant(
        "execution/same_close",
        "filled at the close on which was decided",
        f"{GITHUB}nautechsystems/nautilus_trader/discussions/4559",
        order=pl.col("close"),
        fill=pl.col("close"),
    ),
    trade_mutant(
        "execution/own_bars_return",
        "a signal from a bar's close earns that bar's return",
        f"{GITHUB}Nunchi-trade/auto-researchtrading/issues/4",
        order=pl.col("opening"),
        fill=pl.col("opening") + MINUTE,
    ),
    trade_mutant(
        "execution/unshifted_weights",
        "weights traded on the day they are computed for",
        f"{GITHUB}kernc/backtesting.py/discussions/1161",
        order=pl.col("close") - MINUTE,
        fill=pl.col("close"),
    ),
    trade_mutant(
        "execution/filled_at_the_open_seen",
        "filled at the very open that was looked at",
        "https://www.backtrader.com/docu/cerebro/cheat-on-open/cheat-on-open",
        signal=pl.col("next_open"),
        known=pl.col("next_open"),
        order=pl.col("next_open"),
        fill=pl.col("next_open"),
    ),
    trade_mutant(
        "execution/running_bar",
        "decided on a bar that had not closed",
        f"{GITHUB}shobhit727/trade/issues/31",
        signal=pl.col("opening"),
        order=pl.col("opening") + MINUTE,
        fill=pl.col("opening") + 2 * MINUTE,
    ),
    portfolio_mutant(
        "execution/open_of_the_session_decided_on",
        "orders dated a day back, so that they are filled at the open of the session decided on",
        f"{GITHUB}quantopian/alphalens/issues/338: the open before the signal as the price of its trade",
        as_decided(EARLY),
    ),
    portfolio_mutant(
        "execution/signals_a_day_early",
        "decisions stamped a day before they could be taken",
        f"{GITHUB}mementum/backtrader/issues/119: trading on the close that is observed",
        decided_a_day_before,
    ),
    portfolio_mutant(
        "execution/price_of_the_session_before",
        "the right times with the prices of the session decided on",
        f"{GITHUB}quantopian/alphalens/issues/338",
        with_fills(price_of_the_session_before),
    ),
    portfolio_mutant(
        "execution/limit_at_the_low",
        "limit orders filled at the low of a day that is over",
        f"{GITHUB}BYTEX-TRADE/bytex/issues/25: filled at the bar's low or high, in the strategy's favour",
        limit_at_the_low,
    ),
    portfolio_mutant(
        "execution/filled_where_it_rose",
        "orders that come through only where the session rose",
        f"{GITHUB}nautechsystems/nautilus_trader/issues/1537: limit orders filled within the bar they saw",
        unfilled(pl.col("close") < pl.col("open")),
        unfilled(pl.col("close").shift(1) < pl.col("open").shift(1)),
    ),
    portfolio_mutant(
        "execution/cancelled_before_a_fall",
        "orders cancelled where the next session opens lower",
        f"{GITHUB}kernc/backtesting.py/issues/1127: orders that a gap would make dear, removed beforehand",
        unfilled(pl.col("open").shift(-1) < pl.col("open")),
        unfilled(pl.col("open") < pl.col("open").shift(1)),
    ),
    portfolio_mutant(
        "execution/capacity_of_later_volume",
        "the limit to a fill taken from the volume of the next session",
        f"{GITHUB}freqtrade/freqtrade-strategies/pull/285: a volume mean that looks ahead",
        with_bars(
            lambda b: b.with_columns(pl.col("volume").shift(-1).over("symbol").fill_null(pl.col("volume")))
        ),
        config=CROWDED,
    ),
    portfolio_mutant(
        "execution/stop_without_gap",
        "stops booked where they stood, though the market opened beyond",
        f"{GITHUB}TorchTrade/torchtrade/issues/280 and {GITHUB}f1xgun/finalayze/issues/170",
        with_fills(stop_without_gap),
    ),
    portfolio_mutant(
        "execution/before_the_open",
        "filled at the close before, when the market was shut",
        f"{GITHUB}QuantConnect/Lean/issues/9512: fills at midnight",
        with_fills(before_the_open),
    ),
    portfolio_mutant(
        "execution/delisting_return_dropped",
        "the last day of a name that stops trading left out",
        f"{GITHUB}OpenSourceAP/CrossSection/issues/49 and Shumway 1997, "
        "https://doi.org/10.1111/j.1540-6261.1997.tb03818.x",
        with_bars(without_last_bar),
    ),
    portfolio_mutant(
        "execution/halted_name_traded",
        "sold in a session without a bar, at the price before",
        f"{GITHUB}QuantConnect/Lean/issues/5275: orders filled at stale prices while a name is halted",
        with_bars(every_session),
    ),
    portfolio_mutant(
        "execution/netted_trades",
        "a purchase and the sale after it netted, so that neither costs",
        f"{GITHUB}iAmGiG/AutoTrader-AgentEdge/issues/523: missing transaction costs",
        netted,
    ),
    portfolio_mutant(
        "execution/costs_in_hindsight",
        "costs by a spread that was known when the period was over",
        f"{GITHUB}shobhit727/trade/issues/30: two thirds of the carry left out",
        with_equity(spread_of_good_days),
    ),
    portfolio_mutant(
        "execution/returns_a_session_early",
        "an account that earns the session that was decided on",
        f"{GITHUB}Nunchi-trade/auto-researchtrading/issues/4",
        with_equity(a_session_early),
    ),
    portfolio_mutant(
        "execution/turned_round",
        "trades on the side that the day went to",
        f"{GITHUB}richkuo/go-trader/issues/732: a signal chosen by the close of its day",
        with_fills(turned_round),
    ),
    portfolio_mutant(
        "execution/same_instant_24_7",
        "around the clock, decided on a close and filled at the open of the same instant",
        f"{GITHUB}nautechsystems/nautilus_trader/discussions/4559",
        as_decided(SAME_INSTANT),
        config=AT_ONCE,
    ),
]
