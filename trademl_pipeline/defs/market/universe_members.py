"""Whom one may decide on: who belonged to the universe on each session and has a bar of it.

The universe is `TRADEML_UNIVERSE` (`--universe`), everyone with a bar where it is not set. Membership of `SP500`, or of
a file with dates, is that of the day: windows, and so training and predictions, are made of members only, among them
the names that left later, and without those that came later.
"""

from typing import Any

import dagster as dg
import polars as pl

from trademl_pipeline.defs.gate import each_month, gate_checks, publish
from trademl_pipeline.defs.history import read_months
from trademl_pipeline.defs.metadata import OWNERS, column_lineage, month_metadata, table_metadata
from trademl_pipeline.defs.partitions import MONTHS, ONE_RUN_BESIDE, same_month
from trademl_pipeline.defs.resources import LakeResource
from trademl_pipeline.defs.universes import UniverseResource
from trademl_pipeline.lake import Lake
from trademl_pipeline.leakage import AuditReport, audit_universe
from trademl_pipeline.leakage.probes.published import audit_published
from trademl_pipeline.market.calendar import FIRST_DAY
from trademl_pipeline.market.symbols import VOLATILITY_INDICES
from trademl_pipeline.market.universes import members_with_bars
from trademl_pipeline.tables import RAW_BARS, UNIVERSE_MEMBERS
from trademl_pipeline.tables.descriptions import MEMBERS

PROBES = ("universe", "incremental")


def month_keys(store: Lake, month: str) -> pl.DataFrame:
    """symbol, session of the month's bars of what can be traded: an index of volatility cannot."""
    reader, columns = f"universe_members {month[:7]}", ("symbol", "session")
    bars = read_months(store, RAW_BARS, month, month, reader=reader, columns=columns)
    return bars.filter(~pl.col("symbol").is_in(VOLATILITY_INDICES))


def audit_members_month(
    published: pl.DataFrame, bars: pl.DataFrame, spells: pl.DataFrame | None, name: str
) -> AuditReport:
    """V: nobody before he came or after he left, and nobody missing; the rows against a computation anew."""
    always = bars.select(pl.col("symbol").unique()).with_columns(
        pl.lit(FIRST_DAY).alias("start_date"), pl.lit(None, pl.Date).alias("end_date")
    )
    return audit_universe(published, bars, spells if spells is not None else always) + audit_published(
        published, members_with_bars(spells, bars, name)
    )


@dg.asset(
    description=__doc__,
    partitions_def=MONTHS,
    backfill_policy=ONE_RUN_BESIDE,
    deps=[dg.AssetDep("raw_bars", partition_mapping=same_month())],
    group_name="market",
    kinds={"duckdb", "parquet", "polars"},
    owners=OWNERS,
    metadata=table_metadata(
        UNIVERSE_MEMBERS, column_lineage({c: [("raw_bars", c)] for c in ("symbol", "session")}), MEMBERS
    ),
)
def universe_members(
    context: dg.AssetExecutionContext, lake: LakeResource, universe: UniverseResource
) -> None:
    """Look up, audit, publish."""
    store, name = lake.open(), universe.name

    def month_of(month: str) -> dict[str, Any]:
        bars, spells = month_keys(store, month), universe.spells(month, month)
        frame = members_with_bars(spells, bars, name)
        published = publish(
            context,
            store,
            UNIVERSE_MEMBERS,
            frame,
            month,
            lambda written: audit_members_month(written, bars, spells, name),
        )
        share = frame.height / bars.height
        return {**month_metadata(published, frame), "universe": name, "share_of_bars": float(share)}

    each_month(context, month_of)


def audit_month(store: Lake, month: str) -> AuditReport:
    """The same audit on what the lake holds."""
    universe = UniverseResource.from_environment()
    written = store.read(UNIVERSE_MEMBERS, months=[month])
    return audit_members_month(
        written, month_keys(store, month), universe.spells(month, month), universe.name
    )


universe_members_gate = gate_checks("universe_members", UNIVERSE_MEMBERS.name, PROBES, audit_month)
