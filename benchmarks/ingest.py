"""Bars into the lake by the shell's own path, and back as they were known at a moment.

    python -m benchmarks.ingest                      # the shared data, 2.68 M rows of 1,589 symbols in 156 months
    python -m benchmarks.ingest --rows 200000        # fewer whole symbols

`trademl ingest` runs as a process of its own: every month is read from the file, judged, merged with what the lake
holds, audited and published with its versions. A second run over the same file shows what it costs to find nothing
new. CPU seconds count the process and its threads; they hardly depend on what else the machine does. Seconds do: they
mean something on an idle machine only.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl

from benchmarks.bars import REAL, random_walks
from trademl_pipeline.lake import Lake, LakeConfig
from trademl_pipeline.market.ingest.versions import bars
from trademl_pipeline.tables import RAW_BARS

AS_OF = datetime(2014, 1, 1, tzinfo=UTC)


def source_file(rows: int, folder: Path) -> Path:
    """The bars to take in: the shared data, or as many rows of it, or random walks where it is absent."""
    if REAL.exists() and not rows:
        return REAL
    file = folder / "bars.parquet"
    if REAL.exists():
        frame = pl.read_parquet(REAL)
        names = frame["symbol"].unique().sort()
        chosen = names.gather_every(max(1, round(frame.height / rows)))
        frame = frame.filter(pl.col("symbol").is_in(chosen.implode()))
    else:
        frame = random_walks(rows or 2_680_000)
    frame.write_parquet(file)
    return file


def shell(file: Path, home: Path) -> tuple[float, float, float]:
    """CPU seconds, seconds and peak memory in GiB of one `trademl ingest` with all its processes."""
    started = time.perf_counter()
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [
        sys.executable,
        "-m",
        "trademl_pipeline.cli",
        "ingest",
        "--data",
        str(file),
        "--home",
        str(home),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    after, wall = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter() - started
    if done.returncode:
        raise SystemExit(f"trademl ingest failed with {done.returncode}:\n{done.stdout}{done.stderr}")
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    unit = 1024**3 if sys.platform == "darwin" else 1024**2
    return cpu, wall, after.ru_maxrss / unit


def read(store: Lake, **how: datetime | None) -> tuple[float, float, int]:
    """CPU seconds, seconds and rows of one read as of a moment."""
    cpu, wall = time.process_time(), time.perf_counter()
    rows = bars(store, **how).height  # type: ignore[arg-type]
    return time.process_time() - cpu, time.perf_counter() - wall, rows


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=0, help="about so many rows; 0 is all")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        file = source_file(options.rows, folder)
        rows = pl.scan_parquet(file).select(pl.len()).collect().item()
        print(f"{rows:,} rows, {os.cpu_count()} cores")
        for name in ("ingest", "again, unchanged"):
            cpu, wall, peak = shell(file, folder / "home")
            print(
                f"{name:18} {cpu:8.1f} CPU s {wall:8.1f} s {rows / wall:12,.0f} rows/s   peak {peak:.2f} GiB"
            )
        with Lake(LakeConfig.of(folder / "home")) as store:
            started = time.process_time()
            plain = store.read(RAW_BARS).height
            cpu = time.process_time() - started
            print(f"{'plain read':18} {cpu:8.2f} CPU s {plain:12,} rows")
            for name, moment in (("as of now", None), ("as of 2014", AS_OF), ("as of tomorrow", _tomorrow())):
                spent, wall, found = read(store, as_of=moment)
                print(
                    f"{name:18} {spent:8.2f} CPU s {found:12,} rows   {spent / cpu:.2f} x plain, {wall:.2f} s"
                )


def _tomorrow() -> datetime:
    return datetime.now(UTC) + timedelta(days=1)


if __name__ == "__main__":
    main()
