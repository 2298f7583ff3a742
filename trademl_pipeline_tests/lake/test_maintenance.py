from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from trademl_pipeline.lake import Lake
from trademl_pipeline.lake.errors import MissingSnapshotError
from trademl_pipeline_tests.lake.test_store import LEDGER, audit_row, audits
from trademl_pipeline_tests.lake.writers import FEATURES, make_frame

JANUARY = "2020-01-01"


def parquet_files(lake: Lake, table: str) -> list[Path]:
    return sorted(Path(lake.config.data_path).rglob(f"{table}/**/*.parquet"))


def after_all(lake: Lake) -> datetime:
    last = lake.snapshots()["time"].max()
    assert isinstance(last, datetime)
    return last + timedelta(seconds=1)


def test_many_appends_are_merged_into_one_file_and_earlier_snapshots_still_read(lake: Lake):
    marks = [lake.append(LEDGER, audits(audit_row(run_id=str(i)))).snapshot for i in range(5)]
    assert len(parquet_files(lake, "audits")) == 5
    report = lake.maintain(older_than=datetime(2000, 1, 1, tzinfo=UTC))
    assert (report.merged, report.created, report.expired, report.deleted) == (5, 1, (), ())
    assert lake.read(LEDGER)["run_id"].sort().to_list() == ["0", "1", "2", "3", "4"]
    assert lake.read(LEDGER, snapshot=marks[1])["run_id"].sort().to_list() == ["0", "1"]
    lake.maintain(older_than=datetime(2000, 1, 1, tzinfo=UTC), reclaim_now=True)
    assert len(parquet_files(lake, "audits")) == 1
    assert lake.read(LEDGER, snapshot=marks[1]).height == 2


def test_old_snapshots_go_with_their_files_and_kept_ones_stay(lake: Lake):
    snapshots = [lake.publish(FEATURES, make_frame(JANUARY, float(v)), JANUARY).snapshot for v in range(4)]
    report = lake.maintain(older_than=after_all(lake), keep=[snapshots[1]], reclaim_now=True)
    assert snapshots[0] in report.expired
    assert snapshots[2] in report.expired
    assert lake.snapshots()["snapshot"].to_list() == [snapshots[1], snapshots[3]]
    assert lake.read(FEATURES, snapshot=snapshots[1]).equals(make_frame(JANUARY, 1.0))
    assert lake.read(FEATURES).equals(make_frame(JANUARY, 3.0))
    assert len(parquet_files(lake, "features_test")) == 2
    with pytest.raises(MissingSnapshotError):
        lake.read(FEATURES, snapshot=snapshots[0])


def test_files_of_expired_snapshots_stay_until_a_later_maintenance(lake: Lake):
    for v in range(2):
        lake.publish(FEATURES, make_frame(JANUARY, float(v)), JANUARY)
    assert lake.maintain(older_than=after_all(lake)).expired == (0, 1)
    assert len(parquet_files(lake, "features_test")) == 2
    assert lake.maintain(older_than=after_all(lake)).deleted == ()
    assert len(lake.maintain(older_than=after_all(lake) + timedelta(days=1)).deleted) == 1
    assert lake.read(FEATURES).equals(make_frame(JANUARY, 1.0))


def test_file_that_a_killed_writer_left_is_deleted_by_its_age(lake: Lake):
    lake.publish(FEATURES, make_frame(JANUARY), JANUARY)
    kept = parquet_files(lake, "features_test")
    orphan = kept[0].with_name("ducklake-orphan.parquet")
    orphan.write_bytes(kept[0].read_bytes())
    lake.maintain(older_than=datetime(2000, 1, 1, tzinfo=UTC))
    assert orphan.exists()
    report = lake.maintain(older_than=after_all(lake) + timedelta(hours=1))
    assert report.deleted == (str(orphan),)
    assert parquet_files(lake, "features_test") == kept


def test_unknown_kept_snapshot_stops_the_maintenance(lake: Lake):
    for v in range(3):
        lake.publish(FEATURES, make_frame(JANUARY, float(v)), JANUARY)
    before = lake.snapshots()
    with pytest.raises(MissingSnapshotError, match=r"\[77\]"):
        lake.maintain(older_than=after_all(lake), keep=[77])
    assert lake.snapshots().equals(before)


def test_time_without_zone_is_refused(lake: Lake):
    with pytest.raises(ValueError, match="time zone"):
        lake.maintain(older_than=datetime(2020, 1, 1))
