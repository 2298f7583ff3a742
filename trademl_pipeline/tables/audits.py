"""The ledgers of the gate."""

import polars as pl

from trademl_pipeline.lake.schema import MONTH, UTC_TIME, AuditLedger, Ledger

AUDITS = AuditLedger(
    name="audits",
    columns={
        "table_name": pl.String,
        MONTH: pl.String,
        "probe": pl.String,
        "passed": pl.Boolean,
        "column": pl.String,
        "symbol": pl.String,
        "cutoff": pl.Date,
        "first_leak": pl.Date,
        "max_delta": pl.Float64,
        "detail": pl.String,
        "coverage": pl.String,
        "run_id": pl.String,
        "recorded_at": UTC_TIME,
        "content": pl.String,
    },
    key=(),
    nullable=frozenset({"column", "symbol", "cutoff", "first_leak", "max_delta", "content"}),
    order=("recorded_at", "table_name", MONTH, "probe", "column", "symbol"),
    description="The ledger of the gate: one row for each probe and violation, appended and never replaced. content: "
    "hash of the month that the audit saw; it counts for no other.",
)


NIGHTLY_AUDITS = Ledger(
    name="nightly_audits",
    columns={
        "table_name": pl.String,
        MONTH: pl.String,
        "passed": pl.Boolean,
        "violations": pl.Int64,
        "cutoffs": pl.Int64,
        "cells": pl.Int64,
        "carried": pl.Boolean,
        "fingerprint": pl.String,
        "as_of": pl.String,
        "run_id": pl.String,
        "recorded_at": UTC_TIME,
    },
    key=(),
    order=("recorded_at", "table_name", MONTH),
    description="The history of the nightly audit: one row for each night, table and month. carried: passed before, "
    "and neither the rows, what they are made of, nor the code has changed since (fingerprint).",
)


TRIES = Ledger(
    name="tries",
    columns={
        "outcomes": pl.String,
        "study": pl.String,
        MONTH: pl.String,
        "number": pl.Int64,
        "look": pl.String,
        "within": pl.String,
        "purpose": pl.String,
        "model": pl.String,
        "setup": pl.String,
        "settings": pl.String,
        "runs": pl.String,
        "rows": pl.Int64,
        "symbols": pl.Int64,
        "first": pl.Date,
        "last": pl.Date,
        "looked_at": pl.String,
        "as_of": pl.String,
        "run_id": pl.String,
        "recorded_at": UTC_TIME,
    },
    key=(),
    order=("number",),
    description="The ledger of looks at outcomes: one row for each set of predictions and month of which the outcomes "
    "were looked at, appended and never replaced. outcomes: table of the labels. number: counts the rows from 1, so "
    "that one that is taken away leaves a gap. look: hash of the predictions and of the settings by which they were "
    "judged; within: that of the report that showed it. looked_at: every symbol's session and a hash of each session's "
    "values, packed (evaluation.tries). runs: the tracker's, of the models.",
)
