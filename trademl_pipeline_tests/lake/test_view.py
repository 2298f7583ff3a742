"""What a step may read: cut at its clock, of what it declares, on record, and by no other way."""

import contextlib
import multiprocessing
import os
import sqlite3
import threading
from datetime import UTC, date, datetime
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow.parquet
import pytest
from polars import scan_parquet

from trademl_pipeline.lake import Lake, LakeConfig
from trademl_pipeline.lake.connection import _database
from trademl_pipeline.lake.seal import SealedLakeError
from trademl_pipeline.lake.sealed_files import SealedFileError
from trademl_pipeline.lake.view import FIRST, LakeView, UndeclaredReadError
from trademl_pipeline.tables import UNIVERSE_MEMBERS
from trademl_pipeline_tests.lake.writers import COMPANION, FEATURES, make_frame
from trademl_pipeline_tests.past_the_gate import give

JANUARY, FEBRUARY, MARCH = "2020-01-01", "2020-02-01", "2020-03-01"
ALL = {FEATURES.name: (FIRST, MARCH)}


@pytest.fixture
def filled(lake: Lake) -> Lake:
    for number, month in enumerate((JANUARY, FEBRUARY, MARCH)):
        lake.publish(FEATURES, make_frame(month, float(number)), month)
    return lake


def middle(lake: Lake) -> datetime:
    """The moment at which half the rows of February were known."""
    known = lake.read(FEATURES, months=[FEBRUARY])["knowledge_time"].unique().sort()
    return known[len(known) // 2].replace(tzinfo=UTC)


def test_a_view_without_a_clock_is_the_lake(filled: Lake):
    view = LakeView(filled, "step", ALL)
    assert view.read(FEATURES).equals(filled.read(FEATURES))
    assert view.read(FEATURES, months=[FEBRUARY], with_month=True).equals(
        filled.read(FEATURES, months=[FEBRUARY], with_month=True)
    )
    assert view.months(FEATURES) == filled.months(FEATURES)
    assert view.snapshot() == filled.snapshot()


@pytest.mark.parametrize("columns", [None, ["symbol"], ["knowledge_time", "session"]])
def test_what_became_known_later_is_not_there(filled: Lake, columns: list[str] | None):
    clock = middle(filled)
    expected = filled.read(FEATURES).filter(pl.col("knowledge_time") <= clock)
    assert 0 < expected.height < filled.read(FEATURES).height
    found = LakeView(filled, "step", ALL, clock=clock).read(FEATURES, columns=columns)
    assert found.equals(expected if columns is None else expected.select(columns))


def test_a_view_that_is_cut_again_sees_less_and_never_more(filled: Lake):
    clock = middle(filled)
    late = LakeView(filled, "step", ALL)
    late.read(FEATURES)
    early = late.at(clock)
    assert early.read(FEATURES)["knowledge_time"].max() == clock
    assert early.at(datetime(2030, 1, 1, tzinfo=UTC)).read(FEATURES).equals(early.read(FEATURES))


def test_a_table_without_a_clock_is_cut_by_session(lake: Lake):
    days = pl.date_range(date(2020, 1, 2), date(2020, 1, 10), eager=True)
    give(lake, (UNIVERSE_MEMBERS, pl.DataFrame({"symbol": "A", "session": days}), JANUARY))
    view = LakeView(
        lake, "step", {UNIVERSE_MEMBERS.name: (FIRST, JANUARY)}, clock=datetime(2020, 1, 6, 21, tzinfo=UTC)
    )
    assert view.read(UNIVERSE_MEMBERS)["session"].max() == date(2020, 1, 6)


def test_a_view_stays_at_its_snapshot(filled: Lake):
    view = LakeView(filled, "step", ALL)
    filled.publish(FEATURES, make_frame(FEBRUARY, 9.0), FEBRUARY)
    assert view.read(FEATURES, months=[FEBRUARY])["alpha"].to_list() == [1.0] * 20
    with pytest.raises(UndeclaredReadError, match="pinned to"):
        view.read(FEATURES, snapshot=filled.snapshot())


def test_what_is_not_declared_cannot_be_read_and_is_named(filled: Lake):
    filled.publish(COMPANION, make_frame(JANUARY, schema=COMPANION), JANUARY)
    view = LakeView(filled, "features_x 2020-02", {FEATURES.name: (JANUARY, FEBRUARY)})
    with pytest.raises(
        UndeclaredReadError, match=f"features_x 2020-02 reads {COMPANION.name}, which it does"
    ):
        view.read(COMPANION)
    with pytest.raises(UndeclaredReadError, match="to 2020-03, and declares it from 2020-01 to 2020-02"):
        view.read(FEATURES, months=(FEBRUARY, MARCH))
    with pytest.raises(UndeclaredReadError, match="reads"):
        view.months(COMPANION)
    assert view.read(FEATURES).equals(filled.read(FEATURES, months=(JANUARY, FEBRUARY)))
    assert view.months(FEATURES) == [JANUARY, FEBRUARY]


def test_every_read_is_on_record_once(filled: Lake):
    clock = middle(filled)
    view = LakeView(filled, "step", ALL, clock=clock)
    for _ in range(2):
        rows = view.read(FEATURES, months=(JANUARY, FEBRUARY))
    (read,) = view.reads
    assert (read.table, read.first, read.last) == (FEATURES.name, JANUARY, FEBRUARY)
    assert (read.rows, read.knowledge_last, read.snapshot) == (rows.height, clock, filled.snapshot())
    other = LakeView(filled, "step", ALL, clock=clock.replace(month=1))
    other.read(FEATURES, months=(JANUARY, FEBRUARY))
    assert other.reads[0].content != read.content


def in_a_thread(read) -> None:
    """Run a read in a thread of its own, and raise what it raised."""
    errors: list[BaseException] = []

    def run() -> None:
        try:
            read()
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]


