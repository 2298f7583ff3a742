"""Each night one published month of each study is made again by processes that had nothing of what came later.

The nightly audit of `pipeline.nightly` runs functions again; here whole steps run, sealed by the kernel where it can
(`pipeline.cold`). A night costs one cold run a study. The month is drawn, by the seed of the gate and the night, among
those that have not passed with what they are now and by the code that runs now; so the nights get round to all of
them. Results are rows of `audits`, of the probe "cold" and the table of the predictions.
"""

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from trademl_pipeline.certificates.certificate import CertificateError
from trademl_pipeline.certificates.code_version import code_version
from trademl_pipeline.lake import Lake
from trademl_pipeline.lake.errors import MissingTableError
from trademl_pipeline.lake.frames import data_version
from trademl_pipeline.lake.gated import Gate
from trademl_pipeline.lake.schema import MONTH
from trademl_pipeline.leakage import AuditReport, Violation
from trademl_pipeline.pipeline.cold import SEALED_BY
from trademl_pipeline.pipeline.errors import StepError
from trademl_pipeline.pipeline.gate import Sample, refusal_metadata
from trademl_pipeline.pipeline.history import published_months
from trademl_pipeline.pipeline.months import MONTH_ERRORS, RunInfo
from trademl_pipeline.pipeline.shown import Json, Metadata
from trademl_pipeline.pipeline.verify import verify_month
from trademl_pipeline.pipeline.workspace import Workspace
from trademl_pipeline.studies import StudySpec
from trademl_pipeline.tables import AUDITS

COLD = "cold"
# Of the coverage: the code by which a month was made again.
SOURCE = "source"


@dataclass(frozen=True)
class ColdNight:
    """The result of one study's cold run.

    Attributes:
        study: its name.
        table: of its predictions.
        month: that was made again, as month key; empty where every month has passed as it is.
        report: of the probe "cold"; None where no month was made again.
        metadata: what is shown of it.
    """

    study: str
    table: str
    month: str
    report: AuditReport | None
    metadata: Metadata

    @property
    def passed(self) -> bool:
        """Return whether the month came out as it was published, or nothing was left to make again."""
        return self.report is None or self.report.passed

    def line(self) -> str:
        """Return the result in one line, with the first difference."""
        if self.report is None:
            return f"{self.study}: every month has passed as it is"
        if self.report.passed:
            return f"{self.study} {self.month[:7]}: the same, made from what was known then"
        return f"{self.study} {self.month[:7]}: {self.report.first_violation()}"


def cold_nights(
    workspace: Workspace,
    studies: Sequence[StudySpec],
    run: RunInfo,
    as_of: str,
    sample: Sample,
    *,
    night: str = "",
    wanted: Sequence[str] = (),
) -> list[ColdNight]:
    """Make a month of each study again by cold processes, and record what came of it.

    Args:
        workspace: the data set.
        studies: all studies.
        run: that audits.
        as_of: last month that may be drawn.
        sample: how many decisions of the month, and the seed of the draws.
        night: which night of the month it is, such as 2015-12-24; another one may draw another month.
        wanted: names of the studies to audit; empty: all that have predictions.

    Raises:
        StepError: there is no such study, or no study has predictions up to `as_of`.
    """
    names = [study.name for study in studies]
    unknown = sorted(set(wanted) - set(names))
    if unknown:
        raise StepError(f"studies: there is no {', '.join(unknown)}; there are {', '.join(names)}")
    todo: list[tuple[StudySpec, list[str]]] = []
    for study in studies:
        months = [m for m in published_months(workspace.lake, study.predictions) if m <= as_of]
        if months and (not wanted or study.name in wanted):
            todo.append((study, months))
    if not todo:
        raise StepError(
            f"no predictions of {', '.join(wanted or names)} are published up to {as_of[:7]}; run a fold first"
        )
    return [_study_night(workspace, study, months, run, sample, night or as_of) for study, months in todo]


def _study_night(
    workspace: Workspace, study: StudySpec, months: Sequence[str], run: RunInfo, sample: Sample, night: str
) -> ColdNight:
    """Make one of a study's months again."""
    table, passed = study.predictions, passed_cold(workspace.lake, study)
    contents = _contents(workspace.lake, study, months)
    left = [month for month in months if (month, contents[month]) not in passed]
    counts: Metadata = {"months": len(months), "months_left": max(len(left) - 1, 0)}
    if not left:
        return ColdNight(study.name, table.name, "", None, counts)
    month = random.Random(f"{sample.seed} {night} {study.name}").choice(left)
    gate = Gate(lambda rows: cold_report(workspace, study, month, sample), run)
    report = workspace.lake.record_audit(table, month, gate)
    shown = {**counts, "month": month[:7], "coverage": Json(report.coverage.get(COLD, {}))}
    if not report.passed:
        shown |= {"first_difference": report.first_violation()}
        shown |= refusal_metadata(f"{table.name} {month[:7]}", report)
    made = ColdNight(study.name, table.name, month, report, shown)
    (run.log.info if made.passed else run.log.error)(made.line())
    return made


def cold_report(workspace: Workspace, study: StudySpec, month: str, sample: Sample) -> AuditReport:
    """Return as a report of the probe "cold" what `trademl verify --cold` tells of a month.

    Args:
        workspace: the data set.
        study: the study.
        month: month key.
        sample: how many decisions, and the seed of their draw.
    """
    source = code_version().source
    try:
        result = verify_month(workspace, study, month, sample, cold=True)
    except (*MONTH_ERRORS, CertificateError, StepError) as error:
        # What cannot be made again has not passed.
        failure = Violation(COLD, None, detail=f"{type(error).__name__}: {error}")
        return AuditReport((failure,), {COLD: {"months": 0, SOURCE: source}})
    violations = tuple(
        Violation(COLD, c.what, detail=c.finding) for c in result.comparisons if c.outcome == "differs"
    )
    sealed = [c.finding for c in result.comparisons if c.what == SEALED_BY]
    coverage = {
        "months": 1,
        "compared": [c.what for c in result.comparisons],
        "sealed_by": sealed[0] if sealed else "nothing was run to its end",
        SOURCE: source,
    }
    return AuditReport(violations, {COLD: coverage})


def passed_cold(store: Lake, study: StudySpec) -> set[tuple[str, str]]:
    """Return (month, content hash) of the months that have passed a cold run by the code that runs now.

    Args:
        store: the lake.
        study: the study.
    """
    try:
        audits = store.read(AUDITS)
    except MissingTableError:
        return set()
    rows = audits.filter(
        (pl.col("table_name") == study.predictions.name) & (pl.col("probe") == COLD) & pl.col("passed")
    )
    source = code_version().source
    return {
        (month, content)
        for month, content, coverage in rows.select("month", "content", "coverage").iter_rows()
        if json.loads(coverage)[SOURCE] == source
    }


def _contents(store: Lake, study: StudySpec, months: Sequence[str]) -> dict[str, str]:
    """Hash months as they lie in the lake; their rows name their certificate, and that names all behind them."""
    rows = store.read(study.predictions, months=list(months), with_month=True)
    by_month = rows.partition_by(MONTH, as_dict=True, include_key=False)
    return {str(month): data_version(study.predictions, frame) for (month,), frame in by_month.items()}
