"""A DuckDB with the lake attached, and transactions that are tried again if another writer was in the way."""

import contextlib
import importlib.util
import itertools
import os
import threading
import weakref
from collections import Counter, deque
from collections.abc import Callable, Generator, Mapping
from pathlib import Path
from typing import Any, TypeVar, cast

import duckdb
import polars as pl
from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_random_exponential

from trademl_pipeline.lake.config import LakeConfig
from trademl_pipeline.lake.errors import LakeConfigError, LakeError
from trademl_pipeline.lake.failures import is_busy, is_lost, translate, unfinished_file
from trademl_pipeline.lake.locks import Locks
from trademl_pipeline.lake.seal import permitted, require_open

T = TypeVar("T")

_SQLITE_BUSY_MS = 5_000
_FIRST_WAIT_SECONDS = 0.05
_LONGEST_WAIT_SECONDS = 2.0
_databases: dict[int, duckdb.DuckDBPyConnection] = {}
_loading = threading.Lock()
_numbers = itertools.count(1)
# Processes and names of attached lakes that nobody holds, and how many connections each process has open. A
# DETACH makes statements fail that other connections run at that moment on other lakes, so it waits for them.
_unheld: deque[tuple[int, str]] = deque()
_open: Counter[int] = Counter()
_counting = threading.Lock()


def quote(text: str) -> str:
    """The text as an SQL string literal."""
    return "'" + text.replace("'", "''") + "'"


def identifier(name: str) -> str:
    """The name as a quoted SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


class Engine:
    """One lake as this process uses it; each transaction runs on a connection of its own.

    All lakes of a process are attached to one DuckDB, since loading its extensions takes longer than a publish
    does. Safe for threads and for forks: a child process attaches anew. An engine that nobody holds any more is
    detached, once no connection is open: what DuckDB says of tables costs a look at every lake that is attached.
    """

    def __init__(self, config: LakeConfig) -> None:
        self.config = config
        self.locks = Locks(config)
        self._guard = threading.Lock()
        self._attached: tuple[int, str] | None = None
        self._detach: weakref.finalize[..., Engine] | None = None

    def close(self) -> None:
        """Detach; the next transaction attaches anew. Transactions at work end undisturbed."""
        with self._guard:
            if self._detach is not None:
                self._detach()
            self._attached = self._detach = None
        with _counting:
            _detach_unheld()

    @contextlib.contextmanager
    def transaction(
        self, incoming: Mapping[str, pl.DataFrame] | None = None
    ) -> Generator[duckdb.DuckDBPyConnection]:
        """Open a fresh connection whose current database is the lake; what is not committed is rolled back.

        Args:
            incoming: frames that its queries can name.
        """
        connection = self._connect(incoming or {})
        try:
            yield connection
        except BaseException:
            # A failed commit has ended the transaction already, and then there is nothing to roll back.
            with contextlib.suppress(duckdb.Error):
                connection.rollback()
            raise
        finally:
            _disconnect(connection)

    def run(self, doing: str, once: Callable[[int], T], *, idempotent: bool = True) -> T:
        """Call `once(attempt)` until no other writer is in the way, with random, growing waits.

        Args:
            doing: the operation in words, for messages.
            once: the operation; gets the number of the attempt, from 1.
            idempotent: repeating is harmless even if the attempt before has landed, so that it is tried again
                after a lost connection too.

        Raises:
            LakeError: DuckDB raised an error; all others pass as they are.
        """

        def again(error: BaseException) -> bool:
            if is_lost(error):
                self.close()
                return idempotent
            return is_busy(error)

        retrying = Retrying(
            stop=stop_after_attempt(self.config.retries),
            wait=wait_random_exponential(multiplier=_FIRST_WAIT_SECONDS, max=_LONGEST_WAIT_SECONDS),
            retry=retry_if_exception(again),
            reraise=True,
        )
        counted = iter(range(1, self.config.retries + 1))
        try:
            return retrying(lambda: once(next(counted)))
        except duckdb.Error as error:
            unfinished = unfinished_file(error, self.config)
            if unfinished is not None:
                # DuckDB leaves it, and on a full disk there would be ever less room with each attempt.
                unfinished.unlink(missing_ok=True)
            # "from None": the original text may hold the connection string with its password.
            raise translate(error, self.config, doing) from None

    def query(self, doing: str, once: Callable[[duckdb.DuckDBPyConnection], T]) -> T:
        """Run a reading function on a fresh connection, tried again as `run` does."""

        def attempt(_: int) -> T:
            with self.transaction() as connection:
                return once(connection)

        return self.run(doing, attempt)

    def _connect(self, incoming: Mapping[str, pl.DataFrame]) -> duckdb.DuckDBPyConnection:
        with self._guard:
            if self._attached is None or self._attached[0] != os.getpid():
                self._attached = (os.getpid(), _attach(self.config, self.locks))
                # Only put on a list: the garbage collector may end an engine at any point of any thread.
                self._detach = weakref.finalize(self, _unheld.append, self._attached)
                self._detach.atexit = False
            name = self._attached[1]
        connection = _cursor()
        try:
            # Before USE: in a lake, making a name costs a look into the catalog.
            for table, frame in incoming.items():
                connection.register(table, cast(Any, frame.to_arrow()))
            connection.execute(f"USE {name}")
        except BaseException:
            _disconnect(connection)
            raise
        return connection


def _cursor() -> duckdb.DuckDBPyConnection:
    """Return a new connection, before which lakes that nobody holds are detached if no other is open."""
    database = _database()
    with _counting:
        _detach_unheld()
        connection = database.cursor()
        _open[os.getpid()] += 1
    return connection


def _disconnect(connection: duckdb.DuckDBPyConnection) -> None:
    """Close a connection of `_cursor`."""
    connection.close()
    with _counting:
        _open[os.getpid()] -= 1


def _database() -> duckdb.DuckDBPyConnection:
    """The process's DuckDB. One that a fork inherited is left alone: closing it would wait for its threads."""
    require_open()
    with _loading:
        if os.getpid() not in _databases:
            connection = duckdb.connect()
            connection.execute("SET GLOBAL TimeZone = 'UTC'")
            # Whether a table is there is asked often; looking for names like it costs ten times the question.
            connection.execute("SET GLOBAL catalog_error_max_schemas = 0")
            _databases[os.getpid()] = connection
        return _databases[os.getpid()]


