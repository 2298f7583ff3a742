"""Mutants of portfolios: how much is wanted of what, and whose outcome has a say in it."""

import polars as pl
from mutant import CLOSE, RETURN, VOLUME, columns, feature_mutant
from traded import KEY, LongShort, Make, onto, portfolio_mutant, weighted

GITHUB = "https://github.com/"
WEIGHT = pl.col("weight")
DAILY = pl.col("close") / pl.col("close").shift(1) - 1
TURNOVER = CLOSE * VOLUME


def scaled_by(factor: pl.Expr):
    """Weights times a factor that is made of the symbol's bars."""

    def change(signals: pl.DataFrame, bars: pl.DataFrame) -> pl.DataFrame:
        return onto(signals, bars, factor.alias("_factor")).with_columns(WEIGHT * pl.col("_factor"))

    return weighted(change)


def whole_month(signals: pl.DataFrame, _: pl.DataFrame) -> pl.DataFrame:
    place = pl.col("score").rank().over(pl.col("session").dt.month()) / pl.len().over(
        pl.col("session").dt.month()
    )
    return signals.with_columns(weight=0.5 * (place - 0.5))


def own_session(signals: pl.DataFrame, _: pl.DataFrame) -> pl.DataFrame:
    place = pl.col("score").rank().over("session") / pl.len().over("session")
    return signals.with_columns(weight=0.5 * (place - 0.5))


def invested_if(gain: pl.Expr):
    """Only in the market on sessions on which the mean symbol gained."""

    def change(signals: pl.DataFrame, bars: pl.DataFrame) -> pl.DataFrame:
        rows = onto(signals, bars, gain.alias("_gain"))
        return rows.with_columns(
            weight=pl.when(pl.col("_gain").mean().over("session") > 0).then(WEIGHT).otherwise(0.0)
        )

    return weighted(change)


def second_pass(whole: bool):
    """A first run tells on which symbols the signals paid; the second one bets on these."""

    def change(signals: pl.DataFrame, bars: pl.DataFrame) -> pl.DataFrame:
        rows = onto(signals, bars, DAILY.shift(-1).alias("_next")).sort(KEY)
        paid = (pl.col("weight") * pl.col("_next")).fill_null(0.0)
        known = paid.sum() if whole else paid.cum_sum().shift(1).fill_null(0.0)
        return rows.with_columns(weight=pl.when(known.over("symbol") >= 0).then(WEIGHT).otherwise(WEIGHT / 2))

    return weighted(change)


def by_heart(make: Make) -> Make:
    """Sizes that an optimiser found on the whole period, kept as a table of names."""
    sizes = {"S0": 0.4, "S1": 1.6, "S3": 1.3, "S6": 0.5}
    factor = pl.col("symbol").replace_strict(sizes, default=1.0)
    return weighted(lambda signals, _: signals.with_columns(WEIGHT * factor))(make)


def names_that_did_well(make: Make) -> Make:
    def run(predictions: pl.DataFrame, bars: pl.DataFrame) -> LongShort:
        return make(predictions.filter(pl.col("symbol").is_in(["S0", "S1", "S3", "S4", "S6"])), bars)

    return run


def with_outcome(make: Make) -> Make:
    """Scores that were changed after they were predicted."""

    def run(predictions: pl.DataFrame, bars: pl.DataFrame) -> LongShort:
        known = onto(predictions, bars, DAILY.shift(-1).fill_null(0.0).alias("_next"))
        return make(known.with_columns(pl.col("score") + 12 * pl.col("_next")).drop("_next"), bars)

    return run


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
    feature_mutant(
        "portfolio/sample_volatility",
        "positions sized by the volatility of the whole period",
        f"{GITHUB}freqtrade/freqtrade-strategies/pull/202: normalization that changes with the length of the "
        "data",
        columns(RETURN.sign() * 0.01 / RETURN.std()),
        columns(RETURN.sign() * 0.01 / RETURN.rolling_std(20)),
        "truncation perturbation",
        warmup=21,
    ),
    feature_mutant(
        "portfolio/liquid_in_hindsight",
        "only symbols that were liquid over the whole period",
        f"{GITHUB}IsaacCheng9/quant-trading-strategy-backtester/issues/18: chosen from the largest of today",
        liquid_only,
        liquid_so_far,
        "truncation perturbation",
    ),
    feature_mutant(
        "portfolio/rebalanced_on_month_mean",
        "the month's mean price used on every day of the month",
        f"{GITHUB}freqtrade/technical/issues/268: the higher timeframe before it has closed",
        lambda bars: bars.select(
            "symbol", "session", x=CLOSE / CLOSE.mean().over("symbol", pl.col("session").dt.month())
        ),
        columns(CLOSE / CLOSE.rolling_mean(21)),
        "truncation perturbation",
        warmup=21,
    ),
    portfolio_mutant(
        "portfolio/sized_by_later_volatility",
        "weights wanted divided by the volatility of the whole period",
        f"{GITHUB}Robot-Wealth/risk-premia-app/issues/9: sizes by volatility, a month out of step",
        scaled_by(0.02 / DAILY.std()),
        scaled_by(0.02 / DAILY.rolling_std(10)),
    ),
    portfolio_mutant(
        "portfolio/volatility_target_of_the_same_day",
        "a volatility target met with the move of the day that is then held",
        f"{GITHUB}QF-Bench/QuantitativeFinance-Bench/pull/8: vol[t] where vol[t-1] was meant, named as a trap",
        scaled_by(0.01 / (0.005 + DAILY.shift(-1).abs())),
        scaled_by(0.01 / (0.005 + DAILY.abs())),
    ),
    portfolio_mutant(
        "portfolio/ranks_of_the_month",
        "scores ranked among all of their month",
        "Kapoor & Narayanan, https://arxiv.org/abs/2207.07048: no separation of training and test data",
        weighted(whole_month),
        weighted(own_session),
    ),
    portfolio_mutant(
        "portfolio/rebalanced_when_it_paid",
        "in the market on the days on which it rose",
        f"{GITHUB}richkuo/go-trader/issues/730: a regime gate that reads the bar it gates",
        invested_if(DAILY.shift(-1)),
        invested_if(DAILY),
    ),
    portfolio_mutant(
        "portfolio/second_pass",
        "a second run that bets more on whatever paid in the first",
        f"{GITHUB}IsaacCheng9/quant-trading-strategy-backtester/pull/69: pairs chosen with the test split",
        second_pass(whole=True),
        second_pass(whole=False),
    ),
    portfolio_mutant(
        "portfolio/sizes_by_heart",
        "sizes from an optimisation of the whole period, as a table of names",
        f"{GITHUB}IsaacCheng9/quant-trading-strategy-backtester/pull/69: tickers ranked on all of the data",
        by_heart,
    ),
    portfolio_mutant(
        "portfolio/names_that_did_well",
        "predictions of symbols that did badly left out, by their names",
        f"{GITHUB}jmrichardson/tuneta/issues/27: selection among many on the same data",
        names_that_did_well,
    ),
    portfolio_mutant(
        "portfolio/scores_with_outcome",
        "scores changed by their outcome between prediction and portfolio",
        f"{GITHUB}nakulnayyar/ML-KNearest-VXX/issues/1: returns a day out of step",
        with_outcome,
    ),
]
