"""Every session of every published month is a cut-off: truncation and perturbation over whole tables.

A partition's own gate samples two sessions, and a peek on one day in thousands may pass it. Each night, what is
published up to the month is audited again, month by month, with every session a cut-off for every row: feature sets,
patterns, labels and windows. Months that have passed and have not changed since, nor the code, are carried over. A
month takes about forty times what computing it took; a data set of 60 symbols and three years some minutes.

Results are rows of `audits`, like every audit, and the history of the nights is the table `nightly_audits`.
"""

import time
from collections.abc import Callable
from typing import Any

import dagster as dg
import polars as pl
from pydantic import Field

from trademl_pipeline.certificates.code_version import code_version
from trademl_pipeline.defs.features.features import feature_stage
from trademl_pipeline.defs.figures import leak_figure, nights_figure
from trademl_pipeline.defs.gate import MONTH_ERRORS, audit_rows, run_time, violations_table
from trademl_pipeline.defs.labels.labels import label_stage
from trademl_pipeline.defs.metadata import OWNERS, table_metadata
from trademl_pipeline.defs.models.fold import FROM_THE_FIRST
from trademl_pipeline.defs.partitions import MONTHS, RUN_PER_MONTH, until
from trademl_pipeline.defs.patterns.patterns import pattern_stage
from trademl_pipeline.defs.resources import GateResource, LakeResource
from trademl_pipeline.defs.sequences.sequences import sequence_stage
from trademl_pipeline.defs.stage import Sample, Stage
from trademl_pipeline.features import FEATURE_SETS
from trademl_pipeline.labels import TARGETS
from trademl_pipeline.lake import Lake
from trademl_pipeline.lake.errors import MissingTableError
from trademl_pipeline.leakage import AuditReport, Violation
from trademl_pipeline.leakage.nightly import (
    fingerprint,
    history_of,
    last_night,
    night_row,
    nights,
    passed_before,
)
from trademl_pipeline.studies import StudySpec
from trademl_pipeline.tables import AUDITS, NIGHTLY_AUDITS
from trademl_pipeline.tables.descriptions import NIGHTS

# More sessions than a month has, so that each of them is a cut-off.
EVERY_SESSION = 1000
ERROR = "error"
NIGHTS_SHOWN = 30


class NightlySettings(dg.Config):
    """What one night audits."""

    tables: str = Field(default="", description="comma-separated tables; empty: all that are published")
    first: str = Field(default="", description="first month, YYYY-MM-01; empty: from the first published")
    again: bool = Field(default=False, description="audit unchanged months too")


def stages(studies: list[StudySpec]) -> list[Stage]:
    """All tables that are computed month by month from others."""
    return [
        *(feature_stage(name) for name in FEATURE_SETS),
        pattern_stage(),
        *(label_stage(target) for target in TARGETS.values()),
        *(sequence_stage(study) for study in studies),
    ]


def audit_table_month(
    store: Lake, stage: Stage, month: str, sample: Sample, known: Callable[[str], bool]
) -> tuple[AuditReport | None, str]:
    """The exhaustive audit of one published month, and its fingerprint; no report where `known` knows that."""
    inputs = stage.read(store, month)
    written = store.read(stage.schema, months=(month, month))
    print_of = fingerprint(written, inputs, f"{code_version().source} {sample.seed}")
    if known(print_of):
        return None, print_of
    return stage.audit(written, inputs, month, sample), print_of


def published_months(store: Lake, stage: Stage, first: str, last: str) -> list[str]:
    """Months of a table between two, none where it is not in the lake."""
    try:
        return [m for m in store.months(stage.schema) if first <= m <= last]
    except MissingTableError:
        return []


