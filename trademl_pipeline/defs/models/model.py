"""The models of one walk-forward fold, one asset for each study."""

import dagster as dg
from pydantic import Field

from trademl_pipeline.defs.gate import MonthEvents, each_month, failing, gate_checks, run_info
from trademl_pipeline.defs.metadata import OWNERS, kinds_of, table_metadata
from trademl_pipeline.defs.partitions import MONTHS, RUN_PER_MONTH
from trademl_pipeline.defs.resources import DataSetResource, LakeResource, TrackingResource
from trademl_pipeline.defs.stage import deps_of
from trademl_pipeline.defs.workspace import definitions_of, workspace_of
from trademl_pipeline.pipeline.job_names import GPU_POOL
from trademl_pipeline.pipeline.models import audit_model_month
from trademl_pipeline.pipeline.train import TrainOptions, model_months, training_reads
from trademl_pipeline.studies import STUDIES, StudySpec
from trademl_pipeline.tables.descriptions import MODELS

# One fold is one pod with one GPU where the run launcher is Kubernetes; elsewhere the tags are ignored and the pool
# bounds how many folds train at once.
GPU_TAGS = {
    "dagster-k8s/config": {
        "container_config": {"resources": {"limits": {"nvidia.com/gpu": "1"}}},
    }
}


class TrainSettings(dg.Config):
    """Overrides of one run; left empty, the settings of the data set and of the study hold."""

    size: str = Field(default="", description="preset of the study's estimators, e.g. small or base")
    epochs: int = Field(default=0, description="epochs of every network; 0: as the preset says")
    symbols: str = Field(
        default="",
        description="comma-separated symbols to train on, or a number: so many, drawn by a hash of the name; "
        "empty: all",
    )
    refit: str = Field(default="", description="month: train this fold whatever the study's rhythm is")
    threads: int = Field(default=0, description="threads of a fit; 0: as the data set's settings say")

    def options(self, data_set: DataSetResource) -> TrainOptions:
        """Return what the run asks of training, over what holds for the data set."""
        return TrainOptions(
            size=self.size or data_set.size,
            epochs=self.epochs or data_set.epochs,
            symbols=self.symbols,
            refit=data_set.refit,
            alone=self.refit == "month",
            threads=self.threads or data_set.threads,
        )


def model_assets(study: StudySpec) -> list[dg.AssetsDefinition | dg.AssetChecksDefinition]:
    """Return the asset and the gate checks of a study's models."""
    schema = study.models

    @dg.asset(
        name=schema.name,
        description=f"{study.title}: {', '.join(m.name for m in study.training.estimators)}, trained for one month on "
        "what was known before it.\n\n"
        f"Training labels end {study.folds.embargo} sessions before the month's first decision "
        f"(at least {study.folds.min_train} sessions of them); everything fitted goes through the fit ledger.",
        partitions_def=MONTHS,
        backfill_policy=RUN_PER_MONTH,
        deps=deps_of(training_reads(study)),
        group_name="models",
        kinds=kinds_of(study),
        owners=OWNERS,
        tags={"study": study.name},
        pool=GPU_POOL,
        op_tags=GPU_TAGS,
        metadata=table_metadata(schema, descriptions=MODELS),
    )
    def model(
        context: dg.AssetExecutionContext,
        config: TrainSettings,
        data_set: DataSetResource,
        lake: LakeResource,
        tracking: TrackingResource,
    ) -> MonthEvents:
        with failing():
            body = model_months(
                workspace_of(lake, data_set),
                tracking.open(),
                study,
                run_info(context),
                config.options(data_set),
            )
        yield from each_month(context, body)

    checks = gate_checks(
        schema,
        lambda published, month: audit_model_month(published.workspace, study, month),
    )
    return [model, checks]


def definitions() -> dg.Definitions:
    """The models of every study."""
    return definitions_of(part for study in STUDIES.values() for part in model_assets(study))
