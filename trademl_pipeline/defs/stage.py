"""The asset and the gate checks of a table that is computed month by month from tables before it."""

from collections.abc import Callable, Mapping

import dagster as dg

from trademl_pipeline import settings
from trademl_pipeline.defs.gate import MonthEvents, Published, each_month, gate_checks, run_info
from trademl_pipeline.defs.metadata import OWNERS, TABLE_KINDS, table_metadata
from trademl_pipeline.defs.partitions import MONTHS, mapping_of
from trademl_pipeline.defs.resources import DataSetResource, GateResource, LakeResource
from trademl_pipeline.leakage import AuditReport
from trademl_pipeline.pipeline.lookback import Lookback
from trademl_pipeline.pipeline.stage import Stage, audit_stage_month, stage_months


def deps_of(reads: Mapping[str, Lookback]) -> list[dg.AssetDep]:
    """Return upstream assets with the mappings that their lookbacks say."""
    return [dg.AssetDep(table, partition_mapping=mapping_of(lookback)) for table, lookback in reads.items()]


def stage_assets(
    make: Callable[[str], Stage], backfill: dg.BackfillPolicy
) -> list[dg.AssetsDefinition | dg.AssetChecksDefinition]:
    """Return the asset and the gate checks of a stage.

    Args:
        make: the stage on a calendar.
        backfill: how months of a range are put into runs, see `partitions`.
    """
    declared = make(settings.current().calendar)
    schema = declared.schema

    @dg.asset(
        name=schema.name,
        description=declared.description,
        partitions_def=MONTHS,
        backfill_policy=backfill,
        deps=deps_of(declared.reads),
        group_name=declared.group,
        kinds=TABLE_KINDS,
        owners=OWNERS,
        tags={"study": declared.study} if declared.study else {},
        metadata=table_metadata(schema, declared.lineage, declared.columns),
    )
    def table(
        context: dg.AssetExecutionContext, data_set: DataSetResource, lake: LakeResource, gate: GateResource
    ) -> MonthEvents:
        stage = make(data_set.calendar)
        body = stage_months(stage, lake.open(), run_info(context), gate.plain())
        yield from each_month(context, body, keep_going=gate.keep_going)

    def audit_month(published: Published, month: str) -> AuditReport:
        workspace = published.workspace
        return audit_stage_month(make(workspace.calendar), workspace.lake, month, published.sample)

    return [table, gate_checks(schema, audit_month)]
