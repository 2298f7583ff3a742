"""The champion of a study: the model that serves, one asset for each study."""

import dagster as dg

from trademl_pipeline.defs.gate import MonthEvents, Published, each_month, gate_checks, run_info
from trademl_pipeline.defs.metadata import OWNERS, table_metadata
from trademl_pipeline.defs.partitions import MONTHS, RUN_PER_MONTH
from trademl_pipeline.defs.resources import DataSetResource, LakeResource, TrackingResource
from trademl_pipeline.defs.stage import deps_of
from trademl_pipeline.defs.workspace import definitions_of, workspace_of
from trademl_pipeline.leakage import AuditReport
from trademl_pipeline.pipeline import promote as step
from trademl_pipeline.studies import STUDIES, StudySpec
from trademl_pipeline.tables import champion_table
from trademl_pipeline.tables.descriptions import CHAMPIONS


def champion_assets(study: StudySpec) -> list[dg.AssetsDefinition | dg.AssetChecksDefinition]:
    """Return the asset that decides who is champion, and the gate checks of its choice."""
    schema = champion_table(study.name)

    @dg.asset(
        name=schema.name,
        description=f"{study.title}: which model serves.\n\n{step.__doc__}",
        partitions_def=MONTHS,
        backfill_policy=RUN_PER_MONTH,
        deps=deps_of(step.champion_reads(study)),
        group_name="models",
        kinds={"mlflow", "duckdb"},
        owners=OWNERS,
        tags={"study": study.name},
        metadata=table_metadata(schema, descriptions=CHAMPIONS),
    )
    def champion(
        context: dg.AssetExecutionContext,
        data_set: DataSetResource,
        lake: LakeResource,
        tracking: TrackingResource,
    ) -> MonthEvents:
        workspace = workspace_of(lake, data_set)
        body = step.champion_months(workspace, tracking.open(), study, run_info(context))
        yield from each_month(context, body)

    def audit_month(published: Published, month: str) -> AuditReport:
        return step.audit_champion_month(published.workspace, study, month)

    return [champion, gate_checks(schema, audit_month)]


def definitions() -> dg.Definitions:
    """The champion of every study."""
    return definitions_of(part for study in STUDIES.values() for part in champion_assets(study))
