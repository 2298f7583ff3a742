"""Daily bars as traded, one row per symbol and session.

Source: the simulated market, or files of the user's own (`TRADEML_SOURCE`). Bars that break a rule go to the table
`quarantined_bars` with the reason, in the same transaction; an empty month is refused and leaves the month as it was.
A month of 300 symbols takes about a second.
"""

from typing import Any

import dagster as dg
import polars as pl

from trademl_pipeline.defs.gate import each_month, gate_checks, publish, run_time
from trademl_pipeline.defs.metadata import OWNERS, month_metadata, table_metadata
from trademl_pipeline.defs.partitions import MONTHS, ONE_RUN
from trademl_pipeline.defs.resources import BarsResource, LakeResource
from trademl_pipeline.lake import Lake
from trademl_pipeline.lake.schemas import QUARANTINED_BARS, RAW_BARS
from trademl_pipeline.leakage import AuditReport, audit_knowledge
from trademl_pipeline.market.quality import split_bars
from trademl_pipeline.market.sources import fetch_month

PROBES = ("knowledge",)


def audit_bars(bars: pl.DataFrame) -> AuditReport:
    """A bar cannot be known before it happened."""
    return audit_knowledge(bars, decision_time="knowledge_time", knowledge_time="event_time")


@dg.asset(
    description=__doc__,
    partitions_def=MONTHS,
    backfill_policy=ONE_RUN,
    group_name="market",
    kinds={"duckdb", "parquet", "polars"},
    owners=OWNERS,
    metadata=table_metadata(RAW_BARS),
)
def raw_bars(context: dg.AssetExecutionContext, bars: BarsResource, lake: LakeResource) -> None:
    """Fetch, split good from bad, publish."""
    source, store = bars.open(), lake.open()
    ingested_at = run_time(context)

    def month_of(month: str) -> dict[str, Any]:
        fetched = fetch_month(source, month)
        good, bad = split_bars(fetched, ingested_at=ingested_at)
        published = publish(
            context,
            store,
            RAW_BARS,
            good,
            month,
            audit_bars,
            beside=[(QUARANTINED_BARS, bad)],
        )
        metadata = month_metadata(published, good)
        metadata["quarantined_rows"] = int(bad.height)
        metadata["source"] = source.name
        if bad.height:
            reasons = bad.group_by("reason").len().sort("len", descending=True).head(10)
            metadata["quarantine"] = dg.MetadataValue.md(
                "\n".join(
                    ["| reason | rows |", "|---|---|"] + [f"| {r} | {n} |" for r, n in reasons.iter_rows()]
                )
            )
            context.log.warning(f"raw_bars {month[:7]}: {bad.height} rows quarantined")
        return metadata

    each_month(context, month_of)


def audit_month(store: Lake, month: str) -> AuditReport:
    """The same audit on what the lake holds."""
    return audit_bars(store.read(RAW_BARS, months=(month, month)))


raw_bars_gate = gate_checks("raw_bars", RAW_BARS.name, PROBES, audit_month)
