"""A gated table has no way into the lake but with an audit that passed, and the audit's record is the lake's own."""

import subprocess
import sys
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from trademl_pipeline.lake import GatedTable, Lake, Ledger, TableSchema, UngatedTable
from trademl_pipeline.lake.errors import UnauditedError
from trademl_pipeline.lake.gated import Gate, GatedMonth
from trademl_pipeline.lake.publishing import Partition
from trademl_pipeline.lake.schema import AuditLedger, copied_ledger, copied_table
from trademl_pipeline.leakage import AuditReport, Violation
from trademl_pipeline.tables import AUDITS
from trademl_pipeline_tests.conftest import REPOSITORY
from trademl_pipeline_tests.past_the_gate import write_past_the_gate

MONTH, NEXT = "2016-01-01", "2016-02-01"
COLUMNS = {"symbol": pl.String, "x": pl.Float64}
TABLE = GatedTable("things", COLUMNS, ("symbol",), probes=("truncation", "knowledge"), ledger=AUDITS)
BESIDE = GatedTable("others", COLUMNS, ("symbol",), probes=("knowledge",), ledger=AUDITS)
PASSED = AuditReport((), {"truncation": {"cells": 2}, "knowledge": {"rows": 1}})
LEAK = Violation("truncation", "x", "A", detail="moved")


@dataclass(frozen=True)
class Run:
    run_id: str = "run"
    recorded_at: datetime = datetime(2026, 1, 1, tzinfo=UTC)


def frame(x: float) -> pl.DataFrame:
    return pl.DataFrame({"symbol": ["A"], "x": [x]})


def gate(report: Any = PASSED) -> Gate[Any]:
    return Gate(lambda rows: report, Run())


def content(lake: Lake, month: str = MONTH) -> str:
    return lake.data_version(TABLE, month)


def test_the_audit_lands_with_the_rows_and_names_the_content_that_the_lake_holds(lake: Lake):
    result = lake.publish(TABLE, frame(1.0), MONTH, gate=gate())
    audits = lake.read(AUDITS, snapshot=result.snapshot)
    assert audits.select("table_name", "month", "probe", "passed", "run_id").rows() == [
        ("things", MONTH, "knowledge", True, "run"),
        ("things", MONTH, "truncation", True, "run"),
    ]
    assert set(audits["content"]) == {result.data_version} == {content(lake)}
    assert result.audited is PASSED


def test_a_month_that_has_not_changed_is_audited_again_and_says_so(lake: Lake):
    for _ in range(2):
        result = lake.publish(TABLE, frame(1.0), MONTH, gate=gate())
    assert result.unchanged
    assert lake.read(AUDITS).height == 4


@pytest.mark.parametrize(
    ("report", "said"),
    [
        (None, "its audit returned NoneType, no report"),
        (True, "its audit returned bool, no report"),
        ("clean", "its audit returned str, no report"),
        (AuditReport(), "its audit did not run truncation, knowledge"),
        (AuditReport((), {"truncation": {"cells": 2}}), "its audit did not run knowledge"),
        (AuditReport((), {"anything": {"rows": 1}}), "its audit did not run truncation, knowledge"),
        (AuditReport((), {"truncation": {}, "knowledge": {}}), "its audit did not run truncation, knowledge"),
        (
            AuditReport((), {"truncation": {"cells": 2}, "knowledge": {"skipped": "no clock"}}),
            "its audit did not run knowledge",
        ),
        (replace(PASSED, violations=(LEAK,)), "its audit did not pass"),
    ],
)
def test_what_is_no_report_that_passed_lets_nothing_in(lake: Lake, report: Any, said: str):
    lake.publish(TABLE, frame(1.0), MONTH, gate=gate())
    with pytest.raises(UnauditedError, match=f"publish of things 2016-01: {said}"):
        lake.publish(TABLE, frame(2.0), MONTH, gate=gate(report))
    with pytest.raises(UnauditedError, match=said):
        lake.publish_many([GatedMonth(TABLE, frame(2.0), MONTH, gate(report))])
    assert lake.read(TABLE)["x"].to_list() == [1.0]
    assert lake.read(AUDITS).height == 2


