"""Make a certified month again and compare.

Inputs are read at the snapshots that the certificate names. The models are fitted again from the training set as it
was, with the same seed; quick verification predicts with the stored ones, a cold one leaves both to fresh processes
that have nothing of what came later.
"""

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
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
from trademl_pipeline.lake.schema import GatedTable
from trademl_pipeline.leakage.evidence import Evidence, evidence_in
from trademl_pipeline.leakage.report import AuditReport
from trademl_pipeline.pipeline.audited import (
    Versions,
    as_stored,
    audit_contents,
    audits_in_force,
    recorded,
    study_tables,
)
from trademl_pipeline.pipeline.certify import Read, audits_behind, values_version
from trademl_pipeline.pipeline.cold import COLD_RUN, ColdRefusedError, cold_run, compare_cold
from trademl_pipeline.pipeline.fold import FROM_THE_FIRST
from trademl_pipeline.pipeline.gate import Sample
from trademl_pipeline.pipeline.models import load_ledger, load_models
from trademl_pipeline.pipeline.predict import PredictionStep, audit_predictions, learned_from, reads_of
from trademl_pipeline.pipeline.refit import refit
from trademl_pipeline.pipeline.workspace import Workspace
from trademl_pipeline.studies import StudySpec
from trademl_pipeline.training.fitted_study import FittedStudy
from trademl_pipeline.training.ledger import FitLedger

PUBLISHED = "published values"
QUICK = "predicted again with the stored model"
FULL = "rebuilt, its model fitted again"
COLD = "rebuilt by processes that had only what was known then"


# (lake, tables, first and last month) -> the content of their months.
ContentsOf = Callable[[Lake, Sequence[GatedTable], tuple[str, str]], Sequence[Versions]]


def verify_month(
    workspace: Workspace,
    study: StudySpec,
    month: str,
    sample: Sample,
    *,
    quick: bool = False,
    cold: bool = False,
) -> Verification:
    """Make a month of predictions again from what its certificate names.

    Args:
        workspace: the data set.
        study: the study.
        month: month key.
        sample: how hard the gate looks.
        quick: predict with the stored models instead of fitting them again.
        cold: fit them, and predict at several decisions, in processes that have only what was known then (`cold`).

    Raises:
        CertificateError: there is no certificate, or it was changed.
        LakeError: a snapshot or a file that is needed is gone.
        ColdRunError: a cold process ended without a word.
        ValueError: both quick and cold are asked for.
    """
    if quick and cold:
        raise ValueError("quick predicts with the stored models, cold fits them again: ask for one of them")
    store, artifacts = workspace.lake, workspace.artifacts
    certificate = certificate_in_force(store, study.name, month)
    published = store.read(study.predictions, months=(month, month))
    record = store.read(study.models, months=(month, month), snapshot=certificate.data_snapshot)
    comparisons = [
        compare_code(certificate.code, code_version()),
        compare_digest(PUBLISHED, certificate.values, values_version(study.predictions, published)),
        compare_contents(
            "data of the month",
            certificate.data,
            contents_as_read(store, reads_of(study, month, workspace.calendar), certificate.data_snapshot),
        ),
        compare_digest("model on record", certificate.model.sha256, record["artifact_sha256"][0]),
    ]
    if quick:
        stored = Comparison("stored model", "same", f"{certificate.model.artifact}, every file")
        models = Models(
            load_models(artifacts, study, record, month), load_ledger(artifacts, record), (stored,)
        )
    else:
        training = contents_as_read(
            store, learned_from(study, record["fitted"][0]), certificate.training_snapshot
        )
        comparisons.append(compare_contents("data of the training", certificate.training, training))
        models = (
            fitted_cold(workspace, study, month, record, certificate, published, sample)
            if cold
            else fitted_again(workspace, study, month, record, certificate)
        )
    comparisons += models.comparisons
    if models.fitted is not None and models.ledger is not None:
        comparisons.append(
            compare_digest("fit ledger", certificate.model.ledger, models.ledger.digest(record["fitted"][0]))
        )
        step = PredictionStep(study, month, record, models.fitted, workspace.calendar)
        view = step.view(store, certificate.data_snapshot)
        with view.sealed():
            again, by_estimator = step.run(view, models.ledger)
        comparisons.append(compare_values(published.drop("certificate"), again))
        audits = audits_behind(store, study, record, month, certificate.data_snapshot)
        report = audit_predictions(workspace, again, by_estimator, step, models.ledger, view, audits, sample)
        comparisons.append(_audit(certificate, report, study.predictions.name))
    comparisons.append(compare_audited(store, study, month))
    return Verification(certificate, COLD if cold else QUICK if quick else FULL, tuple(comparisons))


