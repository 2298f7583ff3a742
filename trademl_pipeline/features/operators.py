"""The causal vocabulary that features are written in: Polars expressions over one symbol's sessions.

Each function takes columns or expressions and returns an expression. Windows count the symbol's own rows, end
at the row itself, and never cross into another symbol: the expressions read the column `AGE` (rows of the
symbol before this one) that `prepare` puts into every panel. A window that is not full, or that holds a
missing value, is null. Element-wise arithmetic is plain Polars. Do not use Polars' own `shift`, `rolling_*`
or `cum_*` in a feature: they know nothing of symbols.

The kernels are compiled on first use and kept on disk, and they release the interpreter's lock, so that
Polars runs several of them at once.
"""

from collections.abc import Callable, Sequence
from functools import cache

import numpy as np
import polars as pl

from trademl_pipeline.features.rules import PatternRules

AGE = "_age"
Column = pl.Expr | str


def _expr(x: Column) -> pl.Expr:
    return pl.col(x) if isinstance(x, str) else x


def _values(series: pl.Series) -> np.ndarray:
    """(rows,) float64, NaN where null."""
    values = (series if series.dtype == pl.Float64 else series.cast(pl.Float64)).to_numpy()
    # Read-only with nulls as without, so that each kernel is compiled once.
    values.flags.writeable = False
    return values


@cache
def _compiled(name: str) -> Callable[..., np.ndarray]:
    from trademl_pipeline.features import oscillator_kernels, state_kernels, window_kernels

    modules = (window_kernels, state_kernels, oscillator_kernels)
    return next(getattr(m, name) for m in modules if hasattr(m, name))


def _kernel(name: str, columns: list[Column], *parameters: float) -> pl.Expr:
    """An expression that hands columns, AGE and parameters to a kernel; NaN stands for null meanwhile."""

    def run(series: Sequence[pl.Series]) -> pl.Series:
        *inputs, age = series
        values = _compiled(name)(*(_values(s) for s in inputs), age.to_numpy(), *parameters)
        return pl.Series(values, nan_to_null=True)

    return pl.map_batches([*(_expr(c) for c in columns), pl.col(AGE)], run, return_dtype=pl.Float64)


def lag(x: Column, n: int) -> pl.Expr:
    """The value n sessions earlier; null in a symbol's first n sessions."""
    return _kernel("lagged", [x], n)


def change(x: Column, n: int) -> pl.Expr:
    """Relative change over n sessions: x[t] / x[t-n] - 1."""
    return _kernel("change", [x], n)


def total(x: Column, n: int) -> pl.Expr:
    """Sum of the last n sessions."""
    return _kernel("window_sum", [x], n, 1.0)


def mean(x: Column, n: int) -> pl.Expr:
    """Mean of the last n sessions."""
    return _kernel("window_sum", [x], n, float(n))


def variance(x: Column, n: int, *, ddof: int = 1) -> pl.Expr:
    """Variance of the last n sessions; `ddof` 1 is the sample's, 0 the population's.

    A spread below 1e-12 of the level is rounding, not variation, and counts as 0.
    """
    return _kernel("window_moments", [x], n, 2, float(n - ddof), False)


def std(x: Column, n: int, *, ddof: int = 1) -> pl.Expr:
    """Standard deviation of the last n sessions; see `variance`."""
    return _kernel("window_moments", [x], n, 2, float(n - ddof), True)


def zscore(x: Column, n: int) -> pl.Expr:
    """(x - mean) / sample standard deviation over the last n sessions; null where nothing varies."""
    return divide(_expr(x) - mean(x, n), std(x, n))


def covariance(x: Column, y: Column, n: int) -> pl.Expr:
    """Population covariance of x and y over the last n sessions."""
    return _kernel("window_covariance", [x, y], n, False)


def correlation(x: Column, y: Column, n: int) -> pl.Expr:
    """Pearson correlation over the last n sessions; null where either does not vary."""
    spread = (variance(x, n, ddof=0) * variance(y, n, ddof=0)).sqrt()
    return divide(covariance(x, y, n), spread).clip(-1.0, 1.0)


def beta(x: Column, y: Column, n: int) -> pl.Expr:
    """Slope of x on y over the last n sessions: cov(x, y) / var(y); null where y does not vary."""
    return _kernel("window_covariance", [x, y], n, True)


def skewness(x: Column, n: int) -> pl.Expr:
    """Adjusted Fisher-Pearson skewness of the last n sessions; null where nothing varies."""
    bias = (n * (n - 1)) ** 0.5 / (n - 2)
    return bias * divide(_kernel("window_moments", [x], n, 3, float(n), False), variance(x, n, ddof=0) ** 1.5)


def deviation(x: Column, n: int) -> pl.Expr:
    """Mean absolute deviation from the mean of the last n sessions."""
    return _kernel("window_moments", [x], n, 1, float(n), False)


def highest(x: Column, n: int) -> pl.Expr:
    """Largest of the last n sessions."""
    return _kernel("window_max", [x], n, 1.0)


def lowest(x: Column, n: int) -> pl.Expr:
    """Smallest of the last n sessions."""
    return _kernel("window_max", [x], n, -1.0)


