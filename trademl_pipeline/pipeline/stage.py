"""The steps of all input tables: read, compute, audit, publish, show.

A stage says where its months come from and what makes them. The function that is audited is the one whose rows are
published.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from trademl_pipeline.lake import Lake
from trademl_pipeline.lake.schema import GatedTable
from trademl_pipeline.lake.view import LakeReader
from trademl_pipeline.leakage import AuditReport
from trademl_pipeline.pipeline.gate import Sample, month_metadata, publish
from trademl_pipeline.pipeline.lookback import ALL_BEFORE, Lookback
from trademl_pipeline.pipeline.months import Body, MonthResult, RunInfo, result_of
from trademl_pipeline.pipeline.shown import Metadata
from trademl_pipeline.pipeline.views import reads_shown, view_of

Inputs = Mapping[str, pl.DataFrame]
Figures = Callable[[LakeReader, Inputs, pl.DataFrame, str], Metadata]
# {column: [(upstream table, upstream column), ...]}
Lineage = Mapping[str, Sequence[tuple[str, str]]]


def no_figures() -> Figures:
    """Return figures that show nothing beside what every month shows."""
    return lambda earlier, inputs, frame, month: {}


def of_the_month(show: Callable[[pl.DataFrame], dict[str, Any]]) -> Callable[[], Figures]:
    """Return figures of a month's frame alone."""
    return lambda: lambda earlier, inputs, frame, month: show(frame)


@dataclass(frozen=True)
class Stage:
    """One table of the lake that is computed month by month from tables before it.

    Attributes:
        schema: the table.
        description: for people; its first line stands in lists.
        group: name of the stage, and its group in the UI.
        reads: upstream tables, and which months of them.
        read: (store, month) -> the frames that the month is made of; of tables and months that `reads` declares.
        compute: (frames, month) -> the month.
        audit: (published, frames, month, sample) -> the report, of all probes that the schema names.
        figures: made once a run, for what its months may share; then (earlier months of the table, frames, month's
            frame, month) -> metadata beside what every month shows.
        lineage: what each column is made of.
        columns: what each column is.
        study: the study that the table is of; empty: shared.
    """

    schema: GatedTable
    description: str
    group: str
    reads: Mapping[str, Lookback]
    read: Callable[[LakeReader, str], Inputs]
    compute: Callable[[Inputs, str], pl.DataFrame]
    audit: Callable[[pl.DataFrame, Inputs, str, Sample], AuditReport]
    figures: Callable[[], Figures] = no_figures
    lineage: Lineage = field(default_factory=dict[str, Sequence[tuple[str, str]]])
    columns: Mapping[str, str] = field(default_factory=dict[str, str])
    study: str = ""


def stage_months(stage: Stage, store: Lake, run: RunInfo, sample: Sample) -> Body:
    """Return what makes and publishes one month of a stage.

    Args:
        stage: the table.
        store: the lake.
        run: that publishes.
        sample: how hard the gate looks.
    """
    figures = stage.figures()

    def month_of(month: str) -> MonthResult:
        view = view_of(store, stage.schema.name, month, stage.reads)
        with view.sealed():
            inputs = stage.read(view, month)
            frame = stage.compute(inputs, month)
        published = publish(
            run,
            store,
            stage.schema,
            frame,
            month,
            lambda written: stage.audit(written, inputs, month, sample),
        )
        # By them it is decided to train anew, so that they may not know what came later either.
        before = {stage.schema.name: ALL_BEFORE}
        earlier = view_of(store, stage.schema.name, month, before, snapshot=published.result.snapshot)
        with earlier.sealed():
            beside = figures(earlier, inputs, frame, month)
        shown = {**month_metadata(published, frame), "reads": reads_shown((*view.reads, *earlier.reads))}
        return result_of(published, {**shown, **beside})

    return month_of


def audit_stage_month(stage: Stage, store: Lake, month: str, sample: Sample) -> AuditReport:
    """Audit a month of a stage as the lake holds it.

    Args:
        stage: the table.
        store: the lake.
        month: month key.
        sample: how hard the gate looks.
    """
    written = store.read(stage.schema, months=(month, month))
    return stage.audit(written, stage.read(store, month), month, sample)
