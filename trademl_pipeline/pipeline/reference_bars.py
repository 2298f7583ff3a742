"""The series that symbols are compared with: index and sector funds, the VIX, and an index built from the bars.

Real series come from a file of their own (setting `reference`), from the simulated market's factors, or from funds
among the bars. The synthetic index (`^INDEX`) is chained from its members' returns with weights as of each session,
and goes on from the level of the month before. Bars that break a rule go to `quarantined_references`, the map from
symbols to sector funds to `sectors`, the quality of the real series to `reference_quality`. A month of 1,500 symbols
takes about a second.
"""

from collections.abc import Mapping
from datetime import datetime

import polars as pl

from trademl_pipeline.lake import Lake
from trademl_pipeline.lake.errors import MissingTableError
from trademl_pipeline.leakage import AuditReport, audit_features, audit_knowledge
from trademl_pipeline.leakage.probes.published import audit_published
from trademl_pipeline.market.calendar import month_bounds, month_key, offset_month, sessions_before
from trademl_pipeline.market.errors import MarketError
from trademl_pipeline.market.index_builder import IndexSpec
from trademl_pipeline.market.quality.checks import LOOKBACK
from trademl_pipeline.market.quality.report import (
    REFERENCE_RULES,
    Rule,
    quality_of_months,
    report_table,
    rules_from,
)
from trademl_pipeline.market.references import (
    SYNTHETIC,
    ReferenceMarket,
    reference_rows,
    sectors_of,
    split_references,
    synthetic_rows,
    warmup_start,
)
from trademl_pipeline.market.symbols import INDEX_SYMBOL
from trademl_pipeline.pipeline.bar_quality import audit_quality
from trademl_pipeline.pipeline.errors import StepError
from trademl_pipeline.pipeline.gate import Audited, Sample, month_metadata, publish
from trademl_pipeline.pipeline.history import published_months
from trademl_pipeline.pipeline.inputs import bars_from
from trademl_pipeline.pipeline.lookback import sessions_back
from trademl_pipeline.pipeline.months import Body, MonthResult, RunInfo, result_of
from trademl_pipeline.pipeline.quality_settings import Quality
from trademl_pipeline.pipeline.references import References
from trademl_pipeline.pipeline.shown import Markdown, Metadata
from trademl_pipeline.tables import QUARANTINED_REFERENCES, RAW_BARS, REFERENCE_BARS, SECTORS, quality_table

READS = {RAW_BARS.name: sessions_back(IndexSpec().warmup)}
INDEX_BASE = 1000.0
REFERENCE_QUALITY = quality_table(REFERENCE_BARS.name)
_INDEX_COLUMNS = ("open", "high", "low", "close", "volume")


def index_bars(store: Lake, month: str, spec: IndexSpec, calendar: str) -> pl.DataFrame:
    """Read the bars that the month's index is made of: its warm-up and itself.

    Args:
        store: the lake.
        month: month key.
        spec: of the index.
        calendar: of the data set.

    Raises:
        MissingMonthsError: one of these months is not published.
    """
    return bars_from(store, warmup_start(month, spec, calendar), month, reader="reference_bars")


def level_before(
    store: Lake, month: str, references: References, ingested_at: datetime, calendar: str
) -> float:
    """Return the index's level at the end of the month before: as published, or built anew where it is not.

    A published level of an index with other weights does not count.

    Args:
        store: the lake.
        month: month key.
        references: how the index is weighted.
        ingested_at: time stamp of rows that are built anew (UTC).
        calendar: of the data set.
    """
    published = [m for m in published_months(store, REFERENCE_BARS) if m < month]
    wanted = [m for m in store.months(RAW_BARS) if m < month]
    source = f"constituents:{references.spec().weighting}"
    missing: list[str] = []
    level = INDEX_BASE
    for before in reversed(wanted):
        if before in published:
            rows = store.read(REFERENCE_BARS, months=[before], symbols=[INDEX_SYMBOL])
            rows = rows.filter(pl.col("source") == source)
            if rows.height:
                level = float(rows["close"][-1])
                break
        missing.append(before)
    for before in reversed(missing):
        rows = build_month(
            index_bars(store, before, references.spec(), calendar), before, level, references, ingested_at
        )
        level = float(rows["close"][-1]) if rows.height else level
    return level


