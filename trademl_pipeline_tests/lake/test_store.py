import gc
import json
import threading
from datetime import date
from pathlib import Path

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trademl_pipeline.lake import Lake, LakeConfig, UngatedTable
from trademl_pipeline.lake.connection import _database
from trademl_pipeline.lake.errors import (
    EmptyFrameError,
    MissingColumnError,
    MissingSnapshotError,
    MissingTableError,
    WrongMonthError,
)
from trademl_pipeline.lake.schema import copied_ledger, copied_table
from trademl_pipeline.tables import AUDITS, QUARANTINED_BARS, RAW_BARS
from trademl_pipeline_tests.lake.writers import COMPANION, FEATURES, make_frame

LEDGER = copied_ledger(AUDITS)
BARS = copied_table(RAW_BARS)
JANUARY, FEBRUARY, MARCH = "2020-01-01", "2020-02-01", "2020-03-01"


class Refused(Exception):
    pass


def refuse(_: pl.DataFrame) -> None:
    raise Refused("planted leak")


def attached() -> set[str]:
    rows = _database().execute("SELECT database_name FROM duckdb_databases() WHERE NOT internal").fetchall()
    return {name for (name,) in rows if name.startswith("lake_")}


def audit_row(month: str = JANUARY, probe: str = "truncation", **others) -> dict:
    row = dict.fromkeys(AUDITS.columns) | {
        "table_name": "features_test",
        "month": month,
        "probe": probe,
        "passed": True,
        "detail": "",
        "coverage": "{}",
        "run_id": "run",
        "recorded_at": make_frame(month)["decision_time"][0],
    }
    return row | others


def audits(*rows: dict) -> pl.DataFrame:
    return pl.DataFrame(list(rows), schema=AUDITS.polars_schema)


def test_published_month_is_read_back_sorted_and_typed(lake: Lake):
    frame = make_frame(JANUARY)
    result = lake.publish(FEATURES, frame.sample(fraction=1.0, shuffle=True, seed=5), JANUARY)
    assert (result.rows, result.replaced, result.attempts, result.unchanged) == (20, 0, 1, False)
    assert lake.read(FEATURES).equals(frame)
    assert lake.read("features_test").equals(frame)
    assert lake.read(FEATURES).schema == FEATURES.polars_schema


def test_publishing_again_replaces_only_that_month(lake: Lake):
    lake.publish(FEATURES, make_frame(JANUARY, 1.0), JANUARY)
    lake.publish(FEATURES, make_frame(FEBRUARY, 2.0), FEBRUARY)
    result = lake.publish(FEATURES, make_frame(JANUARY, 3.0, symbols=2), JANUARY)
    assert (result.rows, result.replaced) == (8, 20)
    assert lake.read(FEATURES, months=[JANUARY]).equals(make_frame(JANUARY, 3.0, symbols=2))
    assert lake.read(FEATURES, months=[FEBRUARY]).equals(make_frame(FEBRUARY, 2.0))


def test_reordered_columns_do_not_swap(lake: Lake):
    frame = make_frame(JANUARY).with_columns(alpha=pl.lit(1.0), beta=pl.lit(2.0))
    lake.publish(FEATURES, frame.select(reversed(frame.columns)), JANUARY)
    assert lake.read(FEATURES)["alpha"].unique().to_list() == [1.0]


def test_the_same_rows_again_write_nothing(lake: Lake):
    frame = make_frame(JANUARY)
    first = lake.publish(FEATURES, frame, JANUARY)
    again = lake.publish(FEATURES, frame.reverse(), JANUARY)
    assert again.unchanged
    assert (again.snapshot, again.data_version, again.replaced) == (first.snapshot, first.data_version, 20)
    assert lake.snapshot() == first.snapshot
    assert lake.data_version(FEATURES, JANUARY) == first.data_version


