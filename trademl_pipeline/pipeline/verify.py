"""Make a certified month again and compare.

Inputs are read at the snapshots that the certificate names. The models are fitted again from the training set as it
was, with the same seed; quick verification predicts with the stored ones.
"""

import tempfile
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

import polars as pl

from trademl_pipeline.certificates.certificate import Certificate, Content, content_of
from trademl_pipeline.certificates.code_version import code_version
from trademl_pipeline.certificates.stored import certificate_in_force
from trademl_pipeline.certificates.verification import (
    Comparison,
    Verification,
    compare_code,
    compare_contents,
    compare_digest,
    compare_values,
)
from trademl_pipeline.lake import Lake
from trademl_pipeline.leakage.evidence import Evidence, evidence_in
from trademl_pipeline.leakage.report import AuditReport
from trademl_pipeline.pipeline.audited import as_stored, audit_contents, audits_in_force, study_tables
from trademl_pipeline.pipeline.certify import Read, audits_behind, values_version
from trademl_pipeline.pipeline.fold import FROM_THE_FIRST, training_windows
from trademl_pipeline.pipeline.gate import Sample
from trademl_pipeline.pipeline.models import load_ledger, load_models, recorded_rows
from trademl_pipeline.pipeline.predict import PredictionStep, audit_predictions, learned_from, reads_of
from trademl_pipeline.pipeline.train import training_context
from trademl_pipeline.pipeline.workspace import Workspace
from trademl_pipeline.studies import StudySpec
from trademl_pipeline.training.fitted_study import FittedStudy
from trademl_pipeline.training.ledger import FitLedger
from trademl_pipeline.training.study import fit_study
from trademl_pipeline.training.trials import TrialLedger


def verify_month(
    workspace: Workspace,
    study: StudySpec,
    month: str,
    sample: Sample,
    *,
    quick: bool = False,
) -> Verification:
    """Make a month of predictions again from what its certificate names.

    Args:
        workspace: the data set.
        study: the study.
        month: month key.
        sample: how hard the gate looks.
        quick: predict with the stored models instead of fitting them again.

    Raises:
        CertificateError: there is no certificate, or it was changed.
        LakeError: a snapshot or a file that is needed is gone.
    """
    store, artifacts = workspace.lake, workspace.artifacts
    certificate = certificate_in_force(store, study.name, month)
    published = store.read(study.predictions, months=(month, month))
    record = store.read(study.models, months=(month, month), snapshot=certificate.data_snapshot)
    comparisons = [
        compare_code(certificate.code, code_version()),
        compare_digest("published values", certificate.values, values_version(study.predictions, published)),
        compare_contents(
            "data of the month",
            certificate.data,
            contents_as_read(store, reads_of(study, month, workspace.calendar), certificate.data_snapshot),
        ),
        compare_digest("model on record", certificate.model.sha256, record["artifact_sha256"][0]),
    ]
    if quick:
        fitted, ledger = load_models(artifacts, study, record, month), load_ledger(artifacts, record)
        comparisons.append(Comparison("stored model", "same", f"{certificate.model.artifact}, every file"))
    else:
        training = contents_as_read(
            store, learned_from(study, record["fitted"][0]), certificate.training_snapshot
        )
        comparisons.append(compare_contents("data of the training", certificate.training, training))
        fitted, ledger, digest = fit_again(store, study, month, record, workspace.calendar)
        comparisons.append(_model(certificate, digest))
    comparisons.append(
        compare_digest("fit ledger", certificate.model.ledger, ledger.digest(record["fitted"][0]))
    )
    step = PredictionStep(study, month, record, fitted, workspace.calendar)
    view = step.view(store, certificate.data_snapshot)
    with view.sealed():
        again, by_estimator = step.run(view, ledger)
    comparisons.append(compare_values(published.drop("certificate"), again))
    audits = audits_behind(store, study, record, month, certificate.data_snapshot)
    report = audit_predictions(workspace, again, by_estimator, step, ledger, view, audits, sample)
    comparisons.append(compare_audited(store, study, month))
    comparisons.append(_audit(certificate, report, study.predictions.name))
    mode = "predicted again with the stored model" if quick else "rebuilt, its model fitted again"
    return Verification(certificate, mode, tuple(comparisons))


