"""Bars as traded, one row per symbol and bar, by month; one asset for each time frame.

Source: the simulated market, files of the user's own, or a vendor (`TRADEML_SOURCE`). Bars that break a rule go to the
table `quarantined_bars` with the reason, and every value that was ever given for a bar to `bar_versions`, in the same
transaction. A range of months is downloaded in pieces first, so that a run that breaks off resumes. An empty month is
refused and leaves the month as it was. A month of 300 symbols takes about a second.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import dagster as dg

from trademl_pipeline import settings
from trademl_pipeline.defs.bars import BarsResource
from trademl_pipeline.defs.gate import each_month, gate_checks, publish, run_time
from trademl_pipeline.defs.metadata import OWNERS, month_metadata, table_metadata
from trademl_pipeline.defs.partitions import MONTHS, ONE_RUN
from trademl_pipeline.defs.resources import LakeResource, home
from trademl_pipeline.lake import Lake
from trademl_pipeline.lake.errors import MissingTableError
from trademl_pipeline.leakage import AuditReport, audit_knowledge
from trademl_pipeline.market.calendar import month_bounds
from trademl_pipeline.market.errors import MarketError
from trademl_pipeline.market.ingest.ahead import Ahead, one_ahead
from trademl_pipeline.market.ingest.month import Fetched, fetch, merged, quarantine
from trademl_pipeline.market.ingest.staging import Staged
from trademl_pipeline.market.ingest.versions import Merged
from trademl_pipeline.market.sources import BarSource
from trademl_pipeline.tables.bar_tables import DAILY, BarTables, bar_tables
from trademl_pipeline.tables.descriptions import BARS

PROBES = ("knowledge",)
# What a run fetches: all of its months, or only what the lake lacks of them.
FETCH_TAG, MISSING = "trademl/fetch", "missing"


def audit_bars(bars: Any) -> AuditReport:
    """A bar cannot be known before it happened."""
    return audit_knowledge(bars, decision_time="knowledge_time", knowledge_time="event_time")


@contextmanager
def _prepared(source: BarSource, months: list[str], only_missing: bool, log: Any) -> Iterator[BarSource]:
    """The source to take months from: a file is read years at a time, a vendor's whole range downloaded first."""
    if not source.remote:
        yield Ahead(source, months)
        return
    if only_missing:
        yield source
        return
    staged = Staged(source, home() / "staging", month_bounds(months[0])[0], month_bounds(months[-1])[1])
    with staged.held():
        try:
            staged.download(lambda done, total, what: log.info(f"downloaded {done} of {total} pieces {what}"))
        except MarketError as error:
            raise dg.Failure(f"{source.name}: {error}") from error
        try:
            yield staged
        except dg.Failure:
            # What was refused is fetched anew next time: it may be the download that was wrong. A run that was stopped
            # keeps its pieces.
            staged.discard()
            raise
        staged.discard()


def held(store: Lake, tables: BarTables) -> list[str]:
    """Months of which the lake has bars."""
    try:
        return store.months(tables.bars)
    except MissingTableError:
        return []


def _metadata(merge: Merged, fetched: Fetched, source: BarSource) -> dict[str, Any]:
    bad = fetched.split.quarantined
    metadata: dict[str, Any] = {
        "source": source.name,
        "quarantined_rows": int(bad.height),
        "new_rows": merge.new,
        "restated_rows": merge.restated,
        "late_rows": merge.late,
        "withdrawn_rows": merge.withdrawn,
        "fetched_rows": int(bad.height + fetched.split.good.height),
    }
    if bad.height:
        reasons = bad.group_by("reason").len().sort("len", descending=True).head(10)
        metadata["quarantine"] = dg.MetadataValue.md(
            "\n".join(["| reason | rows |", "|---|---|"] + [f"| {r} | {n} |" for r, n in reasons.iter_rows()])
        )
    return metadata


def _say(log: Any, name: str, month: str, merge: Merged, refused: int, revisions: str) -> None:
    if refused:
        log.warning(f"{name} {month[:7]}: {refused} rows quarantined")
    told = {"restated": merge.restated, "late": merge.late, "withdrawn": merge.withdrawn}
    if revisions == "first" and any(told.values()):
        said = ", ".join(f"{n} {what}" for what, n in told.items() if n)
        log.warning(
            f"{name} {month[:7]}: {said}; {name} keeps what was known first, the versions are in the ledger "
            "(TRADEML_REVISIONS=latest takes them over)"
        )


def bars_assets(timeframe: str) -> list[dg.AssetsDefinition | dg.AssetChecksDefinition]:
    """The asset and the gate checks of one time frame's bars."""
    tables: BarTables = bar_tables(timeframe)
    name = tables.bars.name

    @dg.asset(
        name=name,
        description=__doc__,
        partitions_def=MONTHS,
        backfill_policy=ONE_RUN,
        group_name="market",
        kinds={"duckdb", "parquet", "polars"},
        owners=OWNERS,
        metadata=table_metadata(tables.bars, descriptions=BARS),
    )
    def bars_asset(context: dg.AssetExecutionContext, bars: BarsResource, lake: LakeResource) -> None:
        """Fetch, split good from bad, merge, publish."""
        try:
            opened = bars.open(timeframe)
        except MarketError as error:
            raise dg.Failure(str(error)) from error
        store, ingested_at, months = lake.open(), run_time(context), list(context.partition_keys)
        asked = MISSING in (context.run.tags.get(FETCH_TAG), settings.current().ingest.fetch)
        # A range of which nothing is held lacks all: downloaded in pieces it takes few requests and resumes.
        only_missing = asked and (len(months) == 1 or not set(months).isdisjoint(held(store, tables)))

        def month_of(source: BarSource, fetched: Fetched, month: str) -> dict[str, Any]:
            with store.merging(tables.bars, month):
                merge = merged(
                    fetched, store, tables, month, ingested_at=ingested_at, revisions=source.revisions
                )
                published = publish(
                    context,
                    store,
                    tables.bars,
                    merge.bars,
                    month,
                    audit_bars,
                    beside=[(tables.quarantined, quarantine(fetched, store, tables, month))],
                    append=[(tables.versions, merge.versions)],
                )
            _say(context.log, name, month, merge, fetched.split.quarantined.height, source.revisions)
            return {**month_metadata(published, merge.bars), **_metadata(merge, fetched, source)}

        with _prepared(opened, months, only_missing, context.log) as source:

            def fetched(month: str) -> Fetched:
                return fetch(source, store, tables, month, ingested_at=ingested_at, only_missing=only_missing)

            with one_ahead(fetched, months) as ready:
                each_month(context, lambda month: month_of(source, ready(month), month))

    def audit_month(store: Lake, month: str) -> AuditReport:
        """The same audit on what the lake holds."""
        return audit_bars(store.read(tables.bars, months=(month, month)))

    return [bars_asset, gate_checks(name, name, PROBES, audit_month)]


raw_bars, raw_bars_gate = bars_assets(DAILY)
