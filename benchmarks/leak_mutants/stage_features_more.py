"""Mutants of features, second part: filters, NumPy's habits, models inside, knowledge of what is to come."""

from datetime import date

import numpy as np
import polars as pl
from mutant import CLOSE, DAYS, RETURN, VOLUME, columns, feature_mutant, over_all, panel, per_symbol, trailing
from scipy.signal import filtfilt, lfilter

GITHUB = "https://github.com/"
KAPOOR = "Kapoor & Narayanan, https://arxiv.org/abs/2207.07048"


def small() -> pl.DataFrame:
    return panel(4, 48)


def two_way(x: np.ndarray) -> np.ndarray:
    return filtfilt([0.3], [1.0, -0.7], x, padlen=3) / x if len(x) > 3 else np.full(len(x), np.nan)


def one_way(x: np.ndarray) -> np.ndarray:
    return lfilter([0.3], [1.0, -0.7], x - x[0]) / x


def hodrick_prescott(x: np.ndarray, penalty: float = 100.0) -> np.ndarray:
    n = len(x)
    if n < 4:
        return np.full(n, np.nan)
    second = np.diff(np.eye(n), 2, axis=0)
    return x / np.linalg.solve(np.eye(n) + penalty * second.T @ second, x) - 1


def kalman(smoothed: bool):
    """Level of a local level model: filtered, or smoothed by the backward pass of Rauch, Tung & Striebel."""

    def level(bars: pl.DataFrame) -> np.ndarray:
        x = np.log(bars["close"].to_numpy())
        mean, spread, means, spreads = x[0], 1.0, [], []
        for value in x:
            spread += 0.1
            gain = spread / (spread + 1.0)
            mean, spread = mean + gain * (value - mean), (1 - gain) * spread
            means.append(mean)
            spreads.append(spread)
        out = np.array(means)
        if smoothed:
            for t in range(len(x) - 2, -1, -1):
                out[t] += spreads[t] / (spreads[t] + 0.1) * (out[t + 1] - means[t])
        return x - out

    return per_symbol(level)


def rolled(bars: pl.DataFrame) -> np.ndarray:
    x = bars["close"].to_numpy()
    return x / np.roll(x, 1) - 1


def shifted(bars: pl.DataFrame) -> np.ndarray:
    x = bars["close"].to_numpy()
    return np.concatenate([[np.nan], x[1:] / x[:-1] - 1])


def central(x: np.ndarray) -> np.ndarray:
    return np.gradient(x) / x if len(x) > 1 else np.full(len(x), np.nan)


def backward(x: np.ndarray) -> np.ndarray:
    return np.diff(x, prepend=np.nan) / x


def convolved(mode: str):
    def mean(x: np.ndarray) -> np.ndarray:
        if len(x) < 5:
            return np.full(len(x), np.nan)
        values = np.convolve(x, np.ones(5) / 5, mode="same" if mode == "same" else "valid")
        return (values if mode == "same" else np.concatenate([np.full(4, np.nan), values])) / x

    return over_all(mean)


def misaligned(bars: pl.DataFrame) -> np.ndarray:
    """Returns without their missing first, written back from the first row on."""
    r = bars.select(RETURN).to_series().drop_nulls().to_numpy()
    return np.concatenate([r, np.full(bars.height - len(r), np.nan)])


def spikes(later: bool):
    """Returns of which a bad tick is taken out: one that the next day takes back, or one that is large already."""
    bad = (
        (RETURN * RETURN.shift(-1) < -0.0003) if later else RETURN.abs() > 4 * RETURN.shift(1).rolling_std(10)
    )
    return columns(pl.when(bad.fill_null(False)).then(None).otherwise(RETURN))


def weekday_mean(whole: bool):
    """Mean return of the weekday: of the whole sample, or of those that are over."""
    day = pl.col("session").dt.weekday()

    def extract(bars: pl.DataFrame) -> pl.DataFrame:
        rows = bars.sort("symbol", "session").with_columns(r=RETURN.over("symbol"))
        value = pl.col("r").mean() if whole else pl.col("r").cum_sum() / pl.col("r").cum_count()
        return rows.select("symbol", "session", value.over("symbol", day).alias("x"))

    return extract


