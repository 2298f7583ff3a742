"""Out-of-sample predictions, one asset for each study."""

import dagster as dg

from trademl_pipeline.defs.gate import MonthEvents, each_month, gate_checks, run_info
from trademl_pipeline.defs.metadata import OWNERS, kinds_of, table_metadata
from trademl_pipeline.defs.partitions import MONTHS, RUN_PER_MONTH
from trademl_pipeline.defs.resources import DataSetResource, GateResource, LakeResource
from trademl_pipeline.defs.stage import deps_of
from trademl_pipeline.defs.workspace import definitions_of, workspace_of
from trademl_pipeline.pipeline import predict as step
from trademl_pipeline.studies import STUDIES, StudySpec
from trademl_pipeline.tables.descriptions import PREDICTIONS


def prediction_assets(study: StudySpec) -> list[dg.AssetsDefinition | dg.AssetChecksDefinition]:
    """Return the asset and the gate checks of a study's predictions."""
    schema = study.predictions

    @dg.asset(
        name=schema.name,
        description=f"{study.title}: what is predicted for every decision of the month, by the models that were "
        "trained before it.\n\nEach row names the fold, the MLflow run, the lake snapshot the models learned from and "
        f"its certificate, kept in `certificates_{study.name}`. What each estimator of the ensemble predicted by "
        f"itself is kept in `{study.estimator_predictions.name}`.",
        partitions_def=MONTHS,
        backfill_policy=RUN_PER_MONTH,
        deps=deps_of(step.prediction_reads(study)),
        group_name="predictions",
        kinds=kinds_of(study),
        owners=OWNERS,
        tags={"study": study.name},
        metadata=table_metadata(
            schema, step.prediction_lineage(study), {**PREDICTIONS, **study.task.column_docs}
        ),
    )
    def predictions(
        context: dg.AssetExecutionContext, data_set: DataSetResource, lake: LakeResource, gate: GateResource
    ) -> MonthEvents:
        workspace = workspace_of(lake, data_set)
        body = step.prediction_months(workspace, study, run_info(context), gate.plain())
        yield from each_month(context, body)

    checks = gate_checks(
        schema,
        lambda published, month: step.audit_prediction_month(
            published.workspace, study, month, published.sample
        ),
    )
    return [predictions, checks]


def definitions() -> dg.Definitions:
    """The predictions of every study."""
    return definitions_of(part for study in STUDIES.values() for part in prediction_assets(study))
