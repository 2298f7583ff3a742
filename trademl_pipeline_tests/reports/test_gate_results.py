import json

import polars as pl

from trademl_pipeline.leakage.suspicion import Suspicion
from trademl_pipeline.reports.gate_results import coverage_text, gate_results
from trademl_pipeline_tests.reports.conftest import audit_row


def ledger(*rows):
    return pl.DataFrame(list(rows), infer_schema_length=None)


def test_latest_audit_of_a_month_counts_and_the_refusal_is_healed():
    got = gate_results(
        ledger(
            audit_row("features_x", "2019-01-01", "truncation", False, at=1, detail="moves", max_delta=0.5),
            audit_row("features_x", "2019-01-01", "truncation", at=2),
            audit_row("features_x", "2019-02-01", "truncation", False, at=1, detail="moves"),
        )
    )
    assert got.latest_refusals == [("features_x", "2019-02-01")]
    assert got.cells.select("month", "passed").rows() == [("2019-01-01", True), ("2019-02-01", False)]
    by_month = {r["month"]: r["standing"] for r in got.refusals.iter_rows(named=True)}
    assert by_month == {"2019-01-01": False, "2019-02-01": True}


def test_later_audit_of_one_probe_leaves_the_others_standing():
    got = gate_results(
        ledger(
            audit_row("f", "2019-01-01", "knowledge", False, at=1),
            audit_row("f", "2019-01-01", "truncation", at=2),
        )
    )
    assert got.latest_refusals == [("f", "2019-01-01")]
    assert got.cells.height == 2


def test_violations_of_one_probe_are_one_refused_cell():
    rows = [audit_row("f", "2019-01-01", "truncation", False, detail=f"column {i}") for i in range(3)]
    got = gate_results(ledger(*rows, audit_row("f", "2019-01-01", "knowledge")))
    cell = got.cells.filter(pl.col("probe") == "truncation").row(0, named=True)
    assert (cell["passed"], cell["refused"]) == (False, 3)
    assert got.coverage.select("probe", "months", "passed", "refused").rows() == [
        ("truncation", 1, 0, 1),
        ("knowledge", 1, 1, 0),
    ]


def test_coverage_adds_up_over_months_and_parts():
    parts = json.dumps({"parts": [{"cutoffs": 2, "cells": 10}, {"cutoffs": 3, "skipped": "no volume"}]})
    assert coverage_text(
        [parts, json.dumps({"cutoffs": 5, "cells": 1000, "rtol": 1e-9, "exhaustive": True})]
    ) == ("10 cutoffs, 1,010 cells, 1 skipped")
    assert coverage_text([""]) == "not stated"


def test_no_ledger_is_no_evidence():
    for nothing in (None, ledger(audit_row("f", "2019-01-01", "truncation")).clear()):
        got = gate_results(nothing)
        assert got.cells.is_empty()
        assert got.latest_refusals == []


def test_suspicions_of_the_latest_audits_are_told_and_refuse_nothing():
    suspicion = Suspicion("gap", 0.31, 0.02, 240, 4800, 0.14)
    coverage = json.dumps({"columns": 3, "suspicious": [suspicion.to_plain()]})
    got = gate_results(
        ledger(
            audit_row("f", "2019-01-01", "plausibility", at=1) | {"coverage": coverage},
            audit_row("f", "2019-01-01", "plausibility", at=2),
            audit_row("f", "2019-02-01", "plausibility", at=1) | {"coverage": coverage},
        )
    )
    assert got.suspicions.rows() == [("f", "2019-02-01", suspicion.words)]
    assert got.latest_refusals == []
    assert gate_results(None).suspicions.is_empty()