OTHER_WAYS = {
    "the lake that the view is of": lambda lake, file: lake.read(FEATURES),
    "its months": lambda lake, file: lake.months(FEATURES),
    "a lake of its own": lambda lake, file: Lake(LakeConfig.local(file.parent / "lake")).read(FEATURES),
    "a thread": lambda lake, file: in_a_thread(lambda: lake.read(FEATURES)),
    "the database beneath": lambda lake, file: _database().execute("SELECT 1"),
    "a view of its own": lambda lake, file: LakeView(lake, "other", ALL).read(FEATURES),
    "DuckDB": lambda lake, file: duckdb.connect().execute(f"FROM '{file}'"),
    "DuckDB's module": lambda lake, file: duckdb.sql(f"FROM '{file}'"),
    "Polars": lambda lake, file: pl.read_parquet(file),
    "Polars, by a name that was imported before": lambda lake, file: scan_parquet(file).collect(),
    "Polars, in a thread": lambda lake, file: in_a_thread(lambda: pl.read_parquet(file)),
    "Polars, by a pattern": lambda lake, file: pl.scan_parquet(str(file.parent / "*.parquet")).collect(),
    "pandas": lambda lake, file: pd.read_parquet(file),
    "Arrow": lambda lake, file: pyarrow.parquet.read_table(file),
    "NumPy": lambda lake, file: np.load(file.with_suffix(".npy")),
    "NumPy's memory map": lambda lake, file: np.memmap(file.with_suffix(".npy")),
    "Arrow's file of Parquet": lambda lake, file: pyarrow.parquet.ParquetFile(file).read(),
    "open": lambda lake, file: file.open("rb").read(),
    "open, as if to write behind it": lambda lake, file: file.open("a+b").read(),
    "open, to read and write": lambda lake, file: os.close(os.open(file, os.O_RDWR | os.O_CREAT)),
    "SQLite": lambda lake, file: sqlite3.connect(file.with_suffix(".db")).close(),
    "bytes": lambda lake, file: file.read_bytes(),
}


