"""Portfolios for mutants: the product's own, with one rule changed, audited as a report audits them."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date
from functools import cache

import numpy as np
import polars as pl
from mutant import Mutant

from trademl_pipeline.leakage import AuditReport, Rules, audit_portfolio
from trademl_pipeline.market.calendar import sessions
from trademl_pipeline.portfolio import long_short as product
from trademl_pipeline.portfolio.long_short import LongShort, LongShortConfig, long_short
from trademl_pipeline.portfolio.matrices import price_matrices

Make = Callable[[pl.DataFrame, pl.DataFrame], LongShort]
Rule = Callable[[Make], Make]
Acted = Callable[[pl.DataFrame, pl.DataFrame], pl.DataFrame]
CONFIG = LongShortConfig(min_symbols=3, quantile=0.34, holding=3)
KEY = ["symbol", "session"]


@cache
def market(calendar: str = "XNYS", symbols: int = 8, n: int = 50, seed: int = 3) -> pl.DataFrame:
    """Random bars with dividends and a split, sessions without a bar, and a name that loses half and stops trading."""
    random = np.random.default_rng(seed)
    rows: list[dict[str, object]] = []
    for i in range(symbols):
        close = 50.0 * (1 + i)
        for t, day in enumerate(sessions(date(2020, 1, 6), date(2020, 6, 30), calendar)[:n]):
            split = 2.0 if (t, i) == (17, 1) else 1.0
            opened = close / split * float(np.exp(0.01 * random.normal()))
            close = opened * float(np.exp(0.02 * random.normal()))
            if (i, t) == (symbols - 1, 30):
                close = opened / 2
            high, low = max(opened, close) * 1.01, min(opened, close) * 0.99
            volume = float(np.exp(random.normal(13.8, 0.4)))
            if random.random() < 0.04 or (i == symbols - 1 and t > 30):
                continue
            paid = 0.5 if (t, i) in ((12, 2), (25, 0)) else 0.0
            values = (f"S{i}", day, opened, high, low, close, volume, split, paid)
            names = (
                "symbol",
                "session",
                "open",
                "high",
                "low",
                "close",
                "volume",
                "split_factor",
                "dividend",
            )
            rows.append(dict(zip(names, values, strict=True)))
    return pl.DataFrame(rows)


def predictions_of(bars: pl.DataFrame, seed: int = 5) -> pl.DataFrame:
    days = bars["session"].unique().sort()
    keys = bars.select(KEY).filter(pl.col("session") < days[-4])
    return keys.with_columns(pl.Series("score", np.random.default_rng(seed).normal(size=keys.height)))


def made(config: LongShortConfig = CONFIG) -> Make:
    return lambda predictions, bars: long_short(predictions, bars, config)


def honest(make: Make) -> Make:
    return make


def weighted(
    change: Callable[[pl.DataFrame, pl.DataFrame], pl.DataFrame], config: LongShortConfig = CONFIG
) -> Rule:
    """The product's portfolio with other weights wanted: (signals, bars) -> signals."""

    def run(predictions: pl.DataFrame, bars: pl.DataFrame) -> LongShort:
        signals = change(product._signals(predictions, config), bars)
        cap = pl.col("weight").fill_null(0.0).fill_nan(0.0).clip(-0.5, 0.5)
        market_of = price_matrices(bars, signals["session"].min(), config.calendar)
        return product._trade(signals.with_columns(cap), market_of, config)

    return lambda make: run


def with_bars(change: Callable[[pl.DataFrame], pl.DataFrame]) -> Rule:
    """The portfolio of other bars than those that it is audited against."""
    return lambda make: lambda predictions, bars: make(predictions, change(bars.sort(KEY)))


def with_fills(change: Callable[[pl.DataFrame, pl.DataFrame], pl.DataFrame]) -> Rule:
    def rule(make: Make) -> Make:
        def run(predictions: pl.DataFrame, bars: pl.DataFrame) -> LongShort:
            portfolio = make(predictions, bars)
            return replace(portfolio, fills=change(portfolio.fills, bars))

        return run

    return rule


def with_equity(change: Callable[[pl.DataFrame], pl.DataFrame]) -> Rule:
    def rule(make: Make) -> Make:
        def run(predictions: pl.DataFrame, bars: pl.DataFrame) -> LongShort:
            portfolio = make(predictions, bars)
            return replace(portfolio, equity=change(portfolio.equity))

        return run

    return rule


def onto(rows: pl.DataFrame, bars: pl.DataFrame, *columns: pl.Expr) -> pl.DataFrame:
    """The rows with columns of their own session's bar, each made within its symbol, in order."""
    values = bars.sort(KEY).select(*KEY, *(c.over("symbol") for c in columns))
    return rows.join(values, on=KEY, how="left", maintain_order="left")


@dataclass(frozen=True)
class _Audited:
    leaky: Rule
    clean: Rule
    acted: tuple[Acted, Acted] | None
    config: LongShortConfig

    def __call__(self, is_leaky: bool) -> AuditReport:
        bars = market(self.config.calendar)
        predictions = predictions_of(bars)
        make = (self.leaky if is_leaky else self.clean)(made(self.config))
        rules = Rules(self.config.costs.a_side, self.config.calendar)
        if self.acted is None:
            return audit_portfolio(make(predictions, bars), predictions, bars, rules, make)
        chosen = self.acted[0 if is_leaky else 1]
        acted_on = chosen(predictions, bars)

        # As a report does: what is traded is chosen again where the portfolio is made again.
        def again(p: pl.DataFrame, b: pl.DataFrame) -> LongShort:
            return make(chosen(p, b), b)

        return audit_portfolio(make(acted_on, bars), predictions, bars, rules, again, acted_on=acted_on)


def portfolio_mutant(
    name: str,
    title: str,
    origin: str,
    leaky: Rule = honest,
    clean: Rule = honest,
    *,
    acted: tuple[Acted, Acted] | None = None,
    config: LongShortConfig = CONFIG,
    survives: str = "",
) -> Mutant:
    """A portfolio with a rule that knows too much, and one with an honest rule.

    Args:
        name, title, origin, survives: of the mutant.
        leaky, clean: change how the portfolio is made, the one that is shown and that which is made again alike.
        acted: chooses the predictions that are traded, leaky and clean; None: all.
        config: of the product's portfolio.
    """
    audit = _Audited(leaky, clean, acted, config)
    return Mutant(name, title, origin, frozenset({"execution"}), audit, survives=survives)
