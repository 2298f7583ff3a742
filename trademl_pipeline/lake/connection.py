"""A DuckDB with the lake attached: extensions, secrets, and the translation of DuckDB's errors."""

import importlib.util
import os
import re
import threading
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

ALIAS = "lake"
SQLITE_BUSY_MS = 5_000

_BUSY = re.compile(
    r"database (table )?is locked|transaction conflict|conflict|could not serialize|deadlock detected"
    r"|too many clients|remaining connection slots|database system is starting up"
    r"|unique constraint failed: ducklake|duplicate key value violates unique constraint",
    re.IGNORECASE,
)
_LOST = re.compile(r"server closed the connection|terminating connection|connection .*reset", re.IGNORECASE)
_FULL = re.compile(
    r"no space left|disk is full|file too large|disk quota|could not write.*file", re.IGNORECASE
)
_UNREACHABLE = re.compile(
    r"connection refused|could not connect|connection to server|could not translate host|unable to connect"
    r"|password authentication failed|no pg_hba.conf entry|could not establish connection|timeout expired",
    re.IGNORECASE,
)
_MOVED = re.compile(r"DATA_PATH parameter .* does not match", re.IGNORECASE | re.DOTALL)


def is_busy(error: BaseException) -> bool:
    """True where another writer was in the way and the whole transaction may be tried again."""
    return isinstance(error, duckdb.Error) and bool(_BUSY.search(str(error)))


def is_lost(error: BaseException) -> bool:
    """True where the connection to the catalog broke, so that it is unknown whether a commit landed."""
    return isinstance(error, duckdb.Error) and bool(_LOST.search(str(error)))


def redact(text: str, config: LakeConfig) -> str:
    """The text without passwords and secret keys of the configuration."""
    secrets = [config.s3.secret] if config.s3 and config.s3.secret else []
    if config.kind == "postgres":
        text = text.replace(config.location, "<connection string>")
        secrets += re.findall(r"password\s*=\s*(?:'((?:[^'\\]|\\.)*)'|(\S+))", config.location) and [
            next(filter(None, pair), "")
            for pair in re.findall(r"password\s*=\s*(?:'((?:[^'\\]|\\.)*)'|(\S+))", config.location)
        ]
        secrets += re.findall(r"://[^:/@\s]*:([^@\s]*)@", config.location)
    for secret in secrets:
        if secret:
            text = text.replace(secret, "***")
    return text


def translate(error: duckdb.Error, config: LakeConfig, doing: str) -> LakeError:
    """The lake's own error for an error of DuckDB: what was being done, what went wrong, what to do."""
    text = redact(str(error), config).strip()
    if _FULL.search(text):
        return DiskFullError(
            f"{doing}: no room to write under {config.data_path} or the catalog. The transaction was rolled "
            "back "
            "and the old data stays. Free space, or run the lake's maintenance, and try again. DuckDB "
            f"said: {text}"
        )
    if _MOVED.search(text):
        return LakeConfigError(
            f"{doing}: the catalog was made for another data path. Set TRADEML_LAKE_DATA to the path below, "
            f"or start a new catalog. DuckDB said: {text}"
        )
    if _BUSY.search(text):
        return LakeBusyError(
            f"{doing}: other writers kept the lake busy through {config.retries} attempts; nothing was "
            "written. "
            f"Try again, or lower the number of concurrent writers. DuckDB said: {text}"
        )
    if _UNREACHABLE.search(text) or _LOST.search(text):
        return CatalogUnreachableError(
            f"{doing}: cannot reach the {config.kind} catalog or the storage at {config.data_path}. Check "
            "TRADEML_LAKE_CATALOG (host, port, dbname, user), that the server runs and that this machine "
            "may "
            f"connect to it. DuckDB said: {text}"
        )
    if isinstance(error, duckdb.IOException) and "No such file" in text:
        return LakeCorruptError(
            f"{doing}: a data file that the catalog names is gone from {config.data_path}. Restore it from "
            "a backup, "
            f"or publish the month again. DuckDB said: {text}"
        )
    return LakeError(f"{doing}: {text}")


def _extension_file(name: str) -> Path | None:
    spec = importlib.util.find_spec(f"duckdb_extension_{name}")
    folders = list(spec.submodule_search_locations or []) if spec else []
    for folder in folders:
        for file in sorted(Path(folder).rglob(f"v{duckdb.__version__}/{name}.duckdb_extension")):
            return file
    return None