def build_month(
    bars: pl.DataFrame, month: str, base: float, references: References, ingested_at: datetime
) -> pl.DataFrame:
    """Build the month's rows of the synthetic index.

    Args:
        bars: of the constituents: the warm-up and the month.
        month: month key.
        base: the index's level at the end of the month before.
        references: how the index is weighted, and of whom it is made.
        ingested_at: time stamp of the rows (UTC).
    """
    return synthetic_rows(
        bars,
        month,
        base,
        spec=references.spec(),
        membership_intervals=references.membership_intervals(month),
        shares=references.shares_outstanding(),
        ingested_at=ingested_at,
    )


def quality_of_references(
    store: Lake, good: pl.DataFrame, bad: pl.DataFrame, month: str, rules: Mapping[str, Rule], calendar: str
) -> pl.DataFrame:
    """Return the month's quality of the real series, those of the look-back behind them.

    Args:
        store: the lake, for the look-back.
        good: the month's bars of real series.
        bad: those that broke a rule.
        month: month key.
        rules: by check.
        calendar: of the real series.
    """
    before = month_key(sessions_before(month, LOOKBACK, calendar)), offset_month(month, -1)
    try:
        earlier = store.read(REFERENCE_BARS, months=before).filter(pl.col("kind") != SYNTHETIC)
    except MissingTableError:
        earlier = good.clear()
    return quality_of_months(pl.concat([earlier, good]), bad, [month], rules=rules, calendar=calendar)[month]


def audit_reference_month(
    written: pl.DataFrame,
    bars: pl.DataFrame,
    month: str,
    base: float,
    references: References,
    sample: Sample,
) -> AuditReport:
    """Audit T on the index, its rows against a computation anew, and K on every row, real series included.

    Args:
        written: the month's rows of all series.
        bars: that the index is made of.
        month: month key.
        base: the index's level at the end of the month before.
        references: how the index is weighted, and of whom it is made.
        sample: how hard the gate looks.
    """
    known = audit_knowledge(written, decision_time="knowledge_time", knowledge_time="event_time")
    index = written.filter(pl.col("kind") == SYNTHETIC)
    if index.is_empty():
        nothing = {"rows": 0, "note": "no symbol traded on two sessions, so there is no index"}
        return known + AuditReport((), {"truncation": nothing, "incremental": nothing})
    moment = index["ingested_at"][0]

    # What says who is in the index, and how heavily, is cut with the bars.
    lists = {
        "membership_intervals": references.membership_intervals(month),
        "shares": references.shares_outstanding(),
    }
    sources = {name: rows for name, rows in lists.items() if rows is not None}
    spec = references.spec()

    def rebuilt(
        constituents: pl.DataFrame,
        membership_intervals: pl.DataFrame | None = None,
        shares: pl.DataFrame | None = None,
    ) -> pl.DataFrame:
        rows = synthetic_rows(
            constituents,
            month,
            base,
            spec=spec,
            membership_intervals=membership_intervals,
            shares=shares,
            ingested_at=moment,
        )
        return rows.select("symbol", "session", *_INDEX_COLUMNS)

    def extract(days: pl.DataFrame, constituents: pl.DataFrame, **known_lists: pl.DataFrame) -> pl.DataFrame:
        return rebuilt(constituents, **known_lists).join(
            days.select("symbol", "session"), on=["symbol", "session"], how="semi"
        )

    return (
        audit_features(
            extract,
            index.select("symbol", "session", "event_time"),
            sources={"constituents": bars, **sources},
            probes=("truncation",),
            cutoffs=sample.cutoffs,
            seed=sample.seed_of(REFERENCE_BARS.name, month),
        )
        + audit_published(index, rebuilt(bars, **sources))
        + known
    )


