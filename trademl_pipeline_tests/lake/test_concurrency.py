import os
import random
import signal
import threading
import time
from pathlib import Path

import polars as pl
import pytest

from trademl_pipeline.lake import Lake, LakeConfig, S3Config
from trademl_pipeline_tests.lake.writers import (
    COMPANION,
    FEATURES,
    make_frame,
    publish_for_ever,
    publish_from_processes,
    start_processes,
)

pytestmark = pytest.mark.slow

WRITERS = 4
MONTHS_OF = [[f"20{10 + writer}-{month:02d}-01" for month in range(1, 3)] for writer in range(WRITERS)]
ALL_MONTHS = sorted(month for months in MONTHS_OF for month in months)


def publish_and_replace_at_once(config: LakeConfig) -> None:
    attempts = publish_from_processes(config, MONTHS_OF, values=[1.0, 2.0])
    with Lake(config) as lake:
        assert lake.months(FEATURES) == ALL_MONTHS
        assert lake.describe(FEATURES)["rows"].unique().to_list() == [20]
        assert lake.read(FEATURES)["alpha"].unique().to_list() == [2.0]
        details = "".join(lake.snapshots()["detail"].drop_nulls())
        assert all(details.count(month) == 2 for month in ALL_MONTHS), "each publish is a snapshot of its own"
    worst = max(max(of_writer) for of_writer in attempts)
    assert worst <= 2, f"a repeated transaction holds the turn to commit and cannot lose again: {attempts}"


def test_four_processes_publish_different_months_and_none_is_lost(tmp_path):
    publish_and_replace_at_once(LakeConfig.local(tmp_path))


@pytest.mark.services
def test_four_processes_and_a_postgres_catalog(postgres: str, tmp_path):
    publish_and_replace_at_once(LakeConfig(f"postgres:{postgres}", str(tmp_path / "data")))


@pytest.mark.slow
@pytest.mark.services
def test_four_processes_and_a_postgres_catalog_on_object_storage(postgres: str, bucket: tuple[str, S3Config]):
    path, access = bucket
    config = LakeConfig(f"postgres:{postgres}", path, s3=access)
    publish_and_replace_at_once(config)
    with Lake(config) as lake:
        before = lake.snapshot()
        lake.publish(FEATURES, make_frame(ALL_MONTHS[0], 3.0), ALL_MONTHS[0])
        old = lake.read(FEATURES, snapshot=before, months=[ALL_MONTHS[0]])
        assert old["alpha"].unique().to_list() == [2.0]


def publish_one_month_from_threads(config: LakeConfig) -> None:
    """Each thread has a lake of its own, as a process has; all begin while the month is still empty."""
    month, failures = "2020-01-01", []
    barrier = threading.Barrier(WRITERS)

    def work(number: int) -> None:
        try:
            with Lake(config) as lake:
                lake.tables()
                barrier.wait()
                lake.publish(
                    FEATURES, make_frame(month, float(number)), month, audit=lambda _: time.sleep(0.1)
                )
        except BaseException as error:
            failures.append(error)

    with Lake(config) as lake:
        lake.publish(FEATURES, make_frame("2019-01-01"), "2019-01-01")
        threads = [threading.Thread(target=work, args=(n,)) for n in range(WRITERS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failures == []
        stored = lake.read(FEATURES, months=[month])
        assert stored.height == 20, "writers of one month replace each other and do not add up"
        assert stored["alpha"].n_unique() == 1


def test_writers_of_one_month_do_not_add_up(tmp_path):
    publish_one_month_from_threads(LakeConfig.local(tmp_path))


@pytest.mark.services
def test_writers_of_one_month_do_not_add_up_with_postgres(postgres: str, tmp_path):
    publish_one_month_from_threads(LakeConfig(f"postgres:{postgres}", str(tmp_path / "data")))


def logged(log: Path, word: str) -> list[int]:
    lines = log.read_text().splitlines() if log.exists() else []
    return [int(line.split()[1]) for line in lines if line.startswith(f"{word} ")]


@pytest.mark.slow
def test_lake_is_whole_after_each_of_twenty_kills_in_the_middle_of_a_publish(tmp_path):
    config = LakeConfig.local(tmp_path / "lake")
    month, log = "2020-01-01", tmp_path / "log"
    clock = random.Random(20)
    in_the_middle = 0
    with Lake(config) as lake:
        lake.publish_many(
            [(s, make_frame(month, 0.0, symbols=200, schema=s), month) for s in (FEATURES, COMPANION)]
        )
        version = stored = 0
        for _ in range(20):
            (writer,) = start_processes(publish_for_ever, [(config, month, version, str(log))])
            while not logged(log, "begin") or logged(log, "begin")[-1] <= version:
                assert writer.exitcode is None, "the writer ended before it was killed"
                time.sleep(0.005)
            time.sleep(clock.uniform(0.0, 0.5))
            assert writer.pid is not None
            os.kill(writer.pid, signal.SIGKILL)
            writer.join()
            begun, ended = logged(log, "begin")[-1], max(logged(log, "end"), default=0)
            in_the_middle += begun > ended
            tables = [lake.read(s).unique(["alpha", "beta"]) for s in (FEATURES, COMPANION)]
            assert [t.height for t in tables] == [1, 1], "a month is old or new as a whole"
            before, stored = stored, tables[0]["alpha"][0]
            assert tables[1]["alpha"][0] == stored, "both tables of one transaction are old, or both are new"
            # A writer that was killed between its commit and its line has committed all the same.
            assert stored in (max(ended, before), begun), "what was committed is never lost"
            assert lake.describe(FEATURES)["rows"].to_list() == [800]
            version = begun
        assert in_the_middle >= 10, f"only {in_the_middle} of 20 kills came in the middle of a publish"
        lake.publish(FEATURES, make_frame(month, -1.0), month)
        assert lake.read(FEATURES)["alpha"].unique().to_list() == [-1.0]


def test_process_does_not_use_the_connection_that_it_inherited(tmp_path, monkeypatch):
    with Lake(LakeConfig.local(tmp_path)) as lake:
        lake.publish(FEATURES, make_frame("2020-01-01"), "2020-01-01")
        with lake._engine.transaction() as connection:
            inherited = connection.execute("SELECT current_database()").fetchone()
        with monkeypatch.context() as child:
            child.setattr(os, "getpid", lambda: -1)
            with lake._engine.transaction() as connection:
                own = connection.execute(
                    "SELECT current_database(), count(*) FROM duckdb_databases()"
                ).fetchone()
            assert lake.read(FEATURES).height == 20
            lake.close()
        assert inherited is not None
        assert own is not None
        assert own[0] != inherited[0]
        assert lake.read(FEATURES).height == 20


def test_frames_differ_by_their_value():
    assert not make_frame("2020-01-01", 1.0).equals(make_frame("2020-01-01", 2.0))
    assert make_frame("2020-01-01").schema == pl.Schema(FEATURES.columns)
