"""A month made again by fresh processes that the kernel keeps from everything that was not known then.

For the training, and for each of several decisions of the month, the inputs are copied into a lake of their own, cut at
that moment: later rows are not hidden from the process, they are not there. It has no other file to read but code, no
connection, and the memory of no earlier step.
"""

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import polars as pl

from trademl_pipeline.certificates.verification import Comparison
from trademl_pipeline.lake import Lake, LakeConfig, kernel_seal
from trademl_pipeline.lake.schema import MONTH, TableSchema, copied_ledger, copied_table
from trademl_pipeline.lake.store import UngatedMonth
from trademl_pipeline.lake.view import LakeView
from trademl_pipeline.leakage import AuditReport
from trademl_pipeline.leakage.probes.rerun import PROBE as RERUN
from trademl_pipeline.pipeline import cold_process
from trademl_pipeline.pipeline.cold_process import Job
from trademl_pipeline.pipeline.errors import StepError
from trademl_pipeline.pipeline.fold import calendar_of
from trademl_pipeline.pipeline.gate import Sample
from trademl_pipeline.pipeline.history import published_months
from trademl_pipeline.pipeline.models import LEDGER_FILE
from trademl_pipeline.pipeline.predict import audit_again, cuts_of, learned_from, prediction_reads, reads_of
from trademl_pipeline.pipeline.train import training_reads
from trademl_pipeline.pipeline.views import before_the_first_decision, view_of
from trademl_pipeline.pipeline.workspace import Workspace
from trademl_pipeline.studies import StudySpec
from trademl_pipeline.tables import AUDITS
from trademl_pipeline.training.fitted_study import FittedStudy, load_study
from trademl_pipeline.training.ledger import FitLedger

# What a cold process runs, after its folder.
COMMAND = (sys.executable, "-P", kernel_seal.__file__)
COLD_RUN, SEALED_BY = "cold run", "sealed by"


class ColdRunError(StepError):
    """A cold process ended without a word, so that nothing can be told of the month."""


class ColdRefusedError(StepError):
    """A step cannot be run on what was known then."""


@dataclass(frozen=True)
class ColdFit:
    """Models fitted by a cold process.

    Attributes:
        fitted: the models.
        ledger: their fit ledger.
        digest: of their files.
    """

    fitted: FittedStudy
    ledger: FitLedger
    digest: str


