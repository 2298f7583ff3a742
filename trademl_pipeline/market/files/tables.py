"""Finding and opening tables of bars on disk, and turning CSV into Parquet once."""

import gzip
import hashlib
import os
import tempfile
from collections.abc import Callable, Mapping
from glob import glob
from pathlib import Path
from typing import Any

import polars as pl

from trademl_pipeline.market.errors import SourceFileError
from trademl_pipeline.market.files.columns import expressions, recognise
from trademl_pipeline.market.schema import ROW

PARQUET_SUFFIXES = (".parquet", ".pq")
CSV_SUFFIXES = (".csv", ".csv.gz", ".tsv", ".tsv.gz")
FILE_ROW = "__row"

# A change of how files are read must not meet what an earlier version has cached.
_CACHE_VERSION = "1"


def default_cache() -> Path:
    """Folder for converted CSV, in the system's folder for temporary files, one per user."""
    user = os.getuid() if hasattr(os, "getuid") else "all"
    return Path(tempfile.gettempdir()) / f"trademl-csv-{user}"


def find_files(path: Path) -> list[Path]:
    """The files that a path means (a file, a folder or a pattern), sorted; all Parquet or all CSV.

    Names that begin with a dot or an underscore are left out of folders, as they mark what is no data.

    Raises:
        SourceFileError: nothing is there, or it cannot be told how to read it.
    """
    if any(sign in str(path) for sign in "*?["):
        candidates = [Path(p) for p in glob(str(path), recursive=True)]
    elif path.is_dir():
        candidates = [p for p in path.rglob("*") if p.name.lower().endswith(PARQUET_SUFFIXES + CSV_SUFFIXES)]
        candidates = [p for p in candidates if not p.name.startswith((".", "_"))]
    elif path.exists():
        candidates = [path]
    else:
        raise SourceFileError(
            f"there is no file or folder {path}; give a Parquet or CSV file or a folder of them"
        )
    files = sorted(p for p in candidates if p.is_file())
    if not files:
        raise SourceFileError(
            f"{path} holds no bars: no file ends in {', '.join(PARQUET_SUFFIXES + CSV_SUFFIXES)}"
        )
    strange = [p for p in files if not p.name.lower().endswith(PARQUET_SUFFIXES + CSV_SUFFIXES)]
    if strange:
        raise SourceFileError(
            f"{strange[0]} is neither Parquet nor CSV by its name; it may end in "
            f"{', '.join(PARQUET_SUFFIXES + CSV_SUFFIXES)}"
        )
    if len({is_parquet(p) for p in files}) > 1:
        raise SourceFileError(f"{path} holds Parquet and CSV files; name one kind, such as {path}/*.parquet")
    return files


def is_parquet(path: Path) -> bool:
    """Return whether a file is Parquet by its name."""
    return path.name.lower().endswith(PARQUET_SUFFIXES)


def _separator(path: Path) -> str:
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "rt", errors="replace") as lines:
        header = str(lines.readline())
    return max(",;\t|", key=header.count)


def reading(step: Callable[[], Any], path: Path) -> Any:
    """Run a step that reads a file; what Polars cannot read becomes an error that names the file."""
    try:
        return step()
    except (pl.exceptions.PolarsError, OSError) as error:
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise SourceFileError(f"{path} cannot be read as bars: {first}") from error


def collect(frames: list[pl.LazyFrame], path: Path) -> list[pl.DataFrame]:
    """Collect lazy frames together; an error names `path`."""
    return reading(lambda: pl.collect_all(frames), path)


def converted(path: Path, columns: Mapping[str, str], calendar: str, cache: Path) -> Path:
    """Return a CSV as Parquet in our columns, sorted by session, from the cache where it is there already.

    The cache's entry is found by the file's path, size and time of change, and by the settings that shape it.

    Args:
        path: the CSV file.
        columns: our column names -> the file's, for those that are not recognised by name.
        calendar: exchange calendar that sessions are on, such as "XNYS".
        cache: folder of the converted files; made where it is missing.

    Returns:
        Path of the Parquet file.

    Raises:
        SourceFileError: the file cannot be read.
        MissingColumnsError: it lacks a needed column.
    """
    about = path.stat()
    cache_key = (
        path.resolve(),
        about.st_size,
        about.st_mtime_ns,
        sorted(columns.items()),
        calendar,
        _CACHE_VERSION,
    )
    stored = cache / f"{hashlib.sha256(repr(cache_key).encode()).hexdigest()[:32]}.parquet"
    if stored.exists():
        return stored
    cache.mkdir(parents=True, exist_ok=True)
    text = reading(
        lambda: pl.scan_csv(path, separator=_separator(path), infer_schema=False, row_index_name=FILE_ROW),
        path,
    )
    schema = reading(lambda: text.drop(FILE_ROW).collect_schema(), path)
    layout = recognise(schema, columns, str(path))
    bars = text.select(pl.col(FILE_ROW).cast(pl.Int64).alias(ROW), *expressions(layout, calendar, str(path)))
    partial = stored.with_suffix(f".{os.getpid()}.partial")
    try:
        reading(lambda: bars.sort("session", ROW).sink_parquet(partial, row_group_size=100_000), path)
        # Two processes may convert at once; each puts a whole file in place.
        partial.replace(stored)
    finally:
        partial.unlink(missing_ok=True)
    return stored
