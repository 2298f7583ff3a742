"""The naive long/short portfolio of a study's predictions, before and after costs.

The clock: weights are decided at the close of session t, ordered after it, filled at the first open after the order
(that of t+1 on an exchange with a night, that of t+2 around the clock, where t+1 opens as t closes), and held to the
open `holding` sessions later. With a holding of h sessions the portfolio is h equal parts, one renewed each session.
Signal, order and fill times are kept for the audit of the execution clock.

A session of the portfolio runs from one open to the next. Returns are total: a share held over an ex-date becomes
`split_factor` shares and each is paid `dividend`. At each open the portfolio trades from where prices have carried
its weights to the weights wanted; costs are a share of the value traded. Gains are reinvested, cash earns
nothing, borrowing is free: naive.

Missing fills are not smoothed over. A symbol without a bar, or without volume, at the open cannot be traded:
the position stays as it is and the order is tried anew with the next session's target. A position whose symbol
stops trading is valued at its last close; if it never trades again it is closed there (whatever a delisted
share really brought), and is an event of kind "stopped trading".
"""

from dataclasses import dataclass, field
from datetime import timedelta

import numpy as np
import polars as pl

from trademl_pipeline.market.calendar import DEFAULT_CALENDAR, close_utc
from trademl_pipeline.portfolio.costs import Costs
from trademl_pipeline.portfolio.errors import PortfolioError
from trademl_pipeline.portfolio.matrices import PriceMatrices, price_matrices
from trademl_pipeline.portfolio.weights import target_weights
from trademl_pipeline.tasks.report_spec import Weighting

UTC_TIME = pl.Datetime("us", "UTC")
NO_BAR, CAPPED, STOPPED = "no bar", "capped", "stopped trading"

_DUST = 1e-9
_EQUITY = {
    "gross_return": pl.Float64,
    "turnover": pl.Float64,
    "cost": pl.Float64,
    "long": pl.Float64,
    "short": pl.Float64,
    "positions": pl.Int64,
}


@dataclass(frozen=True)
class LongShortConfig:
    """How the portfolio is made.

    Attributes:
        weighting: see `weights.target_weights`.
        quantile: share of the symbols on each side under "quantile".
        holding: sessions that a decision is held.
        gross: sum of the absolute weights, as a share of equity.
        capital: equity at the start, in the currency of the bars; sets how far the volume cap bites.
        order_delay: time from the decision to the order.
        min_symbols: fewest symbols to rank.
        costs: of the net curve; the cap on volume binds both curves.
        calendar: exchange calendar that gives the opens.
    """

    weighting: Weighting = "quantile"
    quantile: float = 0.2
    holding: int = 1
    gross: float = 1.0
    capital: float = 1_000_000.0
    order_delay: timedelta = timedelta(minutes=1)
    min_symbols: int = 5
    costs: Costs = field(default_factory=Costs)
    calendar: str = DEFAULT_CALENDAR

    def __post_init__(self) -> None:
        if self.holding < 1:
            raise ValueError(f"holding must be at least 1 session, got {self.holding}")
        if self.capital <= 0:
            raise ValueError(f"capital must be above 0, got {self.capital}")
        if self.order_delay <= timedelta(0):
            raise ValueError(f"order_delay must be above 0, got {self.order_delay}")


@dataclass(frozen=True)
class LongShort:
    """The portfolio and its record.

    Attributes:
        equity: one row a session of the portfolio: session (its open starts the row), until (the next open's
            session), gross_return, net_return, gross_equity, net_equity (both 1 at the first open, stated at
            `until`), turnover (sum of absolute weight changes at the open), cost (share of equity), long,
            short (weights held, short below 0), exposure (their difference), net_exposure (their sum),
            positions.
        signals: symbol, session, signal_time, score, weight: what was wanted at each close.
        orders: trade_id, symbol, session (of the latest signal behind it), signal_time, order_time, weight_change.
        fills: the orders that were filled: trade_id, symbol, session, order_time, fill_session, fill_time, price,
            weight_change.
        events: symbol, session (of the open), kind ("no bar", "capped", "stopped trading"), weight (not
            traded, or closed).
    """

    equity: pl.DataFrame
    signals: pl.DataFrame
    orders: pl.DataFrame
    fills: pl.DataFrame
    events: pl.DataFrame


