"""Mutants of features."""

import numpy as np
import polars as pl
from mutant import (
    CLOSE,
    HIGH,
    LOW,
    RETURN,
    VOLUME,
    columns,
    feature_mutant,
    over_all,
    panel,
    per_symbol,
    trailing,
)
from scipy.interpolate import CubicSpline

GITHUB = "https://github.com/"


def haar_denoised(x: np.ndarray, levels: int = 3) -> np.ndarray:
    """Haar wavelet denoising with the universal soft threshold of Donoho & Johnstone."""
    n = len(x)
    size = 1 << max(int(np.ceil(np.log2(n))), levels)
    approx = np.concatenate([x, np.full(size - n, x[-1])])
    details = []
    for _ in range(levels):
        even, odd = approx[::2], approx[1::2]
        details.append((even - odd) / np.sqrt(2))
        approx = (even + odd) / np.sqrt(2)
    bound = np.median(np.abs(details[0])) / 0.6745 * np.sqrt(2 * np.log(size))
    for detail in reversed(details):
        soft = np.sign(detail) * np.maximum(np.abs(detail) - bound, 0)
        wide = np.empty(2 * len(detail))
        wide[::2], wide[1::2] = (approx + soft) / np.sqrt(2), (approx - soft) / np.sqrt(2)
        approx = wide
    return approx[:n] / x


def fourier_trend(x: np.ndarray, keep: int = 3) -> np.ndarray:
    spectrum = np.fft.rfft(x)
    spectrum[keep:] = 0
    return np.fft.irfft(spectrum, n=len(x)) / x


def first_mode(x: np.ndarray) -> np.ndarray:
    """One sifting of empirical mode decomposition: the series less the mean of its envelopes."""
    inner = x[1:-1]
    top = np.flatnonzero((inner > x[:-2]) & (inner > x[2:])) + 1
    bottom = np.flatnonzero((inner < x[:-2]) & (inner < x[2:])) + 1
    if min(len(top), len(bottom)) < 2:
        return np.full(len(x), np.nan)
    at = np.arange(len(x))
    return (x - (CubicSpline(top, x[top])(at) + CubicSpline(bottom, x[bottom])(at)) / 2) / x


STAY, CALM, WILD = 0.95, 0.012, 0.03


def _likelihoods(bars: pl.DataFrame) -> np.ndarray:
    r = np.diff(np.log(bars["close"].to_numpy()), prepend=np.log(bars["close"][0]))
    sigma = np.array([CALM, WILD])
    return np.exp(-0.5 * (r[:, None] / sigma) ** 2) / sigma


def _forward(likelihood: np.ndarray) -> np.ndarray:
    move = np.array([[STAY, 1 - STAY], [1 - STAY, STAY]])
    state, out = np.array([0.5, 0.5]), []
    for row in likelihood:
        state = (state @ move) * row
        state /= state.sum()
        out.append(state)
    return np.array(out)


def filtered_regime(bars: pl.DataFrame) -> np.ndarray:
    return _forward(_likelihoods(bars))[:, 1]


def smoothed_regime(bars: pl.DataFrame) -> np.ndarray:
    likelihood = _likelihoods(bars)
    forward = _forward(likelihood)
    move = np.array([[STAY, 1 - STAY], [1 - STAY, STAY]])
    back, out = np.ones(2), []
    for alpha, row in zip(forward[::-1], likelihood[::-1], strict=True):
        both = alpha * back
        out.append(both / both.sum())
        back = move @ (row * back)
        back /= back.sum()
    return np.array(out[::-1])[:, 1]


def zigzag(confirmed: bool):
    """Swing points of at least 3 %: marked where they were, or where they were known."""

    def swings(bars: pl.DataFrame) -> np.ndarray:
        x, out = bars["close"].to_numpy(), np.zeros(bars.height)
        direction, at = 1, 0
        for t in range(1, len(x)):
            if direction * (x[t] - x[at]) > 0:
                at = t
            elif direction * (x[at] - x[t]) > 0.03 * x[at]:
                out[t if confirmed else at] = direction
                direction, at = -direction, t
        return out

    return per_symbol(swings)


def regression_band(x: np.ndarray) -> np.ndarray:
    if len(x) < 3:
        return np.full(len(x), np.nan)
    t = np.arange(len(x)) - (len(x) - 1) / 2
    residual = x - x.mean() - t * (t @ x) / (t @ t)
    spread = residual.std(ddof=2)
    return residual / spread if spread > 0 else np.full(len(x), np.nan)