def compare_audited(store: Lake, study: StudySpec, month: str) -> Comparison:
    """Read and hash what lies in the lake now behind a month of a study, from raw bars on: was it audited as it is?"""
    what = "what lies behind"
    until = (FROM_THE_FIRST, month)
    tables = [t for t in study_tables(study) if t not in (study.models, study.predictions)]
    contents = as_stored(store, tables, until) + as_stored(
        store, [study.models, study.predictions], (month, month)
    )
    found = audit_contents(audits_in_force(store, contents, month))
    if found.violations:
        return Comparison(what, "differs", "; ".join(f"{v.column} {v.detail}" for v in found.violations))
    months = sum(len(versions) for _, versions in contents)
    return Comparison(what, "same", f"{months} months of {len(contents)} tables are what the gate audited")


def fit_again(
    store: Lake, study: StudySpec, month: str, record: pl.DataFrame, calendar: str
) -> tuple[FittedStudy, FitLedger, str]:
    """Fit the models of a fold again on the training set as it was, by as many threads, or one a core if none are told.

    Args:
        store: the lake.
        study: the study.
        month: month key.
        record: the published models' row of the model table.
        calendar: of the data set.

    Returns:
        (models, their fit ledger, digest of their files). Trials of parameters are counted in a ledger of their own:
        a fit that is made again looks at nothing new.
    """
    rows = recorded_rows(store, study, month, record, calendar)
    windows = training_windows(store, study, rows, calendar, int(record["snapshot"][0]))
    ledger = FitLedger(rows.fold.month)
    size, epochs, threads = (record[name][0] for name in ("size", "epochs", "threads"))
    training = training_context(study, size, epochs or 0, threads or 0)
    with tempfile.TemporaryDirectory() as folder:
        trials = TrialLedger(Path(folder) / "trials.jsonl")
        with _scan_of(record):
            fitted = fit_study(study.training, windows, training, ledger=ledger, trials=trials)
        ledger.freeze()
        return fitted, ledger, fitted.save(Path(folder) / "study")


@contextmanager
def _scan_of(record: pl.DataFrame) -> Generator[None]:
    """Scan by the backend that the models were fitted with; by this machine's own where it has another."""
    recorded = record["scan"][0]
    # Fits of a GPU can be made again here, by another order of additions.
    if recorded is None or recorded == "cuda":
        yield
        return
    from trademl_pipeline.models.ssm import use_backend

    with use_backend(recorded):
        yield


def contents_as_read(store: Lake, tables: Sequence[Read], snapshot: int) -> dict[str, Content]:
    """Return the content of months at a snapshot by table, each read and hashed, whatever the catalog says of it."""
    contents: dict[str, Content] = {}
    for schema, (first, last) in tables:
        months = [m for m in store.months(schema, snapshot=snapshot) if first <= m <= last]
        versions = {m: store.data_version(schema, m, snapshot=snapshot) for m in months}
        contents[schema.name] = content_of(versions, (first, last))
    return contents


def _model(certificate: Certificate, digest: str) -> Comparison:
    if digest == certificate.model.sha256:
        return Comparison("model fitted again", "same", f"{digest[:16]}…, every file")
    # Other libraries or another machine add up in another order; the predictions tell whether that matters.
    return Comparison(
        "model fitted again", "note", "its files are not the same bytes; the predictions decide"
    )


def _audit(certificate: Certificate, report: AuditReport, table: str) -> Comparison:
    recorded = tuple(e for e in certificate.evidence if e.table == table)
    evidence = evidence_in(report, table, certificate.month)
    if not report.passed:
        return Comparison(
            "audit", "differs", f"refused now: {', '.join(sorted({v.probe for v in report.violations}))}"
        )
    if [(e.probe, e.passed) for e in evidence] != [(e.probe, e.passed) for e in recorded]:
        return Comparison("audit", "differs", f"tested {_tested(recorded)} then, {_tested(evidence)} now")
    return Comparison("audit", "same", f"passed again: {_tested(evidence)}")


def _tested(evidence: Sequence[Evidence]) -> str:
    return ", ".join(e.probe for e in evidence) or "nothing"
