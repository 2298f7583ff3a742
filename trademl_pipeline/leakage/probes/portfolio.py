"""Is a backtest's portfolio what its predictions, orders and bars give? (probe "execution")

The order of times alone does not show it: a fill can carry the right time and another session's price, and an account
can leave out the return of a name on its last day. So the portfolio is checked against the predictions and the bars
that came, its account is kept a second time from its own fills, and it is made again from less, see `portfolio_again`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from typing import Any, Protocol

import numpy as np
import polars as pl

from trademl_pipeline.leakage.probes.portfolio_again import made_again
from trademl_pipeline.leakage.probes.trade_columns import EXECUTION, TOLERANCE
from trademl_pipeline.leakage.probes.trades import audit_trades
from trademl_pipeline.leakage.report import AuditReport, Violation
from trademl_pipeline.market.calendar import open_utc

Numbers = np.ndarray[Any, Any]
_TRADE = ["trade_id"]
_KEY = ["symbol", "session"]


class Portfolio(Protocol):
    """The record of a backtest, as `portfolio.long_short.LongShort` does."""

    @property
    def equity(self) -> pl.DataFrame:
        """session, until, gross_return, net_return, turnover, cost."""
        ...

    @property
    def signals(self) -> pl.DataFrame:
        """symbol, session, signal_time, score, weight."""
        ...

    @property
    def orders(self) -> pl.DataFrame:
        """trade_id, symbol, session, signal_time, order_time, weight_change."""
        ...

    @property
    def fills(self) -> pl.DataFrame:
        """trade_id, symbol, session, order_time, fill_session, fill_time, price, weight_change."""
        ...


@dataclass(frozen=True)
class Rules:
    """Rules by which the account of a portfolio is kept.

    Attributes:
        a_side: cost of a trade, as a share of its value.
        calendar: exchange calendar that gives the opens.
        cuts: at how many sessions the portfolio is made again.
        seed: of their draw.
    """

    a_side: float
    calendar: str
    cuts: int = 3
    seed: int = 0


def audit_portfolio(
    portfolio: Portfolio,
    predictions: pl.DataFrame,
    bars: pl.DataFrame,
    rules: Rules,
    make: Callable[[pl.DataFrame, pl.DataFrame], Portfolio],
    *,
    acted_on: pl.DataFrame | None = None,
) -> AuditReport:
    """Audit a portfolio that decides at closes and fills at opens.

    Args:
        portfolio: the portfolio.
        predictions: that it was made of: symbol, session, score; decision_time where it is known.
        bars: symbol, session, open, close, volume; high, low, split_factor and dividend where given.
        rules: of its account.
        make: makes the portfolio of (predictions, bars).
        acted_on: the predictions that were chosen to be traded, with the score that was; None: all, as they are.

    Returns:
        a report of the probe "execution".
    """
    refusals = [
        *_signals(portfolio.signals, predictions if acted_on is None else acted_on),
        *_ids(portfolio),
        *_fills(portfolio, bars, rules.calendar),
        *_account(portfolio, bars, rules.a_side),
    ]
    again = made_again(
        portfolio, predictions, bars, make, calendar=rules.calendar, cuts=rules.cuts, seed=rules.seed
    )
    coverage = {
        "signals": portfolio.signals.height,
        "orders": portfolio.orders.height,
        "fills": portfolio.fills.height,
        "sessions": portfolio.equity.height,
        "cutoffs": again.cuts,
    }
    violations = (*refusals, *again.violations, *_times(portfolio).violations)
    return AuditReport(tuple(v for v in violations if v is not None), {EXECUTION: coverage})


def _times(portfolio: Portfolio) -> AuditReport:
    """Signal before order before fill, a trade at a time; each trade's signal is what its session's were."""
    if portfolio.orders.is_empty() or portfolio.fills.is_empty():
        return AuditReport()
    decided = portfolio.signals.group_by("session").agg(pl.col("signal_time").max())
    signals = portfolio.orders.select(*_TRADE, *_KEY).join(decided, on="session", how="inner")
    if signals["trade_id"].is_duplicated().any():
        # Told by the ids already.
        return AuditReport()
    return audit_trades(signals, portfolio.orders, portfolio.fills, on="trade_id")


def _signals(signals: pl.DataFrame, predictions: pl.DataFrame) -> list[Violation | None]:
    """Every signal has a prediction of just that score, and is not older than its decision; none is left out."""
    return [_scores(signals, predictions), _left_out(signals, predictions)]


def _left_out(signals: pl.DataFrame, predictions: pl.DataFrame) -> Violation | None:
    missing = predictions.join(signals, on=_KEY, how="anti").sort("session", "symbol")
    if missing.is_empty():
        return None
    detail = (
        f"{missing.height} of {predictions.height} predictions that were to be traded are among no signals"
    )
    return _violation("<rows>", missing.row(0, named=True), detail, missing.height)


def _scores(signals: pl.DataFrame, predictions: pl.DataFrame) -> Violation | None:
    joined = signals.join(
        predictions.select(
            *_KEY,
            pl.col("score").alias("_score"),
            *([pl.col("decision_time").alias("_at")] if "decision_time" in predictions.columns else []),
        ),
        on=_KEY,
        how="left",
        maintain_order="left",
    )
    other = pl.col("_score").is_null() | (pl.col("score") != pl.col("_score"))
    early = pl.col("signal_time") < pl.col("_at") if "_at" in joined.columns else pl.lit(False)
    bad = joined.filter(other | early)
    if bad.is_empty():
        return None
    first = bad.row(0, named=True)
    detail = f"score {first['score']!r} was traded, and {first['_score']!r} was predicted"
    if first["_score"] == first["score"]:
        detail = f"traded at {first['signal_time']}, before its decision at {first['_at']}"
    return _violation(
        "score", first, f"{detail}, and so in {bad.height} of {signals.height} signals", bad.height
    )


def _ids(portfolio: Portfolio) -> list[Violation | None]:
    """A trade is one order, and each fill is of one, in its direction and not beyond it."""
    refusals: list[Violation | None] = []
    twice = portfolio.orders.filter(pl.col("trade_id").is_duplicated())
    if twice.height:
        first = twice.row(0, named=True)
        refusals.append(_violation("trade_id", first, f"{twice.height} orders share their id", twice.height))
    joined = portfolio.fills.join(
        portfolio.orders.unique("trade_id").select(*_TRADE, pl.col("weight_change").alias("_ordered")),
        on="trade_id",
        how="left",
        maintain_order="left",
    )
    change, ordered = pl.col("weight_change"), pl.col("_ordered")
    total = change.sum().over("trade_id")
    limit = ordered.abs() * (1 + TOLERANCE) + TOLERANCE
    bad = joined.filter(ordered.is_null() | (change * ordered <= 0) | (total.abs() > limit))
    if bad.height:
        first = bad.row(0, named=True)
        detail = (
            f"{first['weight_change']:.6g} was filled, and {first['_ordered']} was ordered, and so in {bad.height} "
            f"of {joined.height} fills"
        )
        refusals.append(_violation("weight_change", first, detail, bad.height))
    return refusals


def _fills(portfolio: Portfolio, bars: pl.DataFrame, calendar: str) -> list[Violation | None]:
    """A fill is at the open of its session, at the open's price, or within the bar; of a bar that traded."""
    prices = [c for c in ("open", "high", "low", "volume") if c in bars.columns]
    joined = portfolio.fills.join(
        bars.select("symbol", pl.col("session").alias("fill_session"), *prices),
        on=["symbol", "fill_session"],
        how="left",
        maintain_order="left",
    )
    opens = open_utc(joined["fill_session"], calendar)
    joined = joined.with_columns(opens.alias("_opens").cast(joined.schema["fill_time"]))
    price, at_open = pl.col("price"), pl.col("fill_time") == pl.col("_opens")

    def near(other: pl.Expr) -> pl.Expr:
        return (price - other).abs() <= TOLERANCE * other.abs()

    low, high = (pl.col(c) if c in prices else pl.col("open") for c in ("low", "high"))
    inside = (price >= low * (1 - TOLERANCE)) & (price <= high * (1 + TOLERANCE))
    wrong = pl.when(at_open).then(~near(pl.col("open"))).otherwise(~inside)
    return [
        _of_fills(joined, pl.col("open").is_null(), "fill_session", "without a bar of its session"),
        _of_fills(joined, ~(pl.col("volume") > 0).fill_null(False), "volume", "where nothing was traded"),
        _of_fills(joined, pl.col("fill_time") < pl.col("_opens"), "fill_time", "before its session opened"),
        _of_fills(joined, wrong.fill_null(True), "price", "at a price that its moment did not have"),
    ]