def long_short(
    predictions: pl.DataFrame, bars: pl.DataFrame, config: LongShortConfig | None = None
) -> LongShort:
    """Trade the scores of the predictions on the bars.

    Args:
        predictions: symbol, session, score; decision_time (Datetime UTC) where given, else the session's
            close.
        bars: symbol, session, open, close, volume; split_factor and dividend where given. Prices > 0.
        config: how; the defaults where None.

    Returns:
        The portfolio from the first fill to the last open that the bars have.

    Raises:
        PortfolioError: if inputs are empty, lack columns, or leave no session to hold.
    """
    config = config or LongShortConfig()
    signals = _signals(predictions, config)
    market = price_matrices(bars, signals["session"].min(), config.calendar)
    return _trade(signals, market, config)


def _signals(predictions: pl.DataFrame, config: LongShortConfig) -> pl.DataFrame:
    if predictions.is_empty():
        raise PortfolioError("there are no predictions to trade")
    weights = target_weights(
        predictions,
        config.weighting,
        quantile=config.quantile,
        gross=config.gross,
        min_symbols=config.min_symbols,
    )
    if "decision_time" in predictions.columns:
        times = predictions.select(
            "symbol", "session", pl.col("decision_time").cast(UTC_TIME).alias("signal_time")
        )
        signals = weights.join(times, on=["symbol", "session"], maintain_order="left")
    else:
        signals = weights.with_columns(
            pl.Series("signal_time", close_utc(weights["session"], config.calendar), dtype=UTC_TIME)
        )
    unknown = signals.filter(pl.col("signal_time").is_null())
    if unknown.height:
        raise PortfolioError(
            f"{unknown.height} predictions have no decision time; the first is of {unknown['session'][0]}, "
            f"which may be no session of {config.calendar}"
        )
    return signals.select("symbol", "session", "signal_time", "score", "weight")


def _trade(signals: pl.DataFrame, market: PriceMatrices, config: LongShortConfig) -> LongShort:
    decisions = (
        signals.group_by("session")
        .agg(pl.col("signal_time").max())
        .sort("session")
        .with_columns(order_time=pl.col("signal_time") + config.order_delay)
    )
    # "right": the first open strictly after the order.
    slot = np.searchsorted(market.opens.to_numpy(), decisions["order_time"].to_numpy(), side="right")
    last = len(market.sessions) - 1
    inside = slot < last
    if not inside.any():
        raise PortfolioError(
            f"no decision can be filled and held: the first order is of {decisions['order_time'][0]}, "
            f"the last open of the bars {market.opens[last]}"
        )
    latest = np.full(last + 1, -1)
    latest[slot[inside]] = np.flatnonzero(inside)
    start, expiry = int(slot[inside].min()), int(slot[inside].max()) + config.holding
    end = min(last, expiry)
    target = _targets(signals, decisions["session"], latest, market, config.holding)
    latest = np.maximum.accumulate(latest)

    weight = np.zeros(len(market.symbols))
    mark = np.where(market.has(start), market.open[start], np.nan)
    equity, rows, trades, events = 1.0, [], [], []
    for s in range(start, end + 1):
        if s > start:
            growth, mark = _growth(market, s, mark, weight)
            gain = float(weight @ (growth - 1))
            if gain <= -1:
                raise PortfolioError(
                    f"the portfolio loses all its equity on {market.sessions[s]}; lower `gross`"
                )
            rows[-1]["gross_return"] = gain
            equity *= 1 + gain
            weight = weight * growth / (1 + gain)
            delisted = (market.last < s) & (weight != 0)
            events.append((s, np.flatnonzero(delisted), STOPPED, weight[delisted]))
            weight = np.where(delisted, 0.0, weight)
        if s == end < expiry:
            break
        change = target[s] - weight
        change[np.abs(change) < _DUST] = 0.0
        tradable = market.has(s) & (market.volume[s] > 0)
        limit = config.costs.volume_cap * market.volume[s] * market.open[s] / (config.capital * equity)
        done = np.where(tradable, np.clip(change, -limit, limit), 0.0)
        lost = (change != 0) & ~tradable
        cut = tradable & (done != change)
        events += [
            (s, np.flatnonzero(lost), NO_BAR, change[lost]),
            (s, np.flatnonzero(cut), CAPPED, (change - done)[cut]),
        ]
        of = np.flatnonzero(change)
        trades.append((s, of, change[of], done[of]))
        weight = weight + done
        turnover = float(np.abs(done).sum())
        rows.append(
            {
                "turnover": turnover,
                "cost": turnover * config.costs.a_side,
                "long": float(weight[weight > 0].sum()),
                "short": float(weight[weight < 0].sum()),
                "positions": int((weight != 0).sum()),
            }
        )
    if end == expiry:
        closing = rows.pop()
        rows[-1]["turnover"] += closing["turnover"]
        rows[-1]["cost"] += closing["cost"]
    orders, fills = _records(trades, decisions, latest, market)
    return LongShort(_equity(rows, market, start), signals, orders, fills, _events(events, market))


