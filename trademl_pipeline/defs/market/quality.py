"""How good the bars of a month are: findings of every check, with the share that may be found.

Checks look at what no single row gives away (missing sessions, stale runs, splits left unadjusted, spikes, ...), beside
the rows that broke a rule and went to quarantine. The same checks stand on `raw_bars` as asset checks, WARN or ERROR by
configuration (`TRADEML_QUALITY`). Nothing is repaired. A month of 1,500 symbols takes about a second.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import dagster as dg
import polars as pl

from trademl_pipeline.defs.calendars import data_calendar
from trademl_pipeline.defs.figures import quality_figure
from trademl_pipeline.defs.gate import checked_months, each_month
from trademl_pipeline.defs.history import require_months
from trademl_pipeline.defs.metadata import OWNERS, table_metadata
from trademl_pipeline.defs.partitions import MONTHS, ONE_RUN_BESIDE, months_back, trailing
from trademl_pipeline.defs.quality import QualityResource
from trademl_pipeline.defs.resources import LakeResource
from trademl_pipeline.lake import Lake
from trademl_pipeline.market.calendar import month_key, offset_month, sessions_before
from trademl_pipeline.market.errors import MarketError
from trademl_pipeline.market.quality.checks import LOOKBACK
from trademl_pipeline.market.quality.report import (
    DEFAULT_RULES,
    DESCRIPTIONS,
    Rule,
    calendar_of,
    quality_of_months,
    report_table,
)
from trademl_pipeline.tables import QUARANTINED_BARS, RAW_BARS, quality_table
from trademl_pipeline.tables.descriptions import QUALITY

BAR_QUALITY = quality_table("raw_bars")
NOT_RUN = {
    "vendor_disagreement": "not run: there is no second source; set TRADEML_CROSSCHECK to a file of its bars",
    "members_without_prices": "not run: there is no universe whose members change; set TRADEML_MEMBERSHIP, or "
    "TRADEML_UNIVERSE to a file of spells",
}
# Months that are read and checked together.
_CHUNK = 12
_SHOWN_MONTHS = 36


def month_reports(
    store: Lake, months: Sequence[str], quality: QualityResource
) -> Iterator[tuple[str, pl.DataFrame]]:
    """Month and table of quality, for months in order, read and checked some at a time."""
    rules = quality.parsed()
    for chunk in (list(months[i : i + _CHUNK]) for i in range(0, len(months), _CHUNK)):
        bars = store.read(RAW_BARS, months=(_contiguous(store, chunk[0]), chunk[-1]))
        start = sessions_before(chunk[0], LOOKBACK, data_calendar())
        bars = bars.filter(pl.col("session") >= start)
        yield from quality_of_months(
            bars,
            store.read(QUARANTINED_BARS, months=chunk, with_month=True),
            chunk,
            rules=rules,
            other=quality.other(bars),
            spells=quality.spells(chunk[0], chunk[-1]),
            calendar=quality.calendar or calendar_of(bars),
        ).items()


def _contiguous(store: Lake, month: str) -> str:
    """The first month of the look-back: a month that nobody published is not the bars' fault."""
    earliest = month_key(sessions_before(month, LOOKBACK, data_calendar()))
    published = set(store.months(RAW_BARS))
    while month > earliest and offset_month(month, -1) in published:
        month = offset_month(month, -1)
    return month


