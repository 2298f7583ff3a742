"""An audit counts for the content that it saw, and for no other."""

import logging
from dataclasses import replace
from datetime import UTC, datetime

import polars as pl
import pytest

from trademl_pipeline.lake import GatedTable, Lake
from trademl_pipeline.lake.gated import Gate
from trademl_pipeline.leakage import AuditReport, Violation
from trademl_pipeline.pipeline.audited import (
    as_stored,
    audit_contents,
    audits_in_force,
    check_lake,
    recorded,
)
from trademl_pipeline.pipeline.gate import GateRefusedError, publish
from trademl_pipeline.pipeline.history import published_empty
from trademl_pipeline.pipeline.months import RunInfo
from trademl_pipeline.tables import AUDITS
from trademl_pipeline_tests.past_the_gate import append_past_the_gate, change_beneath, write_past_the_gate

MONTHS = ("2020-01-01", "2020-02-01", "2020-03-01")
SPAN = (MONTHS[0], MONTHS[-1])
TABLE = GatedTable(
    "made",
    {"symbol": pl.String, "value": pl.Float64},
    ("symbol",),
    nullable=frozenset({"value"}),
    may_be_empty=True,
    probes=("truncation",),
    ledger=AUDITS,
)
PASSED = AuditReport((), {"truncation": {"cells": 2}})
REFUSED = AuditReport((Violation("truncation", "value", "A", detail="moved"),), {"truncation": {"cells": 2}})


def rows(value: float) -> pl.DataFrame:
    return pl.DataFrame({"symbol": ["A", "B"], "value": [value, 2 * value]})


def gated(
    lake: Lake, value: float, month: str, report: AuditReport = PASSED, table: GatedTable = TABLE
) -> None:
    run = RunInfo(f"run {value}", datetime(2026, 1, 1 + int(value), tzinfo=UTC), logging.getLogger("test"))
    frame = rows(value).with_columns(
        pl.lit(None).cast(kind).alias(c) for c, kind in table.columns.items() if c not in TABLE.columns
    )
    publish(run, lake, table, frame, month, lambda written: report)


@pytest.fixture
def made(lake: Lake) -> Lake:
    for month in MONTHS:
        gated(lake, 1.0, month)
    return lake


def unaudited(lake: Lake, table: GatedTable = TABLE) -> list[str]:
    return check_lake(lake, [table]).unaudited["month"].to_list()


def test_what_the_gate_published_is_audited(made: Lake):
    result = check_lake(made, [TABLE])
    assert (result.months, result.tables, result.unaudited.height) == (3, 1, 0)
    report = audit_contents(audits_in_force(made, recorded(made, [TABLE], SPAN), MONTHS[-1]))
    assert report.passed
    assert report.coverage["content"] == {"months": 3}


def test_a_month_that_was_written_past_the_gate_is_not(made: Lake):
    write_past_the_gate(made, TABLE, rows(7.0), MONTHS[1])
    assert unaudited(made) == [MONTHS[1]]
    for contents in (recorded(made, [TABLE], SPAN), as_stored(made, [TABLE], SPAN)):
        audits = audits_in_force(made, contents, MONTHS[-1])
        (violation,) = audit_contents(audits).violations
        assert (violation.probe, violation.column) == ("content", TABLE.name)
        assert "2020-02" in violation.detail
        assert not audits.filter(pl.col("month") == MONTHS[1], pl.col("passed")).height
    write_past_the_gate(made, TABLE, rows(1.0), MONTHS[1])
    assert unaudited(made) == []


def test_a_month_that_passes_again_with_other_content_is_audited(made: Lake):
    gated(made, 3.0, MONTHS[1])
    assert unaudited(made) == []


def test_a_refusal_stands_and_the_content_of_before_is_still_audited(made: Lake):
    with pytest.raises(GateRefusedError):
        gated(made, 4.0, MONTHS[1], REFUSED)
    assert unaudited(made) == []
    audits = audits_in_force(made, recorded(made, [TABLE], SPAN), MONTHS[-1])
    assert audits.filter(~pl.col("passed"))["month"].to_list() == [MONTHS[1]]


