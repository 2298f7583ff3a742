"""The causal vocabulary that features are written in: Polars expressions over one symbol's sessions.
 Each function takes columns or expressions and returns an expression. Windows count the symbol's own rows,
end at
the row itself, and never cross into another symbol: the expressions read the column `AGE` (rows of the
symbol before this one) that `prepare` puts into every panel. A window that is not full, or that holds a
missing value, is null. Element-wise arithmetic is plain Polars. Do not use Polars' own `shift`, `rolling_*`
or `cum_*` in a feature: they know nothing of symbols.
 The kernels are compiled on first use and kept on disk, and they release the interpreter's lock, so that
Polars runs several of them at once.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl

AGE = "_age"
Column = pl.Expr | str


def _expr(x: Column) -> pl.Expr:
    return pl.col(x) if isinstance(x, str) else x


def _values(series: pl.Series) -> np.ndarray:
    return series.cast(pl.Float64).to_numpy()


def _kernel(columns: list[Column], call: Callable[..., np.ndarray]) -> pl.Expr:
    """An expression that hands the columns and AGE to `call` as arrays, missing values as NaN."""

    def run(series: Any) -> pl.Series:
        *inputs, age = series
        arrays = [_values(s) for s in inputs]
        return pl.Series(inputs[0].name, call(*arrays, age.to_numpy()), dtype=pl.Float64)

    return pl.map_batches([*(_expr(c) for c in columns), pl.col(AGE)], run, return_dtype=pl.Float64)


def lag(x: Column, n: int) -> pl.Expr:
    """The value n sessions earlier; null in a symbol's first n sessions."""
    return pl.when(pl.col(AGE) >= n).then(_expr(x).shift(n))


def change(x: Column, n: int) -> pl.Expr:
    """Relative change over n sessions: x[t] / x[t-n] - 1."""
    return _expr(x) / lag(x, n) - 1


def total(x: Column, n: int) -> pl.Expr:
    """Sum of the last n sessions."""

    def call(v: np.ndarray, age: np.ndarray) -> np.ndarray:
        from trademl_pipeline.features import kernels

        return kernels.window_sum(v, age, n)

    return _kernel([x], call)


def mean(x: Column, n: int) -> pl.Expr:
    """Mean of the last n sessions."""
    return total(x, n) / n


def variance(x: Column, n: int, *, ddof: int = 1) -> pl.Expr:
    """Variance of the last n sessions; `ddof` 1 is the sample's, 0 the population's.

    A spread below 1e-12 of the level is rounding, not variation, and counts as 0.
    """

    def call(v: np.ndarray, age: np.ndarray) -> np.ndarray:
        from trademl_pipeline.features import kernels

        centre = kernels.window_sum(v, age, n) / n
        out = kernels.window_variance(v, centre, age, n)
        out[out <= (1e-12 * centre) ** 2] = 0.0
        return out if ddof == 0 else out * (n / (n - ddof))

    return _kernel([x], call)


def std(x: Column, n: int, *, ddof: int = 1) -> pl.Expr:
    """Standard deviation of the last n sessions; see `variance`."""
    return variance(x, n, ddof=ddof).sqrt()


def zscore(x: Column, n: int) -> pl.Expr:
    """(x - mean) / sample standard deviation over the last n sessions; null where nothing varies."""
    return divide(_expr(x) - mean(x, n), std(x, n))


def covariance(x: Column, y: Column, n: int) -> pl.Expr:
    """Population covariance of x and y over the last n sessions."""

    def call(v: np.ndarray, w: np.ndarray, age: np.ndarray) -> np.ndarray:
        from trademl_pipeline.features import kernels

        mean_v = kernels.window_sum(v, age, n) / n
        mean_w = kernels.window_sum(w, age, n) / n
        return kernels.window_moment(v, w, mean_v, mean_w, age, n)

    return _kernel([x, y], call)


def correlation(x: Column, y: Column, n: int) -> pl.Expr:
    """Pearson correlation over the last n sessions; null where either does not vary."""
    spread = (variance(x, n, ddof=0) * variance(y, n, ddof=0)).sqrt()
    return divide(covariance(x, y, n), spread).clip(-1.0, 1.0)


def beta(x: Column, y: Column, n: int) -> pl.Expr:
    """Slope of x on y over the last n sessions: cov(x, y) / var(y); null where y does not vary."""
    return divide(covariance(x, y, n), variance(y, n, ddof=0))


def skewness(x: Column, n: int) -> pl.Expr:
    """Adjusted Fisher-Pearson skewness of the last n sessions; null where nothing varies."""

    def call(v: np.ndarray, age: np.ndarray) -> np.ndarray:
        from trademl_pipeline.features import kernels

        centre = kernels.window_sum(v, age, n) / n
        return kernels.window_third_moment(v, centre, age, n)

    bias = (n * (n - 1)) ** 0.5 / (n - 2)
    return bias * divide(_kernel([x], call), variance(x, n, ddof=0) ** 1.5)