def leakage_audit_asset(studies: list[StudySpec]) -> dg.AssetsDefinition:
    """The nightly audit over all tables."""
    tables = stages(studies)

    @dg.asset(
        name="leakage_audit",
        description=__doc__,
        partitions_def=MONTHS,
        backfill_policy=RUN_PER_MONTH,
        deps=[dg.AssetDep(stage.schema.name, partition_mapping=until()) for stage in tables],
        group_name="audits",
        kinds={"polars"},
        owners=OWNERS,
        metadata=table_metadata(NIGHTLY_AUDITS, descriptions=NIGHTS),
    )
    def leakage_audit(
        context: dg.AssetExecutionContext, config: NightlySettings, lake: LakeResource, gate: GateResource
    ) -> dg.MaterializeResult:
        store = lake.open()
        wanted = [t.strip() for t in config.tables.split(",") if t.strip()]
        unknown = sorted(set(wanted) - {s.schema.name for s in tables})
        if unknown:
            raise dg.Failure(
                f"tables: {', '.join(unknown)} are not audited nightly; these are: "
                f"{', '.join(s.schema.name for s in tables)}"
            )
        todo = [
            (stage, month)
            for stage in tables
            if not wanted or stage.schema.name in wanted
            for month in published_months(store, stage, config.first or FROM_THE_FIRST, context.partition_key)
        ]
        if not todo:
            raise dg.Failure(
                f"nothing is published up to {context.partition_key[:7]}; materialize features first"
            )
        before = set() if config.again else passed_before(history_of(store))
        night = _Night(context, store, before, len(todo), Sample(EVERY_SESSION, gate.seed))
        for stage, month in todo:
            night.audit(stage, month)
        return night.close()

    return leakage_audit


class _Night:
    """One run over many months: counts, rows and refusals."""

    def __init__(
        self,
        context: dg.AssetExecutionContext,
        store: Lake,
        before: set[tuple[str, str, str]],
        total: int,
        sample: Sample,
    ) -> None:
        self.context, self.store, self.before, self.total, self.sample = context, store, before, total, sample
        self.rows: list[dict[str, Any]] = []
        self.refused: list[tuple[str, str, AuditReport]] = []
        self.began = time.perf_counter()

    def audit(self, stage: Stage, month: str) -> None:
        """Audit a month, keep the result, and tell how far it is."""
        table = stage.schema.name
        try:
            report, print_of = audit_table_month(
                self.store, stage, month, self.sample, lambda p: (table, month, p) in self.before
            )
        except MONTH_ERRORS as error:
            # What cannot be audited has not passed.
            found = Violation(ERROR, None, detail=f"{type(error).__name__}: {error}")
            report, print_of = AuditReport((found,), {ERROR: {"rows": 0}}), ""
        run = {
            "as_of": self.context.partition_key,
            "run_id": self.context.run.run_id,
            "recorded_at": run_time(self.context),
        }
        row = night_row(table, month, report, print_of, **run)
        self.rows.append(row)
        if report is not None:
            self.store.append(AUDITS, audit_rows(self.context, table, month, report))
            if not report.passed:
                self.refused.append((table, month, report))
        self.store.append(NIGHTLY_AUDITS, pl.DataFrame([row], schema=NIGHTLY_AUDITS.polars_schema))
        self._tell(row)

    def _tell(self, row: dict[str, Any]) -> None:
        done, spent = len(self.rows), time.perf_counter() - self.began
        cells = sum(r["cells"] for r in self.rows)
        result = "unchanged since it passed" if row["carried"] else "passed" if row["passed"] else "REFUSED"
        log = self.context.log.info if row["passed"] else self.context.log.error
        log(
            f"{row['table_name']} {row['month'][:7]}: {result}; {row['cutoffs']:,} cut-offs, {row['cells']:,} cells "
            f"({done} of {self.total} months, {cells / max(spent, 1e-9):,.0f} cells/s, "
            f"about {spent / done * (self.total - done) / 60:.0f} min left)"
        )

    def close(self) -> dg.MaterializeResult:
        """The night's metadata.

        Raises:
            dg.Failure: a month was refused; every refusal is in its metadata.
        """
        history = history_of(self.store)
        metadata: dict[str, Any] = {
            "last_night": last_night(history),
            "months": len(self.rows),
            "months_carried": sum(r["carried"] for r in self.rows),
            "months_refused": len(self.refused),
            "cutoffs": sum(r["cutoffs"] for r in self.rows),
            "cells": sum(r["cells"] for r in self.rows),
            "history": nights_figure(nights(history).tail(NIGHTS_SHOWN)),
        }
        if not self.refused:
            return dg.MaterializeResult(metadata=metadata)
        for table, month, report in self.refused:
            bad = report.to_frame().filter(~pl.col("passed"))
            metadata[f"refusal {table} {month[:7]}"] = dg.MetadataValue.md(violations_table(bad))
            figure = leak_figure(report.violations)
            if figure is not None:
                metadata[f"figure {table} {month[:7]}"] = figure
        names = ", ".join(f"{table} {month[:7]}" for table, month, _ in self.refused)
        raise dg.Failure(
            f"the nightly audit refuses {names}. They are published and may be in use: see what leaks, mend it and "
            "materialize them and everything after them again",
            metadata=metadata,
            allow_retries=False,
        )