def test_another_moment_of_ingestion_alone_is_no_change(lake: Lake):
    schema = UngatedTable("t", {"x": pl.Int64, "ingested_at": pl.Int64}, key=("x",))
    lake.publish(schema, pl.DataFrame({"x": [1], "ingested_at": [1]}), JANUARY)
    assert lake.publish(schema, pl.DataFrame({"x": [1], "ingested_at": [2]}), JANUARY).unchanged
    assert lake.read(schema)["ingested_at"].to_list() == [1]


def test_audit_sees_the_rows_as_they_are_stored(lake: Lake):
    seen = []
    frame = make_frame(JANUARY)
    result = lake.publish(FEATURES, frame.reverse(), JANUARY, audit=lambda f: seen.append(f) or "clean")
    assert result.audited == "clean"
    assert seen[0].equals(frame)


def test_refusing_audit_leaves_the_old_month_and_its_exception_is_not_touched(lake: Lake):
    before = lake.publish(FEATURES, make_frame(JANUARY, 1.0), JANUARY)
    with pytest.raises(Refused, match=r"^planted leak$") as caught:
        lake.publish(FEATURES, make_frame(JANUARY, 2.0), JANUARY, audit=refuse)
    assert caught.value.__cause__ is None
    assert lake.read(FEATURES).equals(make_frame(JANUARY, 1.0))
    assert lake.snapshot() == before.snapshot


def test_refusing_audit_leaves_no_trace_of_a_new_table(lake: Lake, tmp_path):
    with pytest.raises(Refused):
        lake.publish(FEATURES, make_frame(JANUARY), JANUARY, audit=refuse)
    assert lake.tables() == []
    assert list(tmp_path.rglob("*.parquet")) == []


def test_audit_runs_on_unchanged_rows_too(lake: Lake):
    lake.publish(FEATURES, make_frame(JANUARY), JANUARY)
    with pytest.raises(Refused):
        lake.publish(FEATURES, make_frame(JANUARY), JANUARY, audit=refuse)


def test_audit_may_read_the_lake_and_append_to_a_ledger(lake: Lake):
    lake.publish(FEATURES, make_frame(JANUARY, 1.0), JANUARY)
    seen = []

    def audit(_: pl.DataFrame) -> None:
        seen.append(lake.read(FEATURES)["alpha"].unique().to_list())
        lake.append(LEDGER, audits(audit_row()))

    result = lake.publish(FEATURES, make_frame(JANUARY, 2.0), JANUARY, audit=audit)
    assert seen == [[1.0]], "the audit runs once, and others do not see what is not committed"
    assert result.attempts <= 2
    assert lake.read(FEATURES)["alpha"].unique().to_list() == [2.0]
    assert lake.read(LEDGER).height == 1


def test_empty_month_is_refused_and_the_old_one_stays(lake: Lake):
    lake.publish(FEATURES, make_frame(JANUARY), JANUARY)
    with pytest.raises(EmptyFrameError):
        lake.publish(FEATURES, FEATURES.empty(), JANUARY)
    assert lake.read(FEATURES).height == 20
    assert lake.publish(FEATURES, FEATURES.empty(), JANUARY, allow_empty=True).replaced == 20
    assert lake.months(FEATURES) == []


def test_several_tables_are_published_together_or_not_at_all(lake: Lake):
    items = [
        (FEATURES, make_frame(JANUARY), JANUARY),
        (COMPANION, make_frame(JANUARY, schema=COMPANION), JANUARY),
    ]
    with pytest.raises(Refused):
        lake.publish_many(items, audits={COMPANION.name: refuse})
    assert lake.tables() == []
    first, second = lake.publish_many(items, audits={FEATURES.name: lambda f: f.height})
    assert first.snapshot == second.snapshot == lake.snapshot()
    assert (first.audited, second.audited) == (20, None)