def since_highest(x: Column, n: int) -> pl.Expr:
    """Sessions since the largest of the last n; of equal ones the latest counts."""
    return _kernel("window_since_max", [x], n, 1.0)


def since_lowest(x: Column, n: int) -> pl.Expr:
    """Sessions since the smallest of the last n; of equal ones the latest counts."""
    return _kernel("window_since_max", [x], n, -1.0)


def slope(x: Column, n: int) -> pl.Expr:
    """Slope per session of the least-squares line through the last n sessions."""
    return _kernel("window_slope", [x], n)


def rank(x: Column, n: int) -> pl.Expr:
    """Percentile rank among the last n sessions: 0 lowest, 1 highest, ties half."""
    return _kernel("window_rank", [x], n)


def ema(x: Column, n: int) -> pl.Expr:
    """Exponential average of span n, seeded with the mean of the first n values, as TA-Lib does."""
    gain = 2.0 / (n + 1.0)
    return _kernel("recursion", [x], gain, 1.0 - gain, n, 1.0 / n)


def wilder(x: Column, n: int) -> pl.Expr:
    """Wilder's average: y = ((n-1) y + x) / n, seeded with the mean of the first n values."""
    return _kernel("recursion", [x], 1.0 / n, 1.0 - 1.0 / n, n, 1.0 / n)


def decaying_sum(x: Column, decay: float) -> pl.Expr:
    """y = decay * y + x, seeded with the level x / (1 - decay) that a constant x would settle at."""
    return _kernel("recursion", [x], 1.0, decay, 1, 1.0 / (1.0 - decay))


def true_range(high: Column, low: Column, close: Column) -> pl.Expr:
    """max(high, previous close) - min(low, previous close)."""
    return _kernel("true_range", [high, low, close])


def rsi(close: Column, n: int) -> pl.Expr:
    """Relative strength index, 0-100, after TA-Lib; 0 where nothing moved."""
    return _kernel("rsi", [close], n)


TRADED = ("traded_high", "traded_low", "traded_close")
SPLIT = "split"


def directional(n: int, side: int) -> pl.Expr:
    """+DI (side 1), -DI (side -1) or DX (side 0), 0-100, after TA-Lib; 0 where nothing moved."""
    return _kernel("directional", [*TRADED, SPLIT], n, side)


def money_flow(price: Column, volume: Column, sign: int) -> pl.Expr:
    """price * volume on sessions on which the price rose (sign 1) or fell (sign -1), 0 on the others."""
    return _kernel("money_flow", [price, volume], sign)


def cumulative(x: Column) -> pl.Expr:
    """Running sum from the symbol's first session: its level depends on the start, its slope does not."""
    return _kernel("cumulative", [x])


def run_length(condition: pl.Expr, cap: int) -> pl.Expr:
    """Consecutive sessions up to now on which the condition holds, at most `cap`; null while not known."""
    return _kernel("run_length", [condition], cap)


def lookup(index: pl.Expr, values: Sequence[float]) -> pl.Expr:
    """values[index]: a function of few whole numbers, tabulated."""
    return pl.lit(pl.Series(values, dtype=pl.Float64)).gather(index)


def positive(x: Column) -> pl.Expr:
    """x where above 0, else 0; missing stays missing."""
    return (_expr(x) + _expr(x).abs()) / 2


def negative(x: Column) -> pl.Expr:
    """-x where x is below 0, else 0; missing stays missing."""
    return (_expr(x).abs() - _expr(x)) / 2


def divide(a: Column, b: Column, *, otherwise: float | None = None) -> pl.Expr:
    """a / b, and `otherwise` (default null) where b is 0. A missing b stays missing."""
    b = _expr(b)
    return pl.when(b == 0).then(pl.lit(otherwise, dtype=pl.Float64)).otherwise(_expr(a) / b)


def back(x: Column, offset: Column) -> pl.Expr:
    """The value as many sessions earlier as the column `offset` says; null where that is null."""
    return _kernel("lagged_by", [x, offset])


def count_since(flag: Column, since: Column) -> pl.Expr:
    """Sum of `flag` since the session on which `since` was 0, included; 0 if `since` is negative or null."""
    return _kernel("count_since", [flag, since])


def pattern_age(
    qualifies: Column, close: Column, high: Column, low: Column, *, rules: PatternRules, hindsight: bool
) -> pl.Expr:
    """Count sessions since the consolidation pattern was activated, null outside of one; see `consolidation`.

    Args:
        qualifies: 1 on sessions that qualify for a consolidation, else 0.
        close: closes, in the units of `high` and `low`.
        high: highest high of the last `rules.sessions` sessions, the upper boundary at an activation.
        low: lowest low of the same sessions, the lower boundary.
        rules: lengths in sessions and the power of the breakout that ends a pattern.
        hindsight: give the qualifying sessions before an activation -1, -2, … as well, as only a later
            session can know. For windows of a pattern, never for features.
    """
    return _kernel(
        "pattern_age",
        [qualifies, close, high, low],
        rules.sessions,
        rules.power,
        rules.max_sessions,
        hindsight,
    )
