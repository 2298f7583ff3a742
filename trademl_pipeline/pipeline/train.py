"""The models of one walk-forward fold: every estimator of the study, its ensemble and its calibration."""

import hashlib
import os
import tempfile
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

import polars as pl

from trademl_pipeline.certificates.code_version import code_version
from trademl_pipeline.lake.errors import MissingTableError
from trademl_pipeline.lake.view import LakeReader, LakeView
from trademl_pipeline.market.calendar import offset_month
from trademl_pipeline.pipeline.errors import StepError
from trademl_pipeline.pipeline.fit import (
    estimators_table,
    fit_and_save,
    fit_figures,
    metrics_of,
    parameters_of,
    record_of,
)
from trademl_pipeline.pipeline.fold import (
    FROM_THE_FIRST,
    FoldRows,
    bars_behind,
    calendar_of,
    fitted_month,
    fold_rows,
    plan_of,
    training_windows,
)
from trademl_pipeline.pipeline.gate import month_metadata, publish
from trademl_pipeline.pipeline.lookback import ALL_BEFORE, Lookback
from trademl_pipeline.pipeline.models import (
    audit_fold,
    load_ledger,
    load_models,
    recorded_rows,
)
from trademl_pipeline.pipeline.months import Body, MonthResult, RunInfo, result_of
from trademl_pipeline.pipeline.shown import Json, Markdown, Metadata
from trademl_pipeline.pipeline.views import before_the_first_decision, reads_shown, view_of
from trademl_pipeline.pipeline.workspace import Workspace
from trademl_pipeline.registry.tracking import Tracker
from trademl_pipeline.sequences.windows import Windows
from trademl_pipeline.studies import StudySpec
from trademl_pipeline.training.estimators import TrainingContext
from trademl_pipeline.training.fitted_study import FittedStudy
from trademl_pipeline.training.ledger import FitLedger


@dataclass(frozen=True)
class TrainOptions:
    """Requests of a run about training; where one is empty, the study's own holds.

    Attributes:
        size: preset of the study's estimators, e.g. small or base.
        epochs: of every network; 0: as the preset says.
        symbols: comma-separated symbols to train on, or a number of them, subsampled by a hash of the name; empty: all.
        refit: how often models are trained, month or quarter.
        alone: train this month's own fold whatever the rhythm is.
        threads: of a fit; 0: one a core.
    """

    size: str = ""
    epochs: int = 0
    symbols: str = ""
    refit: str = ""
    alone: bool = False
    threads: int = 0

    def preset_of(self, study: StudySpec) -> str:
        """Return the size asked for.

        Raises:
            StepError: the study has no such preset.
        """
        size = self.size or study.presets[0]
        if size not in study.presets:
            raise StepError(f"{study.name} has no preset {size!r}; it has {', '.join(study.presets)}")
        return size


def symbols_of(store: LakeReader, study: StudySpec, asked: str, month: str, snapshot: int) -> frozenset[str]:
    """Return the symbols that a run asks to train on, by name or by number; empty: all.

    Args:
        store: the lake.
        study: the study.
        asked: comma-separated symbols, or a number of them, subsampled by a hash of the name; empty: all.
        month: month key; the number is of symbols of the months before.
        snapshot: of the lake to read at.
    """
    named = frozenset(s.strip() for s in asked.split(",") if s.strip())
    if not asked.strip().isdigit():
        return named
    history = (FROM_THE_FIRST, offset_month(month, -1))
    known = store.read(study.windows, months=history, columns=["symbol"], snapshot=snapshot)[
        "symbol"
    ].unique()
    by_hash = sorted(known, key=lambda name: hashlib.sha256(name.encode()).digest())
    return frozenset(by_hash[: int(asked)])


def training_context(study: StudySpec, size: str, epochs: int = 0, threads: int = 0) -> TrainingContext:
    """Return what the estimators of a fold share.

    Args:
        study: the study.
        size: preset of the estimators.
        epochs: of every network; 0: as the preset says.
        threads: of a fit; 0: one a core.
    """
    return TrainingContext(
        names=study.feature_names,
        preset=size,
        validation_sessions=study.validation_sessions,
        embargo=study.folds.embargo,
        seed=study.seed,
        epochs=epochs or None,
        threads=threads or os.cpu_count() or 1,
    )


