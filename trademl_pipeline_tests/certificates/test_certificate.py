import subprocess
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from trademl_pipeline.certificates.certificate import (
    Certificate,
    CertificateError,
    KnownTries,
    content_of,
    make_certificate,
    text_digest,
)
from trademl_pipeline.certificates.code_version import PACKAGE, _commit, code_version, source_hash
from trademl_pipeline.leakage import AuditReport, Violation
from trademl_pipeline.leakage.evidence import evidence_of
from trademl_pipeline.training.ledger import FitLedger
from trademl_pipeline_tests.leakage.certificates import (
    CLOSE,
    MODEL,
    MONTH,
    arguments,
    audits,
    ledger,
    made,
    predictions,
)


def test_what_was_seen_and_when_is_on_it():
    certificate = made()
    assert certificate.rows == 2
    assert certificate.knowledge_last == CLOSE
    assert certificate.slack_seconds == 0
    assert certificate.training_knowledge_last == CLOSE - timedelta(days=59)
    assert certificate.label_end_last == date(2014, 1, 10)
    assert certificate.model.fits == 1
    assert certificate.fold.train_end < certificate.fold.test_start
    assert certificate.passed


def test_it_reads_back_as_it_was_written():
    certificate = made()
    again = Certificate.from_json(certificate.to_json(), certificate.digest)
    assert again == certificate
    assert again.digest == certificate.digest
    assert again.knowledge_last.utcoffset() == timedelta(0)


@pytest.mark.parametrize(
    "change",
    [
        {"values": "bb" * 16},
        {"data_snapshot": 10},
        {"data": {"features_f": content_of({"2014-02-01": "1", "2014-03-01": "3"})}},
        {"report": AuditReport(coverage={"knowledge": {"rows": 2}})},
        {"audits": audits(("features_f", "2014-03-01", "truncation", True, 1, {"cutoffs": 3}))},
    ],
)
def test_whatever_it_says_moves_its_digest(change):
    assert made(**change).digest != made().digest


def test_a_changed_text_is_refused():
    certificate = made()
    text = certificate.to_json().replace('"rows":2', '"rows":3', 1)
    with pytest.raises(CertificateError, match="was changed"):
        Certificate.from_json(text, certificate.digest)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{}", "format None"),
        ("[]", "no certificate"),
        ("nonsense", "no certificate"),
        ('{"format":4}', "format 4"),
    ],
)
def test_what_is_no_certificate_is_said(text, words):
    with pytest.raises(CertificateError, match=words):
        Certificate.from_json(text)


def test_a_certificate_of_before_reads_were_kept_is_read_and_keeps_its_digest():
    text = replace(made(), format=1).to_json()
    assert '"reads"' not in text
    old = Certificate.from_json(text, text_digest(text))
    assert (old.reads, old.digest) == ((), text_digest(text))


def test_a_certificate_of_before_looks_were_counted_keeps_its_digest():
    text = replace(made(), format=2).to_json()
    assert '"tries"' not in text
    old = Certificate.from_json(text, text_digest(text))
    assert (old.tries, old.digest) == (None, text_digest(text))


def test_looks_since_then_keep_the_certificate():
    earlier = made(tries=KnownTries(0, 0, 0))
    assert made(tries=KnownTries(3, 9, 40)).or_earlier_equivalent([earlier]) is earlier
    assert made(tries=KnownTries(3, 9, 40)).digest != earlier.digest


def test_a_refusal_among_the_inputs_shows():
    refused = made(audits=audits(("features_f", "2014-03-01", "truncation", False, 1, {})))
    assert not refused.passed
    own = made(report=AuditReport((Violation("knowledge", None),), {"knowledge": {"rows": 2}}))
    assert not own.passed


def test_the_same_data_at_another_snapshot_keep_the_certificate():
    earlier = made()
    assert made(data_snapshot=12).or_earlier_equivalent([earlier]) is earlier
    other = made(data_snapshot=12, values="bb" * 16)
    assert other.or_earlier_equivalent([earlier]) is other


