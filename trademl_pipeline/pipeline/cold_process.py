"""The work of a cold process: fit the models of a month, or predict it, from the lake of the folder it is sealed into.

    python -m trademl_pipeline.pipeline.cold_process JOB

Run by `pipeline.cold` through `lake.kernel_seal`. JOB is a file of JSON; what was made is written beside it.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

import polars as pl

from trademl_pipeline import studies
from trademl_pipeline.lake import Lake, LakeConfig
from trademl_pipeline.lake.reading import table_name
from trademl_pipeline.lake.schema import TableSchema
from trademl_pipeline.lake.view import LakeView
from trademl_pipeline.pipeline.models import LEDGER_FILE
from trademl_pipeline.pipeline.predict import PredictionStep, prediction_reads
from trademl_pipeline.pipeline.refit import refit
from trademl_pipeline.pipeline.train import training_reads
from trademl_pipeline.pipeline.views import view_of
from trademl_pipeline.studies import StudySpec
from trademl_pipeline.training.fitted_study import load_study
from trademl_pipeline.training.ledger import FitLedger

MONTHS, STUDY, DIGEST, RECORD = "months.json", "study", "digest.txt", "record.parquet"
PREDICTIONS, BY_ESTIMATOR, REFUSED = "predictions.parquet", "by_estimator.parquet", "refused.txt"


@dataclass(frozen=True)
class Job:
    """A cold process's order; all its files lie in one folder.

    Attributes:
        study: its name.
        month: month key.
        calendar: of the data set.
        clock: what the lake of the folder holds was known by then (ISO 8601, UTC).
        fits: whether it fits the models, or predicts with those of the folder.
        folder: where the lake lies, the models and what comes out.
    """

    study: str
    month: str
    calendar: str
    clock: str
    fits: bool
    folder: str

    def write(self) -> Path:
        """Write the job into its folder; returns the file."""
        path = Path(self.folder) / "job.json"
        path.write_text(json.dumps(asdict(self)))
        return path


class ColdView(LakeView):
    """A view of the lake of a folder, which does not hold what came later.

    Args:
        lake: of the folder.
        view: whose declarations and clock it has.
        published: table -> its months, those among them of which nothing was known yet.
    """

    def __init__(self, lake: Lake, view: LakeView, published: Mapping[str, Sequence[str]]) -> None:
        super().__init__(lake, view.step, view.declared, clock=view.clock)
        self.published = published

    def months(self, table: TableSchema | str, *, snapshot: int | None = None) -> list[str]:
        """Month keys that were published, up to the last that the step may read."""
        name = table_name(table)
        if name not in self.published:
            return super().months(table, snapshot=snapshot)
        _, last = self._range(name)
        return [month for month in self.published[name] if month <= last]


def main(job: Job) -> None:
    """Do a job. What the step raises is written down as the reason for which it could not be made."""
    folder = Path(job.folder)
    study = studies.STUDIES[job.study]
    record = pl.read_parquet(folder / RECORD)
    with Lake(LakeConfig.local(folder / "lake")) as lake:
        try:
            (_fit if job.fits else _predict)(job, study, lake, record, folder)
        except Exception as error:
            (folder / REFUSED).write_text(f"{type(error).__name__}: {error}".splitlines()[0])


def _fit(job: Job, study: StudySpec, lake: Lake, record: pl.DataFrame, folder: Path) -> None:
    clock = datetime.fromisoformat(job.clock)
    declared = view_of(lake, study.models.name, job.month, training_reads(study), clock=clock)
    view = ColdView(lake, declared, json.loads((folder / MONTHS).read_text()))
    # The folder's lake is as it was; it counts its own snapshots.
    here = record.with_columns(pl.lit(view.snapshot(), pl.Int64).alias("snapshot"))
    with view.sealed([folder]):
        _, ledger, digest = refit(view, study, job.month, here, job.calendar, folder / STUDY)
    ledger.to_frame().write_parquet(folder / LEDGER_FILE)
    (folder / DIGEST).write_text(digest)


def _predict(job: Job, study: StudySpec, lake: Lake, record: pl.DataFrame, folder: Path) -> None:
    clock = datetime.fromisoformat(job.clock)
    declared = view_of(lake, study.predictions.name, job.month, prediction_reads(study), clock=clock)
    view = ColdView(lake, declared, json.loads((folder / MONTHS).read_text()))
    fitted = load_study(folder / STUDY)
    ledger = FitLedger.from_frame(pl.read_parquet(folder / LEDGER_FILE))
    step = PredictionStep(study, job.month, record, fitted, job.calendar)
    with view.sealed():
        frame, by_estimator = step.run(view, ledger)
    frame.write_parquet(folder / PREDICTIONS)
    by_estimator.write_parquet(folder / BY_ESTIMATOR)


if __name__ == "__main__":
    main(Job(**json.loads(Path(sys.argv[1]).read_text())))
