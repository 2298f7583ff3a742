"""Portfolios that are what their predictions and bars give pass; those that are not are refused by name."""

from collections.abc import Callable
from dataclasses import replace
from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trademl_pipeline.leakage import AuditInputError, AuditReport, Rules, audit_portfolio
from trademl_pipeline.market.calendar import sessions
from trademl_pipeline.portfolio.costs import Costs
from trademl_pipeline.portfolio.errors import PortfolioError
from trademl_pipeline.portfolio.long_short import LongShort, LongShortConfig, long_short

Make = Callable[[pl.DataFrame, pl.DataFrame], LongShort]
RETURN = pl.col("open").pct_change().shift(-1).over("symbol", order_by="session")


def market(
    seed: int = 3, *, symbols: int = 6, n: int = 40, gaps: float = 0.0, calendar: str = "XNYS"
) -> pl.DataFrame:
    """Random bars with splits, dividends, sessions without a bar or without volume, and a name that stops trading."""
    random = np.random.default_rng(seed)
    days = sessions(date(2020, 1, 6), date(2020, 6, 30), calendar)[:n]
    rows: list[dict[str, object]] = []
    for i in range(symbols):
        close = 50.0 * (1 + i)
        for t, day in enumerate(days):
            split = 2.0 if (t, i) == (17, 1) else 1.0
            opened = close / split * float(np.exp(0.01 * random.normal()))
            close = opened * float(np.exp(0.02 * random.normal()))
            high, low = max(opened, close) * 1.01, min(opened, close) * 0.99
            paid = 0.5 if (t, i) in ((12, 2), (25, 0)) else 0.0
            # The last name loses half on its last day, and never trades again.
            if i == symbols - 1 and t == 28:
                close, low = close / 2, close / 2
            if random.random() < gaps or (i == symbols - 1 and t > 28):
                continue
            volume = 0.0 if random.random() < gaps else 1e6
            rows.append(
                {
                    "symbol": f"S{i}",
                    "session": day,
                    "open": opened,
                    "high": high,
                    "low": low,
                    "close": close,
                    "volume": volume,
                    "split_factor": split,
                    "dividend": paid,
                }
            )
    return pl.DataFrame(rows)


def predictions_of(bars: pl.DataFrame, seed: int = 5, missing: int = 0) -> pl.DataFrame:
    """Scores of all sessions but the last, and but a stretch of `missing` of them in the middle."""
    random = np.random.default_rng(seed)
    sessions = bars["session"].unique().sort()
    keys = bars.select("symbol", "session").filter(
        pl.col("session") < sessions[-4], ~pl.col("session").is_in(sessions[12 : 12 + missing].implode())
    )
    return keys.with_columns(pl.Series("score", random.normal(size=keys.height)))


def made(config: LongShortConfig) -> Make:
    return lambda predictions, bars: long_short(predictions, bars, config)


def audited(
    config: LongShortConfig,
    bars: pl.DataFrame,
    leak: Callable[[Make], Make] = lambda m: m,
    *,
    missing: int = 0,
) -> AuditReport:
    predictions, make = predictions_of(bars, missing=missing), leak(made(config))
    rules = Rules(config.costs.a_side, config.calendar)
    return audit_portfolio(make(predictions, bars), predictions, bars, rules, make)


CONFIG = LongShortConfig(min_symbols=3, quantile=0.34, holding=3)


@pytest.mark.slow
@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 1000),
    missing=st.sampled_from([0, 1, 14]),
    holding=st.sampled_from([1, 2, 5, 24]),
    weighting=st.sampled_from(["quantile", "rank", "sign"]),
    gaps=st.sampled_from([0.0, 0.1]),
    calendar=st.sampled_from(["XNYS", "24/7"]),
    capital=st.sampled_from([1e5, 1e10]),
)
def test_an_honest_book_passes(
    seed: int, missing: int, holding: int, weighting: str, gaps: float, calendar: str, capital: float
):
    config = LongShortConfig(
        weighting=weighting,  # pyright: ignore[reportArgumentType]
        min_symbols=3,
        quantile=0.34,
        holding=holding,
        calendar=calendar,
        capital=capital,
    )
    report = audited(config, market(seed, gaps=gaps, calendar=calendar), missing=missing)
    assert report.passed, report.violations
    assert report.coverage["execution"]["cutoffs"] == 3