def _of_fills(rows: pl.DataFrame, bad: pl.Expr, column: str, what: str) -> Violation | None:
    wrong = rows.filter(bad)
    if wrong.is_empty():
        return None
    first = wrong.row(0, named=True)
    bar = ", ".join(f"{c} {first[c]}" for c in ("open", "high", "low", "volume") if first.get(c) is not None)
    detail = (
        f"{wrong.height:,} of {rows.height:,} fills {what}, such as {first['price']} at {first['fill_time']} in "
        f"the session {first['fill_session']} ({bar or 'no bar'})"
    )
    return _violation(column, first, detail, wrong.height)


def _account(portfolio: Portfolio, bars: pl.DataFrame, a_side: float) -> list[Violation | None]:
    """The account kept again from the fills: turnover, costs and returns of every session, those of last days too."""
    equity = portfolio.equity
    sessions: list[date] = [*equity["session"], equity["until"][-1]]
    if equity["until"].to_list() != sessions[1:]:
        return [
            Violation(EXECUTION, "until", None, None, sessions[0], None, "sessions of the account have gaps")
        ]
    symbols = sorted(portfolio.fills["symbol"].unique())
    if not symbols:
        return []
    matrices = _matrices(bars, sessions, symbols)
    traded = np.zeros((len(sessions), len(symbols)))
    filled = portfolio.fills.filter(pl.col("fill_session").is_in(sessions))
    outside = portfolio.fills.height - filled.height
    rows = np.searchsorted(np.array(sessions), filled["fill_session"].to_numpy())
    np.add.at(
        traded,
        (rows, np.searchsorted(np.array(symbols), filled["symbol"].to_numpy())),
        filled["weight_change"].to_numpy(),
    )
    turnover = np.array([np.abs(row).sum() for row in traded])
    # What closes the portfolio at its last open is put to the session before.
    turnover[-2] += turnover[-1]
    expected = pl.DataFrame({"turnover": turnover[:-1], "cost": turnover[:-1] * a_side}).with_columns(
        pl.Series("gross_return", _gains(traded, matrices))
    )
    gross, cost = pl.col("gross_return"), pl.col("cost")
    expected = expected.with_columns(net_return=(1 - cost) * (1 + gross) - 1)
    refusals = [
        _moved(equity, expected, name, what)
        for name, what in (
            ("turnover", "what was filled"),
            ("cost", "the costs of what was filled"),
            ("gross_return", "what its positions returned from open to open"),
            ("net_return", "its return and costs"),
        )
    ]
    if outside:
        refusals.append(
            Violation(EXECUTION, "fill_session", detail=f"{outside} fills are of sessions without an account")
        )
    return refusals


