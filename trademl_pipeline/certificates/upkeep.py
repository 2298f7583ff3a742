"""Upkeep of a lake that takes nothing away that a certificate or a model on record stands on."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import polars as pl

from trademl_pipeline.certificates.stored import certified_snapshots
from trademl_pipeline.lake import Lake
from trademl_pipeline.lake.errors import MissingTableError
from trademl_pipeline.lake.maintenance import MaintenanceReport
from trademl_pipeline.tables import model_table

# Days for which the lake can be read as it was, whatever was published since.
DAYS = 30


@dataclass(frozen=True)
class Upkeep:
    """The result of an upkeep.

    Attributes:
        report: files merged, snapshots expired, files deleted.
        protected: snapshots that certificates or model records name, and that stay.
        lost: snapshots that they name, and that were gone before: their months cannot be made again.
    """

    report: MaintenanceReport
    protected: tuple[int, ...]
    lost: tuple[int, ...]

    def counts(self) -> dict[str, int]:
        """Counts, for people."""
        return {
            "snapshots_expired": len(self.report.expired),
            "snapshots_kept_for_certificates": len(self.protected),
            "snapshots_lost_before": len(self.lost),
            "files_merged": self.report.merged,
            "files_deleted": len(self.report.deleted),
        }


def recorded_snapshots(store: Lake, study: str) -> set[int]:
    """Snapshots that the study's certificates or models on record name."""
    try:
        models = store.read(model_table(study), columns=["snapshot"])["snapshot"].to_list()
    except MissingTableError:
        models = []
    return {*models, *certified_snapshots(store, study)}


def maintain(
    store: Lake,
    studies: Iterable[str],
    *,
    days: int = DAYS,
    reclaim_now: bool = False,
    now: datetime | None = None,
) -> Upkeep:
    """Merge small files and let go of old snapshots, except those that certificates and models name.

    Args:
        store: the lake.
        studies: names of all studies that publish into it.
        days: for so long the lake can be read as it was at any moment; older snapshots are let go, but for the last
            of them, which was the lake when the time began.
        reclaim_now: see `Lake.maintain`.
        now: moment that ages are counted from; None: this one.

    Raises:
        ValueError: less than a day is to be kept; a publish may last as long as hours.
    """
    if days < 1:
        raise ValueError(f"snapshots of the last {days} days cannot be all that is kept; give 1 day or more")
    named = {snapshot for study in studies for snapshot in recorded_snapshots(store, study)}
    snapshots = store.snapshots()
    there = set(snapshots["snapshot"].to_list())
    older_than = (now or datetime.now(UTC)) - timedelta(days=days)
    then = snapshots.filter(pl.col("time") < older_than)["snapshot"].tail(1).to_list()
    report = store.maintain(older_than=older_than, keep={*(named & there), *then}, reclaim_now=reclaim_now)
    return Upkeep(report, tuple(sorted(named & there)), tuple(sorted(named - there)))