@pytest.mark.slow
@pytest.mark.parametrize("way", OTHER_WAYS)
def test_under_seal_there_is_no_other_way(filled: Lake, tmp_path: Path, way: str):
    file = tmp_path / "future.parquet"
    filled.read(FEATURES).write_parquet(file)
    np.save(file.with_suffix(".npy"), np.arange(3.0))
    view = LakeView(filled, "features_x 2020-02", ALL)
    with view.sealed():
        assert view.read(FEATURES).height == 60
    told = r"features_x 2020-02 (opens|reads)"
    with pytest.raises(SealedLakeError, match=told), view.sealed():
        OTHER_WAYS[way](filled, file)
    OTHER_WAYS[way](filled, file)


def test_a_step_connects_to_nothing_and_starts_nothing(filled: Lake):
    import socket
    import subprocess

    view = LakeView(filled, "step", ALL)

    def send() -> None:
        socket.socket(type=socket.SOCK_DGRAM).sendto(b"what?", ("127.0.0.1", 1))

    tries = [
        ("connects to", lambda: socket.create_connection(("127.0.0.1", 1))),
        ("sends to", send),
        ("starts", lambda: subprocess.run(["true"], check=False)),
        ("starts", lambda: os.posix_spawn("/bin/true", ["true"], {})),
        ("starts a process by", lambda: multiprocessing.get_context("spawn").Process(target=print).start()),
    ]
    for told, attempt in tries:
        with pytest.raises(SealedFileError, match=told), view.sealed():
            attempt()
    subprocess.run(["true"], check=True)


def test_the_files_of_the_lake_stay_closed_to_a_step_that_may_read_the_folder(filled: Lake, tmp_path: Path):
    (tmp_path / "model.txt").write_text("weights")
    data = next(Path(filled.config.data_path).rglob("*.parquet"))
    with LakeView(filled, "model_x 2020-02", ALL).sealed([tmp_path], network=True):
        assert (tmp_path / "model.txt").read_text() == "weights"
    sealed = LakeView(filled, "model_x 2020-02", ALL).sealed
    with pytest.raises(SealedFileError, match="a file of the lake"), sealed([tmp_path], network=True):
        pl.read_parquet(data)
    with pytest.raises(SealedFileError, match="a file of the lake"), sealed([tmp_path], network=True):
        Path(filled.config.location).read_bytes()


def test_a_step_that_catches_its_refusal_and_goes_on_is_refused_all_the_same(filled: Lake, tmp_path: Path):
    file = tmp_path / "future.parquet"
    filled.read(FEATURES).write_parquet(file)

    def swallowing() -> None:
        with contextlib.suppress(Exception):
            pl.read_parquet(file)

    def telling_otherwise() -> None:
        try:
            pl.read_parquet(file)
        except SealedFileError as error:
            raise ValueError("another reason") from error

    for step in (swallowing, telling_otherwise):
        with pytest.raises(SealedFileError, match=r"future\.parquet"), LakeView(filled, "step", ALL).sealed():
            step()


def test_what_a_step_needs_of_python_and_its_own_files_stays_open(filled: Lake, tmp_path: Path):
    with LakeView(filled, "step", ALL).sealed():
        import colorsys  # not loaded before

        assert colorsys.rgb_to_hls(0, 0, 0) == (0, 0, 0)
        (tmp_path / "written").write_text("x")
        with (tmp_path / "both").open("w+") as file:
            file.write("x")
            file.seek(0)
            assert file.read() == "x"
        os.close(os.open(tmp_path / "locked", os.O_RDWR | os.O_CREAT))
        assert pl.read_csv(b"a\n1\n").height == 1


def test_a_seal_ends_with_its_step_even_if_that_fails(filled: Lake):
    with pytest.raises(ValueError, match="broken"), LakeView(filled, "step", ALL).sealed():
        raise ValueError("broken")
    assert filled.read(FEATURES).height == 60


def test_threads_that_ran_before_are_not_watched(filled: Lake, tmp_path: Path):
    (tmp_path / "log").write_text("x")
    go, done, found = threading.Event(), threading.Event(), list[str]()

    def log() -> None:
        go.wait()
        found.append((tmp_path / "log").read_text())
        done.set()

    threading.Thread(target=log).start()
    with LakeView(filled, "step", ALL).sealed():
        go.set()
        assert done.wait(10)
    assert found == ["x"]
