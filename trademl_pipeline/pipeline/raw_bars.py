"""Bars as traded, one row per symbol and bar, by month; one asset for each time frame.

Source: the simulated market, files of the user's own, or a vendor (setting `source`). Bars that break a rule go to the
table `quarantined_bars` with the reason, and every value that was ever given for a bar to `bar_versions`, in the same
transaction. A range of months is downloaded in pieces first, so that a run that breaks off resumes. An empty month is
refused and leaves the month as it was. A month of 300 symbols takes about a second.
"""

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

import polars as pl

from trademl_pipeline.lake import Lake
from trademl_pipeline.leakage import AuditReport, audit_knowledge
from trademl_pipeline.market.calendar import month_bounds
from trademl_pipeline.market.errors import MarketError
from trademl_pipeline.market.ingest.ahead import Ahead, one_ahead
from trademl_pipeline.market.ingest.month import Fetched, fetch, merged, quarantine
from trademl_pipeline.market.ingest.staging import Staged
from trademl_pipeline.market.ingest.versions import Merged
from trademl_pipeline.market.sources import BarSource
from trademl_pipeline.pipeline.errors import StepError
from trademl_pipeline.pipeline.gate import month_metadata, publish
from trademl_pipeline.pipeline.history import published_months
from trademl_pipeline.pipeline.months import Body, Log, MonthResult, RunInfo, result_of
from trademl_pipeline.pipeline.shown import Markdown, Metadata
from trademl_pipeline.tables.bar_tables import BarTables, bar_tables

# A run fetches all of its months, or only what the lake lacks of them.
MISSING = "missing"


def audit_bars(bars: pl.DataFrame) -> AuditReport:
    """Audit that no bar was known before it happened."""
    return audit_knowledge(bars, decision_time="knowledge_time", knowledge_time="event_time")


@contextmanager
def _prepared(
    source: BarSource, months: Sequence[str], staging: Path, only_missing: bool, log: Log
) -> Generator[BarSource]:
    """The source to take months from: a file is read years at a time, a vendor's whole range downloaded first."""
    if not source.remote:
        yield Ahead(source, list(months))
        return
    if only_missing:
        yield source
        return
    staged = Staged(source, staging, month_bounds(months[0])[0], month_bounds(months[-1])[1])
    with staged.lock():
        try:
            staged.download(lambda done, total, what: log.info(f"downloaded {done} of {total} pieces {what}"))
        except MarketError as error:
            raise StepError(f"{source.name}: {error}") from error
        try:
            yield staged
        except StepError:
            # What was refused is fetched anew next time: it may be the download that was wrong. A run that was stopped
            # keeps its pieces.
            staged.discard()
            raise
        staged.discard()


def _metadata(merge: Merged, fetched: Fetched, source: BarSource) -> Metadata:
    bad = fetched.split.quarantined
    metadata: Metadata = {
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
        metadata["quarantine"] = Markdown(
            "\n".join(["| reason | rows |", "|---|---|"] + [f"| {r} | {n} |" for r, n in reasons.iter_rows()])
        )
    return metadata


def _say(log: Log, name: str, month: str, merge: Merged, refused: int, revisions: str) -> None:
    if refused:
        log.warning(f"{name} {month[:7]}: {refused} rows quarantined")
    revised = {"restated": merge.restated, "late": merge.late, "withdrawn": merge.withdrawn}
    if revisions == "first" and any(revised.values()):
        counts = ", ".join(f"{n} {what}" for what, n in revised.items() if n)
        log.warning(
            f"{name} {month[:7]}: {counts}; {name} keeps what was known first, the versions are in the ledger "
            "(the setting `revisions: latest` takes them over)"
        )


@contextmanager
def raw_bars_months(
    source: BarSource,
    store: Lake,
    run: RunInfo,
    months: Sequence[str],
    staging: Path,
    *,
    only_missing: bool = False,
) -> Generator[Body]:
    """Open what fetches, judges and publishes months of bars: split good from bad, merge, publish.

    Args:
        source: of bars of one time frame.
        store: the lake.
        run: that publishes.
        months: month keys, in order; the months that will be asked for.
        staging: folder of downloads that can be resumed.
        only_missing: fetch what the lake lacks, not whole months.

    Raises:
        StepError: the source failed to give the range.
    """
    tables = bar_tables(source.timeframe)
    name = tables.bars.name
    # A range of which nothing is published lacks all: downloaded in pieces it takes few requests and resumes.
    lacking = only_missing and (
        len(months) == 1 or not set(months).isdisjoint(published_months(store, tables.bars))
    )

    def fetched(month: str) -> Fetched:
        return fetch(prepared, store, tables, month, ingested_at=run.recorded_at, only_missing=lacking)

    def month_of(month: str) -> MonthResult:
        one = ready(month)
        with store.merging(tables.bars, month):
            merge = merged(
                one, store, tables, month, ingested_at=run.recorded_at, revisions=prepared.revisions
            )
            published = publish(
                run,
                store,
                tables.bars,
                merge.bars,
                month,
                audit_bars,
                beside=[(tables.quarantined, quarantine(one, store, tables, month))],
                append=[(tables.versions, merge.versions)],
            )
        _say(run.log, name, month, merge, one.split.quarantined.height, prepared.revisions)
        shown = {**month_metadata(published, merge.bars), **_metadata(merge, one, prepared)}
        return result_of(published, shown)

    with (
        _prepared(source, months, staging, lacking, run.log) as prepared,
        one_ahead(fetched, list(months)) as ready,
    ):
        yield month_of


def audit_bars_month(store: Lake, tables: BarTables, month: str) -> AuditReport:
    """Audit a month of bars as the lake holds it."""
    return audit_bars(store.read(tables.bars, months=(month, month)))
