"""Features: cost of all 167 columns, and of the 60 indicators beside pandas-ta-classic and a plain TA-Lib loop.

    python -m benchmarks.features [--rows 600000] [--sample-rows 60000] [--data bars.parquet] [--repeat 3]

`--rows 0` takes all rows. All ways compute the same columns of the same bars in one run, in turns; compare the ratios:
absolute times depend on the machine and on what else it does. pandas-ta-classic is timed on a sample, by the row.
"""

import argparse
import os
import resource
import time
import warnings
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import polars as pl
import talib

from benchmarks.bars import arrays, load
from trademl_pipeline.features import FEATURE_SETS, compute
from trademl_pipeline.features.engine import evaluate
from trademl_pipeline.features.prepare import prepare
from trademl_pipeline.features.registry import DECLARED

T = talib
Bars = tuple[np.ndarray, ...]


def talib_columns() -> dict[str, Callable[[Bars], np.ndarray]]:
    """By indicator the value a plain loop makes of TA-Lib's functions; o, h, l, c, v are b[0] ... b[4]."""
    return {
        **{f"pct_change_{n}": lambda b, n=n: T.ROCP(b[3], n) for n in (1, 2, 5, 10, 20)},
        **{f"sma_distance_{n}": lambda b, n=n: b[3] / T.SMA(b[3], n) - 1 for n in (5, 10, 20, 50, 200)},
        **{f"ema_distance_{n}": lambda b, n=n: b[3] / T.EMA(b[3], n) - 1 for n in (9, 12, 21, 26, 50)},
        "macd_line": lambda b: T.MACD(b[3])[0] / b[3],
        "adx_14": lambda b: T.ADX(b[1], b[2], b[3], 14),
        "plus_di_14": lambda b: T.PLUS_DI(b[1], b[2], b[3], 14),
        "minus_di_14": lambda b: T.MINUS_DI(b[1], b[2], b[3], 14),
        "aroon_up_25": lambda b: T.AROON(b[1], b[2], 25)[1],
        "aroon_oscillator_25": lambda b: T.AROONOSC(b[1], b[2], 25),
        "linear_slope_20": lambda b: T.LINEARREG_SLOPE(b[3], 20) / b[3],
        **{f"rsi_{n}": lambda b, n=n: T.RSI(b[3], n) for n in (7, 14, 21)},
        "stochastic_k_14": lambda b: T.STOCHF(b[1], b[2], b[3], 14, 3)[0],
        "williams_r_14": lambda b: T.WILLR(b[1], b[2], b[3], 14),
        **{f"roc_{n}": lambda b, n=n: T.ROC(b[3], n) for n in (5, 10, 20)},
        "cci_20": lambda b: T.CCI(b[1], b[2], b[3], 20),
        "mfi_14": lambda b: T.MFI(b[1], b[2], b[3], b[4], 14),
        "atr_ratio_14": lambda b: T.ATR(b[1], b[2], b[3], 14) / b[3],
        "bollinger_width": lambda b: (lambda u, m, w: (u - w) / m)(*T.BBANDS(b[3], 20, 2, 2)),
        "donchian_width_20": lambda b: (T.MAX(b[1], 20) - T.MIN(b[2], 20)) / b[3],
        "obv_slope_20": lambda b: T.LINEARREG_SLOPE(T.OBV(b[3], b[4]), 20) / T.SMA(b[4], 20),
        "volume_ratio_20": lambda b: b[4] / T.SMA(b[4], 20),
    }


def talib_loop(bars: pl.DataFrame, names: list[str]) -> None:
    """One symbol after the other, as one would write it."""
    functions = talib_columns()
    columns, borders = arrays(bars)
    out = {name: np.empty(bars.height) for name in names}
    for start, stop in pairwise(borders):
        of = tuple(c[start:stop] for c in columns)
        for name in names:
            out[name][start:stop] = functions[name](of)


def pandas_ta_columns(frame) -> int:
    """The 60 indicators' counterparts in pandas-ta-classic on one symbol; returns their number."""
    import pandas_ta_classic as ta

    o, h, low, c, v = (frame[k] for k in ("open", "high", "low", "close", "volume"))
    out = [ta.percent_return(c, length=n) for n in (1, 2, 5, 10, 20)]
    out += [ta.log_return(c), o / c.shift(1) - 1]
    out += [c / ta.sma(c, length=n) - 1 for n in (5, 10, 20, 50, 200)]
    out += [c / ta.ema(c, length=n) - 1 for n in (9, 12, 21, 26, 50)]
    out += [ta.macd(c), ta.adx(h, low, c, length=14), ta.aroon(h, low, length=25), ta.slope(c, length=20) / c]
    out += [ta.rsi(c, length=n) for n in (7, 14, 21)]
    out += [ta.stoch(h, low, c, k=14, d=3), ta.willr(h, low, c, length=14)]
    out += [ta.roc(c, length=n) for n in (5, 10, 20)]
    out += [ta.cci(h, low, c, length=20), ta.mfi(h, low, c, v, length=14)]
    out += [ta.atr(h, low, c, length=14) / c, ta.slope(ta.natr(h, low, c, length=14), length=20)]
    out += [ta.bbands(c, length=20), ta.kc(h, low, c, length=20), ta.donchian(h, low), ta.stdev(c, length=20)]
    out += [ta.slope(ta.obv(c, v), length=20), ta.cmf(h, low, c, v, length=20), v / ta.sma(v, length=20)]
    out += [ta.zscore(v, length=60)]
    return sum(1 if part.ndim == 1 else part.shape[1] for part in out if part is not None)