def test_bars_and_quarantine_go_together_with_an_empty_quarantine(lake: Lake):
    bars = pl.DataFrame(
        [{"symbol": "AAA", "session": date(2020, 1, 2), "source": "test", "adjusted": False}],
        schema=RAW_BARS.polars_schema,
    ).with_columns(
        pl.col(pl.Float64).fill_null(1.0),
        pl.col(pl.Datetime).fill_null(pl.lit(date(2020, 1, 2)).cast(pl.Datetime("us", "UTC"))),
    )
    lake.publish_many([(BARS, bars, JANUARY), (QUARANTINED_BARS, QUARANTINED_BARS.empty(), JANUARY)])
    assert lake.read(BARS).equals(bars)
    bad = bars.with_columns(
        close=pl.lit(None, pl.Float64), reason=pl.lit("close missing"), row=pl.lit(7, pl.Int64)
    )
    twice = pl.concat([bad, bad])
    lake.publish_many([(BARS, bars, JANUARY), (QUARANTINED_BARS, twice, JANUARY)])
    assert lake.read(QUARANTINED_BARS).equals(twice)


def test_publish_many_writes_only_what_changed(lake: Lake):
    lake.publish(FEATURES, make_frame(JANUARY), JANUARY)
    companion = make_frame(JANUARY, schema=COMPANION)
    first, second = lake.publish_many(
        [(FEATURES, make_frame(JANUARY), JANUARY), (COMPANION, companion, JANUARY)]
    )
    assert (first.unchanged, second.unchanged) == (True, False)


def test_publish_many_wants_each_table_once(lake: Lake):
    items = [(FEATURES, make_frame(m), m) for m in (JANUARY, FEBRUARY)]
    with pytest.raises(ValueError, match="each table once"):
        lake.publish_many(items)
    with pytest.raises(ValueError, match="'typo'"):
        lake.publish_many(items[:1], audits={"typo": refuse})


def test_ledger_is_appended_and_never_replaced(lake: Lake):
    lake.append(LEDGER, audits(audit_row(JANUARY)))
    result = lake.append(
        LEDGER, audits(audit_row(FEBRUARY), audit_row(FEBRUARY, passed=False, probe="clock"))
    )
    assert result.rows == 2
    assert lake.read(LEDGER).height == 3
    assert lake.read(LEDGER, months=[FEBRUARY])["passed"].to_list() == [False, True]
    with pytest.raises(ValueError, match="is a ledger"):
        lake.publish(LEDGER, audits(audit_row()), JANUARY)
    with pytest.raises(ValueError, match="is no ledger"):
        lake.append(FEATURES, make_frame(JANUARY))
    with pytest.raises(WrongMonthError):
        lake.append(LEDGER, audits(audit_row(month=JANUARY) | {"month": "January"}))


def test_read_chooses_months_columns_and_symbols(lake: Lake):
    for month in (JANUARY, FEBRUARY, MARCH):
        lake.publish(FEATURES, make_frame(month), month)
    assert lake.months(FEATURES) == [JANUARY, FEBRUARY, MARCH]
    assert lake.read(FEATURES, months=(JANUARY, FEBRUARY)).height == 40
    two = lake.read(FEATURES, months=[JANUARY, MARCH], with_month=True)
    assert two["month"].unique().sort().to_list() == [JANUARY, MARCH]
    chosen = lake.read(
        FEATURES, columns=["beta", "session"], symbols=["S001", "S003", "none"], months=[MARCH]
    )
    assert chosen.columns == ["beta", "session"]
    assert chosen.height == 8
    assert lake.read(FEATURES, months=[]).is_empty()
    assert lake.read(FEATURES, symbols=[]).schema == FEATURES.polars_schema


def test_one_string_is_no_list_of_months_or_symbols(lake: Lake):
    lake.publish(FEATURES, make_frame(JANUARY), JANUARY)
    with pytest.raises(TypeError, match="as sequences"):
        lake.read(FEATURES, symbols="S001")
    with pytest.raises(TypeError, match="as sequences"):
        lake.read(FEATURES, months=JANUARY)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="range"):
        lake.read(FEATURES, months=(JANUARY,))  # type: ignore[arg-type]


