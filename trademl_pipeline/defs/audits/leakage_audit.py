"""The nightly audit of everything published."""

import dagster as dg
from pydantic import Field

from trademl_pipeline import settings
from trademl_pipeline.defs.gate import failing, run_info
from trademl_pipeline.defs.metadata import OWNERS, table_metadata, to_dagster
from trademl_pipeline.defs.partitions import MONTHS, RUN_PER_MONTH
from trademl_pipeline.defs.resources import DataSetResource, GateResource, LakeResource
from trademl_pipeline.defs.stage import deps_of
from trademl_pipeline.defs.workspace import definitions_of
from trademl_pipeline.pipeline import nightly as step
from trademl_pipeline.pipeline.job_names import LEAKAGE_AUDIT
from trademl_pipeline.pipeline.lookback import ALL_UNTIL
from trademl_pipeline.studies import STUDIES
from trademl_pipeline.tables import NIGHTLY_AUDITS
from trademl_pipeline.tables.descriptions import NIGHTS


class NightlySettings(dg.Config):
    """The tables and months of one night's audit."""

    tables: str = Field(default="", description="comma-separated tables; empty: all that are published")
    first: str = Field(default="", description="first month, YYYY-MM-01; empty: from the first published")
    again: bool = Field(default=False, description="audit unchanged months too")


def leakage_audit_asset() -> dg.AssetsDefinition:
    """Return the nightly audit over all tables."""
    studies = list(STUDIES.values())
    names = [stage.schema.name for stage in step.stages(studies, settings.current().calendar)]

    @dg.asset(
        name=LEAKAGE_AUDIT,
        description=step.__doc__,
        partitions_def=MONTHS,
        backfill_policy=RUN_PER_MONTH,
        deps=deps_of(dict.fromkeys(names, ALL_UNTIL)),
        group_name="audits",
        kinds={"polars"},
        owners=OWNERS,
        metadata=table_metadata(NIGHTLY_AUDITS, descriptions=NIGHTS),
    )
    def leakage_audit(
        context: dg.AssetExecutionContext,
        config: NightlySettings,
        data_set: DataSetResource,
        lake: LakeResource,
        gate: GateResource,
    ) -> dg.MaterializeResult:
        try:
            with failing():
                metadata = step.nightly_audit(
                    lake.open(),
                    step.stages(studies, data_set.calendar),
                    run_info(context),
                    context.partition_key,
                    seed=gate.seed,
                    wanted=[name.strip() for name in config.tables.split(",") if name.strip()],
                    first=config.first,
                    again=config.again,
                )
        except step.NightRefusedError as error:
            raise dg.Failure(str(error), metadata=to_dagster(error.metadata), allow_retries=False) from error
        return dg.MaterializeResult(metadata=to_dagster(metadata))

    return leakage_audit


def definitions() -> dg.Definitions:
    """The nightly audit."""
    return definitions_of([leakage_audit_asset()])
