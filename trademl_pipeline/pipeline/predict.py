"""Out-of-sample predictions of a study, one fold per month."""

import copy
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, NamedTuple, cast

import numpy as np
import polars as pl

from trademl_pipeline.lake import Lake
from trademl_pipeline.lake.frames import data_version
from trademl_pipeline.lake.schema import UngatedTable
from trademl_pipeline.lake.view import LakeReader, LakeView
from trademl_pipeline.leakage import AuditReport, audit_access, audit_fit_ledger, audit_folds, audit_knowledge
from trademl_pipeline.leakage.probes.rerun import PROBE as RERUN
from trademl_pipeline.leakage.probes.rerun import audit_rerun
from trademl_pipeline.leakage.report import Violation
from trademl_pipeline.market.calendar import month_key, offset_month, sessions_before
from trademl_pipeline.pipeline.artifacts import Artifacts
from trademl_pipeline.pipeline.audited import audit_contents
from trademl_pipeline.pipeline.certify import Read, audits_behind, make_certificate, values_version
from trademl_pipeline.pipeline.fold import FROM_THE_FIRST, bars_behind, calendar_of, windows_of_keys
from trademl_pipeline.pipeline.gate import Audited, Sample, month_metadata, publish
from trademl_pipeline.pipeline.lookback import ALL_UNTIL, SAME_MONTH, Lookback, sessions_back
from trademl_pipeline.pipeline.models import load_ledger, load_models, recorded_rows
from trademl_pipeline.pipeline.months import Body, MonthResult, RunInfo, result_of
from trademl_pipeline.pipeline.shown import Metadata
from trademl_pipeline.pipeline.stage import Lineage
from trademl_pipeline.pipeline.tries import known_tries
from trademl_pipeline.pipeline.views import reads_shown, view_of
from trademl_pipeline.pipeline.workspace import Workspace
from trademl_pipeline.sequences.windows import Windows
from trademl_pipeline.studies import StudySpec
from trademl_pipeline.tables import RAW_BARS
from trademl_pipeline.training.fitted_study import FittedStudy
from trademl_pipeline.training.ledger import FitLedger

# Windows a month whose attention is kept for the report.
EXAMPLES = 12
CLOCKS = ("symbol", "session", "decision_time", "knowledge_time")


