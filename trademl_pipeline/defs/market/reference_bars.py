"""Series that symbols are compared with, by month."""

import dagster as dg

from trademl_pipeline.defs.bars import BarsResource
from trademl_pipeline.defs.gate import MonthEvents, each_month, failing, gate_checks, run_info
from trademl_pipeline.defs.metadata import OWNERS, TABLE_KINDS, table_metadata
from trademl_pipeline.defs.partitions import MONTHS, SINGLE_RUN_OF_REFERENCES
from trademl_pipeline.defs.quality import QualityResource
from trademl_pipeline.defs.references import ReferenceResource
from trademl_pipeline.defs.resources import DataSetResource, GateResource, LakeResource
from trademl_pipeline.defs.stage import deps_of
from trademl_pipeline.defs.workspace import definitions_of
from trademl_pipeline.pipeline import reference_bars as step
from trademl_pipeline.pipeline.sources import simulated_market
from trademl_pipeline.tables import REFERENCE_BARS
from trademl_pipeline.tables.descriptions import REFERENCES


@dg.asset(
    description=step.__doc__,
    partitions_def=MONTHS,
    backfill_policy=SINGLE_RUN_OF_REFERENCES,
    deps=deps_of(step.READS),
    group_name="market",
    kinds=TABLE_KINDS,
    owners=OWNERS,
    metadata=table_metadata(REFERENCE_BARS, descriptions=REFERENCES),
)
def reference_bars(
    context: dg.AssetExecutionContext,
    bars: BarsResource,
    data_set: DataSetResource,
    references: ReferenceResource,
    quality: QualityResource,
    lake: LakeResource,
    gate: GateResource,
) -> MonthEvents:
    """Fetch real series, build the index, audit, publish.

    Args:
        context: of the step.
        bars, data_set, references, quality, lake, gate: resources of the run.
    """
    with failing():
        body = step.reference_bars_months(
            simulated_market(bars.plain(data_set.calendar)),
            references.plain(),
            quality.plain(data_set.calendar),
            lake.open(),
            run_info(context),
            gate.plain(),
            data_set.calendar,
        )
    yield from each_month(context, body, keep_going=gate.keep_going)


reference_bars_gate = gate_checks(
    REFERENCE_BARS,
    lambda published, month: step.audit_reference_bars_month(
        published.references,
        published.workspace.lake,
        month,
        published.sample,
        published.workspace.calendar,
    ),
)


def definitions() -> dg.Definitions:
    """The references and their checks."""
    return definitions_of([reference_bars, reference_bars_gate])
