"""The history of the nightly audit: what has to be audited anew, and how the nights went."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import polars as pl

from trademl_pipeline.lake import Lake
from trademl_pipeline.lake.errors import MissingTableError
from trademl_pipeline.leakage.evidence import coverage_totals
from trademl_pipeline.leakage.report import AuditReport
from trademl_pipeline.tables import NIGHTLY_AUDITS


def history_of(store: Lake) -> pl.DataFrame:
    """The ledger of the nights so far."""
    try:
        return store.read(NIGHTLY_AUDITS)
    except MissingTableError:
        return NIGHTLY_AUDITS.empty()


def fingerprint(published: pl.DataFrame, inputs: Mapping[str, pl.DataFrame], code: str) -> str:
    """Hash (hex) of a month's rows, of the frames that they are made of, and of the code that makes them.

    A month that passed an exhaustive audit passes it again as long as this is the same, so it need not be repeated.
    """
    digest = hashlib.sha256(code.encode())
    for name, frame in [("published", published), *sorted(inputs.items())]:
        digest.update(f"\0{name}\0{frame.height}\0{frame.schema}\0".encode())
        digest.update(frame.hash_rows(seed=0).to_numpy().tobytes())
    return digest.hexdigest()


def passed_before(history: pl.DataFrame) -> set[tuple[str, str, str]]:
    """(table, month, fingerprint) of the months that have passed an audit of some night."""
    return set(history.filter("passed").select("table_name", "month", "fingerprint").rows())


def night_row(
    table: str, month: str, report: AuditReport | None, print_of: str, **run: Any
) -> dict[str, Any]:
    """Return a row of the ledger `nightly_audits`.

    Args:
        table: name of the audited table.
        month: month key.
        report: of the audit; None for a month that passed before and has not changed.
        print_of: fingerprint of the month, see `fingerprint`.
        run: the ledger's columns that tell of the night: when, and by which run.
    """
    totals = coverage_totals([]) if report is None else _totals(report)
    return {
        "table_name": table,
        "month": month,
        "passed": report is None or report.passed,
        "violations": 0 if report is None else len(report.violations),
        "cutoffs": int(totals.get("cutoffs", 0)),
        "cells": int(totals.get("cells", 0)),
        "carried": report is None,
        "fingerprint": print_of,
        **run,
    }


def nights(history: pl.DataFrame) -> pl.DataFrame:
    """The ledger by night, oldest first: recorded_at, tables, months, audited, carried, refused, cells."""
    return (
        history.group_by("recorded_at", "run_id")
        .agg(
            pl.col("table_name").n_unique().alias("tables"),
            pl.len().alias("months"),
            (pl.col("passed") & ~pl.col("carried")).sum().alias("audited"),
            pl.col("carried").sum().alias("carried"),
            (~pl.col("passed")).sum().alias("refused"),
            pl.col("cells").sum().alias("cells"),
        )
        .sort("recorded_at")
        .drop("run_id")
    )


def last_night(history: pl.DataFrame) -> str:
    """The latest night in one line, with what it refused."""
    if history.is_empty():
        return "none has been made"
    night = nights(history).row(-1, named=True)
    bad = history.filter(~pl.col("passed") & (pl.col("recorded_at") == night["recorded_at"]))
    refused = ", ".join(
        f"{table} {month[:7]}" for table, month in bad.select("table_name", "month").iter_rows()
    )
    return (
        f"{night['recorded_at']:%Y-%m-%d %H:%M} UTC: {night['months']:,} months of {night['tables']} tables at every "
        f"session, {night['carried']:,} of them unchanged since they passed, {night['cells']:,} cells compared; "
        f"{f'refused: {refused}' if refused else 'none refused'}"
    )


def _totals(report: AuditReport) -> dict[str, int | float]:
    return coverage_totals([json.dumps(coverage, default=str) for coverage in report.coverage.values()])
