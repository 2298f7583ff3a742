"""What the assets of all input tables share: read, compute, audit, publish, show.

A stage says where its months come from and what makes them; `stage_assets` makes the Dagster asset and its checks of
that. The function that is audited is the one whose rows are published.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import dagster as dg
import polars as pl

from trademl_pipeline.defs.gate import each_month, gate_checks, publish
from trademl_pipeline.defs.metadata import OWNERS, month_metadata, table_metadata
from trademl_pipeline.defs.partitions import MONTHS
from trademl_pipeline.defs.resources import GateResource, LakeResource
from trademl_pipeline.lake import Lake
from trademl_pipeline.lake.schema import TableSchema
from trademl_pipeline.leakage import AuditReport

Inputs = Mapping[str, pl.DataFrame]


@dataclass(frozen=True)
class Sample:
    """How hard the gate looks: cut-offs per month, and the seed of their draw."""

    cutoffs: int
    seed: int


Figures = Callable[[Lake, Inputs, pl.DataFrame, str], dict[str, Any]]


def no_figures() -> Figures:
    """Nothing beside what every month shows."""
    return lambda store, inputs, frame, month: {}


def of_the_month(show: Callable[[pl.DataFrame], dict[str, Any]]) -> Callable[[], Figures]:
    """Figures of a month's frame alone."""
    return lambda: lambda store, inputs, frame, month: show(frame)


@dataclass(frozen=True)
class Stage:
    """One table of the lake that is computed month by month from tables before it.

    Attributes:
        schema: the table.
        description: for people; its first line stands in lists.
        group: folder of the stage, and its group in the UI.
        deps: upstream assets with their mappings.
        backfill: how months of a range are put into runs, see `partitions`.
        probes: names in `gate.PROBES`, all of which `audit` reports.
        read: (store, month) -> the frames that the month is made of.
        compute: (frames, month) -> the month.
        audit: (published, frames, month, sample) -> the report.
        figures: made once a run, for what its months may share; then (store, frames, month's frame, month) -> metadata
            beside what every month shows.
        lineage: {column: [(upstream asset, upstream column), ...]}.
        columns: what each column is.
        tags: of the asset.
    """

    schema: TableSchema
    description: str
    group: str
    deps: Sequence[dg.AssetDep]
    backfill: dg.BackfillPolicy
    probes: Sequence[str]
    read: Callable[[Lake, str], Inputs]
    compute: Callable[[Inputs, str], pl.DataFrame]
    audit: Callable[[pl.DataFrame, Inputs, str, Sample], AuditReport]
    figures: Callable[[], Figures] = no_figures
    lineage: dg.TableColumnLineage | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)


def stage_assets(stage: Stage) -> list[dg.AssetsDefinition | dg.AssetChecksDefinition]:
    """The asset and the gate checks of a stage."""
    schema = stage.schema

    @dg.asset(
        name=schema.name,
        description=stage.description,
        partitions_def=MONTHS,
        backfill_policy=stage.backfill,
        deps=list(stage.deps),
        group_name=stage.group,
        kinds={"duckdb", "parquet", "polars"},
        owners=OWNERS,
        tags=dict(stage.tags),
        metadata=table_metadata(schema, stage.lineage, stage.columns),
    )
    def table(context: dg.AssetExecutionContext, lake: LakeResource, gate: GateResource) -> None:
        store = lake.open()
        sample, figures = Sample(gate.cutoffs, gate.seed), stage.figures()

        def month_of(month: str) -> dict[str, Any]:
            inputs = stage.read(store, month)
            frame = stage.compute(inputs, month)
            published = publish(
                context,
                store,
                schema,
                frame,
                month,
                lambda written: stage.audit(written, inputs, month, sample),
            )
            return {**month_metadata(published, frame), **figures(store, inputs, frame, month)}

        each_month(context, month_of)

    def audit_month(store: Lake, month: str) -> AuditReport:
        settings = GateResource()
        written = store.read(schema, months=(month, month))
        return stage.audit(written, stage.read(store, month), month, Sample(settings.cutoffs, settings.seed))

    return [table, gate_checks(schema.name, schema.name, stage.probes, audit_month)]
