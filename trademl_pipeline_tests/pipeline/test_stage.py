"""A stage: what is read is computed, what is written is audited, and only what passes stays."""

from collections import Counter
from dataclasses import replace

import polars as pl
import pytest

from trademl_pipeline.lake import Lake
from trademl_pipeline.lake.schema import GatedTable, UngatedTable
from trademl_pipeline.lake.view import LakeReader
from trademl_pipeline.leakage import AuditReport, Violation
from trademl_pipeline.pipeline.gate import GateRefusedError, Sample
from trademl_pipeline.pipeline.lookback import SAME_MONTH
from trademl_pipeline.pipeline.shown import Markdown
from trademl_pipeline.pipeline.stage import Inputs, Stage, audit_stage_month, of_the_month, stage_months
from trademl_pipeline.tables import AUDITS
from trademl_pipeline_tests.past_the_gate import write_past_the_gate
from trademl_pipeline_tests.pipeline.made_inputs import STAGES
from trademl_pipeline_tests.pipeline.runs import done, new_run, refused

GIVEN = UngatedTable("given", {"symbol": pl.String, "value": pl.Float64}, key=("symbol",))
DOUBLED = GatedTable(
    "doubled",
    {"symbol": pl.String, "value": pl.Float64},
    key=("symbol",),
    probes=("incremental",),
    ledger=AUDITS,
)
MONTHS = ["2016-01-01", "2016-02-01"]
SAMPLE = Sample(cutoffs=3, seed=7)


def audit(written: pl.DataFrame, inputs: Inputs, month: str, sample: Sample) -> AuditReport:
    """Every value is twice the one given; the coverage tells what was asked for."""
    both = written.join(inputs["given"], on="symbol", suffix="_given")
    bad = both.filter(pl.col("value") != 2 * pl.col("value_given"))
    found = tuple(Violation("incremental", "value", symbol) for symbol in bad["symbol"])
    return AuditReport(found, {"incremental": {"rows": both.height, "cutoffs": sample.cutoffs}})


STAGE = Stage(
    schema=DOUBLED,
    description="Twice what is given.",
    group="test",
    reads={GIVEN.name: SAME_MONTH},
    read=lambda store, month: {"given": store.read(GIVEN, months=(month, month))},
    compute=lambda inputs, month: inputs["given"].with_columns(pl.col("value") * 2),
    audit=audit,
)


@pytest.fixture
def given(lake: Lake) -> Lake:
    """A lake with two months of what the stage reads."""
    for number, month in enumerate(MONTHS, 1):
        lake.publish(GIVEN, pl.DataFrame({"symbol": ["A", "B"], "value": [1.0 * number, 3.0]}), month)
    return lake


def test_a_month_is_read_computed_audited_and_published(given: Lake) -> None:
    run = new_run()
    events = done(DOUBLED.name, MONTHS, stage_months(STAGE, given, run, SAMPLE))
    assert given.read(DOUBLED, months=MONTHS[:1])["value"].to_list() == [2.0, 6.0]
    assert given.read(DOUBLED, months=MONTHS[1:])["value"].to_list() == [4.0, 6.0]
    assert [event.metadata["dagster/row_count"] for event in events] == [2, 2]
    assert all(isinstance(event.metadata["gate"], Markdown) for event in events)
    assert [(check.name, check.passed) for check in events[0].checks] == [("incremental", True)]
    assert events[0].checks[0].metadata["coverage"].data["cutoffs"] == SAMPLE.cutoffs
    audits = given.read(AUDITS).filter(pl.col("run_id") == run.run_id)
    assert audits.select("table_name", "month", "passed").sort("month").rows() == [
        (DOUBLED.name, month, True) for month in MONTHS
    ]


def test_a_month_that_the_audit_refuses_is_rolled_back_and_its_findings_are_kept(given: Lake) -> None:
    done(DOUBLED.name, MONTHS, stage_months(STAGE, given, new_run(), SAMPLE))
    before = given.data_version(DOUBLED, MONTHS[1])
    wrong = replace(STAGE, compute=lambda inputs, month: inputs["given"].with_columns(pl.col("value") * 3))
    run = new_run()
    body = stage_months(wrong, given, run, SAMPLE)
    with pytest.raises(GateRefusedError, match="doubled 2016-02: refused by the leakage gate"):
        body(MONTHS[1])
    assert given.data_version(DOUBLED, MONTHS[1]) == before
    event = refused(DOUBLED.name, MONTHS[1], body)
    assert [(check.name, check.passed) for check in event.checks] == [("incremental", False)]
    audits = given.read(AUDITS).filter(pl.col("run_id") == run.run_id)
    assert set(audits["symbol"]) == {"A", "B"}
    assert not audits["passed"].any()


