"""Mutants of backtests: when is decided, ordered and filled, and with what size."""

import polars as pl
from mutant import CLOSE, DAYS, RETURN, VOLUME, Mutant, columns, feature_mutant

from trademl_pipeline.leakage import audit_trades
from trademl_pipeline.market.calendar import close_utc, next_session, open_utc

GITHUB = "https://github.com/"
TRADED = DAYS[10:40]
MINUTE = pl.duration(minutes=1)
BOOK = pl.DataFrame({"trade_id": range(len(TRADED)), "symbol": "S0"}).with_columns(
    close=close_utc(pl.Series(TRADED)),
    opening=open_utc(pl.Series(TRADED)),
    next_open=pl.Series([open_utc(next_session(d)) for d in TRADED]),
)
KEY = ("trade_id", "symbol")
TURNOVER = CLOSE * VOLUME


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
        signals = BOOK.select(*KEY, signal_time=at["signal"], knowledge_time=at["known"])
        orders = BOOK.select(*KEY, order_time=at["order"])
        fills = BOOK.select(*KEY, fill_time=at["fill"])
        return audit_trades(signals, orders, fills)

    return Mutant(name, title, origin, frozenset({"execution"}), audit)


def liquid_only(bars: pl.DataFrame) -> pl.DataFrame:
    """Positions in the half of the symbols whose turnover was largest over the whole period."""
    usual = bars.group_by("symbol").agg(usual=TURNOVER.mean())
    liquid = usual.filter(pl.col("usual") >= usual["usual"].median())["symbol"].to_list()
    return columns(RETURN.sign())(bars.filter(pl.col("symbol").is_in(liquid)))


def liquid_so_far(bars: pl.DataFrame) -> pl.DataFrame:
    """Positions where the trailing turnover of a symbol is above the median of its session."""
    rows = columns(RETURN.sign(), TURNOVER.rolling_mean(10))(bars)
    liquid = (pl.col("x1") >= pl.col("x1").median()).over("session")
    return rows.with_columns(x0=pl.when(liquid).then("x0")).select("symbol", "session", "x0")


MUTANTS = [
    trade_mutant(
        "backtest/same_close",
        "filled at the close on which was decided",
        f"{GITHUB}nautechsystems/nautilus_trader/discussions/4559",
        order=pl.col("close"),
        fill=pl.col("close"),
    ),
    trade_mutant(
        "backtest/own_bars_return",
        "a signal from a bar's close earns that bar's return",
        f"{GITHUB}Nunchi-trade/auto-researchtrading/issues/4",
        order=pl.col("opening"),
        fill=pl.col("opening") + MINUTE,
    ),
    trade_mutant(
        "backtest/unshifted_weights",
        "weights traded on the day they are computed for",
        f"{GITHUB}kernc/backtesting.py/discussions/1161",
        order=pl.col("close") - MINUTE,
        fill=pl.col("close"),
    ),
    trade_mutant(
        "backtest/filled_at_the_open_seen",
        "filled at the very open that was looked at",
        "https://www.backtrader.com/docu/cerebro/cheat-on-open/cheat-on-open",
        signal=pl.col("next_open"),
        known=pl.col("next_open"),
        order=pl.col("next_open"),
        fill=pl.col("next_open"),
    ),
    trade_mutant(
        "backtest/running_bar",
        "decided on a bar that had not closed",
        f"{GITHUB}shobhit727/trade/issues/31",
        signal=pl.col("opening"),
        order=pl.col("opening") + MINUTE,
        fill=pl.col("opening") + 2 * MINUTE,
    ),
    feature_mutant(
        "backtest/sample_volatility",
        "positions sized by the volatility of the whole period",
        f"{GITHUB}freqtrade/freqtrade-strategies/pull/202: normalization that changes with the length of the "
        "data",
        columns(RETURN.sign() * 0.01 / RETURN.std()),
        columns(RETURN.sign() * 0.01 / RETURN.rolling_std(20)),
        "truncation perturbation",
        warmup=21,
    ),
    feature_mutant(
        "backtest/liquid_in_hindsight",
        "only symbols that were liquid over the whole period",
        f"{GITHUB}IsaacCheng9/quant-trading-strategy-backtester/issues/18: chosen from the largest of today",
        liquid_only,
        liquid_so_far,
        "truncation perturbation",
    ),
    feature_mutant(
        "backtest/rebalanced_on_month_mean",
        "the month's mean price used on every day of the month",
        f"{GITHUB}freqtrade/technical/issues/268: the higher timeframe before it has closed",
        lambda bars: bars.select(
            "symbol", "session", x=CLOSE / CLOSE.mean().over("symbol", pl.col("session").dt.month())
        ),
        columns(CLOSE / CLOSE.rolling_mean(21)),
        "truncation perturbation",
        warmup=21,
    ),
]
