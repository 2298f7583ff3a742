"""What the exhaustive truncation costs, in computations of the features.

    python benchmarks/leak_mutants/cost.py [--symbols 500] [--sessions 1260] [--set indicators]

Prints the ratio of the audit to one computation, in wall time and in processor time; the latter holds on a
busy machine too.
"""

import argparse
import time
from datetime import date
from functools import partial
from statistics import median

import numpy as np
import polars as pl

from trademl_pipeline.features import FEATURE_SETS, compute, warmup
from trademl_pipeline.leakage import audit_features
from trademl_pipeline.market.calendar import sessions


def random_walks(n_symbols: int, n_sessions: int) -> pl.DataFrame:
    rng = np.random.default_rng(0)
    days = sessions(date(2010, 1, 4), date(2030, 12, 31))[:n_sessions]
    shape = (n_symbols, n_sessions)
    close = 50 * np.exp(np.cumsum(rng.normal(0, 0.02, shape), axis=1))
    opening = close * np.exp(rng.normal(0, 0.005, shape))
    return pl.DataFrame(
        {
            "symbol": np.repeat([f"S{i:04d}" for i in range(n_symbols)], n_sessions),
            "session": days * n_symbols,
            "open": opening.ravel(),
            "high": (np.maximum(opening, close) * 1.01).ravel(),
            "low": (np.minimum(opening, close) * 0.99).ravel(),
            "close": close.ravel(),
            "volume": np.exp(rng.normal(12, 0.5, shape)).ravel(),
        }
    )


def timed(call) -> tuple[float, float]:
    wall, cpu = time.perf_counter(), time.process_time()
    call()
    return time.perf_counter() - wall, time.process_time() - cpu


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--symbols", type=int, default=500)
    parser.add_argument("--sessions", type=int, default=1260)
    parser.add_argument("--set", default="indicators", choices=sorted(FEATURE_SETS))
    options = parser.parse_args()
    bars = random_walks(options.symbols, options.sessions)
    extract = partial(compute, name=options.set)
    extract(bars)
    # The audit is one long run, so it is compared with the usual computation, not with the luckiest.
    once = [median(t) for t in zip(*(timed(lambda: extract(bars)) for _ in range(7)), strict=True)]
    reports = []
    audit = timed(
        lambda: reports.append(
            audit_features(extract, bars, probes=["truncation"], warmup=warmup(options.set))
        )
    )
    reports[0].assert_clean()
    print(
        f"{options.set}, {options.symbols} symbols x {options.sessions} sessions: computed once in "
        f"{once[0]:.2f} s ({once[1]:.2f} s of processor), audited at every session in {audit[0]:.1f} s "
        f"({audit[1]:.1f} s): {audit[0] / once[0]:.1f} times ({audit[1] / once[1]:.1f} times)"
    )
    print(reports[0].coverage["truncation"])


if __name__ == "__main__":
    main()
