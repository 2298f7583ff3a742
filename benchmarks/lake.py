"""Times of the lake beside plain Parquet files, on the same rows in the same run.

    python benchmarks/lake.py --rows 200000 --features 60 --months 24

Compare the ratios: absolute times depend on the machine and on what else it does. Plain Parquet means one
file per month, written beside and renamed into place: no transaction over tables, no snapshots, no checks.
The lake's publish also checks the frame, reads the month back within the transaction and hashes what it read.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import polars as pl

from trademl_pipeline.lake import Lake, LakeConfig, UngatedTable
from trademl_pipeline.lake.schema import copied_table
from trademl_pipeline.tables import feature_table

SESSIONS_PER_MONTH = 21


def make_months(
    rows: int, features: int, months: int, seed: int
) -> tuple[UngatedTable, dict[str, pl.DataFrame]]:
    """Random feature frames, one per month, of together about `rows` rows."""
    names = [f"feature_{i:02d}" for i in range(features)]
    # What the lake does with a month is measured, not what a gate would do before it.
    schema = copied_table(feature_table("benchmark", names))
    symbols = max(1, rows // (months * SESSIONS_PER_MONTH))
    random = np.random.default_rng(seed)
    frames = {}
    for number in range(months):
        first = date(2000 + number // 12, number % 12 + 1, 1)
        keys = pl.DataFrame({"symbol": [f"S{i:05d}" for i in range(symbols)]}).join(
            pl.DataFrame({"session": [first + timedelta(days=d) for d in range(SESSIONS_PER_MONTH)]}),
            how="cross",
        )
        clock = pl.col("session").cast(pl.Datetime("us", "UTC")) + pl.duration(hours=21)
        values = random.normal(size=(keys.height, features))
        frame = keys.with_columns(decision_time=clock, knowledge_time=clock).with_columns(
            pl.Series(name, values[:, i]) for i, name in enumerate(names)
        )
        frames[first.isoformat()] = frame
    return schema, frames


def timed(function: Callable[[], object]) -> float:
    """Seconds that one call takes."""
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def write_plain(folder: Path, month: str, frame: pl.DataFrame) -> None:
    """One Parquet file per month, sorted, renamed into place."""
    beside = folder / f"{month}.parquet.new"
    frame.sort("symbol", "session").write_parquet(beside, compression="snappy")
    beside.rename(folder / f"{month}.parquet")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--features", type=int, default=60)
    parser.add_argument("--months", type=int, default=24)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--folder", type=Path, help="where to write; a temporary folder by default")
    options = parser.parse_args()

    schema, frames = make_months(options.rows, options.features, options.months, options.seed)
    rows = sum(f.height for f in frames.values())
    size = sum(f.estimated_size("mb") for f in frames.values())
    last = list(frames)[-1]
    changed = frames[last].with_columns(pl.col("feature_00") + 1.0)
    one_symbol = frames[last]["symbol"][0]

    with tempfile.TemporaryDirectory(dir=options.folder) as root:
        plain = Path(root) / "plain"
        plain.mkdir()
        pattern = str(plain / "*.parquet")
        with Lake(LakeConfig.local(Path(root) / "lake")) as lake:
            opening = timed(lake.snapshot)
            pairs = {
                "write all months": (
                    timed(lambda: [lake.publish(schema, f, m) for m, f in frames.items()]),
                    timed(lambda: [write_plain(plain, m, f) for m, f in frames.items()]),
                ),
                "read all, sorted": (
                    timed(lambda: lake.read(schema)),
                    timed(lambda: pl.read_parquet(pattern).sort("symbol", "session")),
                ),
                "read 3 columns": (
                    timed(lambda: lake.read(schema, columns=["symbol", "session", "feature_00"])),
                    timed(
                        lambda: pl.read_parquet(pattern, columns=["symbol", "session", "feature_00"]).sort(
                            "symbol", "session"
                        )
                    ),
                ),
                "read one symbol": (
                    timed(lambda: lake.read(schema, symbols=[one_symbol])),
                    timed(lambda: pl.scan_parquet(pattern).filter(pl.col("symbol") == one_symbol).collect()),
                ),
                "replace one month": (
                    timed(lambda: lake.publish(schema, changed, last)),
                    timed(lambda: write_plain(plain, last, changed)),
                ),
                "publish it unchanged": (
                    timed(lambda: lake.publish(schema, changed, last)),
                    timed(lambda: write_plain(plain, last, changed)),
                ),
            }
            snapshots = lake.snapshot()
        lake_bytes = sum(f.stat().st_size for f in (Path(root) / "lake" / "data").rglob("*.parquet"))
        plain_bytes = sum(f.stat().st_size for f in plain.glob("*.parquet"))

    print(f"{rows:,} rows x {options.features} features in {options.months} months, {size:,.0f} MB in memory")
    print(f"opening the lake: {opening:.2f} s; snapshots at the end: {snapshots}")
    print(
        f"on disk: lake {lake_bytes / 1e6:,.0f} MB with the replaced month, plain {plain_bytes / 1e6:,.0f} MB"
    )
    print(f"\n{'':22}{'lake s':>9}{'plain s':>9}{'ratio':>8}")
    for what, (ours, theirs) in pairs.items():
        print(f"{what:22}{ours:9.3f}{theirs:9.3f}{ours / theirs:8.1f}")


if __name__ == "__main__":
    main()