def test_more_cutoffs_of_the_same_probes_keep_the_certificate_and_a_refusal_does_not():
    def later(passed: bool, probe: str = "truncation") -> Certificate:
        tested = {"cutoffs": 40, "cells": 9000}
        months = ("2014-02-01", "2014-03-01")
        return made(audits=audits(*(("features_f", month, probe, passed, 5, tested) for month in months)))

    earlier = made()
    assert later(True).or_earlier_equivalent([earlier]) is earlier
    assert later(False).or_earlier_equivalent([earlier]) is not earlier
    assert later(True, "perturbation").or_earlier_equivalent([earlier]) is not earlier


def test_evidence_takes_the_latest_audit_of_each_month_and_adds_up_what_was_tested():
    found = evidence_of(
        audits(
            ("f", "2014-01-01", "truncation", False, 1, {"cells": 5}),
            ("f", "2014-01-01", "truncation", True, 2, {"cells": 7, "seed": 3}),
            ("f", "2014-02-01", "truncation", True, 1, {"parts": [{"cells": 1}, {"skipped": "no volume"}]}),
            ("f", "2014-02-01", "knowledge", True, 1, {"rows": 4}),
        )
    )
    assert [(e.probe, e.months, e.passed, e.coverage) for e in found] == [
        ("knowledge", 1, 1, {"rows": 4}),
        ("truncation", 2, 2, {"cells": 8, "skipped": 1}),
    ]


def test_content_is_that_of_the_months_in_any_order():
    assert content_of({"2014-01-01": "a", "2014-02-01": "b"}) == content_of(
        {"2014-02-01": "b", "2014-01-01": "a"}
    )
    assert content_of({"2014-01-01": "a"}).digest != content_of({"2014-01-01": "b"}).digest
    nothing = content_of({}, ("2014-01-01", "2014-02-01"))
    assert (nothing.first, nothing.last, nothing.months) == ("2014-01-01", "2014-02-01", 0)


def test_the_running_code_is_named_by_its_source():
    code = code_version()
    assert code.source == source_hash(PACKAGE)
    assert code.libraries["polars"]
    assert replace(code, commit=None).label.endswith(code.source[:12])


def test_one_changed_letter_is_another_source(tmp_path: Path):
    (tmp_path / "a.py").write_text("x = 1")
    before = source_hash(tmp_path)
    (tmp_path / "a.py").write_text("x = 2")
    changed = source_hash(tmp_path)
    (tmp_path / "a.py").rename(tmp_path / "b.py")
    assert len({before, changed, source_hash(tmp_path)}) == 3


def test_a_package_inside_somebody_elses_repository_has_no_commit(tmp_path: Path):
    def git(*arguments: str) -> None:
        who = ["-c", "user.name=x", "-c", "user.email=x@example.org"]
        subprocess.run(["git", *who, *arguments], cwd=tmp_path, check=True, capture_output=True)

    package = tmp_path / "package"
    package.mkdir()
    (package / "__init__.py").write_text("")
    assert _commit(package) == (None, None)
    git("init")
    (tmp_path / "other").write_text("x")
    git("add", "other")
    git("commit", "-m", "x")
    assert _commit(package) == (None, None)
    git("add", "package")
    git("commit", "-m", "y")
    commit, dirty = _commit(package)
    assert len(commit or "") == 40
    assert dirty is False
    (package / "__init__.py").write_text("x = 1")
    assert _commit(package) == (commit, True)


def test_a_month_without_decisions_has_a_certificate():
    certificate = make_certificate("x", MONTH, predictions().clear(), **arguments())
    assert (certificate.rows, certificate.decision_first, certificate.slack_seconds) == (0, None, None)
    assert Certificate.from_json(certificate.to_json()) == certificate


def test_a_model_of_an_earlier_fold_is_told_by_that_folds_record():
    record = FitLedger("2014-01-01")
    for event in ledger().records(MONTH):
        record._records.append(replace(event, fold="2014-01-01"))
    certificate = made(ledger=record, model={**MODEL, "fitted": "2014-01-01"})
    assert certificate.model.fits == 1
    assert certificate.label_end_last == date(2014, 1, 10)


def test_moments_of_other_zones_are_told_in_utc():
    assert made().decision_first == datetime(2014, 3, 3, 21, tzinfo=UTC)
