"""The view of the lake that the step of an asset is given: what the asset declares to read, and nothing else."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from trademl_pipeline.lake import Lake
from trademl_pipeline.lake.view import FIRST, LakeView, ReadRecord
from trademl_pipeline.market.calendar import close_utc, offset_month, on_or_after, parse_month
from trademl_pipeline.pipeline.lookback import Lookback
from trademl_pipeline.pipeline.shown import Json
from trademl_pipeline.tables import (
    AUDITS,
    QUARANTINED_BARS,
    QUARANTINED_REFERENCES,
    RAW_BARS,
    REFERENCE_BARS,
    SECTORS,
)

# Tables that an asset publishes beside its own.
BESIDE = {
    RAW_BARS.name: (QUARANTINED_BARS.name,),
    REFERENCE_BARS.name: (SECTORS.name, QUARANTINED_REFERENCES.name),
}


def view_of(
    store: Lake,
    asset: str,
    month: str,
    reads: Mapping[str, Lookback],
    *,
    clock: datetime | None = None,
    snapshot: int | None = None,
) -> LakeView:
    """Return what the step that makes a month of an asset may see.

    The ledger of audits can be read as well: by it a step tells a month without rows from one that is missing.

    Args:
        store: the lake.
        asset: its name.
        month: month key.
        reads: input tables, and which months of them.
        clock: what became known later is not there (UTC); None: nothing is held back.
        snapshot: to read at; None: now.
    """
    declared: dict[str, tuple[str, str]] = {AUDITS.name: (FIRST, month)}
    for name, lookback in reads.items():
        first = FIRST if lookback.first is None else offset_month(month, lookback.first)
        months = (first, offset_month(month, lookback.last))
        declared |= dict.fromkeys((name, *BESIDE.get(name, ())), months)
    return LakeView(store, f"{asset} {month[:7]}", declared, clock=clock, snapshot=snapshot)


def before_the_first_decision(month: str, calendar: str) -> datetime:
    """Return the last moment at which nothing of a month had been decided: what was known by then may be learned from.

    Args:
        month: month key.
        calendar: on which decisions are taken, at the close of each session.
    """
    return close_utc(on_or_after(parse_month(month), calendar), calendar) - timedelta(microseconds=1)


def reads_shown(reads: Sequence[ReadRecord]) -> Json:
    """Return the reads of a step as it is shown beside its month."""
    return Json(
        [
            {
                "table": read.table,
                "months": f"{read.first[:7]} to {read.last[:7]}",
                "snapshot": read.snapshot,
                "rows": read.rows,
                "known_until": None if read.knowledge_last is None else read.knowledge_last.isoformat(),
                "content": read.content,
            }
            for read in reads
            if read.table != AUDITS.name
        ]
    )
