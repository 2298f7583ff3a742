"""Gapped cross-validation by symbol, one asset for each study that asks for it."""

import dagster as dg

from trademl_pipeline.defs.gate import MonthEvents, each_month, run_info
from trademl_pipeline.defs.metadata import OWNERS, kinds_of, table_metadata
from trademl_pipeline.defs.partitions import MONTHS, RUN_PER_MONTH
from trademl_pipeline.defs.resources import DataSetResource, LakeResource
from trademl_pipeline.defs.stage import deps_of
from trademl_pipeline.defs.workspace import definitions_of
from trademl_pipeline.pipeline import cross_validate as step
from trademl_pipeline.pipeline.job_names import GPU_POOL
from trademl_pipeline.studies import STUDIES, StudySpec
from trademl_pipeline.tables.descriptions import CROSS_VALIDATION


def cross_validation_assets(study: StudySpec) -> list[dg.AssetsDefinition]:
    """Return the asset of a study that is cross-validated by symbol; none of another."""
    if study.training.cross_validate is None:
        return []
    schema = study.cross_validation

    @dg.asset(
        name=schema.name,
        description=f"{study.title}: how each symbol does in gapped cross-validation.\n\n{step.__doc__}",
        partitions_def=MONTHS,
        backfill_policy=RUN_PER_MONTH,
        deps=deps_of(step.cross_validation_reads(study)),
        group_name="models",
        kinds=kinds_of(study),
        owners=OWNERS,
        tags={"study": study.name},
        pool=GPU_POOL,
        metadata=table_metadata(schema, descriptions=CROSS_VALIDATION),
    )
    def cross_validation(
        context: dg.AssetExecutionContext, data_set: DataSetResource, lake: LakeResource
    ) -> MonthEvents:
        body = step.cross_validation_months(
            lake.open(), study, run_info(context), data_set.calendar, data_set.threads
        )
        yield from each_month(context, body)

    return [cross_validation]


def definitions() -> dg.Definitions:
    """The cross-validation of every study that asks for it."""
    return definitions_of(part for study in STUDIES.values() for part in cross_validation_assets(study))