class TrainedFold(NamedTuple):
    """A month's models: their row of the model table, and what they are audited with."""

    record: pl.DataFrame
    rows: FoldRows
    ledger: FitLedger
    fitted: FittedStudy
    windows: Windows


def model_months(
    workspace: Workspace, tracker: Tracker, study: StudySpec, run: RunInfo, options: TrainOptions
) -> Body:
    """Return what trains, or takes over, and publishes the models of one month.

    Args:
        workspace: the data set.
        tracker: where the fold's run is recorded.
        study: the study.
        run: that publishes.
        options: what the run asks of training.

    Raises:
        StepError: the study has no such preset.
    """
    size = options.preset_of(study)

    def month_of(month: str) -> MonthResult:
        view = training_view(workspace, study, month, refit=options.refit, alone=options.alone)
        with view.sealed():
            only = symbols_of(view, study, options.symbols, month, view.snapshot())
            rows = fold_rows(
                view,
                study,
                month,
                workspace.calendar,
                refit=options.refit,
                fitted=month if options.alone else None,
                symbols=only,
            )
            reused = (
                None
                if only
                else reusable_model(
                    view, study, month, rows.fold.month, size, options.epochs, view.snapshot()
                )
            )
        if reused is not None:
            return _publish_reused(workspace, study, run, month, reused)
        training = training_context(study, size, options.epochs, options.threads)
        return _publish_trained(workspace, tracker, study, run, month, rows, training, view, only, options)

    return month_of


def training_view(
    workspace: Workspace, study: StudySpec, month: str, *, refit: str = "", alone: bool = False
) -> LakeView:
    """Return what the models of a month may learn from: what was known before the first decision of their fold.

    Args:
        workspace: the data set.
        study: the study.
        month: month key.
        refit: how often models are trained; empty: as the study says.
        alone: train this month's own fold whatever the rhythm is.
    """
    store, name = workspace.lake, study.models.name
    view = view_of(store, name, month, {**training_reads(study), name: ALL_BEFORE})
    fitted = month if alone else fitted_month(view, study, month, workspace.calendar, refit)
    return view.at(before_the_first_decision(fitted, calendar_of(study, workspace.calendar)))


def _publish_trained(
    workspace: Workspace,
    tracker: Tracker,
    study: StudySpec,
    run: RunInfo,
    month: str,
    rows: FoldRows,
    training: TrainingContext,
    view: LakeView,
    only: frozenset[str],
    options: TrainOptions,
) -> MonthResult:
    """Train the fold of a month and publish its models."""
    store, calendar, snapshot = workspace.lake, workspace.calendar, view.snapshot()
    with view.sealed():
        windows = training_windows(view, study, rows, calendar, snapshot)
    ledger = FitLedger(rows.fold.month)
    run.log.info(
        f"fold {month[:7]}: {rows.train.height} rows, {rows.train['session'].n_unique()} sessions, labels up to "
        f"{rows.train['label_end'].max()}, preset {training.preset}"
    )
    code = code_version()
    tags = {
        "study": study.name,
        "dagster_run": run.run_id,
        "code": code.label,
        "code_source": code.source,
        "dataset_snapshot": str(snapshot),
    }
    with tracker.run(study.models.name, month, tags) as tracked:
        tracked.log_params(parameters_of(study, training, rows, snapshot))
        # A refused model must not overwrite the files of the one that is published.
        folder = workspace.artifacts.models(study.name, month) / tracked.run_id
        trials = workspace.artifacts.trials
        # The fit writes its files, counts its trials, and tells the tracker, whose folder or server is its own.
        with (
            own_temporary_files() as scratch,
            view.sealed([folder, trials, *tracker.files, scratch], network=True),
        ):
            saved = fit_and_save(
                study, windows, training, ledger, tracked, folder, trials, progress=_progress(run)
            )
        fitted = saved.fitted
        tracked.log_metrics(metrics_of(fitted, rows))
        record = record_of(workspace, study, month, rows, saved, snapshot, training, only, options.epochs)
        published = publish(
            run,
            store,
            study.models,
            record,
            month,
            lambda _: audit_fold(study, rows, ledger, fitted, windows, calendar),
        )
        tracked.log_artifact(folder)
    shown: Metadata = {
        **month_metadata(published, record),
        "mlflow_run": tracked.run_id,
        "size": training.preset,
        "fitted_fold": rows.fold.month[:7],
        "train_rows": int(rows.train.height),
        "train_sessions": int(rows.train["session"].n_unique()),
        "last_label_end": str(rows.train["label_end"].max()),
        "dataset_snapshot": int(snapshot),
        "members": Markdown(estimators_table(fitted)),
        "reads": reads_shown(view.reads),
        **({"features_dropped": Json(dict(fitted.dropped))} if fitted.dropped else {}),
        **fit_figures(fitted, saved.importance),
    }
    return result_of(published, shown)


