"""Patterns and labels: cost on all rows, and how it grows with them.

    python -m benchmarks.labels [--rows 600000] [--data bars.parquet] [--repeat 3]

`--rows 0` takes all rows.
"""

import argparse
import os
import time
from pathlib import Path

import numpy as np
import polars as pl

from benchmarks.bars import load
from trademl_pipeline.features.patterns import consolidations
from trademl_pipeline.labels import (
    CLASSES,
    breakout_labels,
    direction_labels,
    forward_labels,
    pattern_validations,
    triple_barrier_labels,
)

WORK = {
    "patterns": consolidations,
    "K0-K5": breakout_labels,
    "direction": direction_labels,
    "forward 1, 30": forward_labels,
    "validations": pattern_validations,
    "triple barrier": triple_barrier_labels,
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=600_000)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--data", type=Path)
    options = parser.parse_args()
    bars = load(options.rows, options.data)
    names = bars["symbol"].unique().sort()
    parts = [bars.filter(pl.col("symbol").is_in(names.gather_every(k).implode())) for k in (4, 2, 1)]
    print(f"{bars.height:,} rows of {len(names):,} symbols; load average {os.getloadavg()[0]:.1f}")
    for name, function in WORK.items():
        function(bars.head(3000))
        walls, cpus, rows_out = [], [], 0
        for part in parts:
            times = []
            for _ in range(options.repeat):
                wall, cpu = time.perf_counter(), time.process_time()
                rows_out = function(part).height
                times.append((time.perf_counter() - wall, time.process_time() - cpu))
            walls.append(min(t[0] for t in times))
            cpus.append(min(t[1] for t in times))
        slope, base = np.polyfit([p.height for p in parts], cpus, 1)
        residual = np.abs(base + slope * np.array([p.height for p in parts]) - cpus).max() / max(cpus)
        print(
            f"   {name:15s} {walls[-1]:6.2f} s, {rows_out:9,} rows; CPU {cpus[0]:.2f}, {cpus[1]:.2f}, {cpus[2]:.2f} s "
            f"at a quarter, a half, all: {1e6 * slope:.2f} s per million rows, residual {100 * residual:.0f} %"
        )
    labels = breakout_labels(bars)
    share = np.bincount(labels["target"], minlength=6) / labels.height
    print("   classes: " + ", ".join(f"{c} {100 * s:.1f} %" for c, s in zip(CLASSES, share, strict=True)))


if __name__ == "__main__":
    main()
