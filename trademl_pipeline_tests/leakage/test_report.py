import json
import math
from datetime import date, datetime

import polars as pl
import pytest

from trademl_pipeline.leakage import AuditReport, LeakageError, Violation
from trademl_pipeline.tables import AUDITS

LEAK = Violation(
    "truncation", "x0", "AAA", date(2020, 1, 2), date(2020, 1, 2), 0.5, "1 became 2 | when cut", 3
)
REFUSED = AuditReport((LEAK,), {"truncation": {"cutoffs": 4}, "adjustment": {"calls": 2}})
CLEAN = AuditReport((), {"knowledge": {"rows": 10}})
SKIPPED = AuditReport((), {"incremental": {"skipped": "no warm-up is declared"}})


def test_a_report_without_violations_passes_and_says_no_more_than_it_knows():
    assert CLEAN.passed
    assert CLEAN.assert_clean() is CLEAN
    assert "no leak within the declared clocks and the tested mutants" in CLEAN.to_markdown()
    assert "proof" not in CLEAN.to_markdown().lower()


@pytest.mark.parametrize("report", [AuditReport(), SKIPPED])
def test_a_report_that_tested_nothing_does_not_pass(report):
    assert not report.passed
    with pytest.raises(LeakageError, match="Nothing was tested"):
        report.assert_clean()


def test_a_refusal_names_column_symbol_session_and_size():
    with pytest.raises(LeakageError) as caught:
        REFUSED.assert_clean()
    text = str(caught.value)
    assert all(part in text for part in ("truncation", "x0", "AAA", "2020-01-02", "1 became 2"))
    assert caught.value.report is REFUSED


def test_many_violations_are_cut_short_in_the_message():
    many = AuditReport((LEAK,) * 30, REFUSED.coverage)
    with pytest.raises(LeakageError, match="and 10 more"):
        many.assert_clean()


def test_a_report_cannot_be_mistaken_for_its_verdict():
    with pytest.raises(TypeError, match=r"report\.passed"):
        bool(CLEAN)


def test_reports_add_up():
    total = CLEAN + REFUSED
    assert not total.passed
    assert set(total.coverage) == {"knowledge", "truncation", "adjustment"}
    assert sum([CLEAN, REFUSED]).violations == (LEAK,)
    thrice = sum([CLEAN, CLEAN, CLEAN], AuditReport())
    assert thrice.coverage["knowledge"] == {"parts": [{"rows": 10}] * 3}


def test_the_frame_fits_the_table_of_audits():
    frame = (CLEAN + REFUSED + SKIPPED).to_frame()
    added = {"table_name", "month", "run_id", "recorded_at", "content"}
    assert frame.schema == {c: t for c, t in AUDITS.columns.items() if c not in added}
    assert frame.select("probe", "passed").rows() == [
        ("knowledge", True),
        ("truncation", False),
        ("adjustment", True),
    ]
    required = [c for c in AUDITS.required if c not in added]
    assert frame.select(pl.col(required).null_count()).row(0) == (0,) * len(required)
    assert json.loads(frame["coverage"][1]) == {"cutoffs": 4}


def test_datetime_sessions_become_dates_in_the_frame():
    hourly = Violation("truncation", "x", "BTC", datetime(2020, 1, 2, 5), datetime(2020, 1, 2, 4), math.inf)
    frame = AuditReport((hourly,), {"truncation": {}}).to_frame()
    assert frame["cutoff"][0] == date(2020, 1, 2)
    assert frame["max_delta"][0] == math.inf


def test_the_markdown_keeps_its_table_whole():
    rows = [line for line in REFUSED.to_markdown().splitlines() if "1 became 2" in line]
    assert rows == [
        "| truncation | x0 | AAA | 2020-01-02 | 2020-01-02 | 0.5 | 1 became 2 \\| when cut |",
    ]
    assert "not run" in SKIPPED.to_markdown()