@dg.asset(
    description=__doc__,
    partitions_def=MONTHS,
    backfill_policy=ONE_RUN_BESIDE,
    deps=[dg.AssetDep("raw_bars", partition_mapping=trailing(months_back(LOOKBACK)))],
    group_name="market",
    kinds={"duckdb", "parquet", "polars"},
    owners=OWNERS,
    metadata=table_metadata(BAR_QUALITY, descriptions=QUALITY),
)
def bar_quality(context: dg.AssetExecutionContext, lake: LakeResource, quality: QualityResource) -> None:
    """Check, publish, show."""
    store, months = lake.open(), list(context.partition_keys)
    made: dict[str, pl.DataFrame] = {}

    def month_of(month: str) -> dict[str, Any]:
        require_months(store, RAW_BARS.name, month, month, reader=f"bar_quality {month[:7]}")
        if month not in made:
            made.clear()
            held = set(store.months(RAW_BARS))
            chunk = [m for m in months[months.index(month) :][:_CHUNK] if m in held]
            made.update(month_reports(store, _unbroken(chunk), quality))
        report = made[month]
        result = store.publish(BAR_QUALITY, report, month)
        failed = report.filter(~pl.col("passed"))
        if failed.height:
            context.log.warning(f"bar_quality {month[:7]}: {', '.join(failed['check'])}")
        metadata: dict[str, Any] = {
            "dagster/row_count": int(result.rows),
            "data_version": result.data_version,
            "unchanged": bool(result.unchanged),
            "findings": int(report["count"].sum()),
            "failed": dg.MetadataValue.json(failed["check"].to_list()),
            "quality": dg.MetadataValue.md(report_table(report)),
        }
        if month == months[-1]:
            back = offset_month(month, 1 - _SHOWN_MONTHS)
            metadata["figure"] = quality_figure(
                store.read(BAR_QUALITY, months=(back, month), with_month=True)
            )
        return metadata

    try:
        quality.parsed()
    except MarketError as error:
        raise dg.Failure(str(error), allow_retries=False) from error
    each_month(context, month_of)


def _unbroken(months: Sequence[str]) -> list[str]:
    """The first of some months and those that follow it without a hole."""
    kept = list(months[:1])
    for month in months[1:]:
        if month != offset_month(kept[-1], 1):
            break
        kept.append(month)
    return kept


@dg.multi_asset_check(
    name="quality_raw_bars",
    description="Quality of the bars, by month.",
    specs=[
        dg.AssetCheckSpec(
            name=check, asset="raw_bars", partitions_def=MONTHS, description=DESCRIPTIONS[check]
        )
        for check in DEFAULT_RULES
    ],
    can_subset=True,
)
def raw_bars_quality(
    context: dg.AssetCheckExecutionContext, lake: LakeResource, quality: QualityResource
) -> Iterable[dg.AssetCheckResult]:
    """Every check on what the lake holds; in a range of months it fails if it fails in one of them."""
    store = lake.open()
    published = set(store.months(RAW_BARS))
    months = [m for m in checked_months(context) if m in published]
    reports: dict[str, pl.DataFrame] = {}
    while len(reports) < len(months):
        reports.update(month_reports(store, _unbroken(months[len(reports) :]), quality))
    if not reports:
        raise dg.Failure("raw_bars holds none of the months to check: materialize them first")
    table = pl.concat(report.with_columns(pl.lit(m).alias("month")) for m, report in reports.items())
    for check, rule in quality.parsed().items():
        if check not in {key.name for key in context.selected_asset_check_keys}:
            continue
        yield _result(check, rule, table.filter(pl.col("check") == check))


def _result(check: str, rule: Rule, rows: pl.DataFrame) -> dg.AssetCheckResult:
    failed = rows.filter(~pl.col("passed"))
    severity = dg.AssetCheckSeverity.ERROR if rule.severity == "ERROR" else dg.AssetCheckSeverity.WARN
    metadata: dict[str, Any] = {
        "found": int(rows["count"].sum()),
        "of": int(rows["rows"].sum()),
        "limit": float(rule.limit),
        "failed_months": dg.MetadataValue.json([m[:7] for m in failed["month"]]),
    }
    shown = (failed if failed.height else rows.filter(pl.col("count") > 0)).head(3)
    if shown.height:
        examples = [f"{m[:7]}: {text}" for m, text in shown.select("month", "examples").iter_rows()]
        metadata["examples"] = dg.MetadataValue.text("\n".join(examples))
    return dg.AssetCheckResult(
        asset_key=dg.AssetKey("raw_bars"),
        check_name=check,
        passed=bool(failed.is_empty()),
        severity=severity,
        description=None if rows.height else NOT_RUN.get(check, "not run"),
        metadata=metadata,
    )