def test_what_a_later_audit_refuses_as_it_lies_there_is_told(made: Lake):
    night = RunInfo("night", datetime(2026, 1, 20, tzinfo=UTC), logging.getLogger("test"))
    assert made.record_audit(TABLE, MONTHS[1], Gate(lambda rows: REFUSED, night)) is REFUSED
    result = check_lake(made, [TABLE])
    assert result.refused.rows() == [(TABLE.name, MONTHS[1], "truncation: moved")]
    assert unaudited(made) == []
    gated(made, 3.0, MONTHS[1])
    assert check_lake(made, [TABLE]).refused.height == 0, "the lake holds other rows now"


def test_a_content_that_another_probe_than_the_table_names_has_passed_is_not_audited(made: Lake):
    write_past_the_gate(made, TABLE, rows(8.0), MONTHS[1])
    forged = made.read(AUDITS).filter(pl.col("month") == MONTHS[1])
    content = made.data_version(TABLE, MONTHS[1])
    forged = forged.with_columns(pl.lit("anything").alias("probe"), pl.lit(content).alias("content"))
    append_past_the_gate(made, AUDITS, forged)
    assert unaudited(made) == [MONTHS[1]]


def test_a_refused_content_that_is_written_past_the_gate_is_not_audited(made: Lake):
    """One probe passed it, and another refused it."""
    both = replace(TABLE, probes=("truncation", "knowledge"))
    report = replace(REFUSED, coverage={**REFUSED.coverage, "knowledge": {"rows": 2}})
    with pytest.raises(GateRefusedError):
        gated(made, 4.0, MONTHS[1], report, both)
    write_past_the_gate(made, both, rows(4.0), MONTHS[1])
    assert MONTHS[1] in unaudited(made, replace(TABLE, probes=("knowledge",)))


def test_audits_that_do_not_say_what_they_saw_count_for_nothing(made: Lake):
    write_past_the_gate(made, TABLE, rows(5.0), MONTHS[2])
    old = made.read(AUDITS).filter(pl.col("month") == MONTHS[2])
    append_past_the_gate(made, AUDITS, old.with_columns(pl.lit(None).cast(pl.String).alias("content")))
    assert unaudited(made) == [MONTHS[2]]


def test_an_empty_month_has_the_content_of_an_empty_table(made: Lake):
    run = RunInfo("run", datetime(2026, 1, 9, tzinfo=UTC), logging.getLogger("test"))
    write_past_the_gate(made, TABLE, TABLE.empty(), MONTHS[1])
    assert unaudited(made) == [MONTHS[1]], "its audit saw rows"
    assert published_empty(made, TABLE, [MONTHS[1]]) == set()
    write_past_the_gate(made, TABLE, rows(1.0), MONTHS[1])
    publish(run, made, TABLE, TABLE.empty(), MONTHS[1], lambda written: PASSED)
    audits = audits_in_force(made, recorded(made, [TABLE], SPAN), MONTHS[-1])
    assert MONTHS[1] in audits.filter(pl.col("passed"))["month"].to_list()
    assert unaudited(made) == []
    assert published_empty(made, TABLE, [MONTHS[1]]) == {MONTHS[1]}


def test_months_of_before_a_table_gained_a_column_stay_audited(made: Lake):
    grown = replace(
        TABLE,
        columns={"symbol": pl.String, "more": pl.Float64, "value": pl.Float64},
        nullable=frozenset({"value", "more"}),
    )
    gated(made, 6.0, MONTHS[2], table=grown)
    assert unaudited(made, grown) == []
    write_past_the_gate(made, grown, rows(1.0).with_columns(pl.lit(1.0).alias("more")), MONTHS[0])
    assert unaudited(made, grown) == [MONTHS[0]]


def test_a_value_that_was_changed_beneath_the_catalog_is_found(made: Lake):
    """A file of the lake changed by hand: its snapshot says the content of before."""
    change_beneath(made, f"UPDATE {TABLE.name} SET value = 9 WHERE month = '{MONTHS[0]}' AND symbol = 'A'")
    versions = dict(recorded(made, [TABLE], SPAN)[0][1])
    assert as_stored(made, [TABLE], SPAN)[0][1][MONTHS[0]] != versions[MONTHS[0]]
    assert unaudited(made) == [MONTHS[0]]
