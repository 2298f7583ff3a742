"""What symbols are compared with, by month."""

import dagster as dg

from trademl_pipeline.defs.bars import BarsResource
from trademl_pipeline.defs.calendars import data_calendar
from trademl_pipeline.defs.gate import each_month, failing, gate_checks, run_info
from trademl_pipeline.defs.metadata import OWNERS, TABLE_KINDS, table_metadata
from trademl_pipeline.defs.partitions import MONTHS, SINGLE_RUN_OF_REFERENCES
from trademl_pipeline.defs.quality import QualityResource
from trademl_pipeline.defs.references import ReferenceResource, simulated_market
from trademl_pipeline.defs.resources import GateResource, LakeResource
from trademl_pipeline.defs.stage import deps_of
from trademl_pipeline.defs.workspace import definitions_of
from trademl_pipeline.lake import Lake
from trademl_pipeline.leakage import AuditReport
from trademl_pipeline.pipeline import reference_bars as step
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
    references: ReferenceResource,
    quality: QualityResource,
    lake: LakeResource,
    gate: GateResource,
) -> None:
    """Fetch real series, build the index, audit, publish."""
    with failing():
        body = step.reference_bars_months(
            simulated_market(bars),
            references.plain(),
            quality.plain(),
            lake.open(),
            run_info(context),
            gate.plain(),
            data_calendar(),
        )
    each_month(context, body)


def _audit_month(store: Lake, month: str) -> AuditReport:
    references = ReferenceResource.from_environment().plain()
    return step.audit_reference_bars_month(references, store, month, GateResource().plain(), data_calendar())


reference_bars_gate = gate_checks("reference_bars", REFERENCE_BARS.name, step.PROBES, _audit_month)


def definitions() -> dg.Definitions:
    """The references and their checks."""
    return definitions_of([reference_bars, reference_bars_gate])
