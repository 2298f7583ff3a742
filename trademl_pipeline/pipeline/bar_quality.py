"""How good the bars of a month are: findings of every check, with the share that may be found.

Checks look at what no single row gives away (missing sessions, stale runs, splits left unadjusted, spikes, ...), beside
the rows that broke a rule and went to quarantine. The same checks stand on `raw_bars` as asset checks, WARN or ERROR by
configuration (setting `quality`). Nothing is repaired. A month of 1,500 symbols takes about a second.
"""

from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import replace

import polars as pl

from trademl_pipeline.lake import Lake
from trademl_pipeline.leakage import AuditReport
from trademl_pipeline.leakage.probes.published import audit_published
from trademl_pipeline.market.calendar import month_key, offset_month, sessions_before
from trademl_pipeline.market.errors import MarketError
from trademl_pipeline.market.quality.checks import LOOKBACK
from trademl_pipeline.market.quality.report import (
    DEFAULT_RULES,
    Rule,
    calendar_of,
    quality_of_months,
    report_table,
)
from trademl_pipeline.pipeline.errors import StepError
from trademl_pipeline.pipeline.figures import quality_figure
from trademl_pipeline.pipeline.gate import month_metadata, publish
from trademl_pipeline.pipeline.history import require_months
from trademl_pipeline.pipeline.lookback import sessions_back
from trademl_pipeline.pipeline.months import Body, MonthResult, RunInfo, result_of
from trademl_pipeline.pipeline.quality_settings import Quality
from trademl_pipeline.pipeline.recording import CheckResult
from trademl_pipeline.pipeline.shown import Json, Markdown, Metadata
from trademl_pipeline.tables import QUARANTINED_BARS, RAW_BARS, quality_table

BAR_QUALITY = quality_table("raw_bars")
READS = {RAW_BARS.name: sessions_back(LOOKBACK)}
NOT_RUN = {
    "vendor_disagreement": "not run: there is no second source; set `crosscheck` to a file of its bars",
    "members_without_prices": "not run: there is no universe whose members change; set `membership`, or "
    "`universe` to a file of membership intervals",
}
# Months that are read and checked together.
_CHUNK = 12
_SHOWN_MONTHS = 36


def month_reports(
    store: Lake, months: Sequence[str], quality: Quality, calendar: str
) -> Iterator[tuple[str, pl.DataFrame]]:
    """Yield months with their tables of quality, in order, read and checked some at a time.

    Args:
        store: the lake, which holds bars of the months.
        months: month keys, in order and without a hole.
        quality: the rules, and what bars are compared with.
        calendar: of the data set.
    """
    rules = quality.parsed()
    for chunk in (list(months[i : i + _CHUNK]) for i in range(0, len(months), _CHUNK)):
        bars = store.read(RAW_BARS, months=(_contiguous(store, chunk[0], calendar), chunk[-1]))
        start = sessions_before(chunk[0], LOOKBACK, calendar)
        bars = bars.filter(pl.col("session") >= start)
        yield from quality_of_months(
            bars,
            store.read(QUARANTINED_BARS, months=chunk, with_month=True),
            chunk,
            rules=rules,
            other=quality.other(bars),
            membership_intervals=quality.membership_intervals(chunk[0], chunk[-1]),
            calendar=quality.calendar or calendar_of(bars),
        ).items()


def _contiguous(store: Lake, month: str, calendar: str) -> str:
    """The first month of the look-back: a month that nobody published is not the bars' fault."""
    earliest = month_key(sessions_before(month, LOOKBACK, calendar))
    published = set(store.months(RAW_BARS))
    while month > earliest and offset_month(month, -1) in published:
        month = offset_month(month, -1)
    return month


