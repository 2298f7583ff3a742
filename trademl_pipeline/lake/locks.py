"""Turns among the writers of one lake, across threads, processes and machines.

Two things need them. DuckLake sees no conflict between two transactions that both fill a month that was
empty, so their rows would add up: a writer therefore holds its months from the first read to the commit. And
a commit fails where another one came between (always with SQLite, and with PostgreSQL where both replaced
months of one table): a writer that had to try again therefore holds the turn to commit for its whole
transaction, which then cannot fail so.

Locks die with the process that holds them. With a SQLite catalog they are lock files beside it, with
PostgreSQL advisory locks of a session.
"""

import contextlib
import hashlib
import random
import re
import time
from collections.abc import Generator, Iterable
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from trademl_pipeline.lake.config import LakeConfig
from trademl_pipeline.lake.errors import CatalogUnreachableError, LakeBusyError, LakeConfigError

_COMMIT = "commit"
_ATTACH = "attach"
# Months share this many lock files, so that a lake of many tables and years does not leave thousands of them.
# Two months that fall on one file only wait for each other.
_STRIPES = 1024
_CONNECT_SECONDS = 10
# Refusals of a PostgreSQL server that pass by themselves.
_PASSING = re.compile(r"too many clients|remaining connection slots|system is starting up", re.IGNORECASE)
_POLL_SECONDS = (0.02, 0.06)


class Locks:
    """The turns of one lake: context managers that raise LakeBusyError when waiting takes too long."""

    def __init__(self, config: LakeConfig) -> None:
        self._config = config

    @contextlib.contextmanager
    def partitions(self, partitions: Iterable[tuple[str, str]]) -> Generator[None]:
        """Hold months, given as (table, month); taken in one order, so that writers cannot deadlock."""
        stripes = {f"partition-{_number(f'{table}/{month}') % _STRIPES:04d}" for table, month in partitions}
        with self._hold(sorted(stripes)):
            yield

    @contextlib.contextmanager
    def merging(self, table: str, month: str) -> Generator[None]:
        """Hold the turn to read a month, merge new rows into it and publish it.

        Another lock than the month's own, which the publish within takes.
        """
        with self._hold([f"merge-{_number(f'{table}/{month}') % _STRIPES:04d}"]):
            yield

    @contextlib.contextmanager
    def attaching(self) -> Generator[None]:
        """Hold the turn to open the catalog, which makes it where there is none."""
        with self._hold([_ATTACH]):
            yield

    @contextlib.contextmanager
    def commit_turn(self) -> Generator[None]:
        """Hold the turn to commit."""
        with self._hold([_COMMIT]):
            yield

    def _hold(self, names: list[str]) -> contextlib.AbstractContextManager[None]:
        return self._hold_files(names) if self._config.kind == "sqlite" else self._hold_advisory(names)

    @contextlib.contextmanager
    def _hold_files(self, names: list[str]) -> Generator[None]:
        folder = Path(f"{self._config.location}.locks")
        folder.mkdir(parents=True, exist_ok=True)
        with contextlib.ExitStack() as stack:
            for name in names:
                lock = FileLock(
                    folder / f"{name}.lock", timeout=self._config.lock_timeout, poll_interval=0.02
                )
                try:
                    stack.enter_context(lock)
                except Timeout:
                    raise self._busy(name) from None
            yield

    @contextlib.contextmanager
    def _hold_advisory(self, names: list[str]) -> Generator[None]:
        connection = _connect(self._config)
        try:
            connection.autocommit = True
            with connection.cursor() as cursor:
                for name in names:
                    self._take_advisory(cursor, name)
            yield
        finally:
            connection.close()

    def _take_advisory(self, cursor: Any, name: str) -> None:
        deadline = time.monotonic() + self._config.lock_timeout
        while True:
            cursor.execute("SELECT pg_try_advisory_lock(%s)", [_number(f"trademl lake {name}")])
            if cursor.fetchone()[0]:
                return
            if time.monotonic() > deadline:
                raise self._busy(name)
            time.sleep(random.uniform(*_POLL_SECONDS))

    def _busy(self, name: str) -> LakeBusyError:
        what = {_COMMIT: "commit", _ATTACH: "open the catalog"}.get(name, "publish the same month")
        return LakeBusyError(
            f"waited {self._config.lock_timeout:g} s for another writer to {what}; nothing was written. If "
            "no other run is at work, look for a hanging process that uses this lake; else try again "
            "later."
        )


def _number(text: str) -> int:
    """A signed 64-bit number for a name, the same in every process."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big", signed=True)


def _connect(config: LakeConfig) -> Any:
    try:
        import psycopg2
        import psycopg2.extensions
    except ImportError as error:
        raise LakeConfigError(
            "a PostgreSQL catalog needs the package psycopg2: pip install 'trademl-pipeline[scale]'"
        ) from error
    try:
        parsed = psycopg2.extensions.parse_dsn(config.location)
    except psycopg2.ProgrammingError as error:
        raise LakeConfigError(
            "lake.catalog: what follows 'postgres:' is no libpq connection string such as 'host=db "
            f"port=5432 dbname=lake user=trademl': {config.redact(str(error)).strip()}"
        ) from None
    options: dict[str, Any] = {"connect_timeout": _CONNECT_SECONDS, **parsed}
    dsn = psycopg2.extensions.make_dsn(**options)
    deadline = time.monotonic() + config.lock_timeout
    while True:
        try:
            return psycopg2.connect(dsn)
        except psycopg2.OperationalError as error:
            text = config.redact(str(error)).strip()
            if _PASSING.search(text) and time.monotonic() < deadline:
                time.sleep(random.uniform(*_POLL_SECONDS))
                continue
            # "from None": the original error may show the connection string with its password.
            raise CatalogUnreachableError(
                "cannot connect to the PostgreSQL catalog. Check host, port, dbname, user and password in "
                "lake.catalog, that the server runs, that the database exists (createdb) and that "
                f"this machine may connect to it. Cause: {text}"
            ) from None