def with_fills(change: Callable[[pl.DataFrame, pl.DataFrame], pl.DataFrame]) -> Callable[[Make], Make]:
    def leak(make: Make) -> Make:
        def run(predictions: pl.DataFrame, bars: pl.DataFrame) -> LongShort:
            portfolio = make(predictions, bars)
            return replace(portfolio, fills=change(portfolio.fills, bars))

        return run

    return leak


def with_equity(change: Callable[[pl.DataFrame], pl.DataFrame]) -> Callable[[Make], Make]:
    return lambda make: (
        lambda predictions, bars: (lambda portfolio: replace(portfolio, equity=change(portfolio.equity)))(
            make(predictions, bars)
        )
    )


def with_predictions(change: Callable[[pl.DataFrame, pl.DataFrame], pl.DataFrame]) -> Callable[[Make], Make]:
    return lambda make: lambda predictions, bars: make(change(predictions, bars), bars)


def priced_a_session_before(fills: pl.DataFrame, bars: pl.DataFrame) -> pl.DataFrame:
    """The right times with the prices of the session that was decided on."""
    before = bars.sort("session").select(
        "symbol", fill_session="session", _open=pl.col("open").shift(1).over("symbol")
    )
    joined = fills.join(before, on=["symbol", "fill_session"], how="left", maintain_order="left")
    return joined.with_columns(pl.coalesce("_open", "price").alias("price")).drop("_open")


def at_the_better_end(fills: pl.DataFrame, bars: pl.DataFrame) -> pl.DataFrame:
    prices = bars.select("symbol", "low", "high", fill_session="session")
    joined = fills.join(prices, on=["symbol", "fill_session"], how="left", maintain_order="left")
    best = pl.when(pl.col("weight_change") > 0).then("low").otherwise("high")
    return joined.with_columns(best.alias("price")).drop("low", "high")


def next_returns(predictions: pl.DataFrame, bars: pl.DataFrame) -> pl.DataFrame:
    known = bars.select("symbol", "session", z=RETURN)
    joined = predictions.join(known, on=["symbol", "session"], how="left", maintain_order="left")
    return joined.with_columns(pl.col("score") + 0.25 * pl.col("z").fill_null(0.0) / 0.02).drop("z")


def sized_by_the_whole_period(predictions: pl.DataFrame, bars: pl.DataFrame) -> pl.DataFrame:
    risk = bars.group_by("symbol").agg(risk=pl.col("close").pct_change().std())
    joined = predictions.join(risk, on="symbol", how="left", maintain_order="left")
    return joined.with_columns(pl.col("score") / pl.col("risk")).drop("risk")


def early(make: Make) -> Make:
    """Ordered before the session that is decided on, and so filled at its open."""
    config = replace(CONFIG)
    object.__setattr__(config, "order_delay", timedelta(days=-1))
    return made(config)


