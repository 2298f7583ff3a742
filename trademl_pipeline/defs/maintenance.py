"""Upkeep of the lake as a job."""

import dagster as dg
from pydantic import Field

from trademl_pipeline.certificates.upkeep import DAYS, maintain
from trademl_pipeline.defs.resources import LakeResource
from trademl_pipeline.pipeline.job_names import MAINTAIN
from trademl_pipeline.studies import STUDIES


class MaintenanceSettings(dg.Config):
    """How much of the past stays readable."""

    days: int = Field(default=DAYS, description="age in days from which on a snapshot is let go; at least 1")


@dg.op(description="Merge small files, let go of old snapshots, delete files that no snapshot needs.")
def maintain_tables(context: dg.OpExecutionContext, config: MaintenanceSettings, lake: LakeResource) -> None:
    """Run the upkeep and show what it did."""
    done = maintain(lake.open(), STUDIES, days=config.days)
    context.add_output_metadata(done.counts())
    if done.lost:
        context.log.warning(
            f"snapshots {list(done.lost)} are named by certificates or models and are gone: those months can no "
            "longer be made again"
        )


@dg.job(
    name=MAINTAIN,
    description="Merge small files and let go of old snapshots; those that certificates or models name stay.",
    tags={"step": "maintain"},
)
def maintenance_job() -> None:
    """One op."""
    maintain_tables()


def definitions() -> dg.Definitions:
    """The upkeep of the lake."""
    return dg.Definitions(jobs=[maintenance_job])
