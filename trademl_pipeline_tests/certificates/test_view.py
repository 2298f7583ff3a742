import polars as pl
import pytest
from rich.console import Console

from trademl_pipeline.certificates.certificate import Certificate, CertificateError
from trademl_pipeline.certificates.info_sheet import NOTHING, info_sheet
from trademl_pipeline.certificates.stored import (
    CertificateMissingError,
    certificate_in_force,
    certificates,
    certified_snapshots,
)
from trademl_pipeline.certificates.view import render, to_markdown
from trademl_pipeline.lake import Lake, LakeConfig
from trademl_pipeline.tables import certificate_table
from trademl_pipeline_tests.leakage.certificates import CLOSE, MONTH, audits, made


def printed(certificate: Certificate) -> str:
    console = Console(width=200, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(render(certificate))
    return console.export_text()


@pytest.mark.parametrize("show", [printed, to_markdown])
def test_people_read_the_same_as_the_text_says(show):
    certificate = made()
    text = show(certificate)
    for word in (
        "no leak within the declared clocks",
        "snapshot 9",
        "snapshot 7",
        certificate.digest,
        certificate.model.ledger,
        certificate.model.sha256,
        "commit cdcdcdcdcdcd",
        "4 cutoffs, 150 cells",
        "2 of 2",
    ):
        assert word in text


@pytest.mark.parametrize("show", [printed, to_markdown])
def test_a_refusal_is_the_first_thing_said(show):
    text = show(made(audits=audits(("features_f", "2014-03-01", "truncation", False, 1, {}))))
    assert "REFUSED months among what it was made from: features_f (truncation)" in text
    assert "PASSED" not in text


def test_the_info_sheet_answers_the_taxonomy_from_the_evidence():
    sheet = info_sheet(made(), claim="Buy or sell")
    for question in ("L1.1", "L1.2", "L1.3", "L1.4", "## L2", "L3.1", "L3.2", "L3.3"):
        assert question in sheet
    assert "Buy or sell" in sheet
    assert "Probe `truncation` on `features_f`: 2 of 2 months passed (4 cutoffs, 150 cells)." in sheet
    assert "Yes: the last label of the training set ends 2014-01-10" in sheet
    assert "Probe `adjustment`: not on record." in sheet
    assert f"training rows of its fold only: {NOTHING}" in sheet
    assert f"| Were test rows looked at before all was fitted? | {NOTHING} |" in sheet


class TestInTheLake:
    @pytest.fixture
    def lake(self, tmp_path):
        with Lake(LakeConfig.of(tmp_path)) as lake:
            yield lake

    def keep(self, lake: Lake, certificate: Certificate, *, text: str | None = None) -> None:
        row = {
            "fold": MONTH,
            "digest": certificate.digest,
            "passed": True,
            "data_snapshot": 9,
            "training_snapshot": 7,
            "certificate": text or certificate.to_json(),
            "run_id": "run",
            "recorded_at": CLOSE,
        }
        schema = certificate_table("x")
        kept = pl.concat([certificates(lake, "x", MONTH), pl.DataFrame([row], schema=schema.polars_schema)])
        lake.publish(schema, kept, MONTH)

    def predict(self, lake: Lake, *digests: str) -> None:
        from trademl_pipeline.lake.schema import UngatedTable

        schema = UngatedTable("predictions_x", {"symbol": pl.String, "certificate": pl.String}, ("symbol",))
        rows = {"symbol": [str(i) for i in range(len(digests))], "certificate": list(digests)}
        lake.publish(schema, pl.DataFrame(rows), MONTH)

    def test_the_one_in_force_is_the_one_that_the_predictions_name(self, lake: Lake):
        first, second = made(), made(values="bb" * 16)
        self.keep(lake, first)
        self.keep(lake, second)
        self.predict(lake, first.digest)
        assert certificate_in_force(lake, "x", MONTH) == first
        self.predict(lake, second.digest)
        assert certificate_in_force(lake, "x", MONTH) == second

    def test_a_month_without_decisions_has_the_latest(self, lake: Lake):
        self.keep(lake, made())
        assert certificate_in_force(lake, "x", MONTH) == made()

    def test_the_snapshots_that_must_be_kept_are_told(self, lake: Lake):
        assert certified_snapshots(lake, "x") == set()
        self.keep(lake, made())
        assert certified_snapshots(lake, "x") == {7, 9}

    def test_what_is_missing_is_said(self, lake: Lake):
        with pytest.raises(CertificateMissingError, match="none is certified"):
            certificate_in_force(lake, "x", MONTH)
        self.predict(lake, "ab" * 32)
        with pytest.raises(CertificateMissingError, match="certificates_x does not hold"):
            certificate_in_force(lake, "x", MONTH)

    def test_changed_and_mixed_ones_are_refused(self, lake: Lake):
        certificate = made()
        self.keep(lake, certificate, text=certificate.to_json().replace('"rows":2', '"rows":3', 1))
        self.predict(lake, certificate.digest)
        with pytest.raises(CertificateError, match="was changed"):
            certificate_in_force(lake, "x", MONTH)
        self.predict(lake, certificate.digest, "ab" * 32)
        with pytest.raises(CertificateError, match="2 certificates"):
            certificate_in_force(lake, "x", MONTH)