def _targets(
    signals: pl.DataFrame, sessions: pl.Series, latest: np.ndarray, market: PriceMatrices, holding: int
) -> np.ndarray:
    """Weights wanted after each open, (session, symbol): the mean of the last `holding` decisions."""
    decided = np.zeros((len(sessions), len(market.symbols)))
    row = np.searchsorted(sessions.to_numpy(), signals["session"].to_numpy())
    decided[row, market.column_of(signals["symbol"])] = signals["weight"].to_numpy()
    renewed = np.where((latest >= 0)[:, None], decided[latest], 0.0) / holding
    total = np.cumsum(renewed, axis=0)
    total[holding:] -= total[:-holding].copy()
    return total


def _growth(
    market: PriceMatrices, s: int, mark: np.ndarray, weight: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Growth of each position from the previous open to the open of s, and the new marks, both (symbol,)."""
    stopped = np.where(market.has(s - 1), market.close[s - 1], mark)
    worth = np.where(market.has(s), (market.open[s] + market.dividend[s]) * market.split[s], stopped)
    growth = np.where(weight != 0, worth / mark, 1.0)
    return growth, np.where(market.has(s), market.open[s], stopped)


def _equity(rows: list[dict], market: PriceMatrices, start: int) -> pl.DataFrame:
    n = len(rows)
    frame = pl.DataFrame(rows, schema=_EQUITY)
    return frame.select(
        pl.Series("session", market.sessions[start : start + n]),
        pl.Series("until", market.sessions[start + 1 : start + n + 1]),
        "gross_return",
        net_return=(1 - pl.col("cost")) * (1 + pl.col("gross_return")) - 1,
        gross_equity=(1 + pl.col("gross_return")).cum_prod(),
        net_equity=((1 - pl.col("cost")) * (1 + pl.col("gross_return"))).cum_prod(),
        turnover="turnover",
        cost="cost",
        long="long",
        short="short",
        exposure=pl.col("long") - pl.col("short"),
        net_exposure=pl.col("long") + pl.col("short"),
        positions="positions",
    )


def _records(
    trades: list[tuple], decisions: pl.DataFrame, latest: np.ndarray, market: PriceMatrices
) -> tuple[pl.DataFrame, pl.DataFrame]:
    at = np.repeat([s for s, *_ in trades], [len(of) for _, of, *_ in trades])
    of = np.concatenate([of for _, of, *_ in trades])
    done = np.concatenate([done for *_, done in trades])
    decision = latest[at]
    orders = pl.DataFrame(
        {
            "trade_id": np.arange(len(of)),
            "symbol": market.symbols.gather(of),
            "session": decisions["session"].gather(decision),
            "signal_time": decisions["signal_time"].gather(decision),
            "order_time": decisions["order_time"].gather(decision),
            "weight_change": np.concatenate([change for _, _, change, _ in trades]),
        }
    )
    filled = orders.select("trade_id", "symbol", "session", "order_time").with_columns(
        fill_session=pl.Series(market.sessions, dtype=pl.Date).gather(at),
        fill_time=market.opens.gather(at),
        price=pl.Series(market.open[at, of]),
        weight_change=pl.Series(done),
    )
    return orders, filled.filter(pl.col("weight_change") != 0)


def _events(events: list[tuple], market: PriceMatrices) -> pl.DataFrame:
    parts = [
        pl.DataFrame(
            {
                "symbol": market.symbols.gather(of),
                "session": [market.sessions[s]] * len(of),
                "kind": [kind] * len(of),
                "weight": weight,
            }
        )
        for s, of, kind, weight in events
        if len(of)
    ]
    schema = {"symbol": pl.String, "session": pl.Date, "kind": pl.String, "weight": pl.Float64}
    return pl.concat(parts).cast(schema) if parts else pl.DataFrame(schema=schema)  # pyright: ignore[reportArgumentType]