LEAKS: dict[str, tuple[Callable[[Make], Make], str]] = {
    "filled at the open of the session decided on": (early, "order_time"),
    "its times moved, not its prices": (with_fills(priced_a_session_before), "price"),
    "filled at the better end of the bar": (with_fills(at_the_better_end), "price"),
    "filled in a session without a bar": (
        with_fills(lambda f, _: f.with_columns(pl.col("fill_session") + timedelta(days=2))),
        "fill_session",
    ),
    "filled without a price": (
        with_fills(lambda f, _: f.with_columns(pl.lit(None, pl.Float64).alias("price"))),
        "price",
    ),
    "one order filled twice": (with_fills(lambda f, _: pl.concat([f, f.head(1)])), "weight_change"),
    "filled without an order": (
        with_fills(lambda f, _: f.with_columns(pl.col("trade_id") + 100_000)),
        "weight_change",
    ),
    "filled against its order": (
        with_fills(lambda f, _: f.with_columns(-pl.col("weight_change"))),
        "weight_change",
    ),
    "the session decided on is earned": (
        with_equity(lambda e: e.with_columns(pl.col("gross_return").shift(-1, fill_value=0.0))),
        "gross_return",
    ),
    "worst days left out": (
        with_equity(lambda e: e.with_columns(pl.col("gross_return", "net_return").clip(-0.005))),
        "gross_return",
    ),
    "half of the costs": (with_equity(lambda e: e.with_columns(pl.col("cost") / 2)), "cost"),
    "no costs in the net return": (
        with_equity(lambda e: e.with_columns(net_return="gross_return")),
        "net_return",
    ),
    "turnover of a quarter": (with_equity(lambda e: e.with_columns(pl.col("turnover") / 4)), "turnover"),
    "next returns mixed into the scores": (with_predictions(next_returns), "score"),
    "sized by the volatility of the whole period": (with_predictions(sized_by_the_whole_period), "score"),
}


@pytest.mark.parametrize("leak", LEAKS)
def test_a_book_that_knew_or_left_out_something_is_refused_by_the_column(leak: str):
    change, column = LEAKS[leak]
    report = audited(CONFIG, market(), change)
    assert column in {v.column for v in report.violations}, report.violations
    assert all(v.probe == "execution" and v.detail for v in report.violations)


def test_the_last_day_of_a_name_that_stops_trading_cannot_be_left_out():
    bars = market()
    last = pl.col("close") < pl.col("open") * 0.6
    assert bars.filter(last).height == 1
    dropped: Callable[[Make], Make] = lambda make: lambda p, b: make(p, b.filter(~last))  # noqa: E731
    report = audited(CONFIG, bars, dropped)
    assert "gross_return" in {v.column for v in report.violations}, report.violations


def test_dividends_and_splits_are_in_the_account():
    paid = pl.col("session") == market()["session"].unique().sort()[15]
    for column, neutral, there in (("dividend", 0.0, 0.5), ("split_factor", 1.0, 2.0)):
        bars = market().with_columns(pl.when(paid).then(there).otherwise(neutral).alias(column))
        without = pl.lit(neutral).alias(column)
        leak: Callable[[Make], Make] = lambda make, w=without: lambda p, b: make(p, b.with_columns(w))  # noqa: E731
        assert "gross_return" in {v.column for v in audited(CONFIG, bars, leak).violations}


def test_choices_made_with_hindsight_are_found_by_making_the_book_again():
    """Scores that were published, of which only those are traded whose symbol did best by the end."""

    def hindsight(make: Make) -> Make:
        def run(predictions: pl.DataFrame, bars: pl.DataFrame) -> LongShort:
            final = (
                bars.sort("session")
                .group_by("symbol")
                .agg(gain=pl.col("close").last() / pl.col("close").first())
            )
            best = final.sort("gain").tail(4)["symbol"]
            return make(predictions.filter(pl.col("symbol").is_in(best.to_list())), bars)

        return run

    report = audited(CONFIG, market(), hindsight)
    assert "weight" in {v.column for v in report.violations}, report.violations


@pytest.mark.parametrize(("size", "columns"), [(1e-12, set()), (1e-3, {"weight_change"})])
def test_a_trade_that_one_side_leaves_out_is_judged_by_its_size(size: float, columns: set[str]):
    """The portfolio that is made again has one trade more."""

    def one_more(make: Make) -> Make:
        calls: list[int] = []

        def run(predictions: pl.DataFrame, bars: pl.DataFrame) -> LongShort:
            portfolio = make(predictions, bars)
            calls.append(1)
            if len(calls) == 1:
                return portfolio
            trade = portfolio.fills.head(1).with_columns(symbol=pl.lit("S9"), weight_change=pl.lit(size))
            return replace(portfolio, fills=pl.concat([portfolio.fills, trade]))

        return run

    assert {v.column for v in audited(CONFIG, market(), one_more).violations} == columns