@dataclass(frozen=True)
class Models:
    """The models that a month is made again with.

    Attributes:
        fitted: the models; None where they could not be fitted.
        ledger: their fit ledger.
        comparisons: what making them has told.
    """

    fitted: FittedStudy | None
    ledger: FitLedger | None
    comparisons: tuple[Comparison, ...]


def fitted_again(
    workspace: Workspace, study: StudySpec, month: str, record: pl.DataFrame, certificate: Certificate
) -> Models:
    """Fit the models of a month again in this process.

    Args:
        workspace, study, month: as `verify_month` has them.
        record: the models' row of the model table.
        certificate: of the month.
    """
    with tempfile.TemporaryDirectory() as folder:
        fitted, ledger, digest = refit(
            workspace.lake, study, month, record, workspace.calendar, Path(folder) / "study"
        )
    return Models(fitted, ledger, (_model(certificate, digest),))


def fitted_cold(
    workspace: Workspace,
    study: StudySpec,
    month: str,
    record: pl.DataFrame,
    certificate: Certificate,
    published: pl.DataFrame,
    sample: Sample,
) -> Models:
    """Fit the models of a month by a cold process, and predict its decisions by others.

    Args:
        workspace, study, month, published, sample: as `verify_month` has them.
        record: the models' row of the model table.
        certificate: of the month.

    Raises:
        ColdRunError: such a process ended without a word.
    """
    told: list[Comparison] = []
    with cold_run(workspace, study, month, record) as run:
        try:
            models = run.fit()
            told.append(_model(certificate, models.digest))
            values = published.drop("certificate")
            by_estimator = workspace.lake.read(study.estimator_predictions, months=(month, month))
            report = run.predict(values, by_estimator, certificate.data_snapshot, sample)
        except ColdRefusedError as error:
            refused = Comparison(COLD_RUN, "differs", f"cannot be made from what was known then: {error}")
            return Models(None, None, (*told, refused))
        return Models(models.fitted, models.ledger, (*told, compare_cold(report, published), run.seal()))


def compare_shown(
    store: Lake, study: StudySpec, month: str, certificate: Certificate
) -> tuple[Comparison, Comparison]:
    """Compare a certificate that is shown with the predictions that lie in the lake now, and with what lies behind.

    What lies behind is taken as its snapshots tell it: reading and hashing all of it is what `verify_month` does.

    Args:
        store: the lake.
        study: the study.
        month: month key.
        certificate: of the month.
    """
    published = store.read(study.predictions, months=(month, month))
    values = compare_digest(PUBLISHED, certificate.values, values_version(study.predictions, published))
    return values, compare_audited(store, study, month, recorded)


def compare_audited(
    store: Lake, study: StudySpec, month: str, contents_of: ContentsOf = as_stored
) -> Comparison:
    """Compare what lies in the lake now behind a month of a study, from raw bars on, with what the gate audited.

    Args:
        store: the lake.
        study: the study.
        month: month key.
        contents_of: how the content of months is told; by default each is read and hashed.
    """
    what = "what lies behind"
    until = (FROM_THE_FIRST, month)
    of_the_month = [study.models, study.predictions, study.estimator_predictions]
    tables = [t for t in study_tables(study) if t not in of_the_month]
    contents = [*contents_of(store, tables, until), *as_stored(store, of_the_month, (month, month))]
    found = audit_contents(audits_in_force(store, contents, month))
    if found.violations:
        return Comparison(what, "differs", "; ".join(f"{v.column} {v.detail}" for v in found.violations))
    months = sum(len(one.versions) for one in contents)
    tables_there = sum(bool(one.versions) for one in contents)
    return Comparison(what, "same", f"{months} months of {tables_there} tables are what the gate audited")


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