@contextmanager
def own_temporary_files() -> Generator[str]:
    """Have temporary files lie in a folder of their own, which is removed afterwards; yields the folder.

    What lies in the machine's, where other programs and data sets leave theirs, is not for a step to read.
    """
    with tempfile.TemporaryDirectory(prefix="trademl-fit-") as folder:
        before, tempfile.tempdir = tempfile.tempdir, folder
        try:
            yield folder
        finally:
            tempfile.tempdir = before


def reusable_model(
    store: LakeReader, study: StudySpec, month: str, fitted: str, size: str, epochs: int, snapshot: int
) -> pl.DataFrame | None:
    """Return an earlier month's model, trained with these settings, that serves this one; None where there is none.

    Args:
        store: the lake.
        study: the study.
        month: month key.
        fitted: month whose fold trains the model of `month`.
        size: preset asked for.
        epochs: asked for; 0: as the preset says.
        snapshot: of the lake to read at.

    Returns:
        its row of the model table.
    """
    if fitted == month:
        return None
    try:
        record = store.read(study.models, months=(fitted, fitted), snapshot=snapshot)
    except MissingTableError:
        return None
    same = record.filter(
        pl.col("size") == size, pl.col("epochs").fill_null(0) == epochs, pl.col("only_symbols") == ""
    )
    return None if same.is_empty() else same


def _publish_reused(
    workspace: Workspace, study: StudySpec, run: RunInfo, month: str, reused: pl.DataFrame
) -> MonthResult:
    """Publish an earlier month's model for this month, audited on the rows that it was trained on."""
    record, rows, ledger, fitted, windows = reused_fold(workspace, study, month, reused)
    run.log.info(f"fold {month[:7]}: goes on with the model of {rows.fold.month[:7]}")
    published = publish(
        run,
        workspace.lake,
        study.models,
        record,
        month,
        lambda _: audit_fold(study, rows, ledger, fitted, windows, workspace.calendar),
    )
    shown: Metadata = {
        **month_metadata(published, record),
        "mlflow_run": record["model_run"][0],
        "fitted_fold": rows.fold.month[:7],
        "members": Markdown(estimators_table(fitted)),
    }
    return result_of(published, shown)


def reused_fold(workspace: Workspace, study: StudySpec, month: str, reused: pl.DataFrame) -> TrainedFold:
    """Return the model of an earlier month, filed for this month.

    Args:
        workspace: the data set.
        study: the study.
        month: month key.
        reused: the model's row of the model table.
    """
    store, calendar = workspace.lake, workspace.calendar
    rows = recorded_rows(store, study, month, reused, calendar)
    windows = training_windows(store, study, rows, calendar, int(reused["snapshot"][0]))
    month_fold = plan_of(study, calendar).fold(month, rows.fold.train_start)
    record = reused.with_columns(
        pl.lit(month).alias("fold"),
        pl.lit(month_fold.test_start).alias("test_start"),
        pl.lit(month_fold.test_end).alias("test_end"),
        pl.lit(0.0).alias("train_seconds"),
    )
    fitted = load_models(workspace.artifacts, study, reused, rows.fold.month)
    return TrainedFold(record, rows, load_ledger(workspace.artifacts, reused), fitted, windows)


def _progress(run: RunInfo) -> Callable[[str, dict[str, float]], None]:
    def on_epoch(estimator: str, epoch: dict[str, float]) -> None:
        figures = ", ".join(f"{k} {v:.4g}" for k, v in epoch.items() if k != "epoch")
        run.log.info(f"{estimator} epoch {int(epoch['epoch'])}: {figures}")

    return on_epoch


def training_reads(study: StudySpec) -> dict[str, Lookback]:
    """Return which months of which assets the models of a month learn from: all before it."""
    tables = (study.features, study.labels, study.windows, *bars_behind(study))
    return {table.name: ALL_BEFORE for table in tables}