def test_fills_of_bars_whose_volume_is_not_known_are_refused():
    bars, predictions = market(), predictions_of(market())
    unknown = bars.with_columns(pl.lit(None, pl.Float64).alias("volume"))
    portfolio = made(CONFIG)(predictions, bars)
    rules = Rules(CONFIG.costs.a_side, CONFIG.calendar)
    known = pl.lit(1e6).alias("volume")
    report = audit_portfolio(
        portfolio, predictions, unknown, rules, lambda p, b: made(CONFIG)(p, b.with_columns(known))
    )
    assert "volume" in {v.column for v in report.violations}, report.violations


def test_orders_without_any_signal_do_not_pass():
    bars = market()
    portfolio = made(CONFIG)(predictions_of(bars), bars)
    nameless = replace(portfolio, signals=portfolio.signals.clear())
    with pytest.raises(AuditInputError, match="there are no signals"):
        audit_portfolio(
            nameless,
            predictions_of(bars),
            bars,
            Rules(CONFIG.costs.a_side, CONFIG.calendar, cuts=0),
            made(CONFIG),
        )


def test_what_cannot_be_made_is_an_error_and_no_pass():
    bars = market()
    with pytest.raises(PortfolioError):
        audit_portfolio(
            made(CONFIG)(predictions_of(bars), bars),
            predictions_of(bars),
            bars,
            Rules(Costs().a_side, "XNYS"),
            lambda p, b: made(CONFIG)(p.head(0), b),
        )


def _unfilled(bad: pl.Expr) -> Callable[[Make], Make]:
    """Orders of these bars are not filled, since nothing is said to have been traded there."""
    volume = pl.when(bad).then(0.0).otherwise("volume").over("symbol", order_by="session").alias("volume")
    return lambda make: lambda predictions, bars: make(predictions, bars.with_columns(volume))


KNOWN_BY_HEART = {"S0": 0.5, "S1": 2.0}


def weighted_by_name(make: Make) -> Make:
    def run(predictions: pl.DataFrame, bars: pl.DataFrame) -> LongShort:
        portfolio = make(predictions, bars)
        factor = pl.col("symbol").replace_strict(KNOWN_BY_HEART, default=1.0)
        return replace(portfolio, signals=portfolio.signals.with_columns(pl.col("weight") * factor))

    return run


def known_symbols_alone(make: Make) -> Make:
    return lambda predictions, bars: make(
        predictions.filter(pl.col("symbol").is_in(["S0", "S1", "S2", "S3"])), bars
    )


SAME_IN_BOTH: dict[str, tuple[Callable[[Make], Make], str]] = {
    "filled where the session rose": (_unfilled(pl.col("close") < pl.col("open")), "weight_change"),
    "filled where the next session opens higher": (
        _unfilled(pl.col("open").shift(-1) < pl.col("open")),
        "weight_change",
    ),
    "sizes known by the name": (weighted_by_name, "weight"),
    "names that did well": (known_symbols_alone, "symbol"),
    "predictions left out": (known_symbols_alone, "<rows>"),
}


@pytest.mark.parametrize("leak", SAME_IN_BOTH)
def test_a_rule_that_knows_as_much_when_the_portfolio_is_made_again_is_refused(leak: str):
    """Bars that end at a session have all of it, and what follows its fills by a session."""
    change, column = SAME_IN_BOTH[leak]
    report = audited(CONFIG, market(), change)
    assert column in {v.column for v in report.violations}, report.violations


def test_volume_of_the_session_may_limit_a_fill_at_its_open():
    """It is how a fill is limited here, and the same whichever way the session goes."""
    config = replace(CONFIG, capital=1e9)
    portfolio = made(config)(predictions_of(market()), market())
    assert portfolio.events.filter(pl.col("kind") == "capped").height
    assert audited(config, market()).passed