def pandas_ta(bars: pl.DataFrame) -> int:
    columns = 0
    for _, frame in bars.to_pandas().groupby("symbol"):
        columns = pandas_ta_columns(frame.reset_index(drop=True))
    return columns


def polars_over(bars: pl.DataFrame) -> None:
    """What `over` costs: five simple averages."""
    bars.select((pl.col("close").rolling_mean(n).over("symbol")).alias(str(n)) for n in (5, 10, 20, 50, 200))


def timed(function: Callable[[], object]) -> tuple[float, float]:
    """Seconds of the clock and of the processors."""
    wall, cpu = time.perf_counter(), time.process_time()
    function()
    return time.perf_counter() - wall, time.process_time() - cpu


def best(function: Callable[[], object], repeat: int) -> tuple[float, float]:
    times = [timed(function) for _ in range(repeat)]
    return min(t[0] for t in times), min(t[1] for t in times)


def all_sets(bars: pl.DataFrame) -> None:
    kept = [compute(bars, name) for name in FEATURE_SETS]
    assert sum(len(f.columns) - 2 for f in kept) == 167


def linear_fit(bars: pl.DataFrame) -> None:
    """CPU time of all features on a quarter, a half and all of the symbols."""
    names = bars["symbol"].unique().sort()
    points = []
    for every in (4, 2, 1):
        part = bars.filter(pl.col("symbol").is_in(names.gather_every(every).implode()))
        points.append((part.height, timed(lambda part=part: all_sets(part))[1]))
    rows, seconds = np.array(points).T
    slope, base = np.polyfit(rows, seconds, 1)
    residual = np.abs(base + slope * rows - seconds).max() / seconds.max()
    print(
        f"   CPU seconds at {', '.join(f'{int(n):,}' for n in rows)} rows: {', '.join(f'{s:.2f}' for s in seconds)}"
    )
    print(
        f"   fit {base:.2f} s + {1e6 * slope:.2f} s per million rows, largest residual {100 * residual:.0f} %"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=600_000)
    parser.add_argument("--sample-rows", type=int, default=60_000)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--data", type=Path)
    options = parser.parse_args()
    warnings.filterwarnings("ignore")
    bars = load(options.rows, options.data)
    n = bars.height
    print(f"{n:,} rows of {bars['symbol'].n_unique():,} symbols; load average {os.getloadavg()[0]:.1f}")
    first = timed(lambda: all_sets(bars.head(3000)))[0]
    print(f"kernels loaded (compiled, on the first run of a machine) in {first:.1f} s\n")

    print("(a) all four sets, 167 columns")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    wall, cpu = best(lambda: all_sets(bars), options.repeat)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(f"   {wall:.2f} s, {cpu:.2f} s of CPU, {n / wall / 1e6:.2f} M rows/s")
    print(f"   peak memory {peak / 2**20:.2f} GiB, {before / 2**20:.2f} GiB of it before")
    linear_fit(bars)

    print("\n(b) the 60 indicators")
    names = list(talib_columns())
    panel = prepare(bars)
    rounds = []
    for _ in range(options.repeat):
        rounds.append(
            (
                timed(lambda: talib_loop(bars, names)),
                timed(lambda: evaluate(panel, names, DECLARED)),
                timed(lambda: compute(bars, "indicators")),
                timed(lambda: polars_over(bars)),
            )
        )
    loop, same, sixty, over = (np.array([r[k] for r in rounds]).min(axis=0) for k in range(4))
    cells = n * len(names) / 1e6
    print(f"   TA-Lib loop, {len(names)} columns: {loop[0]:.2f} s, {n / loop[0] / 1e6:.2f} M rows/s")
    print(
        f"   the same {len(names)} columns here: {same[0]:.2f} s, {n / same[0] / 1e6:.2f} M rows/s: "
        f"{loop[0] / same[0]:.2f}x by the clock, {loop[1] / same[1]:.2f}x by CPU"
    )
    print(
        f"   all 60, checks and sorting included: {sixty[0]:.2f} s, {n / sixty[0] / 1e6:.2f} M rows/s; "
        f"{n * 60 / sixty[0] / 1e6:.0f} M values/s against the loop's {cells / loop[0]:.0f}"
    )
    print(f"   for comparison, five averages with Polars' over: {over[0]:.2f} s")
    try:
        import pandas_ta_classic  # noqa: F401
    except ImportError:
        print("   pandas-ta-classic is not installed: pip install pandas-ta-classic==0.8.32")
        return
    # It returns None for histories shorter than a window.
    sample = load(options.sample_rows, options.data).filter(pl.len().over("symbol") > 250)
    columns = pandas_ta(sample.head(3000))
    seconds = timed(lambda: pandas_ta(sample))[0]
    ours = timed(lambda: compute(sample, "indicators"))[0]
    per_row, per_row_ours = seconds / sample.height / columns, sixty[0] / n / 60
    print(
        f"   pandas-ta-classic, {columns} columns of {sample.height:,} rows: {seconds:.2f} s, "
        f"{sample.height / seconds:,.0f} rows/s; 60 here on the same rows {ours:.2f} s: {seconds / ours:.0f}x, "
        f"and {per_row / per_row_ours:.0f}x per value on all rows"
    )


if __name__ == "__main__":
    main()