class ColdRun:
    """A month made again by cold processes, in one folder.

    Args:
        workspace: the data set.
        study: the study.
        month: month key.
        record: the published models' row of the model table.
        folder: to work in.
    """

    def __init__(
        self, workspace: Workspace, study: StudySpec, month: str, record: pl.DataFrame, folder: Path
    ) -> None:
        self.workspace, self.study, self.month, self.record = workspace, study, month, record
        self.folder = folder
        self.held: list[str] = []

    def fit(self) -> ColdFit:
        """Fit the models on what was known before the first decision of their fold.

        Raises:
            ColdRefusedError: they cannot be fitted on that alone.
            ColdRunError: the process ended without a word.
        """
        study, store = self.study, self.workspace.lake
        calendar = calendar_of(study, self.workspace.calendar)
        clock = before_the_first_decision(self.record["fitted"][0], calendar)
        snapshot = int(self.record["snapshot"][0])
        reads = training_reads(study)
        view = view_of(store, study.models.name, self.month, reads, clock=clock, snapshot=snapshot)
        folder = self.folder / "fit"
        _copy(view, folder, [table for table, _ in learned_from(study, self.record["fitted"][0])])
        self._run(folder, clock, fits=True)
        fitted = load_study(folder / cold_process.STUDY)
        ledger = FitLedger.from_frame(pl.read_parquet(folder / LEDGER_FILE))
        return ColdFit(fitted, ledger, (folder / cold_process.DIGEST).read_text())

    def predict(
        self, published: pl.DataFrame, by_estimator: pl.DataFrame, snapshot: int, sample: Sample
    ) -> AuditReport:
        """Predict the month at its first, its last and some other decisions, each time by a process of its own.

        Args:
            published: the month's predictions.
            by_estimator: those of every estimator.
            snapshot: of the lake that they were made from.
            sample: how many other decisions, and the seed of their draw.

        Raises:
            ColdRefusedError: a decision cannot be made from what was known then alone.
            ColdRunError: the process ended without a word.
        """
        study = self.study
        whole = view_of(
            self.workspace.lake,
            study.predictions.name,
            self.month,
            prediction_reads(study),
            snapshot=snapshot,
        )
        made: dict[datetime, tuple[pl.DataFrame, pl.DataFrame]] = {}
        cuts = cuts_of(published, whole.step, sample)
        tables = [table for table, _ in reads_of(study, self.month, self.workspace.calendar)]
        for cut in cuts:
            folder = self.folder / f"{cut:%Y%m%d%H%M%S}"
            _copy(whole.at(cut), folder, tables)
            shutil.copytree(self.folder / "fit" / cold_process.STUDY, folder / cold_process.STUDY)
            shutil.copy(self.folder / "fit" / LEDGER_FILE, folder / LEDGER_FILE)
            self._run(folder, cut, fits=False)
            made[cut] = (
                pl.read_parquet(folder / cold_process.PREDICTIONS),
                pl.read_parquet(folder / cold_process.BY_ESTIMATOR),
            )
        return audit_again(published, by_estimator, made.__getitem__, cuts)

    def seal(self) -> Comparison:
        """Return by what the processes were kept from everything else."""
        if any("Landlock" in held for held in self.held):
            return Comparison(
                SEALED_BY, "same", f"{' and '.join(self.held)}, and at the readers of the libraries"
            )
        unsealed = (
            "this kernel has no Landlock: files were refused at the readers of Python and the libraries alone"
        )
        return Comparison(SEALED_BY, "note", unsealed)

    def _run(self, folder: Path, clock: datetime, *, fits: bool) -> None:
        self.record.write_parquet(folder / cold_process.RECORD)
        job = Job(self.study.name, self.month, self.workspace.calendar, clock.isoformat(), fits, str(folder))
        scratch = folder / "scratch"
        scratch.mkdir()
        # Nothing of this process's surroundings, such as where its data set lies or a key, goes with it.
        surroundings = {
            "PATH": "/usr/bin:/bin",
            "LANG": "C.UTF-8",
            "HOME": str(scratch),
            "TMPDIR": str(scratch),
            "TRADEML_HOME": str(scratch),
            "PYTHONPATH": str(Path(kernel_seal.__file__).parents[2]),
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        done = subprocess.run(
            [*COMMAND, str(folder), cold_process.__name__, str(job.write())],
            env=surroundings,
            cwd=scratch,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        refused, sealed = folder / cold_process.REFUSED, folder / kernel_seal.SEALED
        if refused.exists():
            raise ColdRefusedError(refused.read_text())
        if done.returncode:
            last = (done.stderr.strip().splitlines() or ["nothing was said"])[-1]
            if sealed.exists() and done.returncode > 0:
                # The seal was on, and what is loaded with the code asked for more than it leaves.
                raise ColdRefusedError(last)
            raise ColdRunError(
                f"the cold process of {self.study.name} {self.month[:7]} ended with {done.returncode}: {last}"
            )
        self.held = json.loads(sealed.read_text())


@contextmanager
def cold_run(workspace: Workspace, study: StudySpec, month: str, record: pl.DataFrame) -> Generator[ColdRun]:
    """Make a month again by cold processes, in a folder that is removed afterwards.

    Args:
        workspace: the data set.
        study: the study.
        month: month key.
        record: the published models' row of the model table.
    """
    with tempfile.TemporaryDirectory(prefix="trademl-cold-") as folder:
        yield ColdRun(workspace, study, month, record, Path(folder).resolve())


def compare_cold(report: AuditReport, published: pl.DataFrame) -> Comparison:
    """Predictions as published, and as cold processes made those of several decisions."""
    if report.violations:
        return Comparison(COLD_RUN, "differs", report.first_violation())
    if published.is_empty():
        return Comparison(COLD_RUN, "note", "no decision was to be taken in this month")
    # Of the predictions, and of those of every estimator.
    parts: list[dict[str, int]] = report.coverage[RERUN]["parts"]
    cells = sum(part["cells"] for part in parts)
    return Comparison(
        COLD_RUN,
        "same",
        f"{cells:,} values of {parts[0]['cutoffs']} decisions' moments, from lakes without what came later",
    )


def _copy(view: LakeView, folder: Path, tables: list[TableSchema]) -> None:
    """Copy what a view shows of some tables, and the audits of their months, into a lake of a folder.

    No gate has seen rows that are cut at a moment, and that lake has none: it holds them as copies.
    """
    published: dict[str, list[str]] = {}
    # All tables of a month in one transaction: each costs as much as what it writes.
    items: dict[str, list[UngatedMonth]] = {}
    for table in tables:
        rows = view.read(table, with_month=True).partition_by(MONTH, as_dict=True, include_key=False)
        months = published[table.name] = published_months(view, table)
        # Where nothing of a table was known yet, it is there all the same.
        by_month = {str(month): part for (month,), part in rows.items()} or {months[-1]: table.empty()}
        for month, part in by_month.items():
            items.setdefault(month, []).append((copied_table(table), part, month))
    with Lake(LakeConfig.local(folder / "lake")) as lake:
        for month in sorted(items):
            lake.publish_many(items[month], allow_empty=[table.name for table, _, _ in items[month]])
        audits = view.read(AUDITS).filter(pl.col("table_name").is_in(list(published)))
        if audits.height:
            lake.append(copied_ledger(AUDITS), audits)
    (folder / cold_process.MONTHS).write_text(json.dumps(published))
