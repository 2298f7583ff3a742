"""Every session of every published month is a cut-off: truncation and perturbation over whole tables.

A partition's own gate samples two sessions, and a peek on one day in thousands may pass it. Each night, what is
published up to the month is audited again, month by month, with every session a cut-off for every row: feature sets,
patterns, labels and windows. Months that have passed and have not changed since, nor the code, are carried over. A
month takes about forty times what computing it took; a data set of 60 symbols and three years some minutes.

Results are rows of `audits`, like every audit, and the history of the nights is the table `nightly_audits`.
"""

import time
from collections.abc import Callable, Sequence
from typing import Any

import polars as pl

from trademl_pipeline.certificates.code_version import code_version
from trademl_pipeline.lake import Lake
from trademl_pipeline.lake.gated import Gate, Stamp
from trademl_pipeline.leakage import AuditReport, Violation
from trademl_pipeline.leakage.nightly import (
    fingerprint,
    history_of,
    last_night,
    night_row,
    nights,
    passed_before,
)
from trademl_pipeline.pipeline.catalog import stage_makers
from trademl_pipeline.pipeline.errors import StepError
from trademl_pipeline.pipeline.figures import nights_figure
from trademl_pipeline.pipeline.fold import FROM_THE_FIRST
from trademl_pipeline.pipeline.gate import Sample, refusal_metadata
from trademl_pipeline.pipeline.history import published_months
from trademl_pipeline.pipeline.months import MONTH_ERRORS, RunInfo
from trademl_pipeline.pipeline.shown import Metadata
from trademl_pipeline.pipeline.stage import Stage
from trademl_pipeline.studies import StudySpec
from trademl_pipeline.tables import NIGHTLY_AUDITS

# More sessions than a month has, so that each of them is a cut-off.
EVERY_SESSION = 1000
ERROR = "error"
NIGHTS_SHOWN = 30


def stages(studies: Sequence[StudySpec], calendar: str) -> list[Stage]:
    """Return all tables that are computed month by month from others."""
    return [make(calendar) for make in stage_makers(studies).values()]


def audit_table_month(
    store: Lake, stage: Stage, month: str, sample: Sample, known: Callable[[str], bool], run: Stamp
) -> tuple[AuditReport | None, str]:
    """Audit one published month at every session; the report is put on record.

    Args:
        store: the lake.
        stage: the table.
        month: month key.
        sample: how many cut-offs, and the seed of their draw.
        known: given a fingerprint, says whether that has passed before.
        run: that audits.

    Returns:
        (report, fingerprint); no report where `known` knows the fingerprint.
    """
    inputs = stage.read(store, month)
    written = store.read(stage.schema, months=(month, month))
    print_of = fingerprint(written, inputs, f"{code_version().source} {sample.seed}")
    if known(print_of):
        return None, print_of
    gate = Gate(lambda rows: stage.audit(rows, inputs, month, sample), run)
    return store.record_audit(stage.schema, month, gate), print_of