def load_extension(connection: duckdb.DuckDBPyConnection, name: str) -> None:
    """Load a DuckDB extension from its installed Python package, else from DuckDB's own repository.

    DuckDB verifies the official signature in both cases.
    """
    file = _extension_file(name)
    if file is not None:
        connection.load_extension(str(file))
        return
    try:
        connection.install_extension(name)
        connection.load_extension(name)
    except duckdb.Error as error:
        raise LakeError(
            f"DuckDB extension {name!r} is neither installed as a Python package nor can it be downloaded: "
            f"{error}. "
            f"Run: pip install duckdb-extension-{name.replace('_', '-')}=={duckdb.__version__}"
        ) from error


def quote(text: str) -> str:
    """The text as an SQL string literal."""
    return "'" + text.replace("'", "''") + "'"


def identifier(name: str) -> str:
    """The name as a quoted SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


class Connections:
    """One DuckDB per process with the lake attached; `cursor()` gives an independent connection to it.

    Safe for threads, and for forks: a child process makes its own.
    """

    def __init__(self, config: LakeConfig) -> None:
        self.config = config
        self._lock = threading.Lock()
        self._root: duckdb.DuckDBPyConnection | None = None
        self._pid = -1

    def cursor(self) -> duckdb.DuckDBPyConnection:
        """A connection of its own transaction, with the lake attached as `lake`. Raises duckdb.Error."""
        with self._lock:
            if self._root is None or self._pid != os.getpid():
                self._root = self._attach()
                self._pid = os.getpid()
            return self._root.cursor()

    def close(self) -> None:
        """Detach; the next `cursor()` attaches anew."""
        with self._lock:
            if self._root is not None and self._pid == os.getpid():
                self._root.close()
            self._root = None

    def _attach(self) -> duckdb.DuckDBPyConnection:
        config = self.config
        connection = duckdb.connect(config={"autoinstall_known_extensions": "false"})
        try:
            load_extension(connection, "sqlite_scanner" if config.kind == "sqlite" else "postgres_scanner")
            load_extension(connection, "ducklake")
            if config.on_object_storage:
                load_extension(connection, "httpfs")
                self._create_secret(connection)
            connection.execute("SET TimeZone = 'UTC'")
            connection.execute(self._attach_statement())
        except BaseException:
            connection.close()
            raise
        return connection

    def _attach_statement(self) -> str:
        config = self.config
        options = [f"DATA_PATH {quote(config.data_path)}", "DATA_INLINING_ROW_LIMIT 0"]
        if config.kind == "sqlite":
            catalog = Path(config.location)
            catalog.parent.mkdir(parents=True, exist_ok=True)
            options += ["META_JOURNAL_MODE 'WAL'", f"META_BUSY_TIMEOUT {SQLITE_BUSY_MS}"]
            if not config.on_object_storage and Path(config.data_path).is_relative_to(catalog.parent):
                # Catalog and data lie in one folder, so they move together (a copy, a container mount);
                # file paths in the catalog are relative to the data path.
                options.append("OVERRIDE_DATA_PATH true")
        if not config.on_object_storage:
            Path(config.data_path).mkdir(parents=True, exist_ok=True)
        return f"ATTACH {quote(f'ducklake:{config.catalog}')} AS {ALIAS} ({', '.join(options)})"

    def _create_secret(self, connection: duckdb.DuckDBPyConnection) -> None:
        s3 = self.config.s3
        if s3 is None:
            raise LakeConfigError(
                f"data path {self.config.data_path}: set the S3 values (TRADEML_S3_...) as well"
            )
        parts = ["TYPE s3", f"REGION {quote(s3.region)}", f"URL_STYLE {quote(s3.url_style)}"]
        parts.append(f"USE_SSL {'true' if s3.use_ssl else 'false'}")
        if s3.endpoint:
            parts.append(f"ENDPOINT {quote(s3.endpoint)}")
        if s3.key_id and s3.secret:
            parts += [f"KEY_ID {quote(s3.key_id)}", f"SECRET {quote(s3.secret)}"]
        else:
            load_extension(connection, "aws")
            parts.append("PROVIDER credential_chain")
        connection.execute(f"CREATE SECRET lake_storage ({', '.join(parts)})")
