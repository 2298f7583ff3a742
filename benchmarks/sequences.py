"""Sequences: windows of all breakout pattern observations by index, against extracting features again for every
snapshot.

    python -m benchmarks.sequences [--rows 600000] [--sample 60] [--data bars.parquet]

`--rows 0` takes all rows. The breakout design builds each window by cutting the symbol's bars at the observation and
extracting the features of what is left; here that is done once per observation (the design does it for each of the 50
steps), with TA-Lib and Pandas, on a sample, and extrapolated. Where the rows give fewer than 100,000 pattern
observations, windows of further sessions are gathered too.
"""

import argparse
import os
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import talib

from benchmarks.bars import load
from trademl_pipeline.sequences import Batches, pattern_windows

LENGTH, FEATURES, HISTORY, PASS_WINDOWS = 50, 69, 600, 100_000


def rank(x: pd.Series, n: int) -> pd.Series:
    return (x.rolling(n).rank() - 1) / (n - 1)


def extract(frame: pd.DataFrame, upper: float, lower: float, days: int) -> np.ndarray:
    """The last 50 rows of the 69 features of one symbol's bars up to the observation."""
    o, h, low, c, v = (frame[k].to_numpy(dtype=float) for k in ("open", "high", "low", "close", "volume"))
    close, volume = pd.Series(c), pd.Series(v)
    up, mid, down = talib.BBANDS(c, 20, 2, 2)
    bbw, adx, atr = (up - down) / mid, talib.ADX(h, low, c, 14), talib.ATR(h, low, c, 14)
    r, span, location = (
        close.pct_change(),
        pd.Series(h - low),
        pd.Series((c - low) / np.maximum(h - low, 1e-12)),
    )
    ratio, slope = volume / volume.rolling(20).mean(), talib.LINEARREG_SLOPE
    b, true_range, dollars = pd.Series(bbw), pd.Series(talib.TRANGE(h, low, c)), close * volume
    std = {n: r.rolling(n).std() for n in (5, 10, 20, 60)}
    idle = (1 - (volume / volume.rolling(250).mean()).clip(upper=2)).clip(0, 1)
    below = (b < b.rolling(60).median()).to_numpy()
    run = np.arange(len(c)) - np.maximum.accumulate(np.where(below, -1, np.arange(len(c))))
    quiet = (rank(b, 100) < 0.3).to_numpy()
    days_in = np.arange(len(c)) - np.maximum.accumulate(np.where(quiet, -1, np.arange(len(c))))
    cci = (1 - b / b.rolling(60).max()).clip(0, 1)
    squeeze = (1 - true_range.rolling(20).mean() / true_range.rolling(60).mean()).clip(0, 1)
    factor = np.minimum(2, np.sqrt(run / 20))
    var = (volume * r.clip(lower=0)).rolling(20).sum() / (volume * (-r).clip(lower=0)).rolling(20).sum()
    mass = rank(idle * dollars / dollars.rolling(250).mean(), 100)
    energy = sum(std[n] / std[n].rolling(50).mean() for n in (5, 10, 20)) / 3
    move = close.pct_change(20)
    rsa = ((move - move.rolling(100).mean()) / move.rolling(100).std()).clip(-3, 3)
    nes = mass**0.3 * energy.clip(0.1, 10) ** 0.4 * (1 + rsa).clip(0.1, 10) ** 0.3
    pressure, flow = location.rolling(5).mean(), volume.rolling(5).mean() / volume.rolling(50).mean()
    fta = (volume.rolling(5).mean() / volume.rolling(20).mean() - 1).clip(-1, 3)
    tsf = 1 + np.sqrt(days_in / 30)
    score = var / var.rolling(20).mean()
    raw = (cci * squeeze * factor).clip(0.01, 10) * score.clip(0.5, 3) * nes.clip(0.1, 10)
    raw = (raw * (pressure * flow * (1 + fta)).clip(0.1, 10)) ** (1 / np.clip(tsf, 1, 10))
    composite = rank(raw, 100)
    core = [
        *(bbw, rank(b, 100), slope(bbw, 20), b.rolling(20).std(), slope(bbw, 5) - slope(bbw, 20)),
        *(adx, slope(adx, 20), talib.PLUS_DI(h, low, c, 14), talib.MINUS_DI(h, low, c, 14)),
        *(ratio, volume / volume.rolling(50).mean(), slope(ratio.to_numpy(), 20), ratio.rolling(20).std()),
        *(
            span / span.rolling(20).mean(),
            span.rolling(20).mean() / c,
            slope((span / c).to_numpy(), 20),
            atr / c,
        ),
        *(std[20], std[60], std[20] / std[60], close.pct_change(5), move, close.pct_change(60)),
        *(talib.RSI(c, 14), c / talib.SMA(c, 20) - 1, c / talib.SMA(c, 50) - 1),
        *(c / talib.MAX(h, 60) - 1, c / talib.MIN(low, 60) - 1, location.rolling(5).mean()),
        (pd.Series(o) / close.shift(1) - 1).abs().rolling(20).mean(),
    ]
    ebp = [
        cci,
        squeeze,
        factor,
        cci * squeeze * factor,
        var,
        score,
        mass,
        energy,
        rsa,
        nes,
        pressure,
        flow,
        fta,
    ]
    ebp += [pressure * flow * (1 + fta), days_in, tsf, raw, composite, slope(composite.to_numpy(), 5)]
    tail = [np.asarray(x, dtype=float)[-LENGTH:] for x in (*core, *ebp)]
    out = np.zeros((LENGTH, FEATURES), dtype=np.float32)
    out[:, : len(tail)] = np.stack(tail, axis=1)
    last = slice(-min(days, LENGTH), None)
    c50 = c[-LENGTH:][last]
    channel = upper - lower
    pattern = [
        np.arange(days - len(c50), days) + 1,
        (c50 - lower) / channel,
        upper / c50 - 1,
        1 - lower / c50,
    ]
    out[last, len(tail) : len(tail) + len(pattern)] = np.stack(pattern, axis=1)
    return out


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=600_000)
    parser.add_argument("--sample", type=int, default=60)
    parser.add_argument("--data", type=Path)
    options = parser.parse_args()
    warnings.filterwarnings("ignore")
    bars = load(options.rows, options.data)
    print(f"{bars.height:,} rows; load average {os.getloadavg()[0]:.1f}")
    pattern_windows(bars.head(3000), LENGTH)
    start, cpu = time.perf_counter(), time.process_time()
    windows = pattern_windows(bars, LENGTH)
    build, build_cpu = time.perf_counter() - start, time.process_time() - cpu
    n = len(windows)
    print(
        f"   features of all rows, view and index of {n:,} pattern observations: {build:.2f} s, {build_cpu:.2f} of CPU"
    )

    which = np.arange(n) if n >= PASS_WINDOWS else np.arange(PASS_WINDOWS) % n
    batches = Batches(lambda w: windows.gather(which[w]), len(which), shuffle=True)
    next(iter(batches))
    start, cpu = time.perf_counter(), time.process_time()
    total = sum(x.shape[0] for x, *_ in batches)
    whole, whole_cpu = time.perf_counter() - start, time.process_time() - cpu
    print(
        f"   one pass over {total:,} windows of {LENGTH} x {FEATURES}, shuffled: {whole:.2f} s, {whole_cpu:.2f} of CPU"
    )

    rng = np.random.default_rng(0)
    frames = {k[0]: f.to_pandas() for k, f in bars.group_by("symbol", maintain_order=True)}
    first = {s: f["session"].to_numpy() for s, f in frames.items()}
    sample = windows.index[np.sort(rng.choice(n, min(options.sample, n), replace=False))]
    cpu = time.process_time()
    for row in sample.iter_rows(named=True):
        stop = np.searchsorted(first[row["symbol"]], np.datetime64(row["session"]), side="right")
        frame = frames[row["symbol"]].iloc[max(0, stop - HISTORY) : stop]
        days = row["row"] - row["start_row"] + 1
        extract(frame, frame["high"].iloc[-10:].max(), frame["low"].iloc[-10:].min(), days)
    each = (time.process_time() - cpu) / sample.height
    gathered, everything = whole_cpu / total, build_cpu / n + whole_cpu / total
    print(
        f"   extracting again: {1e3 * each:.1f} ms of CPU an observation on {sample.height}, {each * n:,.0f} s for "
        f"all; "
        f"a window from the index {1e3 * gathered:.4f} ms: {each / gathered:,.0f}x; the features of all rows and the "
        f"index counted in {1e3 * everything:.4f} ms: {each / everything:,.0f}x"
    )


if __name__ == "__main__":
    main()