@pytest.mark.parametrize("ran", [{}, {"knowledge": {"rows": 2}}], ids=["no probe ran", "another ran"])
def test_a_month_whose_probe_could_not_run_is_refused(given: Lake, ran: dict) -> None:
    report = AuditReport((), {"incremental": {"skipped": "nothing to compare with"}, **ran})
    idle = replace(STAGE, audit=lambda written, inputs, month, sample: report)
    event = refused(DOUBLED.name, MONTHS[0], stage_months(idle, given, new_run(), SAMPLE))
    assert event.reason == (
        "doubled 2016-01: refused by the leakage gate: not audited, since incremental could not be run"
    )
    assert [check.name for check in event.checks] == list(ran)
    assert DOUBLED.name not in given.tables()


def test_figures_are_made_once_a_run_and_shown_with_every_month(given: Lake) -> None:
    made: Counter[str] = Counter()

    def figures():
        made["run"] += 1

        def show(earlier: LakeReader, inputs: Inputs, frame: pl.DataFrame, month: str) -> dict:
            made[month] += 1
            return {"largest": frame["value"].max(), "of": inputs["given"].height}

        return show

    shown = replace(STAGE, figures=figures)
    events = done(DOUBLED.name, MONTHS, stage_months(shown, given, new_run(), SAMPLE))
    assert made == {"run": 1, MONTHS[0]: 1, MONTHS[1]: 1}
    assert [(event.metadata["largest"], event.metadata["of"]) for event in events] == [(6.0, 2), (6.0, 2)]


def test_figures_see_earlier_months_of_the_table_and_nothing_else(given: Lake) -> None:
    def show(earlier: LakeReader, inputs: Inputs, frame: pl.DataFrame, month: str) -> dict:
        return {"months": earlier.months(DOUBLED), "rows": earlier.read(DOUBLED).height}

    shown = replace(STAGE, figures=lambda: show)
    done(DOUBLED.name, MONTHS, stage_months(shown, given, new_run(), SAMPLE))
    # The first again, with the second published.
    first, second = done(DOUBLED.name, MONTHS, stage_months(shown, given, new_run(), SAMPLE))
    assert (first.metadata["months"], first.metadata["rows"]) == ([], 0)
    assert (second.metadata["months"], second.metadata["rows"]) == (MONTHS[:1], 2)
    assert {read["table"] for read in second.metadata["reads"].data} == {GIVEN.name, DOUBLED.name}
    by_the_lake = replace(STAGE, figures=lambda: lambda *_: {"rows": given.read(DOUBLED).height})
    event = refused(DOUBLED.name, MONTHS[0], stage_months(by_the_lake, given, new_run(), SAMPLE))
    assert "opens the lake by another way" in event.reason


def test_figures_of_the_frame_alone(given: Lake) -> None:
    shown = replace(STAGE, figures=of_the_month(lambda frame: {"mean": frame["value"].mean()}))
    (event,) = done(DOUBLED.name, MONTHS[:1], stage_months(shown, given, new_run(), SAMPLE))
    assert event.metadata["mean"] == 4.0


def test_what_the_lake_holds_can_be_audited_again(given: Lake) -> None:
    done(DOUBLED.name, MONTHS, stage_months(STAGE, given, new_run(), SAMPLE))
    assert audit_stage_month(STAGE, given, MONTHS[0], SAMPLE).passed
    write_past_the_gate(given, DOUBLED, pl.DataFrame({"symbol": ["A", "B"], "value": [2.0, 6.5]}), MONTHS[0])
    report = audit_stage_month(STAGE, given, MONTHS[0], SAMPLE)
    assert [(v.probe, v.symbol) for v in report.violations] == [("incremental", "B")]


@pytest.mark.parametrize("asset", list(STAGES))
def test_every_column_is_described(asset: str) -> None:
    assert set(STAGES[asset].schema.columns) == set(STAGES[asset].columns)
    assert all(STAGES[asset].columns.values())


@pytest.mark.parametrize("asset", list(STAGES))
def test_every_input_looks_back_only_and_names_the_tables_of_its_lineage(asset: str) -> None:
    stage = STAGES[asset]
    assert all(lookback.last <= 0 for lookback in stage.reads.values())
    assert {table for sources in stage.lineage.values() for table, _ in sources} <= set(stage.reads)
