"""Upkeep of a lake: merge small files, let go of old snapshots, delete the files that no snapshot needs."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from trademl_pipeline.lake.connection import Engine, quote
from trademl_pipeline.lake.errors import MissingSnapshotError
from trademl_pipeline.lake.publishing import current_snapshot


@dataclass(frozen=True)
class MaintenanceReport:
    """The result of an upkeep: files merged away and created, snapshots expired, files deleted (paths)."""

    merged: int
    created: int
    expired: tuple[int, ...]
    deleted: tuple[str, ...]


def maintain(
    engine: Engine, older_than: datetime, keep: Collection[int], reclaim_now: bool
) -> MaintenanceReport:
    """Merge small files, expire old snapshots and delete what nothing needs; see `Lake.maintain`.

    Args:
        engine: of the lake.
        older_than: moment with time zone; snapshots made before it expire.
        keep: snapshots that stay readable.
        reclaim_now: delete at once what the expired snapshots alone needed.

    Raises:
        ValueError: `older_than` has no time zone.
        MissingSnapshotError: `keep` names a snapshot that is not there; nothing is done then.
    """
    if older_than.tzinfo is None:
        raise ValueError("maintain: older_than needs a time zone, for example datetime(..., tzinfo=UTC)")
    moment = _moment(older_than)
    # A SQLite catalog compares the times of letting go as texts, which is right for days only: so whole days.
    midnight = older_than.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    day_before = midnight - timedelta(microseconds=1)

    def once(_: int) -> MaintenanceReport:
        # Under the turn to commit, since it would lose against every commit that comes between.
        with engine.locks.commit_turn(), engine.transaction() as connection:

            def call(function: str, *arguments: str) -> list[tuple[Any, ...]]:
                return connection.execute(
                    f"CALL {function}({', '.join(['current_database()', *arguments])})"
                ).fetchall()

            known = connection.execute(
                f"SELECT snapshot_id, snapshot_time < {moment} FROM snapshots() ORDER BY snapshot_id"
            ).fetchall()
            missing = sorted(set(keep) - {snapshot for snapshot, _ in known})
            if missing:
                raise MissingSnapshotError(f"maintain: snapshots {missing} of `keep` are not in the lake")
            merged = call("ducklake_merge_adjacent_files")
            current = current_snapshot(connection)
            expired = [s for s, expirable in known if expirable and s not in keep and s != current]
            if expired:
                call("ducklake_expire_snapshots", f"versions => {expired}")
            when = "cleanup_all => true" if reclaim_now else f"older_than => {_moment(day_before)}"
            deleted = call("ducklake_cleanup_old_files", when)
            deleted += call("ducklake_delete_orphaned_files", f"older_than => {moment}")
            return MaintenanceReport(
                merged=sum(row[2] for row in merged),
                created=sum(row[3] for row in merged),
                expired=tuple(expired),
                deleted=tuple(row[0] for row in deleted),
            )

    return engine.run("maintenance of the lake", once)


def _moment(when: datetime) -> str:
    return f"TIMESTAMPTZ {quote(when.isoformat())}"
