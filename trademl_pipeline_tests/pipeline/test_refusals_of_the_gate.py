"""Results of checks from the ledger of audits: what refuses, what warns, and what each of them says."""

import pytest

from trademl_pipeline.leakage import AuditReport, Suspicion, Violation
from trademl_pipeline.leakage.diagnosis import SHIFT, Diagnosis
from trademl_pipeline.pipeline.gate import (
    PROBES,
    WARNING_PROBES,
    GateRefusedError,
    check_results,
    refusal_metadata,
)

SEEN = Diagnosis(SHIFT, "it reads exactly one later row", 1, origin="features/common.py:209")
LEAK = Violation("truncation", "gap", "A", detail="0.1 became missing", diagnosis=SEEN)
REFUSED = AuditReport((LEAK,), {"truncation": {"rows": 3}})
SUSPICION = Suspicion("gap", 0.31, 0.02, 240, 4800, 0.14)
SUSPICIOUS = AuditReport(
    coverage={
        "truncation": {"rows": 3},
        "plausibility": {"columns": 3, "suspicious": [SUSPICION.to_plain()]},
    }
)
LESSON = (
    "sees 1 session ahead",
    "likely pattern: shift",
    "made at features/common.py:209",
    "Fix: let each row",
)


@pytest.mark.parametrize(
    "text",
    [
        str(GateRefusedError("features_x", "2016-01-01", REFUSED)),
        refusal_metadata("2016-01", REFUSED)["refusal 2016-01"].text,
        check_results(REFUSED.to_frame(), REFUSED.violations)[0].metadata["violations"].text,
        REFUSED.to_markdown(),
    ],
    ids=["exception", "step", "check", "report"],
)
def test_a_refusal_teaches_wherever_it_is_shown(text: str):
    assert all(words in text for words in LESSON)


def test_a_violation_of_any_other_probe_tells_its_fix():
    early = Violation("knowledge", "gap", "A", detail="known late")
    assert "fix: use an input only in decisions after its knowledge_time" in early.sentence


def test_a_suspicious_column_warns_and_blocks_nothing():
    results = {result.name: result for result in check_results(SUSPICIOUS.to_frame())}
    assert SUSPICIOUS.passed
    assert (results["truncation"].passed, results["truncation"].blocking) == (True, True)
    warning = results["plausibility"]
    assert (warning.passed, warning.severity, warning.blocking) == (False, "WARN", False)
    assert warning.description == SUSPICION.words
    assert SUSPICION.words in warning.metadata["suspicious"].text


def test_what_warns_has_a_description_like_every_other_probe():
    assert set(PROBES) >= WARNING_PROBES