def bar_quality_months(
    quality: Quality, store: Lake, run: RunInfo, months: Sequence[str], calendar: str
) -> Body:
    """Return what checks and publishes the quality of one month of bars.

    Args:
        quality: the rules, and what bars are compared with.
        store: the lake.
        run: that publishes.
        months: all months of the run, in order: they are read and checked some at a time.
        calendar: of the data set.

    Raises:
        StepError: the rules make no sense.
    """
    try:
        quality.parsed()
    except MarketError as error:
        raise StepError(str(error)) from error
    reports: dict[str, pl.DataFrame] = {}

    def month_of(month: str) -> MonthResult:
        require_months(store, RAW_BARS.name, month, month, reader=f"bar_quality {month[:7]}")
        if month not in reports:
            reports.clear()
            published = set(store.months(RAW_BARS))
            chunk = [m for m in months[months.index(month) :][:_CHUNK] if m in published]
            reports.update(month_reports(store, _unbroken(chunk), quality, calendar))
        report = reports[month]
        published = publish(
            run,
            store,
            BAR_QUALITY,
            report,
            month,
            lambda written: audit_bar_quality_month(quality, store, written, month, calendar),
        )
        failed = report.filter(~pl.col("passed"))
        if failed.height:
            run.log.warning(f"bar_quality {month[:7]}: {', '.join(failed['check'])}")
        metadata: Metadata = {
            **month_metadata(published, report),
            "findings": int(report["count"].sum()),
            "failed": Json(failed["check"].to_list()),
            "quality": Markdown(report_table(report)),
        }
        if month == months[-1]:
            back = offset_month(month, 1 - _SHOWN_MONTHS)
            metadata["figure"] = quality_figure(
                store.read(BAR_QUALITY, months=(back, month), with_month=True)
            )
        of_bars = results_of(quality, {month: report}, DEFAULT_RULES)
        shown = result_of(published, metadata)
        return replace(
            shown, checks=[*shown.checks, *(replace(result, asset=RAW_BARS.name) for result in of_bars)]
        )

    return month_of


def audit_quality(written: pl.DataFrame, report: pl.DataFrame) -> AuditReport:
    """Audit that a table of quality is what the checks give of its month alone."""
    return audit_published(written, report, key=("check",))


def audit_bar_quality_month(
    quality: Quality, store: Lake, written: pl.DataFrame, month: str, calendar: str
) -> AuditReport:
    """Audit a month of the table of quality against the checks made anew, of that month alone.

    Args:
        quality: the rules, and what bars are compared with.
        store: the lake.
        written: the month's table.
        month: month key.
        calendar: of the data set.
    """
    ((_, alone),) = month_reports(store, [month], quality, calendar)
    return audit_quality(written, alone)


def published_reports(
    quality: Quality, store: Lake, months: Sequence[str], calendar: str
) -> dict[str, pl.DataFrame]:
    """Return the table of quality of each of some months that the lake holds.

    Args:
        quality: the rules, and what bars are compared with.
        store: the lake.
        months: month keys.
        calendar: of the data set.

    Raises:
        StepError: the lake holds none of the months.
    """
    published = set(store.months(RAW_BARS))
    present = [m for m in months if m in published]
    reports: dict[str, pl.DataFrame] = {}
    while len(reports) < len(present):
        reports.update(month_reports(store, _unbroken(present[len(reports) :]), quality, calendar))
    if not reports:
        raise StepError("raw_bars holds none of the months to check: materialize them first")
    return reports


def results_of(
    quality: Quality, reports: Mapping[str, pl.DataFrame], wanted: Container[str]
) -> list[CheckResult]:
    """Return the results of the quality checks over months; one failed month fails a check.

    Args:
        quality: the rules.
        reports: tables of quality by month key; one at least.
        wanted: names of the checks.
    """
    table = pl.concat(report.with_columns(pl.lit(m).alias("month")) for m, report in reports.items())
    return [
        _result(check, rule, table.filter(pl.col("check") == check))
        for check, rule in quality.parsed().items()
        if check in wanted
    ]


def _unbroken(months: Sequence[str]) -> list[str]:
    """The first of some months and those that follow it without a hole."""
    unbroken = list(months[:1])
    for month in months[1:]:
        if month != offset_month(unbroken[-1], 1):
            break
        unbroken.append(month)
    return unbroken


def _result(check: str, rule: Rule, rows: pl.DataFrame) -> CheckResult:
    failed = rows.filter(~pl.col("passed"))
    metadata: Metadata = {
        "found": int(rows["count"].sum()),
        "of": int(rows["rows"].sum()),
        "limit": float(rule.limit),
        "failed_months": Json([m[:7] for m in failed["month"]]),
    }
    shown = (failed if failed.height else rows.filter(pl.col("count") > 0)).head(3)
    if shown.height:
        examples = [f"{m[:7]}: {text}" for m, text in shown.select("month", "examples").iter_rows()]
        metadata["examples"] = "\n".join(examples)
    note = "" if rows.height else NOT_RUN.get(check, "not run")
    severity = "ERROR" if rule.severity == "ERROR" else "WARN"
    return CheckResult(check, bool(failed.is_empty()), metadata, False, severity, note)