def deviation(x: Column, n: int) -> pl.Expr:
    """Mean absolute deviation from the mean of the last n sessions."""

    def call(v: np.ndarray, age: np.ndarray) -> np.ndarray:
        from trademl_pipeline.features import kernels

        centre = kernels.window_sum(v, age, n) / n
        out = kernels.window_deviation(v, centre, age, n)
        out[out <= 1e-12 * np.abs(centre)] = 0.0
        return out

    return _kernel([x], call)


def highest(x: Column, n: int) -> pl.Expr:
    """Largest of the last n sessions."""

    def call(v: np.ndarray, age: np.ndarray) -> np.ndarray:
        from trademl_pipeline.features import kernels

        return kernels.window_max(v, age, n)

    return _kernel([x], call)


def lowest(x: Column, n: int) -> pl.Expr:
    """Smallest of the last n sessions."""

    def call(v: np.ndarray, age: np.ndarray) -> np.ndarray:
        from trademl_pipeline.features import kernels

        return -kernels.window_max(-v, age, n)

    return _kernel([x], call)


def since_highest(x: Column, n: int) -> pl.Expr:
    """Sessions since the largest of the last n; of equal ones the latest counts."""

    def call(v: np.ndarray, age: np.ndarray) -> np.ndarray:
        from trademl_pipeline.features import kernels

        return kernels.window_since_max(v, age, n)

    return _kernel([x], call)


def since_lowest(x: Column, n: int) -> pl.Expr:
    """Sessions since the smallest of the last n; of equal ones the latest counts."""

    def call(v: np.ndarray, age: np.ndarray) -> np.ndarray:
        from trademl_pipeline.features import kernels

        return kernels.window_since_max(-v, age, n)

    return _kernel([x], call)


def slope(x: Column, n: int) -> pl.Expr:
    """Slope per session of the least-squares line through the last n sessions."""

    def call(v: np.ndarray, age: np.ndarray) -> np.ndarray:
        from trademl_pipeline.features import kernels

        return kernels.window_slope(v, age, n)

    return _kernel([x], call)


def rank(x: Column, n: int) -> pl.Expr:
    """Percentile rank among the last n sessions: 0 lowest, 1 highest, ties half."""

    def call(v: np.ndarray, age: np.ndarray) -> np.ndarray:
        from trademl_pipeline.features import kernels

        return kernels.window_rank(v, age, n)

    return _kernel([x], call)


def median(x: Column, n: int) -> pl.Expr:
    """Median of the last n sessions."""

    def call(v: np.ndarray, age: np.ndarray) -> np.ndarray:
        from trademl_pipeline.features import kernels

        return kernels.window_median(v, age, n)

    return _kernel([x], call)


def _recursion(x: Column, *, gain: float, decay: float, n: int, scale: float) -> pl.Expr:
    def call(v: np.ndarray, age: np.ndarray) -> np.ndarray:
        from trademl_pipeline.features import kernels

        return kernels.recursion(v, age, gain, decay, n, scale)

    return _kernel([x], call)


def ema(x: Column, n: int) -> pl.Expr:
    """Exponential average of span n, seeded with the mean of the first n values, as TA-Lib does."""
    gain = 2.0 / (n + 1.0)
    return _recursion(x, gain=gain, decay=1.0 - gain, n=n, scale=1.0 / n)


def wilder(x: Column, n: int) -> pl.Expr:
    """Wilder's average: y = ((n-1) y + x) / n, seeded with the mean of the first n values."""
    return _recursion(x, gain=1.0 / n, decay=1.0 - 1.0 / n, n=n, scale=1.0 / n)


def wilder_sum(x: Column, n: int) -> pl.Expr:
    """Wilder's running sum: y = y - y/n + x, seeded with the sum of the first n - 1 values."""
    running = _recursion(x, gain=1.0, decay=1.0 - 1.0 / n, n=n - 1, scale=1.0)
    return pl.when(pl.col(AGE) >= n).then(running)


def decaying_sum(x: Column, decay: float) -> pl.Expr:
    """y = decay * y + x, seeded with the level x / (1 - decay) that a constant x would settle at."""
    return _recursion(x, gain=1.0, decay=decay, n=1, scale=1.0 / (1.0 - decay))


def cumulative(x: Column) -> pl.Expr:
    """Running sum from the symbol's first session: its level depends on the start, its slope does not."""

    def call(v: np.ndarray, age: np.ndarray) -> np.ndarray:
        from trademl_pipeline.features import kernels

        return kernels.cumulative(v, age)

    return _kernel([x], call)


def run_length(condition: pl.Expr, cap: int) -> pl.Expr:
    """Consecutive sessions up to now on which the condition holds, at most `cap`; null while not known."""

    def call(v: np.ndarray, age: np.ndarray) -> np.ndarray:
        from trademl_pipeline.features import kernels

        return kernels.run_length(v, age, cap)

    return _kernel([condition.cast(pl.Float64)], call)


def divide(a: Column, b: Column, *, otherwise: float | None = None) -> pl.Expr:
    """a / b, and `otherwise` (default null) where b is 0. A missing b stays missing."""
    b = _expr(b)
    return pl.when(b == 0).then(pl.lit(otherwise, dtype=pl.Float64)).otherwise(_expr(a) / b)