def beta(whole: bool):
    """Slope on the mean return of all symbols: of the sample, or of a trailing window."""

    def extract(bars: pl.DataFrame) -> pl.DataFrame:
        rows = bars.sort("symbol", "session").with_columns(r=RETURN.over("symbol"))
        rows = rows.with_columns(m=pl.col("r").mean().over("session"))
        if whole:
            slope = pl.cov("r", "m") / pl.col("m").var()
            return rows.select("symbol", "session", slope.over("symbol").alias("x"))
        slope = pl.rolling_cov("r", "m", window_size=15) / pl.col("m").rolling_var(15)
        return rows.select("symbol", "session", slope.over("symbol").alias("x"))

    return extract


def best_lag(whole: bool):
    """The lagged return whose sign went with the next return most often: in all rows, or in those that are over."""

    def extract(bars: pl.DataFrame) -> pl.DataFrame:
        rows = bars.sort("symbol", "session").with_columns(
            r=RETURN.over("symbol"),
        )
        rows = rows.with_columns(
            *(pl.col("r").shift(k).over("symbol").alias(f"lag{k}") for k in (0, 1, 2, 3)),
        )
        if not whole:
            return rows.select("symbol", "session", x="lag0")
        nexts = rows.with_columns(n=pl.col("r").shift(-1).over("symbol"))
        fits = [
            abs(nexts.select((pl.col(f"lag{k}") * pl.col("n")).mean()).item() or 0.0) for k in (0, 1, 2, 3)
        ]
        return rows.select("symbol", "session", x=f"lag{int(np.argmax(fits))}")

    return extract


def inner_model(whole: bool):
    """The prediction of a regression on lagged returns, fitted within: on all rows, or on those before."""

    def fitted(bars: pl.DataFrame) -> np.ndarray:
        r = bars.select(RETURN.fill_null(0.0)).to_series().to_numpy()
        x, y = np.column_stack([r[:-1], np.roll(r, 1)[:-1]]), r[1:]
        x[:1, 1] = 0.0
        inputs = np.column_stack([r, np.concatenate([[0.0], r[:-1]])])
        out = np.full(len(r), np.nan)
        if whole:
            return inputs @ np.linalg.lstsq(x, y, rcond=None)[0] if len(y) > 2 else out
        for t in range(12, len(r)):
            out[t] = inputs[t] @ np.linalg.lstsq(x[:t], y[:t], rcond=None)[0]
        return out

    return per_symbol(fitted)


def clusters(whole: bool):
    """Days put to the nearer of two centres of volatility: of the sample, or of two fixed ones."""

    def label(bars: pl.DataFrame) -> np.ndarray:
        v = bars.select(RETURN.abs().fill_null(0.0)).to_series().to_numpy()
        low, high = 0.005, 0.03
        for _ in range(8 if whole else 0):
            near = np.abs(v - low) <= np.abs(v - high)
            low, high = v[near].mean() if near.any() else low, v[~near].mean() if (~near).any() else high
        return np.abs(v - low) - np.abs(v - high)

    return per_symbol(label)


def deciles(whole: bool):
    place = RETURN.rank() / pl.len() if whole else RETURN.rolling_rank(15) / 15
    return columns((10 * place).floor())


def among_survivors(whole: bool):
    """Rank of the return among the symbols of the day that go on to the end, or among those of the day."""

    def extract(bars: pl.DataFrame) -> pl.DataFrame:
        rows = bars.sort("symbol", "session").with_columns(r=RETURN.over("symbol"))
        rows = rows.with_columns(stays=pl.col("session").max().over("symbol") == pl.col("session").max())
        r = pl.when("stays").then("r") if whole else pl.col("r")
        return rows.select("symbol", "session", x=pl.col("r") - r.mean().over("session"))

    return extract


EVENTS = pl.DataFrame(
    [(f"S{i}", DAYS[(7 * i + 17 * k) % 60 + 5]) for i in range(8) for k in range(3)],
    schema=["symbol", "session"],
    orient="row",
).unique(maintain_order=True)