def test_without_a_gate_nothing_gets_in(lake: Lake):
    unchecked: Any = lake
    for attempt in (
        lambda: unchecked.publish(TABLE, frame(1.0), MONTH),
        lambda: unchecked.publish(TABLE, frame(1.0), MONTH, audit=lambda rows: PASSED),
        lambda: unchecked.publish_many([(TABLE, frame(1.0), MONTH)]),
        lambda: unchecked.publish_many(
            [(TABLE, frame(1.0), MONTH)], audits={TABLE.name: lambda rows: PASSED}
        ),
        lambda: Partition(TABLE, frame(1.0), MONTH, "hash", audit=lambda rows: PASSED),
    ):
        with pytest.raises(
            UnauditedError, match="things 2016-01: the table is gated and comes without a gate"
        ):
            attempt()
    assert lake.tables() == []


def test_a_table_beside_a_gated_one_needs_a_gate_of_its_own(lake: Lake):
    unchecked: Any = lake
    with pytest.raises(UnauditedError, match="others 2016-01: the table is gated and comes without a gate"):
        unchecked.publish_many([GatedMonth(TABLE, frame(1.0), MONTH, gate()), (BESIDE, frame(1.0), MONTH)])
    with pytest.raises(UnauditedError, match="publish of others 2016-01: its audit returned NoneType"):
        lake.publish_many(
            [
                GatedMonth(TABLE, frame(1.0), MONTH, gate()),
                GatedMonth(BESIDE, frame(1.0), MONTH, gate(None)),
            ]
        )
    assert lake.tables() == []
    lake.publish_many(
        [GatedMonth(TABLE, frame(1.0), MONTH, gate()), GatedMonth(BESIDE, frame(1.0), MONTH, gate())]
    )
    assert set(lake.read(AUDITS)["table_name"]) == {"things", "others"}


@pytest.mark.parametrize(
    "other",
    [copied_table(TABLE), UngatedTable("things", COLUMNS, ("symbol",)), replace(copied_table(TABLE), key=())],
)
def test_a_table_that_is_gated_in_the_lake_is_not_written_under_another_declaration(
    lake: Lake, other: UngatedTable
):
    lake.publish(TABLE, frame(1.0), MONTH, gate=gate())
    for month in (MONTH, NEXT):
        with pytest.raises(UnauditedError, match="table things: the lake has it on record as gated"):
            lake.publish(other, frame(2.0), month)
    assert lake.read(TABLE)["x"].to_list() == [1.0]


def test_another_handle_on_the_lake_knows_that_the_table_is_gated(lake: Lake):
    lake.publish(TABLE, frame(1.0), MONTH, gate=gate())
    with Lake(lake.config) as other, pytest.raises(UnauditedError, match="on record as gated"):
        other.publish(copied_table(TABLE), frame(2.0), MONTH)


def test_a_copy_lives_in_a_lake_of_its_own_and_a_gate_that_comes_later_stands(lake: Lake):
    lake.publish(copied_table(TABLE), frame(1.0), MONTH)
    lake.publish(copied_table(TABLE), frame(2.0), MONTH)
    lake.publish(TABLE, frame(2.0), MONTH, gate=gate())
    with pytest.raises(UnauditedError, match="on record as gated"):
        lake.publish(copied_table(TABLE), frame(1.0), MONTH)


def test_the_ledger_of_audits_gains_rows_from_audits_alone(lake: Lake):
    lake.publish(TABLE, frame(1.0), MONTH, gate=gate())
    forged = lake.read(AUDITS).with_columns(pl.lit("another content").alias("content"))
    unchecked: Any = lake
    for attempt in (
        lambda: unchecked.append(AUDITS, forged),
        lambda: unchecked.publish(AUDITS, forged, MONTH),
        lambda: unchecked.publish_many(
            [GatedMonth(TABLE, frame(1.0), MONTH, gate())], append=[(AUDITS, forged)]
        ),
        lambda: lake.append(copied_ledger(AUDITS), forged),
        lambda: lake.append(Ledger("audits", AUDITS.columns, (), "all"), forged),
    ):
        with pytest.raises(UnauditedError, match="audits"):
            attempt()
    assert lake.read(AUDITS).height == 2