def _matrices(bars: pl.DataFrame, sessions: list[date], symbols: list[str]) -> dict[str, Numbers]:
    """Prices by session and symbol; NaN without a bar."""
    shape = (len(sessions), len(symbols))
    some = bars.filter(pl.col("session").is_in(sessions), pl.col("symbol").is_in(symbols))
    at = (
        np.searchsorted(np.array(sessions), some["session"].to_numpy()),
        np.searchsorted(np.array(symbols), some["symbol"].to_numpy()),
    )
    matrices: dict[str, Numbers] = {}
    for name, default in (("open", np.nan), ("close", np.nan), ("split_factor", 1.0), ("dividend", 0.0)):
        matrices[name] = np.full(shape, default)
        if name in some.columns:
            matrices[name][at] = some[name].fill_null(default).to_numpy()
    return matrices


def _gains(traded: Numbers, prices: dict[str, Numbers]) -> list[float]:
    """Return of each session, as the positions that the trades leave gain from its open to the next."""
    opens, closes = prices["open"], prices["close"]
    weights: Numbers = np.zeros(traded.shape[1])
    worth: Numbers = opens[0].copy()
    gains: list[float] = []
    for now in range(len(traded) - 1):
        weights = weights + traded[now]
        bought = np.isfinite(opens[now])
        worth = np.where(bought, opens[now], worth)
        last: Numbers = np.where(bought, closes[now], worth)
        there = np.isfinite(opens[now + 1])
        value: Numbers = np.where(
            there, (opens[now + 1] + prices["dividend"][now + 1]) * prices["split_factor"][now + 1], last
        )
        growth: Numbers = np.where(weights != 0, value / worth, 1.0)
        gain = float(np.nansum(weights * (growth - 1)))
        gains.append(gain)
        weights = weights * growth / (1 + gain)
        # A name that never trades again is closed at its last price.
        ever = np.isfinite(opens[now + 1 :]).any(axis=0)
        weights = np.where(ever, weights, 0.0)
        worth = np.where(there, opens[now + 1], last)
    return gains


def _moved(equity: pl.DataFrame, expected: pl.DataFrame, name: str, what: str) -> Violation | None:
    ours, theirs = equity[name].to_numpy(), expected[name].to_numpy()
    far = ~(np.abs(ours - theirs) <= TOLERANCE * np.maximum(1.0, np.abs(theirs)))
    if not far.any():
        return None
    first = int(np.argmax(far))
    detail = (
        f"the account says {ours[first]:.8g}, and {what} is {theirs[first]:.8g}, and so in {int(far.sum())} of "
        f"{len(ours)} sessions"
    )
    session: Any = equity["session"][first]
    return Violation(
        EXECUTION, name, None, None, session, float(np.nanmax(np.abs(ours - theirs))), detail, int(far.sum())
    )


def _violation(
    column: str, row: dict[str, Any], detail: str, count: int, cut: date | None = None
) -> Violation:
    return Violation(EXECUTION, column, row["symbol"], cut, row["session"], None, detail, count)