def days_to_event(ahead: bool):
    """Days to the next report, from a calendar of those that took place; or since the last one."""

    def extract(bars: pl.DataFrame, events: pl.DataFrame) -> pl.DataFrame:
        known = events.select("symbol", pl.col("session").alias("event")).sort("event")
        joined = (
            bars.select("symbol", "session")
            .sort("session")
            .join_asof(
                known,
                left_on="session",
                right_on="event",
                by="symbol",
                strategy="forward" if ahead else "backward",
                check_sortedness=False,
            )
        )
        return joined.select("symbol", "session", x=(pl.col("event") - pl.col("session")).dt.total_days())

    return extract


def adjusted() -> pl.DataFrame:
    """Bars with a close that is adjusted for dividends to come, as vendors have it."""
    paid = pl.when(pl.int_range(pl.len()).over("symbol") % 23 == 11).then(0.99).otherwise(1.0)
    back = paid.shift(-1).fill_null(1.0).reverse().cum_prod().reverse()
    return panel().sort("symbol", "session").with_columns(adj_close=CLOSE * back.over("symbol"))


ADJUSTED = pl.col("adj_close")


def peers(bars: pl.DataFrame) -> pl.DataFrame:
    """Return of the symbol that moves most alike over the sample."""
    rows = bars.sort("symbol", "session").with_columns(r=RETURN.over("symbol"))
    wide = rows.pivot("symbol", index="session", values="r").sort("session")
    names = [c for c in wide.columns if c != "session"]
    x = wide.select(names).fill_null(0.0).to_numpy()
    with np.errstate(invalid="ignore", divide="ignore"):
        alike = np.atleast_2d(np.nan_to_num(np.corrcoef(x.T))) - 2 * np.eye(len(names))
    long = pl.DataFrame(x[:, alike.argmax(axis=1)], schema=names).with_columns(wide["session"])
    return bars.select("symbol", "session").join(
        long.unpivot(index="session", variable_name="symbol", value_name="x"),
        on=["symbol", "session"],
        how="left",
    )


def others(bars: pl.DataFrame) -> pl.DataFrame:
    """Mean return of the other symbols of the day."""
    rows = bars.sort("symbol", "session").with_columns(r=RETURN.over("symbol"))
    total, n = pl.col("r").sum().over("session"), pl.col("r").count().over("session")
    return rows.select("symbol", "session", x=(total - pl.col("r")) / (n - 1))


CRASH = pl.col("session").is_between(date(2019, 2, 20), date(2019, 3, 12))

