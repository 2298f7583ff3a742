import os
import resource
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest

from trademl_pipeline.lake import Lake, LakeConfig
from trademl_pipeline.lake.connection import Engine, load_extension
from trademl_pipeline.lake.errors import (
    CatalogUnreachableError,
    DiskFullError,
    LakeBusyError,
    LakeConfigError,
    LakeCorruptError,
    LakeError,
)
from trademl_pipeline.lake.failures import is_busy, is_lost, translate
from trademl_pipeline_tests.lake.writers import FEATURES, make_frame

JANUARY = "2020-01-01"


def publish_with_file_limit(folder: str, limit: int, symbols: int) -> None:
    """Body of a process that may not write files beyond `limit` bytes; prints the lake's error."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    with Lake(LakeConfig.local(folder)) as lake:
        try:
            lake.publish(
                FEATURES, make_frame(JANUARY, 2.0, symbols=symbols).with_row_index("n").pipe(noise), JANUARY
            )
        except LakeError as error:
            print(f"{type(error).__name__}: {error}")


def noise(frame):
    return frame.with_columns(alpha=frame["n"].hash(1).cast(float)).drop("n")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("limit", "symbols"), [pytest.param(200_000, 20_000, id="data"), pytest.param(8_192, 5, id="catalog")]
)
def test_full_disk_is_named_and_the_old_month_stays(lake: Lake, limit, symbols):
    lake.publish(FEATURES, make_frame(JANUARY, 1.0), JANUARY)
    lake.close()
    folder = str(Path(lake.config.location).parent)
    call = f"from {__name__} import *; publish_with_file_limit({folder!r}, {limit}, {symbols})"
    done = subprocess.run([sys.executable, "-c", call], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("DiskFullError: "), done.stdout + done.stderr
    assert "the old data stays" in done.stdout
    assert lake.read(FEATURES).equals(make_frame(JANUARY, 1.0))
    left = list(Path(lake.config.data_path).rglob("*.parquet"))
    assert len(left) == 1, "no unfinished file takes room"
    assert lake.publish(FEATURES, make_frame(JANUARY, 3.0), JANUARY).attempts == 1


def test_lost_data_file_is_named(lake: Lake):
    lake.publish(FEATURES, make_frame(JANUARY), JANUARY)
    shutil.rmtree(Path(lake.config.data_path) / "main")
    with pytest.raises(LakeCorruptError, match="a data file that the catalog names is gone"):
        lake.read(FEATURES)


def test_catalog_that_is_no_database_is_named(tmp_path):
    (tmp_path / "catalog.sqlite").write_text("this is not a database, and longer than a header" * 10)
    with (
        Lake(LakeConfig.local(tmp_path)) as lake,
        pytest.raises(LakeConfigError, match=r"lake\.catalog"),
    ):
        lake.tables()


def test_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with (
        Lake(LakeConfig.local(tmp_path / "file")) as lake,
        pytest.raises(LakeConfigError, match="may read and write there"),
    ):
        lake.tables()


def test_catalog_of_another_data_path_is_refused(tmp_path):
    catalog = f"sqlite:{tmp_path}/catalog/c.sqlite"
    with Lake(LakeConfig(catalog, f"{tmp_path}/data")) as lake:
        lake.publish(FEATURES, make_frame(JANUARY), JANUARY)
    with (
        Lake(LakeConfig(catalog, f"{tmp_path}/other")) as lake,
        pytest.raises(LakeConfigError, match=r"lake\.data_path"),
    ):
        lake.read(FEATURES)


@pytest.mark.parametrize(
    "dsn",
    [
        "host=localhost port=1 user=u password=hush dbname=lake connect_timeout=3",
        "postgresql://u:hush@localhost:1/lake",
    ],
)
def test_unreachable_postgres_says_what_to_check_and_keeps_the_password(tmp_path, dsn):
    pytest.importorskip("psycopg2", reason="psycopg2 is not installed (extra: scale)")
    with (
        Lake(LakeConfig(f"postgres:{dsn}", str(tmp_path))) as lake,
        pytest.raises(CatalogUnreachableError, match=r"lake\.catalog") as caught,
    ):
        lake.publish(FEATURES, make_frame(JANUARY), JANUARY)
    assert "hush" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


def test_connection_string_that_is_none_is_named(tmp_path):
    pytest.importorskip("psycopg2", reason="psycopg2 is not installed (extra: scale)")
    with (
        Lake(LakeConfig("postgres:garbage hush", str(tmp_path))) as lake,
        pytest.raises(LakeConfigError, match="no libpq connection string") as caught,
    ):
        lake.tables()
    assert "hush" not in str(caught.value)


def test_s3_path_without_access_is_refused(tmp_path):
    with (
        Lake(LakeConfig(f"sqlite:{tmp_path}/c.sqlite", "s3://bucket/x")) as lake,
        pytest.raises(LakeConfigError, match=r"needs LakeConfig\.s3"),
    ):
        lake.tables()


def test_month_held_by_another_writer_is_given_up_after_the_timeout(lake: Lake):
    impatient = Lake(LakeConfig(lake.config.catalog, lake.config.data_path, lock_timeout=0.1))
    lake.publish(FEATURES, make_frame(JANUARY, 1.0), JANUARY)

    def audit(_) -> None:
        with pytest.raises(
            LakeBusyError, match=r"waited 0\.1 s for another writer to publish the same month"
        ):
            impatient.publish(FEATURES, make_frame(JANUARY, 3.0), JANUARY)

    lake.publish(FEATURES, make_frame(JANUARY, 2.0), JANUARY, audit=audit)
    assert lake.read(FEATURES)["alpha"].unique().to_list() == [2.0]
    impatient.close()


BUSY = [
    "Failed to commit DuckLake transaction.\nFailed to flush changes into DuckLake: database is locked",
    "Transaction conflict - attempting to insert into table 1 - but another transaction has deleted from it",
    "ERROR:  could not serialize access due to concurrent update",
    'ERROR:  duplicate key value violates unique constraint "ducklake_snapshot_pkey"',
    "FATAL:  sorry, too many clients already",
    "Failed to query most recent snapshot for DuckLake: Table with name ducklake_snapshot does not exist!",
]
FINAL = [
    "Constraint Error: NOT NULL constraint failed: ducklake_column.conflict",
    'Binder Error: Referenced column "conflict" not found',
    "Conversion Error: could not cast",
]


@pytest.mark.parametrize("text", BUSY)
def test_writers_in_the_way_are_tried_again_and_reported_if_they_stay(text):
    config = LakeConfig("sqlite:x", "/y", retries=3)
    calls = []

    def once(attempt: int) -> None:
        calls.append(attempt)
        raise duckdb.TransactionException(text)

    with pytest.raises(LakeBusyError, match="all of 3 attempts"):
        Engine(config).run("publish of x", once)
    assert calls == [1, 2, 3]


@pytest.mark.parametrize("text", FINAL)
def test_other_errors_are_not_tried_again(text):
    calls = []

    def once(attempt: int) -> None:
        calls.append(attempt)
        raise duckdb.Error(text)

    with pytest.raises(LakeError):
        Engine(LakeConfig("sqlite:x", "/y")).run("publish of x", once)
    assert calls == [1]
    assert not is_busy(RuntimeError(BUSY[0])), "only errors of the database say that it is busy"


@pytest.mark.parametrize(("idempotent", "attempts"), [(True, 2), (False, 1)])
def test_lost_connection_is_tried_again_only_where_that_cannot_double_rows(idempotent, attempts):
    calls = []

    def once(attempt: int) -> None:
        calls.append(attempt)
        raise duckdb.IOException("server closed the connection unexpectedly")

    with pytest.raises(CatalogUnreachableError):
        Engine(LakeConfig("sqlite:x", "/y", retries=2)).run("x", once, idempotent=idempotent)
    assert len(calls) == attempts
    assert is_lost(duckdb.IOException("terminating connection due to administrator command"))


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("IO Error: Could not write file: No space left on device", DiskFullError),
        ("Failed to commit: database or disk is full", DiskFullError),
        ("IO Error: No such file or directory: x.parquet", LakeCorruptError),
        ("HTTP Error: Unable to connect to URL", CatalogUnreachableError),
        ("HTTP Error: Unable to connect to URL s3://x: Not Found (HTTP code 404)", LakeCorruptError),
        ("HTTP Error: s3://x: Not Found (HTTP code 404)\nNoSuchBucket: no such bucket", LakeConfigError),
        ("HTTP Error: Unable to connect to URL s3://x: Forbidden (HTTP code 403)", LakeConfigError),
        ('IO Error: Cannot open file "/x/ducklake-404.parquet": Permission denied', LakeConfigError),
        ("Failed to commit: attempt to write a readonly database", LakeConfigError),
        ("something else in ducklake-403-404.parquet", LakeError),
    ],
)
def test_errors_become_the_lakes_own(text, kind):
    error = translate(duckdb.IOException(text), LakeConfig("sqlite:x", "/y"), "read of bars")
    assert type(error) is kind
    assert str(error).startswith("read of bars: ")


def test_extensions_come_signed_from_their_packages():
    connection = duckdb.connect()
    load_extension(connection, "ducklake")
    row = connection.execute(
        "SELECT install_path, current_setting('allow_unsigned_extensions') FROM duckdb_extensions() WHERE "
        "extension_name = 'ducklake' AND loaded"
    ).fetchone()
    assert row is not None
    assert row[1] is False


def test_extension_that_is_nowhere_says_what_to_install():
    connection = duckdb.connect(config={"custom_extension_repository": os.devnull})
    with pytest.raises(LakeConfigError, match=r"package duckdb-extension-no-such==\d"):
        load_extension(connection, "no_such")