def _secret(name: str) -> str:
    return f"{name}_storage"


def load_extension(connection: duckdb.DuckDBPyConnection, name: str) -> None:
    """Load a DuckDB extension from its installed Python package, else from DuckDB's own repository.

    DuckDB verifies the official signature in both cases. Raises LakeConfigError where there is neither.
    """
    file = _packaged_extension(name)
    try:
        if file is None:
            connection.install_extension(name)
        connection.load_extension(str(file or name))
    except duckdb.Error as error:
        raise LakeConfigError(
            f"DuckDB's extension {name!r} cannot be loaded. Install the Python package "
            f"duckdb-extension-{name.replace('_', '-')}=={duckdb.__version__}, or let this machine download "
            f"from extensions.duckdb.org. Cause: {error}"
        ) from error


def _packaged_extension(name: str) -> Path | None:
    spec = importlib.util.find_spec(f"duckdb_extension_{name}")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        candidates = sorted(Path(folder).rglob(f"v{duckdb.__version__}/{name}.duckdb_extension"))
        if candidates:
            return candidates[0]
    return None


def _attach(config: LakeConfig, locks: Locks) -> str:
    """Attach the lake under a new name, which it returns."""
    name = f"lake_{next(_numbers)}"
    connection = _cursor()
    try:
        load_extension(connection, "sqlite_scanner" if config.kind == "sqlite" else "postgres_scanner")
        load_extension(connection, "ducklake")
        if config.on_object_storage:
            load_extension(connection, "httpfs")
            _create_secret(connection, config, name)
        try:
            _make_folders(config)
            # The first to attach makes the catalog's tables; two at once would both try.
            with locks.attaching():
                connection.execute(_attach_statement(config, name))
        except OSError as error:
            raise translate(error, config, "opening the lake") from error
    except BaseException:
        connection.execute(f"DROP SECRET IF EXISTS {_secret(name)}")
        raise
    finally:
        _disconnect(connection)
    return name


def _detach_unheld() -> None:
    """Undo `_attach` for the lakes that nobody holds, if no connection is open; those of a parent stay as they are.

    The caller holds `_counting`.
    """
    if _open[os.getpid()] or not _unheld:
        return
    with permitted(), contextlib.closing(_database().cursor()) as connection:
        while _unheld:
            pid, name = _unheld.popleft()
            if pid == os.getpid():
                connection.execute(f"DETACH {name}")
                connection.execute(f"DROP SECRET IF EXISTS {_secret(name)}")


def _make_folders(config: LakeConfig) -> None:
    if config.kind == "sqlite":
        Path(config.location).parent.mkdir(parents=True, exist_ok=True)
    if not config.on_object_storage:
        Path(config.data_path).mkdir(parents=True, exist_ok=True)


def _attach_statement(config: LakeConfig, name: str) -> str:
    catalog, data_path = config.catalog, config.data_path
    if not config.on_object_storage:
        data_path = str(Path(data_path).absolute())
    options = [f"DATA_PATH {quote(data_path)}", "DATA_INLINING_ROW_LIMIT 0"]
    if config.kind == "sqlite":
        file = Path(config.location).absolute()
        catalog = f"sqlite:{file}"
        # Write-ahead logging lets readers go on while a writer commits.
        options += ["META_JOURNAL_MODE 'WAL'", f"META_BUSY_TIMEOUT {_SQLITE_BUSY_MS}"]
        if not config.on_object_storage and Path(data_path).is_relative_to(file.parent):
            # Catalog and data lie in one folder, so they move together (a copy, a container's mount), and the
            # catalog names files relative to the data path.
            options.append("OVERRIDE_DATA_PATH true")
    return f"ATTACH {quote(f'ducklake:{catalog}')} AS {name} ({', '.join(options)})"


def _create_secret(connection: duckdb.DuckDBPyConnection, config: LakeConfig, name: str) -> None:
    s3 = config.s3
    if s3 is None:
        raise LakeConfigError(
            f"the data path {config.data_path} needs LakeConfig.s3, the access to its storage"
        )
    parts = [
        "TYPE s3",
        f"SCOPE {quote(config.data_path)}",
        f"REGION {quote(s3.region)}",
        f"USE_SSL {'true' if s3.use_ssl else 'false'}",
    ]
    parts.append(f"URL_STYLE {quote(s3.style)}")
    if s3.endpoint:
        parts.append(f"ENDPOINT {quote(s3.endpoint)}")
    if s3.key_id and s3.secret:
        parts += [f"KEY_ID {quote(s3.key_id)}", f"SECRET {quote(s3.secret)}"]
    else:
        load_extension(connection, "aws")
        parts.append("PROVIDER credential_chain")
    try:
        connection.execute(f"CREATE SECRET {_secret(name)} ({', '.join(parts)})")
    except duckdb.Error as error:
        # "from None": the original error may show the statement with the secret key.
        raise LakeError(
            f"cannot set up the access to {config.data_path}: {config.redact(str(error))}"
        ) from None