MUTANTS = [
    feature_mutant(
        "features/filtfilt",
        "a low pass that runs over the series forwards and backwards",
        f"{GITHUB}statsmodels/statsmodels/issues/9275: which filters look ahead",
        over_all(two_way),
        over_all(one_way),
        "truncation perturbation",
        bars=small,
    ),
    feature_mutant(
        "features/hodrick_prescott",
        "distance from the trend of Hodrick and Prescott over the whole series",
        f"{GITHUB}cerlymarco/tsmoothie/issues/2",
        over_all(hodrick_prescott),
        trailing(hodrick_prescott, 16),
        "truncation perturbation",
        bars=small,
    ),
    feature_mutant(
        "features/kalman_smoother",
        "the level of a Kalman smoother in place of the filter's",
        f"{GITHUB}pykalman/pykalman/issues/76",
        kalman(smoothed=True),
        kalman(smoothed=False),
        "truncation perturbation",
        bars=small,
    ),
    feature_mutant(
        "features/roll_wraps",
        "NumPy's roll, whose first row is the last one",
        f"{GITHUB}twopirllc/pandas-ta/issues/705: the first rows take values from the end",
        per_symbol(rolled),
        per_symbol(shifted),
        "truncation perturbation",
        bars=small,
    ),
    feature_mutant(
        "features/central_difference",
        "NumPy's gradient, which takes the value after",
        f"{GITHUB}spawnaga/market_direction_prediction/issues/1: a difference moved a day ahead",
        over_all(central),
        over_all(backward),
        "truncation perturbation",
        bars=small,
    ),
    feature_mutant(
        "features/convolve_same",
        "a mean by convolution, centred on its row",
        f"{GITHUB}cerlymarco/tsmoothie/issues/13",
        convolved("same"),
        convolved("valid"),
        "truncation perturbation",
        bars=small,
    ),
    feature_mutant(
        "features/misaligned_after_dropna",
        "values without their missing first one, written back a row early",
        f"{GITHUB}quantopian/empyrical/issues/79: results of a window put to another index",
        per_symbol(misaligned),
        columns(RETURN),
        "truncation perturbation",
        bars=small,
    ),
    feature_mutant(
        "features/spikes_that_revert",
        "bad ticks known by the next day, which takes them back",
        f"{GITHUB}goldmansachs/gs-quant/pull/362: a peek that only some days trigger",
        spikes(later=True),
        spikes(later=False),
        "truncation perturbation",
    ),
    feature_mutant(
        "features/weekday_mean",
        "the mean return of a weekday over the whole sample",
        f"{KAPOOR}: features that encode the answer",
        weekday_mean(whole=True),
        weekday_mean(whole=False),
        "truncation perturbation",
    ),
    feature_mutant(
        "features/sample_beta",
        "the slope on the market over the whole sample",
        f"{GITHUB}simaomsarmento/PairsTrading/issues/2",
        beta(whole=True),
        beta(whole=False),
        "truncation perturbation",
        bars=small,
    ),
    feature_mutant(
        "features/best_lag",
        "the lag that went best with the next return",
        f"{GITHUB}pycaret/pycaret/issues/1874: features chosen before the split",
        best_lag(whole=True),
        best_lag(whole=False),
        "truncation perturbation",
        bars=small,
    ),
    feature_mutant(
        "features/in_sample_model",
        "predictions of a model that was fitted on the rows that it predicts",
        f"{GITHUB}alegonz/baikal/issues/15: predictions of models on their own training sets as inputs",
        inner_model(whole=True),
        inner_model(whole=False),
        "truncation perturbation",
        bars=small,
    ),
    feature_mutant(
        "features/sample_clusters",
        "days clustered with those to come",
        f"{GITHUB}SilvioBaratto/optimizer/issues/57",
        clusters(whole=True),
        clusters(whole=False),
        "truncation perturbation",
        bars=small,
    ),
    feature_mutant(
        "features/sample_deciles",
        "deciles among all days of the symbol",
        f"{KAPOOR}: no separation of training and test data",
        deciles(whole=True),
        deciles(whole=False),
        "truncation perturbation",
    ),
    feature_mutant(
        "features/less_survivors_mean",
        "returns less the mean of the symbols that go on to the end",
        f"{GITHUB}l2code/trader-bot2/issues/82",
        among_survivors(whole=True),
        among_survivors(whole=False),
        "truncation",
    ),
    feature_mutant(
        "features/days_to_event",
        "days to the next report, from a calendar of the reports that were made",
        f"{GITHUB}OpenSourceAP/CrossSection/issues/158",
        days_to_event(ahead=True),
        days_to_event(ahead=False),
        "truncation perturbation",
        sources={"events": EVENTS},
    ),
    feature_mutant(
        "features/adjustment_factor",
        "the ratio of adjusted to raw close beside a return, which knows the dividends to come",
        f"{GITHUB}OpenSourceAP/CrossSection/issues/95: cfacpr",
        columns(ADJUSTED / CLOSE + RETURN),
        columns(ADJUSTED / ADJUSTED.shift(5) + RETURN),
        "adjustment",
        bars=adjusted,
    ),
    feature_mutant(
        "features/sample_peers",
        "the return of the symbol that moves most alike over the whole sample",
        f"{GITHUB}simaomsarmento/PairsTrading/issues/2",
        peers,
        others,
        "truncation perturbation",
        bars=small,
    ),
    feature_mutant(
        "features/days_by_heart",
        "a flag for the days of a crash, written down when it was over",
        f"{GITHUB}borisbanushev/stockpredictionai/issues/19: processes of which the end is known",
        columns(CRASH.cast(pl.Int8), RETURN),
        columns((pl.col("session").dt.month() == 3).cast(pl.Int8), RETURN),
        "truncation perturbation",
        survives="one or two dates in the code look like settings",
    ),
    feature_mutant(
        "features/number_by_heart",
        "returns divided by a deviation that was measured on the whole sample, as a setting",
        f"{GITHUB}huseinzol05/Stock-Prediction-Models/issues/126",
        columns(RETURN / 0.0199, VOLUME / VOLUME.rolling_mean(10)),
        columns(RETURN / 0.02, VOLUME / VOLUME.rolling_mean(10)),
        "truncation perturbation",
        survives="a number that was fitted on the whole sample looks like a setting",
    ),
]
