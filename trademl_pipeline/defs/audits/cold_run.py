"""The nightly cold run: a month of each study, made again by processes that had nothing of what came later."""

from collections.abc import Iterator

import dagster as dg
from pydantic import Field

from trademl_pipeline.defs.gate import failing, run_info
from trademl_pipeline.defs.metadata import OWNERS, to_dagster
from trademl_pipeline.defs.partitions import MONTHS, RUN_PER_MONTH
from trademl_pipeline.defs.resources import DataSetResource, GateResource, LakeResource
from trademl_pipeline.defs.stage import deps_of
from trademl_pipeline.defs.workspace import definitions_of, workspace_of
from trademl_pipeline.pipeline import nightly_cold as step
from trademl_pipeline.pipeline.job_names import COLD_RUN
from trademl_pipeline.pipeline.lookback import ALL_UNTIL
from trademl_pipeline.studies import STUDIES


class ColdSettings(dg.Config):
    """The studies of one night's cold run, and the night."""

    studies: str = Field(default="", description="comma-separated studies; empty: all that have predictions")
    night: str = Field(
        default="",
        description="night that the months are drawn for, YYYY-MM-DD; empty: the partition's month",
    )


def cold_run_asset() -> dg.AssetsDefinition:
    """Return the nightly cold run, with a check for each study."""
    studies = list(STUDIES.values())
    names = [table.name for study in studies for table in (study.models, study.predictions)]

    @dg.asset(
        name=COLD_RUN,
        description=step.__doc__,
        partitions_def=MONTHS,
        backfill_policy=RUN_PER_MONTH,
        deps=deps_of(dict.fromkeys(names, ALL_UNTIL)),
        check_specs=[
            dg.AssetCheckSpec(
                name=study.name,
                asset=COLD_RUN,
                partitions_def=MONTHS,
                description="A published month, made again from what was known then, is the same.",
            )
            for study in studies
        ],
        group_name="audits",
        kinds={"polars"},
        owners=OWNERS,
    )
    def cold_run(
        context: dg.AssetExecutionContext,
        config: ColdSettings,
        data_set: DataSetResource,
        lake: LakeResource,
        gate: GateResource,
    ) -> Iterator[dg.AssetObservation | dg.AssetCheckResult | dg.MaterializeResult]:
        with failing():
            nights = step.cold_nights(
                workspace_of(lake, data_set),
                studies,
                run_info(context),
                context.partition_key,
                gate.plain(),
                night=config.night,
                wanted=[name.strip() for name in config.studies.split(",") if name.strip()],
            )
        for made in nights:
            metadata = to_dagster(made.metadata)
            if made.month:
                told = {"cold_run": made.line(), **metadata}
                yield dg.AssetObservation(dg.AssetKey(made.table), partition=made.month, metadata=told)
            yield dg.AssetCheckResult(
                check_name=made.study,
                passed=made.passed,
                severity=dg.AssetCheckSeverity.ERROR,
                description=made.line(),
                metadata=metadata,
            )
        for name in sorted(set(STUDIES) - {made.study for made in nights}):
            # Nothing was shown of it, so that it has not passed; it is no error either.
            yield dg.AssetCheckResult(
                check_name=name,
                passed=False,
                severity=dg.AssetCheckSeverity.WARN,
                description="not run: it was not asked for, or has no predictions up to the month",
            )
        refused = [made for made in nights if not made.passed]
        if refused:
            raise dg.Failure(
                f"the cold run does not come out as published: {'; '.join(made.line() for made in refused)}. The "
                "predictions are published and may be in use: see what they knew, mend it and make the fold again",
                metadata={
                    f"{made.study} {name}": value
                    for made in refused
                    for name, value in to_dagster(made.metadata).items()
                },
                allow_retries=False,
            )
        yield dg.MaterializeResult(metadata={made.study: made.line() for made in nights})

    return cold_run


def definitions() -> dg.Definitions:
    """The nightly cold run."""
    return definitions_of([cold_run_asset()])