class Night:
    """One run over many months: counts, rows and refusals."""

    def __init__(
        self,
        run: RunInfo,
        as_of: str,
        store: Lake,
        before: set[tuple[str, str, str]],
        total: int,
        sample: Sample,
    ) -> None:
        self.run, self.as_of, self.store = run, as_of, store
        self.before, self.total, self.sample = before, total, sample
        self.rows: list[dict[str, Any]] = []
        self.refused: list[tuple[str, str, AuditReport]] = []
        self.began = time.perf_counter()

    def audit(self, stage: Stage, month: str) -> None:
        """Audit a month, keep the result, and tell how far it is."""
        table = stage.schema.name
        try:
            report, print_of = audit_table_month(
                self.store,
                stage,
                month,
                self.sample,
                lambda p: (table, month, p) in self.before,
                self.run,
            )
        except MONTH_ERRORS as error:
            # What cannot be audited has not passed.
            failure = Violation(ERROR, None, detail=f"{type(error).__name__}: {error}")
            report, print_of = AuditReport((failure,), {ERROR: {"rows": 0}}), ""
            self.store.record_refusal(stage.schema, month, report, self.run, "")
        stamp = {
            "as_of": self.as_of,
            "run_id": self.run.run_id,
            "recorded_at": self.run.recorded_at,
        }
        row = night_row(table, month, report, print_of, **stamp)
        self.rows.append(row)
        if report is not None and not report.passed:
            self.refused.append((table, month, report))
        self.store.append(NIGHTLY_AUDITS, pl.DataFrame([row], schema=NIGHTLY_AUDITS.polars_schema))
        self._tell(row)

    def _tell(self, row: dict[str, Any]) -> None:
        done, spent = len(self.rows), time.perf_counter() - self.began
        cells = sum(r["cells"] for r in self.rows)
        result = "unchanged since it passed" if row["carried"] else "passed" if row["passed"] else "REFUSED"
        log = self.run.log.info if row["passed"] else self.run.log.error
        log(
            f"{row['table_name']} {row['month'][:7]}: {result}; {row['cutoffs']:,} cut-offs, {row['cells']:,} cells "
            f"({done} of {self.total} months, {cells / max(spent, 1e-9):,.0f} cells/s, "
            f"about {spent / done * (self.total - done) / 60:.0f} min left)"
        )

    def close(self) -> Metadata:
        """Return the night's figures, refusals among them."""
        history = history_of(self.store)
        metadata: Metadata = {
            "last_night": last_night(history),
            "months": len(self.rows),
            "months_carried": sum(r["carried"] for r in self.rows),
            "months_refused": len(self.refused),
            "cutoffs": sum(r["cutoffs"] for r in self.rows),
            "cells": sum(r["cells"] for r in self.rows),
            "history": nights_figure(nights(history).tail(NIGHTS_SHOWN)),
        }
        for table, month, report in self.refused:
            metadata |= refusal_metadata(f"{table} {month[:7]}", report)
        return metadata


class NightRefusedError(Exception):
    """The nightly audit refuses months that are published."""

    def __init__(self, message: str, metadata: Metadata) -> None:
        super().__init__(message)
        self.metadata = metadata


def nightly_audit(
    store: Lake,
    tables: Sequence[Stage],
    run: RunInfo,
    as_of: str,
    *,
    seed: int,
    wanted: Sequence[str] = (),
    first: str = "",
    again: bool = False,
) -> Metadata:
    """Audit every month published up to `as_of`, every session a cut-off, and return the night's figures.

    Args:
        store: the lake.
        tables: all tables that are audited by night.
        run: that audits.
        as_of: last month audited.
        seed: of the gate's draws.
        wanted: names of the tables to audit; empty: all.
        first: first month; empty: from the first published.
        again: audit unchanged months that have passed too.

    Raises:
        StepError: a table is not audited by night, or nothing is published.
        NightRefusedError: a month was refused; its metadata shows every refusal.
    """
    names = [stage.schema.name for stage in tables]
    unknown = sorted(set(wanted) - set(names))
    if unknown:
        raise StepError(
            f"tables: {', '.join(unknown)} are not audited nightly; these are: {', '.join(names)}"
        )
    todo = [
        (stage, month)
        for stage in tables
        if not wanted or stage.schema.name in wanted
        for month in published_months(store, stage.schema)
        if (first or FROM_THE_FIRST) <= month <= as_of
    ]
    if not todo:
        raise StepError(f"nothing is published up to {as_of[:7]}; materialize features first")
    before = set[tuple[str, str, str]]() if again else passed_before(history_of(store))
    night = Night(run, as_of, store, before, len(todo), Sample(EVERY_SESSION, seed))
    for stage, month in todo:
        night.audit(stage, month)
    metadata = night.close()
    if night.refused:
        refusals = ", ".join(f"{table} {month[:7]}" for table, month, _ in night.refused)
        raise NightRefusedError(
            f"the nightly audit refuses {refusals}. They are published and may be in use: see what leaks, mend it and "
            "materialize them and everything after them again",
            metadata,
        )
    return metadata