def test_read_of_what_is_not_there_names_what_is(lake: Lake):
    with pytest.raises(
        MissingTableError, match=r"'features_test' is not in the lake. Tables there are now: none"
    ):
        lake.read(FEATURES)
    lake.publish(FEATURES, make_frame(JANUARY), JANUARY)
    with pytest.raises(MissingColumnError, match=r"no column \['gamma'\]; it has .*'beta'"):
        lake.read(FEATURES, columns=["alpha", "gamma"])
    with pytest.raises(MissingSnapshotError, match="snapshot 99 is not in the lake"):
        lake.read(FEATURES, snapshot=99)
    with pytest.raises(MissingTableError, match="at snapshot 0"):
        lake.read(FEATURES, snapshot=0)


def test_earlier_snapshot_reads_as_it_was(lake: Lake):
    first = lake.publish(FEATURES, make_frame(JANUARY, 1.0), JANUARY)
    second = lake.publish(FEATURES, make_frame(FEBRUARY, 2.0), FEBRUARY)
    lake.publish(FEATURES, make_frame(JANUARY, 3.0), JANUARY)
    assert lake.read(FEATURES, snapshot=first.snapshot).equals(make_frame(JANUARY, 1.0))
    at_second = lake.read(FEATURES, snapshot=second.snapshot, months=[JANUARY])
    assert at_second.equals(make_frame(JANUARY, 1.0))
    assert lake.months(FEATURES, snapshot=first.snapshot) == [JANUARY]
    assert lake.describe(FEATURES, snapshot=first.snapshot)["rows"].to_list() == [20]
    assert lake.data_version(FEATURES, JANUARY, snapshot=second.snapshot) == first.data_version


def test_snapshots_say_what_was_published(lake: Lake):
    result = lake.publish(FEATURES, make_frame(JANUARY), JANUARY)
    row = lake.snapshots().row(by_predicate=pl.col("snapshot") == result.snapshot, named=True)
    assert row["message"] == "publish features_test 2020-01-01"
    detail = {"table": "features_test", "month": JANUARY, "rows": 20, "data_version": result.data_version}
    assert json.loads(row["detail"]) == [detail]
    assert lake.snapshots().schema["time"] == pl.Datetime("us", "UTC")


def test_describe_counts_rows_sessions_and_symbols(lake: Lake):
    lake.publish(FEATURES, make_frame(JANUARY, symbols=3, sessions=7), JANUARY)
    lake.publish(FEATURES, make_frame(FEBRUARY, symbols=2, sessions=1), FEBRUARY)
    assert lake.describe(FEATURES).rows() == [(JANUARY, 21, 7, 3), (FEBRUARY, 2, 1, 2)]


def test_two_lakes_on_one_folder_see_each_other(lake: Lake):
    with Lake(lake.config) as other:
        lake.publish(FEATURES, make_frame(JANUARY, 1.0), JANUARY)
        assert other.read(FEATURES).height == 20
        other.publish(FEATURES, make_frame(JANUARY, 2.0), JANUARY)
        assert lake.read(FEATURES)["alpha"].unique().to_list() == [2.0]


def test_closed_lake_opens_again(lake: Lake):
    lake.publish(FEATURES, make_frame(JANUARY), JANUARY)
    lake.close()
    assert lake.months(FEATURES) == [JANUARY]


def test_a_lake_that_nobody_holds_is_detached(lake: Lake, tmp_path: Path):
    lake.publish(FEATURES, make_frame(JANUARY), JANUARY)
    before = attached()
    other = Lake(LakeConfig(f"sqlite:{tmp_path}/other.sqlite", f"{tmp_path}/other"))
    other.publish(FEATURES, make_frame(JANUARY), JANUARY)
    assert len(attached() - before) == 1
    del other
    gc.collect()
    assert lake.months(FEATURES) == [JANUARY], "the next transaction detaches it"
    assert attached() <= before


