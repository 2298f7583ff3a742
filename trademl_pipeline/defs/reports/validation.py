"""Reports, one asset for each study, and the comparison of all."""

from collections.abc import Sequence

import dagster as dg

from trademl_pipeline import settings
from trademl_pipeline.defs.bars import BarsResource
from trademl_pipeline.defs.gate import MonthEvents, each_month, run_info
from trademl_pipeline.defs.metadata import OWNERS
from trademl_pipeline.defs.partitions import MONTHS, RUN_PER_MONTH
from trademl_pipeline.defs.resources import DataSetResource, LakeResource, TrackingResource
from trademl_pipeline.defs.stage import deps_of
from trademl_pipeline.defs.workspace import definitions_of, workspace_of
from trademl_pipeline.pipeline import report as step
from trademl_pipeline.pipeline.artifacts import Artifacts
from trademl_pipeline.pipeline.lookback import SAME_MONTH
from trademl_pipeline.studies import STUDIES, StudySpec


def report_asset(study: StudySpec) -> dg.AssetsDefinition:
    """Return the report of one study."""

    @dg.asset(
        name=step.report_name(study.name),
        description=f"{study.title}: the validation report.\n\n{step.__doc__}",
        partitions_def=MONTHS,
        backfill_policy=RUN_PER_MONTH,
        deps=deps_of(step.report_reads(study)),
        group_name="reports",
        kinds={"plotly", "html", "mlflow"},
        owners=OWNERS,
        tags={"study": study.name},
    )
    def report(
        context: dg.AssetExecutionContext,
        lake: LakeResource,
        bars: BarsResource,
        data_set: DataSetResource,
        tracking: TrackingResource,
    ) -> MonthEvents:
        body = step.report_months(
            workspace_of(lake, data_set),
            tracking.open(),
            study,
            bars.open(calendar=data_set.calendar),
            run_info(context),
            data_set.costs(),
        )
        yield from each_month(context, body)

    return report


def comparison_asset(studies: Sequence[str]) -> dg.AssetsDefinition:
    """Return the asset that puts the studies side by side."""

    @dg.asset(
        description="Which study to trust how far: one table over all studies that have a report as of the month.",
        partitions_def=MONTHS,
        backfill_policy=RUN_PER_MONTH,
        deps=deps_of({step.report_name(study): SAME_MONTH for study in studies}),
        group_name="reports",
        kinds={"plotly", "html"},
        owners=OWNERS,
    )
    def validation_report(context: dg.AssetExecutionContext) -> MonthEvents:
        artifacts = Artifacts(settings.current().home)
        yield from each_month(context, step.comparison_months(artifacts, studies))

    return validation_report


def definitions() -> dg.Definitions:
    """The report of every study, and their comparison."""
    return definitions_of(
        [*(report_asset(study) for study in STUDIES.values()), comparison_asset(list(STUDIES))]
    )