def audit_sectors(written: pl.DataFrame, month: str) -> AuditReport:
    """Audit K on the map to sector funds: no move to another sector is known before the month that it lies in."""
    if written.is_empty():
        return AuditReport((), {"knowledge": {"rows": 0, "note": "no sector of any symbol is known"}})
    last = written.with_columns(pl.lit(month_bounds(month)[1]).alias("last_day"))
    return audit_knowledge(last, decision_time="last_day", knowledge_time="start_date")


def reference_bars_months(
    market: ReferenceMarket | None,
    references: References,
    quality: Quality,
    store: Lake,
    run: RunInfo,
    sample: Sample,
    calendar: str,
) -> Body:
    """Return what fetches real series, builds the index, audits and publishes one month.

    Args:
        market: the simulated market that the bars come from; None for others.
        references: what the data set compares symbols with.
        quality: rules of the checks.
        store: the lake.
        run: that publishes.
        sample: how hard the gate looks.
        calendar: of the data set.

    Raises:
        StepError: a setting of references or quality makes no sense.
    """
    try:
        series, sectors, spec = references.series(), references.sector_map(market), references.spec()
        rules = rules_from(quality.rules, REFERENCE_RULES)
    except MarketError as error:
        raise StepError(f"reference_bars: {error}") from error

    # What comes from elsewhere than the bars has a calendar of its own.
    own_calendar = series.calendar if series is not None else calendar

    def month_of(month: str) -> MonthResult:
        constituents = index_bars(store, month, spec, calendar)
        bars = constituents.filter(pl.col("session") >= month_bounds(month)[0])
        good, bad = split_references(
            reference_rows(market, series, bars, month), ingested_at=run.recorded_at, calendar=own_calendar
        )
        base = level_before(store, month, references, run.recorded_at, calendar)
        index = build_month(constituents, month, base, references, run.recorded_at)
        frame = pl.concat([good.filter(pl.col("symbol") != INDEX_SYMBOL), index])
        mapped = sectors_of(sectors, bars, month)
        report = quality_of_references(store, good, bad, month, rules, own_calendar)
        sectors_beside = Audited(SECTORS, mapped, lambda written: audit_sectors(written, month))
        quality_beside = Audited(REFERENCE_QUALITY, report, lambda written: audit_quality(written, report))
        published = publish(
            run,
            store,
            REFERENCE_BARS,
            frame,
            month,
            lambda written: audit_reference_month(written, constituents, month, base, references, sample),
            beside=[
                (QUARANTINED_REFERENCES, bad),
                sectors_beside,
                quality_beside,
            ],
        )
        unmapped = bars["symbol"].n_unique() - mapped["symbol"].n_unique()
        if bad.height:
            run.log.warning(f"reference_bars {month[:7]}: {bad.height} rows quarantined")
        shown: Metadata = {
            "series": Markdown(_series_table(frame)),
            "quarantined_rows": int(bad.height),
            "symbols_without_sector": int(unmapped),
            "quality": Markdown(report_table(report)),
        }
        return result_of(published, {**month_metadata(published, frame), **shown})

    return month_of


def _series_table(frame: pl.DataFrame) -> str:
    counts = frame.group_by("kind", "symbol").agg(pl.len(), pl.col("close").last()).sort("kind", "symbol")
    lines = ["| kind | symbol | sessions | last |", "|---|---|---|---|"]
    return "\n".join(lines + [f"| {k} | {s} | {n} | {close:.2f} |" for k, s, n, close in counts.iter_rows()])


def audit_reference_bars_month(
    references: References, store: Lake, month: str, sample: Sample, calendar: str
) -> AuditReport:
    """Audit a month of references as the lake holds it.

    Args:
        references: what the data set compares symbols with.
        store: the lake.
        month: month key.
        sample: how hard the gate looks.
        calendar: of the data set.
    """
    written = store.read(REFERENCE_BARS, months=(month, month))
    constituents = index_bars(store, month, references.spec(), calendar)
    base = level_before(store, month, references, written["ingested_at"][0], calendar)
    return audit_reference_month(written, constituents, month, base, references, sample)
