"""Certified months made again from what their certificates name."""

import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from trademl_pipeline.certificates.certificate import CertificateError
from trademl_pipeline.certificates.stored import CertificateMissingError, certificate_in_force
from trademl_pipeline.certificates.verification import Verification
from trademl_pipeline.leakage import AuditReport
from trademl_pipeline.pipeline.gate import Sample, publish
from trademl_pipeline.pipeline.models import ModelMissingError
from trademl_pipeline.pipeline.months import RunInfo
from trademl_pipeline.pipeline.verify import verify_month
from trademl_pipeline.studies import STUDIES
from trademl_pipeline.tables import RAW_BARS
from trademl_pipeline_tests.defs.conftest import LAST, Workplace
from trademl_pipeline_tests.past_the_gate import write_past_the_gate

ROOT = Path(__file__).parents[2]
SAMPLE = Sample(cutoffs=2, seed=0)
RUN = RunInfo("published again", datetime(2026, 1, 1, tzinfo=UTC), logging.getLogger("test"))


def verified(workplace: Workplace, *, quick: bool) -> Verification:
    return verify_month(workplace.workspace(), STUDIES["direction"], LAST, SAMPLE, quick=quick)


def outcomes(result: Verification) -> dict[str, str]:
    return {c.what: c.outcome for c in result.comparisons}


@pytest.mark.parametrize("quick", [True, False])
def test_an_honest_month_holds_to_the_last_bit(workplace: Workplace, quick: bool):
    result = verified(workplace, quick=quick)
    assert result.holds, result.to_plain()
    assert set(outcomes(result).values()) == {"same"}, result.to_plain()
    assert ("model fitted again" in outcomes(result)) is not quick


@pytest.fixture
def edited(workplace: Workplace) -> Iterator[Workplace]:
    """The workplace with one prediction changed by hand."""
    lake, schema = workplace.lake(), STUDIES["direction"].predictions
    honest = lake.read(schema, months=(LAST, LAST))
    changed = honest.with_columns(
        pl.when(pl.int_range(pl.len()) == 7)
        .then(pl.col("score") + 0.01)
        .otherwise(pl.col("score"))
        .alias("score")
    )
    write_past_the_gate(lake, schema, changed, LAST)
    yield workplace
    write_past_the_gate(lake, schema, honest, LAST)


def test_a_prediction_that_was_changed_is_found_and_named(edited: Workplace):
    result = verified(edited, quick=True)
    assert not result.holds
    assert outcomes(result)["published values"] == "differs"
    said = next(c.finding for c in result.comparisons if c.what == "predictions")
    assert "score differs in 1 rows" in said
    assert outcomes(result)["data of the month"] == "same"


def test_a_month_whose_inputs_were_published_again_is_made_from_those_of_then(workplace: Workplace):
    lake, schema = workplace.lake(), STUDIES["direction"].features
    honest = lake.read(schema, months=(LAST, LAST))
    passed = AuditReport((), {probe: {"rows": honest.height} for probe in schema.probes})
    publish(RUN, lake, schema, honest.with_columns(pl.col("gap") + 1.0), LAST, lambda written: passed)
    try:
        assert verified(workplace, quick=True).holds
    finally:
        write_past_the_gate(lake, schema, honest, LAST)


def test_a_model_file_that_was_changed_is_refused(workplace: Workplace):
    certificate = certificate_in_force(workplace.lake(), "direction", LAST)
    path = workplace.home / certificate.model.artifact
    honest = path.read_bytes()
    path.write_bytes(honest + b" ")
    try:
        with pytest.raises(ModelMissingError, match="is not the one that was published"):
            verified(workplace, quick=True)
        assert verified(workplace, quick=False).holds
    finally:
        path.write_bytes(honest)


def test_a_month_without_a_certificate_cannot_be_verified(workplace: Workplace):
    with pytest.raises(CertificateMissingError, match="2014-02"):
        verify_month(workplace.workspace(), STUDIES["direction"], "2013-06-01", SAMPLE, quick=True)
    assert issubclass(CertificateMissingError, CertificateError)


@pytest.mark.slow
def test_the_command_tells_by_its_exit_code(written_down: Workplace):
    def run(month: str) -> subprocess.CompletedProcess[str]:
        arguments = ["verify", "direction", month, "--quick", "--json", "--home", str(written_down.home)]
        command = [sys.executable, "-m", "trademl_pipeline.cli", *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)

    held = run(LAST[:7])
    assert held.returncode == 0, held.stderr
    assert json.loads(held.stdout)["holds"] is True
    missing = run("2013-06")
    assert missing.returncode == 2
    assert "cannot be verified" in missing.stderr


@pytest.mark.slow
def test_the_whole_lake_is_checked_by_a_command_that_names_the_month_that_was_changed(
    written_down: Workplace,
):
    def run() -> subprocess.CompletedProcess[str]:
        command = [
            sys.executable,
            "-m",
            "trademl_pipeline.cli",
            "check",
            "--lake",
            "--home",
            str(written_down.home),
        ]
        return subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)

    honest = run()
    assert honest.returncode == 0, honest.stdout + honest.stderr
    assert "tables are what the gate audited" in honest.stdout
    lake = written_down.lake()
    bars = lake.read(RAW_BARS, months=[LAST])
    write_past_the_gate(lake, RAW_BARS, bars.with_columns(pl.col("close") * 1.0001), LAST)
    try:
        changed = run()
        quick = verified(written_down, quick=True)
    finally:
        write_past_the_gate(lake, RAW_BARS, bars, LAST)
    assert changed.returncode == 1
    assert "NOT AUDITED  raw_bars 2014-03" in changed.stdout
    assert outcomes(quick)["what lies behind"] == "differs"