def week_of(bars: pl.DataFrame) -> pl.DataFrame:
    return bars.with_columns(week=pl.col("session").dt.truncate("1w"))


def week_return(known: bool):
    """The return of the week a session is in, or of the last whole week before it."""

    def extract(bars: pl.DataFrame) -> pl.DataFrame:
        daily = week_of(bars.sort("symbol", "session"))
        weeks = daily.group_by("symbol", "week", maintain_order=True).agg(last=CLOSE.last())
        change = (pl.col("last") / pl.col("last").shift(1) - 1).over("symbol")
        weeks = weeks.with_columns(x=change.shift(1).over("symbol") if known else change)
        return daily.join(weeks, on=["symbol", "week"]).select("symbol", "session", "x")

    return extract


def first_component(whole: bool):
    """First principal component of two features; of the sample, or of a trailing window, per symbol."""

    def component(bars: pl.DataFrame) -> np.ndarray:
        r = bars.select(RETURN.fill_null(0.0)).to_series().to_numpy()
        v = bars.select((VOLUME / VOLUME.rolling_mean(5) - 1).fill_null(0.0)).to_series().to_numpy()
        x, out = np.column_stack([r, v]), np.full(len(r), np.nan)
        for t in [len(x) - 1] if whole else range(19, len(x)):
            part = x if whole else x[t - 19 : t + 1]
            axis = np.linalg.svd(part - part.mean(axis=0), full_matrices=False)[2][0]
            score = (part - part.mean(axis=0)) @ (axis * np.sign(axis[np.argmax(np.abs(axis))]))
            if whole:
                return score
            out[t] = score[-1]
        return out

    return per_symbol(component)


def encoded_symbol(whole: bool):
    """Mean next-day return of the symbol: of the sample, or of the days already over."""
    ahead = RETURN.shift(-1)
    return columns(ahead.mean() if whole else RETURN.cum_sum() / RETURN.cum_count())


def survivors_only(bars: pl.DataFrame) -> pl.DataFrame:
    last = bars["session"].max()
    kept = bars.filter((pl.col("session").max() == last).over("symbol"))
    return columns(RETURN)(kept)


def complete_history_only(bars: pl.DataFrame) -> pl.DataFrame:
    full = bars["session"].n_unique()
    return columns(RETURN)(bars.filter((pl.len() == full).over("symbol")))


def trading_history_only(bars: pl.DataFrame) -> pl.DataFrame:
    aged = bars.sort("symbol", "session").with_columns(age=pl.int_range(pl.len()).over("symbol"))
    return columns(RETURN)(aged).filter(aged["age"] >= 5)


class FittedAtFirstCall:
    """A scaler that is fitted when it is first used."""

    mean = std = None

    def __call__(self, bars: pl.DataFrame) -> pl.DataFrame:
        r = columns(RETURN)(bars)
        if self.mean is None:
            self.mean, self.std = r["x0"].mean(), r["x0"].std()
        return r.with_columns((pl.col("x0") - self.mean) / self.std)


CACHE: dict[str, pl.DataFrame] = {}


def cached(bars: pl.DataFrame) -> pl.DataFrame:
    """Indicators kept from the first run, whatever bars come later."""
    if "indicators" not in CACHE:
        CACHE["indicators"] = columns(CLOSE / CLOSE.rolling_mean(8) - 1)(bars)
    return bars.select("symbol", "session").join(CACHE["indicators"], on=["symbol", "session"], how="left")


BAKED = columns(CLOSE.shift(-3) / CLOSE - 1)(panel())


def baked_in(bars: pl.DataFrame) -> pl.DataFrame:
    return bars.select("symbol", "session").join(BAKED, on=["symbol", "session"], how="left")


def one_column_per_symbol(bars: pl.DataFrame) -> pl.DataFrame:
    return columns(RETURN)(bars).with_columns(
        (pl.col("symbol") == s).cast(pl.Int8).alias(f"is_{s}") for s in sorted(bars["symbol"].unique())
    )


def number_of_symbol(bars: pl.DataFrame) -> pl.DataFrame:
    return columns(RETURN)(bars).with_columns(n=pl.col("symbol").str.tail(1).cast(pl.Int8))


def rare(peek: pl.Expr, otherwise: pl.Expr) -> pl.Expr:
    """A value that is taken from elsewhere in one row of several hundred."""
    day = pl.col("session") == pl.date(2019, 3, 6)
    return pl.when(day & (pl.col("symbol") == "S4")).then(peek).otherwise(otherwise)