@dataclass(frozen=True)
class PredictionStep:
    """Makes the predictions of a month, from whatever view of the lake it is given.

    Attributes:
        study: the study.
        month: month key.
        record: the models' row of the model table.
        fitted: the models.
        calendar: of the data set.
    """

    study: StudySpec
    month: str
    record: pl.DataFrame
    fitted: FittedStudy
    calendar: str

    def run(
        self, view: LakeReader, ledger: FitLedger, on_windows: Callable[[Windows], None] | None = None
    ) -> tuple[pl.DataFrame, pl.DataFrame]:
        """Return the month's predictions, still without their certificate, and those of every estimator.

        Args:
            view: of the lake.
            ledger: the models' fit ledger, which records the reading of the month's rows.
            on_windows: called with the decisions' windows, if there are any.
        """
        study, month = self.study, self.month
        decisions = view.read(study.windows, months=(month, month))
        frame, by_estimator = (
            study.predictions.empty().drop("certificate"),
            study.estimator_predictions.empty(),
        )
        if decisions.height:

            def predict(keys: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
                windows = windows_of_keys(view, study, keys, month, self.calendar)
                if on_windows is not None:
                    on_windows(windows)
                return predicted(study, self.fitted, windows, month)

            values, by_estimator = ledger.read_test(decisions, predict, fold=self.record["fitted"][0])
            frame = decisions.select(CLOCKS).hstack(values.drop("symbol", "session"))
        frame = frame.with_columns(
            pl.lit(month).alias("fold"),
            pl.lit(self.record["model_run"][0]).alias("model_run"),
            pl.lit(int(self.record["snapshot"][0]), pl.Int64).alias("snapshot"),
        )
        return frame, by_estimator

    def view(self, store: Lake, snapshot: int) -> LakeView:
        """Return the view of the month's decisions: what was known when the last of them was taken.

        Args:
            store: the lake.
            snapshot: to read at.
        """
        view = view_of(
            store,
            self.study.predictions.name,
            self.month,
            prediction_reads(self.study),
            snapshot=snapshot,
        )
        last = view.read(self.study.windows, months=(self.month, self.month))["decision_time"].max()
        return view if last is None else view.at(cast(datetime, last))


def audit_predictions(
    workspace: Workspace,
    published: pl.DataFrame,
    by_estimator: pl.DataFrame,
    step: PredictionStep,
    ledger: FitLedger,
    view: LakeView,
    audits: pl.DataFrame,
    sample: Sample,
) -> AuditReport:
    """Audit K on every row, L and F of the model against the decisions that were taken, R on the reading of them.

    The step itself runs again on views that are cut at the month's first decision and at sampled ones, and all that it
    is made of has to have been audited as it is.

    Args:
        workspace: the data set.
        published: the month's predictions.
        by_estimator: those of every estimator.
        step: that made them.
        ledger: the models' fit ledger, the reading of the month's rows included.
        view: that the step was given.
        audits: that count for what the predictions are made of.
        sample: how hard the gate looks.
    """
    study, month = step.study, step.month
    rows = recorded_rows(workspace.lake, study, month, step.record, workspace.calendar)
    expected = step.fitted.recorded_fits
    fits = audit_fit_ledger(ledger, rows.fold, train=rows.train, expected=expected) + audit_access(ledger)
    fits = fits + audit_contents(audits)
    if published.is_empty():
        nothing = {"rows": 0, "note": "no decision was to be taken in this month"}
        return fits + AuditReport((), {"knowledge": nothing, "folds": nothing, RERUN: nothing})
    decisions = published.select("symbol", "session")
    return (
        fits
        + audit_knowledge(published)
        + audit_folds(
            rows.train, decisions, embargo=rows.fold.embargo, calendar=calendar_of(study, workspace.calendar)
        )
        + rerun(published, by_estimator, step, ledger, view, sample)
    )


def rerun(
    published: pl.DataFrame,
    by_estimator: pl.DataFrame,
    step: PredictionStep,
    ledger: FitLedger,
    view: LakeView,
    sample: Sample,
) -> AuditReport:
    """Run a step again on views cut at the month's first decision, at sampled ones and at the last.

    Args:
        published: the month's predictions.
        by_estimator: those of every estimator.
        step: that made them.
        ledger: the models' fit ledger; the runs write to copies of it.
        view: that the step was given.
        sample: how many decisions are sampled, and the seed of their draw.
    """
    again: dict[datetime, tuple[pl.DataFrame, pl.DataFrame]] = {}

    def at(cut: datetime) -> tuple[pl.DataFrame, pl.DataFrame]:
        if cut not in again:
            earlier = view.at(cut)
            with earlier.sealed():
                again[cut] = step.run(earlier, copy.deepcopy(ledger))
        return again[cut]

    return audit_again(published, by_estimator, at, cuts_of(published, view.step, sample))


def audit_again(
    published: pl.DataFrame,
    by_estimator: pl.DataFrame,
    at: Callable[[datetime], tuple[pl.DataFrame, pl.DataFrame]],
    cuts: Sequence[datetime],
) -> AuditReport:
    """Compare a month with what was decided at earlier moments, of the ensemble and of every estimator.

    Args:
        published: the month's predictions.
        by_estimator: those of every estimator.
        at: (moment) -> both, made from what was known then.
        cuts: the moments.
    """
    clocks = published.select("symbol", "session", "decision_time")
    estimators = by_estimator.join(clocks, on=["symbol", "session"], how="left")
    return audit_rerun(published, lambda cut: at(cut)[0], cuts) + audit_rerun(
        estimators, lambda cut: at(cut)[1], cuts, key=("symbol", "session", "member")
    )


def cuts_of(published: pl.DataFrame, step: str, sample: Sample) -> list[datetime]:
    """Return the first and the last decision of a month, and sampled ones between.

    Args:
        published: the month's predictions.
        step: for which they are drawn.
        sample: how many decisions are sampled, and the seed of their draw.
    """
    moments: list[datetime] = sorted(published["decision_time"].unique().to_list())
    between = moments[1:-1]
    draw = random.Random(f"{sample.seed} {step}")
    return sorted({*moments[:1], *moments[-1:], *draw.sample(between, min(sample.cutoffs, len(between)))})


def predicted(
    study: StudySpec, fitted: FittedStudy, windows: Windows, month: str
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Predict the windows of a month by the ensemble and by every estimator.

    Args:
        study: the study.
        fitted: its models.
        windows: the month's decisions over the study's whole feature set.
        month: month key, filed with the estimators' rows.

    Returns:
        (predictions, estimators' predictions): the columns of the task's output, keyed by symbol and session.
    """
    task, context = study.task, context_of(study, windows)
    keys = windows.keys.select("symbol", "session")
    values = fitted.estimator_values(read_by(fitted, study, windows))

    def published(table: np.ndarray) -> pl.DataFrame:
        return keys.hstack(task.to_predictions(table, context).select(list(task.output_schema)))

    estimator_frames = [
        published(value).with_columns(pl.lit(month).alias("fold"), pl.lit(name).alias("member"))
        for name, value in values.items()
    ]
    estimator_predictions = (
        pl.concat(estimator_frames)
        .select(list(study.estimator_predictions.columns))
        .sort("symbol", "session", "member")
    )
    return published(fitted.combine(values)), estimator_predictions


class CertifiedMonth(NamedTuple):
    """A month of predictions, audited and ready to be published.

    Attributes:
        frame: the predictions, each row with its certificate.
        by_estimator: those of every estimator.
        certificates: the month's certificates, in their table.
        report: audit of the predictions.
        record: the models' row of the model table.
        certificate: digest of the certificate.
        values: content hash of the predictions that were audited.
        attention: where a network looked, see `attention_of`.
        view: that they were made from.
    """

    frame: pl.DataFrame
    by_estimator: pl.DataFrame
    certificates: tuple[UngatedTable, pl.DataFrame]
    report: AuditReport
    record: pl.DataFrame
    certificate: str
    values: str
    attention: list[pl.DataFrame]
    view: LakeView

    def audited(self, study: StudySpec, written: pl.DataFrame) -> AuditReport:
        """Return the audit, if the rows as they were written are those that it is of; else a refusal."""
        return self._seen(self.report, values_version(study.predictions, written) == self.values)

    def audited_by_estimator(self, study: StudySpec, written: pl.DataFrame) -> AuditReport:
        """Return what the audit says of the estimators' predictions, if they are those that it is of; else a refusal.

        The step ran again as a whole: both tables were compared.
        """
        violations = tuple(v for v in self.report.violations if v.probe == RERUN)
        table = study.estimator_predictions
        same = data_version(table, written) == data_version(table, self.by_estimator)
        return self._seen(AuditReport(violations, {RERUN: self.report.coverage[RERUN]}), same)

    def _seen(self, report: AuditReport, same: bool) -> AuditReport:
        if same:
            return report
        other = "the rows that were to be published are not those that the step made and the gate audited"
        return report + AuditReport((Violation(RERUN, "<rows>", detail=other),), {RERUN: {"cutoffs": 0}})


def certified_month(
    workspace: Workspace, study: StudySpec, month: str, sample: Sample, *, run_id: str, recorded_at: datetime
) -> CertifiedMonth:
    """Predict a month by its published models, audit it and certify it; nothing is written.

    Args:
        workspace: the data set.
        study: the study.
        month: month key.
        sample: how hard the gate looks.
        run_id, recorded_at: the run that does it and the time of that run.

    Raises:
        ModelMissingError: the month has no model, or its files are not those that were published.
        SealedLakeError: the step reads what it does not declare, or past its view.
    """
    store, schema = workspace.lake, study.predictions
    now = store.snapshot()
    step, ledger = step_of(workspace, study, month, now)
    view = step.view(store, now)
    looked: list[pl.DataFrame] = []
    with view.sealed():
        frame, by_estimator = step.run(
            view,
            ledger,
            on_windows=lambda windows: looked.extend(attention_of(study, step.fitted, windows)),
        )
    audits = audits_behind(store, study, step.record, month, now)
    report = audit_predictions(workspace, frame, by_estimator, step, ledger, view, audits, sample)
    certified = make_certificate(
        store,
        schema,
        study.name,
        month,
        frame,
        record=step.record,
        ledger=ledger,
        report=report,
        audits=audits,
        snapshot=now,
        read=reads_of(study, month, workspace.calendar),
        learned_from=learned_from(study, step.record["fitted"][0]),
        reads=view.reads,
        tries=known_tries(store, study, frame),
        run_id=run_id,
        recorded_at=recorded_at,
    )
    frame = frame.with_columns(pl.lit(certified.digest).alias("certificate"))
    frame = frame.select(list(schema.columns)).cast(cast(Any, schema.polars_schema))
    values = certified.certificate.values
    return CertifiedMonth(
        frame, by_estimator, certified.beside, report, step.record, certified.digest, values, looked, view
    )


def step_of(
    workspace: Workspace, study: StudySpec, month: str, snapshot: int | None = None
) -> tuple[PredictionStep, FitLedger]:
    """Return what predicts a month by its published models, and their fit ledger.

    Args:
        workspace: the data set.
        study: the study.
        month: month key.
        snapshot: at which the models are looked up; None: now.

    Raises:
        ModelMissingError: the month has no model, or its files are not those that were published.
    """
    record = workspace.lake.read(study.models, months=(month, month), snapshot=snapshot)
    fitted = load_models(workspace.artifacts, study, record, month)
    step = PredictionStep(study, month, record, fitted, workspace.calendar)
    return step, load_ledger(workspace.artifacts, record)


def reads_of(study: StudySpec, month: str, calendar: str) -> list[Read]:
    """Return the tables and months that the predictions of a month are made of."""
    start = month_key(sessions_before(month, study.window - 1, calendar))
    if study.decisions == "pattern_observations":
        history = (FROM_THE_FIRST, month)
        return [(study.windows, (month, month)), (study.features, history), (RAW_BARS, history)]
    return [(study.windows, (month, month)), (study.features, (start, month))]


def learned_from(study: StudySpec, fitted: str) -> list[Read]:
    """Return the tables and months that the models of a fold learn from."""
    history = (FROM_THE_FIRST, offset_month(fitted, -1))
    tables = [study.features, study.windows, study.labels, *bars_behind(study)]
    return [(table, history) for table in tables]


def attention_of(study: StudySpec, fitted: FittedStudy, windows: Windows) -> list[pl.DataFrame]:
    """Return the attention of the first network that has it, for windows spread over the month; [] where none has."""
    for estimator in study.networks:
        network = fitted.estimators[estimator.name].saved.model
        if hasattr(network.network, "attention_weights"):
            from trademl_pipeline.training.interpret import attention_by_window

            some = windows.take(np.linspace(0, len(windows) - 1, min(len(windows), EXAMPLES)).astype(int))
            return [attention_by_window(network, read_by(fitted, study, some))]
    return []


def write_attention(artifacts: Artifacts, study: str, month: str, looked: Sequence[pl.DataFrame]) -> None:
    """Write what `attention_of` returned for a month.

    Args:
        artifacts: the files of the data set.
        study: name of the study.
        month: month key.
        looked: as `attention_of` returns it; nothing is written where it is empty.
    """
    for attention in looked:
        path = artifacts.attention(study, month)
        path.parent.mkdir(parents=True, exist_ok=True)
        attention.write_parquet(path)


def context_of(study: StudySpec, windows: Windows) -> pl.DataFrame:
    """Return the features of the decisions' own sessions that the study's task makes predictions with."""
    position = {name: study.feature_names.index(name) for name in study.task.context}
    return pl.DataFrame(
        {name: windows.matrix[windows.row, i].astype(np.float64) for name, i in position.items()}
    )


def read_by(fitted: FittedStudy, study: StudySpec, windows: Windows) -> Windows:
    """Return the windows over the features that the models read, out of those over the study's whole set."""
    if fitted.names == study.feature_names:
        return windows
    columns = [study.feature_names.index(name) for name in fitted.names]
    return replace(windows, matrix=np.ascontiguousarray(windows.matrix[:, columns]))


def prediction_months(workspace: Workspace, study: StudySpec, run: RunInfo, sample: Sample) -> Body:
    """Return what predicts, audits, certifies and publishes one month by its published models.

    Args:
        workspace: the data set.
        study: the study.
        run: that publishes.
        sample: how hard the gate looks.
    """

    def month_of(month: str) -> MonthResult:
        made = certified_month(
            workspace, study, month, sample, run_id=run.run_id, recorded_at=run.recorded_at
        )
        estimators = Audited(
            study.estimator_predictions,
            made.by_estimator,
            lambda written: made.audited_by_estimator(study, written),
        )
        published = publish(
            run,
            workspace.lake,
            study.predictions,
            made.frame,
            month,
            lambda written: made.audited(study, written),
            beside=[made.certificates, estimators],
        )
        write_attention(workspace.artifacts, study.name, month, made.attention)
        mean = made.frame["score"].mean()
        shown: Metadata = {
            **month_metadata(published, made.frame),
            "mlflow_run": made.record["model_run"][0],
            "fitted_fold": made.record["fitted"][0][:7],
            "mean_score": None if mean is None else float(cast(float, mean)),
            "certificate": made.certificate,
            "reads": reads_shown(made.view.reads),
        }
        return result_of(published, shown)

    return month_of


def audit_prediction_month(workspace: Workspace, study: StudySpec, month: str, sample: Sample) -> AuditReport:
    """Audit a month of predictions as the lake holds it.

    Args:
        workspace: the data set.
        study: the study.
        month: month key.
        sample: how hard the gate looks.
    """
    store = workspace.lake
    now = store.snapshot()
    step, ledger = step_of(workspace, study, month, now)
    written, by_estimator = (
        store.read(table, months=(month, month), snapshot=now)
        for table in (study.predictions, study.estimator_predictions)
    )
    view, audits = step.view(store, now), audits_behind(store, study, step.record, month, now)
    return audit_predictions(workspace, written, by_estimator, step, ledger, view, audits, sample)


def prediction_reads(study: StudySpec) -> dict[str, Lookback]:
    """Return which months of which assets a month of predictions reads."""
    reads = {study.models.name: SAME_MONTH, study.windows.name: SAME_MONTH}
    if study.decisions == "pattern_observations":
        # A pattern may have begun long before the month.
        return {**reads, study.features.name: ALL_UNTIL, RAW_BARS.name: ALL_UNTIL}
    return {**reads, study.features.name: sessions_back(study.window - 1)}


def prediction_lineage(study: StudySpec) -> Lineage:
    """Return what each column of a study's predictions is made of."""
    inputs = [(study.features.name, name) for name in study.feature_names]
    return {
        **{c: [(study.windows.name, c)] for c in CLOCKS},
        **{c: [*inputs, (study.models.name, "artifact")] for c in study.task.output_schema},
        **{c: [(study.models.name, c)] for c in ("fold", "model_run", "snapshot")},
    }