def test_a_lake_that_nobody_holds_stays_attached_while_another_is_read(lake: Lake, tmp_path: Path):
    """To detach it would make statements on the other fail, also where one thread's garbage collector does it."""
    lake.publish(FEATURES, make_frame(JANUARY), JANUARY)
    other = Lake(LakeConfig(f"sqlite:{tmp_path}/other.sqlite", f"{tmp_path}/other"))
    other.publish(FEATURES, make_frame(JANUARY), JANUARY)
    both = attached()

    def audit(written: pl.DataFrame) -> int:
        nonlocal other
        del other
        gc.collect()
        assert attached() == both
        return written.height

    assert lake.publish(FEATURES, make_frame(FEBRUARY), FEBRUARY, audit=audit).rows == 20
    assert lake.months(FEATURES) == [JANUARY, FEBRUARY]
    assert attached() < both


@pytest.mark.slow
def test_threads_that_make_and_drop_lakes_leave_those_of_others_readable(tmp_path: Path):
    failures: list[BaseException] = []

    def work(name: str) -> None:
        try:
            for number in range(12):
                lake = Lake(LakeConfig.local(tmp_path / f"{name}{number}"))
                lake.publish(FEATURES, make_frame(JANUARY), JANUARY)
                assert lake.months(FEATURES) == [JANUARY]
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(name,)) for name in "abc"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_lake_that_was_moved_with_its_catalog_can_be_read(lake: Lake, tmp_path):
    lake.publish(FEATURES, make_frame(JANUARY), JANUARY)
    lake.close()
    (tmp_path / "lake").rename(tmp_path / "elsewhere")
    with Lake(type(lake.config).local(tmp_path / "elsewhere")) as moved:
        assert moved.read(FEATURES).equals(make_frame(JANUARY))


def test_threads_of_one_process_share_a_lake(lake: Lake):
    lake.publish(FEATURES, make_frame("2019-12-01"), "2019-12-01")
    failures: list[BaseException] = []

    def work(month: str) -> None:
        try:
            lake.publish(FEATURES, make_frame(month), month, audit=lambda _: lake.read(FEATURES).height)
        except BaseException as error:
            failures.append(error)

    months = [JANUARY, FEBRUARY, MARCH, "2020-04-01"]
    threads = [threading.Thread(target=work, args=(m,)) for m in months]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert lake.months(FEATURES) == ["2019-12-01", *months]


any_float = st.floats(allow_nan=True, allow_infinity=True, width=64)
columns = {
    "symbol": st.text(min_size=1, max_size=4),
    "session": st.dates(date(2020, 1, 1), date(2020, 1, 31)),
    "real": st.one_of(st.none(), any_float),
    "single": st.one_of(st.none(), st.floats(width=32, allow_nan=False)),
    "count": st.one_of(st.none(), st.integers(-(2**63), 2**63 - 1)),
    "small": st.one_of(st.none(), st.integers(-128, 127)),
    "flag": st.one_of(st.none(), st.booleans()),
    "text": st.one_of(st.none(), st.text(max_size=6)),
    "day": st.one_of(st.none(), st.dates(date(1900, 1, 1), date(2100, 1, 1))),
}
MIXED = UngatedTable(
    "mixed",
    {
        "symbol": pl.String,
        "session": pl.Date,
        "real": pl.Float64,
        "single": pl.Float32,
        "count": pl.Int64,
        "small": pl.Int8,
        "flag": pl.Boolean,
        "text": pl.String,
        "day": pl.Date,
    },
    key=("symbol", "session"),
    nullable=frozenset({"real", "single", "count", "small", "flag", "text", "day"}),
    month_column="session",
)


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(rows=st.lists(st.tuples(*columns.values()), min_size=1, max_size=8, unique_by=lambda r: r[:2]))
def test_whatever_is_published_is_read_back_exactly(lake: Lake, rows):
    frame = pl.DataFrame(rows, schema=MIXED.polars_schema, orient="row")
    lake.publish(MIXED, frame, JANUARY)
    assert lake.read(MIXED).equals(frame.sort("symbol", "session"))