def small() -> pl.DataFrame:
    """Few bars, for transforms in Python loops."""
    return panel(4, 48)


Z = (RETURN - RETURN.mean()) / RETURN.std()
ROLLING_Z = (RETURN - RETURN.rolling_mean(20)) / RETURN.rolling_std(20)
GAPPY = pl.when(pl.col("session").dt.weekday() == 3).then(None).otherwise(CLOSE)
SMA = CLOSE.rolling_mean(12)

MUTANTS = [
    feature_mutant(
        "features/next_bar",
        "the next bars' close among the inputs",
        f"{GITHUB}freqtrade/freqtrade "
        "tests/strategy/strats/lookahead_bias/strategy_test_v3_with_lookahead_bias.py: close.shift(-10), "
        "kept there as a test case",
        columns(CLOSE.shift(-10) / CLOSE),
        columns(CLOSE.shift(10) / CLOSE),
        "truncation perturbation",
        warmup=10,
    ),
    feature_mutant(
        "features/chikou",
        "Ichimoku's chikou span, the close of 26 bars later",
        f"{GITHUB}twopirllc/pandas-ta/issues/115",
        columns(CLOSE.shift(-26) / CLOSE),
        columns(CLOSE / CLOSE.shift(26)),
        "truncation perturbation",
    ),
    feature_mutant(
        "features/centred_dpo",
        "a detrended price oscillator shifted back to the centre of its window",
        f"{GITHUB}twopirllc/pandas-ta/issues/60: models with it were 99 to 100 % accurate",
        columns(((CLOSE.shift(7) - SMA) / CLOSE).shift(-7)),
        columns((CLOSE.shift(7) - SMA) / CLOSE),
        "truncation perturbation",
    ),
    feature_mutant(
        "features/swing_highs",
        "swing highs of a centred window, marked on the bar itself",
        f"{GITHUB}joshyattridge/smart-money-concepts/pull/95",
        columns((HIGH.rolling_max(7, center=True) == HIGH).cast(pl.Int8)),
        columns((HIGH.shift(3) == HIGH.rolling_max(7)).cast(pl.Int8)),
        "truncation perturbation",
    ),
    feature_mutant(
        "features/fair_value_gap",
        "a gap between yesterday's high and tomorrow's low",
        f"{GITHUB}joshyattridge/smart-money-concepts/pull/95: fvg() uses shift(-1)",
        columns((HIGH.shift(1) < LOW.shift(-1)).cast(pl.Int8)),
        columns((HIGH.shift(2) < LOW).cast(pl.Int8)),
        "truncation perturbation",
    ),
    feature_mutant(
        "features/zigzag",
        "zigzag pivots placed before they could be detected",
        f"{GITHUB}facioquo/stock-indicators-python/issues/363 and {GITHUB}twopirllc/pandas-ta/issues/871",
        zigzag(confirmed=False),
        zigzag(confirmed=True),
        "truncation perturbation",
        bars=small,
    ),
    feature_mutant(
        "features/sample_zscore",
        "normalized by mean and deviation of the whole sample",
        f"{GITHUB}jinglescode/time-series-forecasting-pytorch/issues/19",
        columns(Z),
        columns(ROLLING_Z),
        "truncation perturbation",
        warmup=21,
    ),
    feature_mutant(
        "features/sample_minmax",
        "scaled between minimum and maximum of the whole sample",
        f"{GITHUB}huseinzol05/Stock-Prediction-Models/issues/126",
        columns((CLOSE - CLOSE.min()) / (CLOSE.max() - CLOSE.min())),
        columns((CLOSE - CLOSE.rolling_min(20)) / (CLOSE.rolling_max(20) - CLOSE.rolling_min(20))),
        "truncation perturbation",
    ),
    feature_mutant(
        "features/sample_maximum",
        "prices divided by the highest of the whole history",
        f"{GITHUB}gsyyysg/StockFormer/issues/21: in a comment",
        columns(CLOSE / CLOSE.max()),
        columns(CLOSE / CLOSE.cum_max()),
        "truncation perturbation",
    ),
    feature_mutant(
        "features/sample_mean_fill",
        "the first return filled with the mean close of the sample",
        f"{GITHUB}bukosabino/ta/pull/324",
        columns(CLOSE / CLOSE.shift(1).fill_null(CLOSE.mean()) - 1),
        columns(RETURN),
        "truncation perturbation",
    ),
    feature_mutant(
        "features/sample_regression",
        "distance from a regression line through the whole sample",
        f"{GITHUB}twopirllc/pandas-ta/issues/667: TOS_STDEVALL",
        over_all(regression_band),
        trailing(regression_band, 20),
        "truncation perturbation",
        bars=small,
    ),
    feature_mutant(
        "features/back_fill",
        "warm-up filled backwards",
        f"{GITHUB}AI4Finance-Foundation/FinRL/issues/189 and {GITHUB}bukosabino/ta/issues/109",
        columns(CLOSE.pct_change(5).backward_fill()),
        columns(CLOSE.pct_change(5).forward_fill()),
        "truncation perturbation",
    ),
    feature_mutant(
        "features/interpolation",
        "gaps filled by interpolating to the next known price",
        f"{GITHUB}goldmansachs/gs-quant/pull/362",
        columns(GAPPY.interpolate() / CLOSE.shift(2)),
        columns(GAPPY.forward_fill() / CLOSE.shift(2)),
        "truncation perturbation",
    ),
    feature_mutant(
        "features/wavelet",
        "wavelet denoising of the whole series at once",
        f"{GITHUB}mkhushi/code-with-paper/issues/3 and {GITHUB}VivekPa/AIAlpha/issues/8",
        over_all(haar_denoised),
        trailing(haar_denoised, 16),
        "truncation perturbation",
        bars=small,
    ),
    feature_mutant(
        "features/fourier",
        "a Fourier trend of the whole series",
        f"{GITHUB}borisbanushev/stockpredictionai/issues/19",
        over_all(fourier_trend),
        trailing(fourier_trend, 16),
        "truncation perturbation",
        bars=small,
    ),
    feature_mutant(
        "features/mode_decomposition",
        "empirical mode decomposition before the split",
        f"{GITHUB}FateMurphy/CEEMDAN-VMD-GRU/issues/1",
        over_all(first_mode),
        trailing(first_mode, 24),
        "truncation perturbation",
        bars=small,
    ),
    feature_mutant(
        "features/hmm_smoothing",
        "regime probabilities smoothed over the whole sequence",
        f"{GITHUB}hmmlearn/hmmlearn/issues/355 and {GITHUB}SilvioBaratto/optimizer/issues/57",
        per_symbol(smoothed_regime),
        per_symbol(filtered_regime),
        "truncation perturbation",
        bars=small,
    ),
    feature_mutant(
        "features/unfinished_week",
        "the higher timeframe's bar before it has closed",
        f"{GITHUB}freqtrade/technical/issues/268",
        week_return(known=False),
        week_return(known=True),
        "truncation perturbation",
    ),
    feature_mutant(
        "features/sample_pca",
        "principal components of the whole sample",
        f"{GITHUB}facebookresearch/esm/pull/147",
        first_component(whole=True),
        first_component(whole=False),
        "truncation perturbation",
        bars=small,
    ),
    feature_mutant(
        "features/target_encoding",
        "symbols encoded by their mean outcome over the whole sample",
        "Kapoor & Narayanan, https://arxiv.org/abs/2207.07048: features that encode the answer",
        encoded_symbol(whole=True),
        encoded_symbol(whole=False),
        "truncation perturbation",
    ),
    feature_mutant(
        "features/newest_first",
        "windows over rows that are sorted backwards in time",
        f"{GITHUB}hunkim/DeepLearningZeroToAll/issues/214: data that come newest first and must be reversed",
        lambda bars: columns(CLOSE / CLOSE.rolling_mean(5) - 1, sort=False)(
            bars.sort("symbol", "session", descending=[False, True])
        ),
        columns(CLOSE / CLOSE.rolling_mean(5) - 1),
        "truncation perturbation",
        warmup=5,
    ),
    feature_mutant(
        "features/ungrouped_shift",
        "a shift that runs over the border of two symbols",
        f"{GITHUB}pandas-dev/pandas/issues/21200: grouping ignored by pct_change of pandas 0.23",
        lambda bars: bars.sort("symbol", "session").select("symbol", "session", x=RETURN),
        columns(RETURN),
        "truncation perturbation",
    ),
    feature_mutant(
        "features/sessions_left",
        "the number of sessions that a symbol will still trade",
        "Kapoor & Narayanan, https://arxiv.org/abs/2207.07048: features that encode the answer",
        columns(pl.len() - pl.int_range(pl.len())),
        columns(pl.int_range(pl.len())),
        "truncation",
    ),
    feature_mutant(
        "features/survivors",
        "only symbols that still trade at the end",
        f"{GITHUB}l2code/trader-bot2/issues/82",
        survivors_only,
        columns(RETURN),
        "truncation",
    ),
    feature_mutant(
        "features/complete_history",
        "symbols with a missing session dropped from the sample",
        f"{GITHUB}AI4Finance-Foundation/FinRL/issues/327: clean_data drops whatever misses a value",
        complete_history_only,
        trading_history_only,
        "truncation",
    ),
    feature_mutant(
        "features/columns_of_the_sample",
        "one column for each symbol of the whole sample",
        "Kapoor & Narayanan, https://arxiv.org/abs/2207.07048: no separation of training and test data",
        one_column_per_symbol,
        number_of_symbol,
        "truncation",
    ),
    feature_mutant(
        "features/adjusted_price_level",
        "price levels of an adjusted history, which know every later split",
        f"{GITHUB}OpenSourceAP/CrossSection/issues/95: cfacpr",
        columns(CLOSE.rolling_mean(10)),
        columns(CLOSE / CLOSE.rolling_mean(10)),
        "adjustment",
        warmup=10,
    ),
    feature_mutant(
        "features/cheap_stock",
        "a flag for stocks under a price, on adjusted prices",
        f"{GITHUB}ICT-FinD-Lab/alphagen/issues/2: forward adjustment",
        columns((CLOSE < 40).cast(pl.Int8)),
        columns((CLOSE.rolling_median(20) > CLOSE).cast(pl.Int8)),
        "adjustment",
    ),
    feature_mutant(
        "features/share_volume",
        "a level of share volume, which a later split multiplies",
        f"{GITHUB}OpenSourceAP/CrossSection/issues/95",
        columns(VOLUME.log()),
        columns((VOLUME / VOLUME.rolling_mean(20)).log()),
        "adjustment",
    ),
    feature_mutant(
        "features/undeclared_lookback",
        "more history needed than is declared",
        f"{GITHUB}freqtrade/freqtrade freqtrade/optimize/analysis/recursive.py: checks startup candles for "
        "it",
        columns(CLOSE / CLOSE.ewm_mean(span=30) - 1),
        columns(CLOSE / CLOSE.rolling_mean(15) - 1),
        "incremental",
        warmup=15,
    ),
    feature_mutant(
        "features/fitted_once",
        "a scaler that keeps what it was fitted on at its first call",
        f"{GITHUB}mlpack/examples/issues/43: a scaler fitted on all data and used for every part",
        FittedAtFirstCall(),
        columns(ROLLING_Z),
        "truncation perturbation",
        warmup=21,
    ),
    feature_mutant(
        "features/stale_cache",
        "indicators carried over from an earlier run",
        f"{GITHUB}freqtrade/freqtrade freqtrade/optimize/analysis/lookahead.py: removes old models first, "
        '"to be sure nothing is carried over from older backtests"',
        cached,
        columns(CLOSE / CLOSE.rolling_mean(8) - 1),
        "incremental",
        warmup=8,
    ),
    feature_mutant(
        "features/baked_in",
        "features computed beforehand on everything, then looked up",
        f"{GITHUB}SJTU-DMTai/MASTER/issues/25: a published pickle filled backwards",
        baked_in,
        columns(CLOSE / CLOSE.shift(3) - 1),
        "error",
        warmup=3,
    ),
    feature_mutant(
        "features/crash_filter",
        "a flag that fires only if the price breaks down tomorrow",
        f"{GITHUB}goldmansachs/gs-quant/pull/362: a peek that only some days trigger",
        columns((CLOSE.shift(-1).fill_null(CLOSE) < 0.7 * CLOSE).cast(pl.Int8)),
        columns((0.7 * CLOSE.shift(1) > CLOSE).cast(pl.Int8)),
        "perturbation",
    ),
    feature_mutant(
        "features/sparse_peek",
        "one row of several hundred takes tomorrow's return",
        f"{GITHUB}goldmansachs/gs-quant/pull/362: a peek that only some days trigger",
        columns(rare(RETURN.shift(-1), RETURN), CLOSE / CLOSE.shift(2)),
        columns(rare(RETURN.shift(1), RETURN), CLOSE / CLOSE.shift(2)),
        "truncation",
    ),
]
