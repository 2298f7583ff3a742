"""How good the bars of a month are: a table, and the same checks on `raw_bars`."""

from collections.abc import Iterator

import dagster as dg

from trademl_pipeline.defs.evaluations import check_result, checked_months, is_range, report_evaluations
from trademl_pipeline.defs.gate import MonthEvents, Published, each_month, failing, gate_checks, run_info
from trademl_pipeline.defs.metadata import OWNERS, TABLE_KINDS, table_metadata
from trademl_pipeline.defs.partitions import MONTHS, SINGLE_RUN_OF_REFERENCES
from trademl_pipeline.defs.quality import QualityResource
from trademl_pipeline.defs.resources import DataSetResource, LakeResource
from trademl_pipeline.defs.stage import deps_of
from trademl_pipeline.defs.workspace import definitions_of
from trademl_pipeline.leakage import AuditReport
from trademl_pipeline.market.quality.report import DEFAULT_RULES, DESCRIPTIONS
from trademl_pipeline.pipeline import bar_quality as step
from trademl_pipeline.tables.descriptions import QUALITY


@dg.asset(
    description=step.__doc__,
    partitions_def=MONTHS,
    backfill_policy=SINGLE_RUN_OF_REFERENCES,
    deps=deps_of(step.READS),
    group_name="market",
    kinds=TABLE_KINDS,
    owners=OWNERS,
    metadata=table_metadata(step.BAR_QUALITY, descriptions=QUALITY),
)
def bar_quality(
    context: dg.AssetExecutionContext, data_set: DataSetResource, lake: LakeResource, quality: QualityResource
) -> MonthEvents:
    """Check, publish, show.

    Args:
        context: of the step.
        data_set, lake, quality: resources of the run.
    """
    months, calendar = list(context.partition_keys), data_set.calendar
    with failing():
        body = step.bar_quality_months(
            quality.plain(calendar), lake.open(), run_info(context), months, calendar
        )
    yield from each_month(context, body)


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
    context: dg.AssetCheckExecutionContext,
    data_set: DataSetResource,
    lake: LakeResource,
    quality: QualityResource,
) -> Iterator[dg.AssetCheckResult]:
    """Every check on what the lake holds; in a range of months it fails if it fails in one of them.

    Args:
        context: of the step.
        data_set, lake, quality: resources of the run.
    """
    selected = {key.name for key in context.selected_asset_check_keys}
    rules = quality.plain(data_set.calendar)
    with failing():
        reports = step.published_reports(rules, lake.open(), checked_months(context), data_set.calendar)
    for result in step.results_of(rules, reports, selected):
        yield check_result("raw_bars", result)
    if is_range(context):
        by_month = {
            month: step.results_of(rules, {month: report}, selected) for month, report in reports.items()
        }
        report_evaluations(context, dg.AssetKey("raw_bars"), by_month)


def _audit_month(published: Published, month: str) -> AuditReport:
    store, calendar = published.workspace.lake, published.workspace.calendar
    written = store.read(step.BAR_QUALITY, months=[month])
    return step.audit_bar_quality_month(published.quality, store, written, month, calendar)


bar_quality_gate = gate_checks(step.BAR_QUALITY, _audit_month)


def definitions() -> dg.Definitions:
    """The table of quality, the checks on `raw_bars`, and the gate's on the table."""
    return definitions_of([bar_quality, raw_bars_quality, bar_quality_gate])