def test_a_month_is_audited_again_as_the_lake_holds_it(lake: Lake):
    lake.publish(TABLE, frame(1.0), MONTH, gate=gate())
    write_past_the_gate(lake, TABLE, frame(7.0), MONTH)
    seen: list[pl.DataFrame] = []

    def audit(rows: pl.DataFrame) -> AuditReport:
        seen.append(rows)
        return PASSED

    assert lake.record_audit(TABLE, MONTH, Gate(audit, Run("night"))) is PASSED
    assert seen[0]["x"].to_list() == [7.0]
    night = lake.read(AUDITS).filter(pl.col("run_id") == "night")
    assert set(night["content"]) == {content(lake)}
    with pytest.raises(UnauditedError, match="audit of things 2016-01: its audit returned NoneType"):
        lake.record_audit(TABLE, MONTH, gate(None))


def test_of_an_audit_that_refused_no_row_says_that_a_content_passed(lake: Lake):
    refused = replace(PASSED, violations=(LEAK,))
    lake.record_refusal(TABLE, MONTH, refused, Run("refused"), "the content")
    rows = lake.read(AUDITS).select("probe", "passed", "content").rows()
    assert rows == [("knowledge", True, None), ("truncation", False, "the content")]
    lake.record_refusal(TABLE, MONTH, PASSED, Run("forged"), "the content")
    forged = lake.read(AUDITS).filter(pl.col("run_id") == "forged")
    assert forged["content"].to_list() == [None, None]


def test_a_table_says_of_which_kind_it_is():
    with pytest.raises(ValueError, match="name the probes"):
        replace(TABLE, probes=())
    with pytest.raises(ValueError, match="no column 'month'"):
        Ledger("said", {"what": pl.String}, ())
    with pytest.raises(ValueError, match="no column probe"):
        AuditLedger("audits", {k: v for k, v in AUDITS.columns.items() if k != "probe"}, ())


def test_a_table_of_no_kind_is_not_published(lake: Lake):
    unchecked: Any = lake
    with pytest.raises(ValueError, match="table plain is a TableSchema: declare it as GatedTable"):
        unchecked.publish(TableSchema("plain", COLUMNS, ("symbol",)), frame(1.0), MONTH)


TYPED = """
import polars as pl

from trademl_pipeline.lake import Lake
from trademl_pipeline.lake.gated import Gate, GatedMonth
from trademl_pipeline.leakage import AuditReport
from trademl_pipeline.tables import AUDITS, QUARANTINED_BARS, RAW_BARS


def honest(lake: Lake, frame: pl.DataFrame, gate: Gate[AuditReport]) -> None:
    lake.publish(RAW_BARS, frame, "2016-01-01", gate=gate)
    lake.publish(QUARANTINED_BARS, frame, "2016-01-01")
    lake.publish_many([GatedMonth(RAW_BARS, frame, "2016-01-01", gate), (QUARANTINED_BARS, frame, "2016-01-01")])


def past_the_gate(lake: Lake, frame: pl.DataFrame) -> None:
    lake.publish(RAW_BARS, frame, "2016-01-01")
    lake.publish(RAW_BARS, frame, "2016-01-01", audit=lambda rows: None)
    lake.publish_many([(RAW_BARS, frame, "2016-01-01")])
    lake.append(AUDITS, frame)
"""


@pytest.mark.slow
def test_pyright_refuses_what_the_lake_refuses(tmp_path: Path):
    (tmp_path / "typed.py").write_text(TYPED)
    (tmp_path / "pyrightconfig.json").write_text(f'{{"extraPaths": ["{REPOSITORY}"]}}')
    command = [sys.executable, "-m", "pyright", "--pythonpath", sys.executable, "-p", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    refused = sorted(
        {
            int(line.split("typed.py:")[1].split(":")[0])
            for line in done.stdout.splitlines()
            if "error:" in line and "typed.py:" in line
        }
    )
    forged = TYPED.splitlines().index("def past_the_gate(lake: Lake, frame: pl.DataFrame) -> None:") + 2
    assert refused == [forged, forged + 1, forged + 2, forged + 3], done.stdout + done.stderr
