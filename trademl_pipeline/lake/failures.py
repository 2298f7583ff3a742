"""DuckDB's errors as the lake's own: which may be tried again, and what the others mean for the user."""

import errno
import re
from pathlib import Path

import duckdb

from trademl_pipeline.lake.config import LakeConfig
from trademl_pipeline.lake.errors import (
    CatalogUnreachableError,
    DiskFullError,
    LakeBusyError,
    LakeConfigError,
    LakeCorruptError,
    LakeError,
)

# DuckDB has no error codes for what happens in a catalog database, so its texts are all there is to go by.
_BUSY = re.compile(
    r"database (table )?is locked|transaction conflict|could not serialize|deadlock detected"
    r"|too many clients|remaining connection slots|database system is starting up"
    r'|unique constraint failed: ducklake|duplicate key value violates unique constraint "(ducklake|pg_type)'
    r'|relation "ducklake_\w+" already exists|table "?ducklake_\w+"? already exists'
    # For a moment, while another thread of this process attaches a lake of its own.
    r"|table with name ducklake_\w+ does not exist",
    re.IGNORECASE,
)
_LOST = re.compile(
    r"server closed the connection|terminating connection|connection .{0,40}reset", re.IGNORECASE
)
_FULL = re.compile(r"no space left|disk is full|file too large|quota exceeded|disk I/O error", re.IGNORECASE)
_UNREACHABLE = re.compile(
    r"connection refused|could not connect|connection to server|could not translate host|unable to connect"
    r"|could not resolve|connection timed out|timeout was reached|failed to attach ducklake metadata",
    re.IGNORECASE,
)
_MOVED = re.compile(r"DATA_PATH parameter .* does not match", re.IGNORECASE | re.DOTALL)
_NO_CATALOG = re.compile(r"file is not a database|unable to open database file|malformed", re.IGNORECASE)
_NO_BUCKET = re.compile(r"NoSuchBucket", re.IGNORECASE)
_DENIED = re.compile(r"permission denied|readonly database|HTTP code 40[13]|AccessDenied", re.IGNORECASE)
_GONE = re.compile(r"no such file|HTTP code 404", re.IGNORECASE)
_UNFINISHED = re.compile(r'could not write file "([^"]+)"', re.IGNORECASE)


def is_busy(error: BaseException) -> bool:
    """True where another writer was in the way and the whole transaction may be tried again."""
    return isinstance(error, duckdb.Error) and bool(_BUSY.search(str(error)))


def is_lost(error: BaseException) -> bool:
    """True where the connection to the catalog broke, so that it is unknown whether a commit landed."""
    return isinstance(error, duckdb.Error) and bool(_LOST.search(str(error)))


def unfinished_file(error: duckdb.Error | OSError, config: LakeConfig) -> Path | None:
    """The local data file that could not be written to its end, where the error names one."""
    named = _UNFINISHED.search(str(error))
    if named is None or config.on_object_storage:
        return None
    file = Path(named[1])
    ours = file.is_relative_to(Path(config.data_path).absolute()) and file.name.startswith("ducklake-")
    return file if ours else None


def translate(error: duckdb.Error | OSError, config: LakeConfig, doing: str) -> LakeError:
    """Return the lake's error for an error of DuckDB or of the file system, without secrets.

    Args:
        error: as it was raised.
        config: of the lake; its secrets are taken out of the message.
        doing: the operation in words, the beginning of the message.
    """
    text = config.redact(str(error)).strip()
    full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    if full or _FULL.search(text):
        return DiskFullError(
            f"{doing}: no room to write the data under {config.data_path} or the catalog. The transaction "
            f"was rolled back and the old data stays. Free space and try again. Cause: {text}"
        )
    if isinstance(error, OSError) or _DENIED.search(text):
        return LakeConfigError(
            f"{doing}: the catalog or the data cannot be used. Check lake.catalog, "
            "lake.data_path and s3 (trademl config), and that this user may read and write there. Cause: "
            f"{text}"
        )
    if _NO_BUCKET.search(text):
        return LakeConfigError(
            f"{doing}: the bucket of {config.data_path} does not exist. Create it, or correct "
            f"lake.data_path. Cause: {text}"
        )
    if _MOVED.search(text):
        return LakeConfigError(
            f"{doing}: the catalog was made for another data path. Set lake.data_path to the path it "
            f"names, or start a new catalog. Cause: {text.splitlines()[0]}"
        )
    if _BUSY.search(text):
        return LakeBusyError(
            f"{doing}: other writers were in the way in all of {config.retries} attempts; nothing was "
            f"written. Try again with fewer writers at a time. Cause: {text}"
        )
    if _NO_CATALOG.search(text):
        return LakeConfigError(
            f"{doing}: the catalog cannot be opened as a SQLite database. Check the path in "
            "lake.catalog; if it is right, the file is damaged: restore it from a backup. Cause: "
            f"{text}"
        )
    if isinstance(error, duckdb.IOException | duckdb.HTTPException) and _GONE.search(text):
        return LakeCorruptError(
            f"{doing}: a data file that the catalog names is gone from {config.data_path}. Restore it from "
            f"a backup, or publish the month again. Cause: {text}"
        )
    if _UNREACHABLE.search(text) or _LOST.search(text):
        return CatalogUnreachableError(
            f"{doing}: cannot reach the {config.kind} catalog, or the storage at {config.data_path}. Check "
            "the settings lake.catalog, lake.data_path and s3 (trademl config), that the servers run "
            f"and that this machine may connect to them. Cause: {text}"
        )
    return LakeError(f"{doing}: {text}")
