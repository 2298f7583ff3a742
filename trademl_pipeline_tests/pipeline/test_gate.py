"""Publishing through the gate: several tables in one transaction, each with its audit."""

from dataclasses import replace

import polars as pl
import pytest

from trademl_pipeline.lake import GatedTable, Lake, UngatedTable
from trademl_pipeline.leakage import AuditReport, Violation
from trademl_pipeline.pipeline.gate import Audited, GateRefusedError, Sample, publish
from trademl_pipeline.tables import AUDITS
from trademl_pipeline_tests.pipeline.runs import new_run

MONTH = "2016-01-01"
COLUMNS = {"symbol": pl.String, "value": pl.Float64}
TABLE = GatedTable("made", COLUMNS, ("symbol",), probes=("truncation",), ledger=AUDITS)
BESIDE = GatedTable("made_beside", COLUMNS, ("symbol",), probes=("knowledge", "rerun"), ledger=AUDITS)
RECORD = UngatedTable("refused_rows", COLUMNS, ("symbol",))
ROWS = pl.DataFrame({"symbol": ["A"], "value": [1.0]})
PASSED = AuditReport((), {"truncation": {"cells": 1}})
BESIDE_PASSED = AuditReport((), {"knowledge": {"rows": 1}, "rerun": {"cutoffs": 2}})


def published(lake: Lake, beside: AuditReport, report: AuditReport = PASSED) -> None:
    also = Audited(BESIDE, ROWS, lambda rows: beside)
    publish(new_run(), lake, TABLE, ROWS, MONTH, lambda rows: report, beside=[(RECORD, ROWS), also])


def test_every_gated_table_of_a_month_has_its_audit_on_record(lake: Lake) -> None:
    published(lake, BESIDE_PASSED)
    audits = lake.read(AUDITS)
    for table in (TABLE, BESIDE):
        own = audits.filter(pl.col("table_name") == table.name)
        assert set(own["probe"]) == set(table.probes)
        assert set(own["content"]) == {lake.data_version(table, MONTH)}
    assert lake.read(RECORD).height == 1


LEAK = Violation("rerun", "value", "A", detail="moved")


@pytest.mark.parametrize(
    ("beside", "said"),
    [
        (replace(BESIDE_PASSED, violations=(LEAK,)), "rerun, value, A: moved"),
        (AuditReport((), {"knowledge": {"rows": 1}}), "not audited, since rerun could not be run"),
        (
            AuditReport((), {"knowledge": {"rows": 1}, "rerun": {}}),
            "not audited, since rerun could not be run",
        ),
        (AuditReport(), "not audited, since knowledge, rerun could not be run"),
    ],
)
def test_a_table_beside_that_is_refused_takes_all_of_the_month_back(
    lake: Lake, beside: AuditReport, said: str
) -> None:
    with pytest.raises(GateRefusedError, match=f"made_beside 2016-01: refused by the leakage gate: {said}"):
        published(lake, beside)
    assert set(lake.tables()) <= {AUDITS.name}
    # What a refused audit passed is told, and counts for no content.
    assert not lake.tables() or lake.read(AUDITS).filter("passed")["content"].is_null().all()


def test_a_report_that_lacks_a_probe_of_the_table_is_refused(lake: Lake) -> None:
    with pytest.raises(
        GateRefusedError, match=r"made 2016-01: .* not audited, since truncation could not be run"
    ):
        published(lake, BESIDE_PASSED, AuditReport((), {"knowledge": {"rows": 1}}))
    assert TABLE.name not in lake.tables()


def test_every_month_of_every_table_has_a_draw_of_its_own():
    months = [f"{year}-{month:02d}-01" for year in (2019, 2020) for month in range(1, 13)]
    seeds = {
        Sample(2, 0).seed_of(table, month)
        for table in ("features_indicators", "patterns")
        for month in months
    }
    assert len(seeds) == 48
    assert Sample(5, 0).seed_of("patterns", months[0]) == Sample(2, 0).seed_of("patterns", months[0])
    assert Sample(2, 1).seed_of("patterns", months[0]) not in seeds
