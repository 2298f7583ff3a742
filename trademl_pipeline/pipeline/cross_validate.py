"""Gapped cross-validation by symbol within a fold's training rows.

It says on which symbols the study's first model tells anything, and how much that hangs on the stretch of time. Nothing
is chosen by it. Made where a fold is trained; months that go on with a quarter's model have an empty partition.
"""

from collections.abc import Callable
from dataclasses import replace

import polars as pl

from trademl_pipeline.lake import Lake
from trademl_pipeline.lake.view import LakeReader
from trademl_pipeline.leakage import AuditReport, audit_fit_ledger, audit_folds
from trademl_pipeline.pipeline.fold import calendar_of, training_windows
from trademl_pipeline.pipeline.gate import month_metadata, publish
from trademl_pipeline.pipeline.lookback import SAME_MONTH, Lookback
from trademl_pipeline.pipeline.models import recorded_rows
from trademl_pipeline.pipeline.months import Body, MonthResult, RunInfo, result_of
from trademl_pipeline.pipeline.shown import Metadata
from trademl_pipeline.pipeline.train import training_context, training_reads
from trademl_pipeline.pipeline.tries import cross_validation_scored, record_scored
from trademl_pipeline.pipeline.views import before_the_first_decision, reads_shown, view_of
from trademl_pipeline.studies import StudySpec
from trademl_pipeline.training.cross_validation import cross_validate
from trademl_pipeline.training.ledger import FitLedger


def cross_validated(
    store: LakeReader,
    study: StudySpec,
    month: str,
    calendar: str,
    threads: int = 0,
    on_scored: Callable[[pl.DataFrame], None] | None = None,
) -> tuple[pl.DataFrame, AuditReport]:
    """Return the month's scores by symbol and split, with L on every split and F on every model.

    Reads what the month's model read, every session of it: the study's stride thins what is learned from, and here the
    preset does.

    Args:
        store: the lake, or a view of it.
        study: the study; its `training.cross_validate` is set.
        month: month key, of which there is a model.
        calendar: of the data set.
        threads: of a fit; 0: one a core.
        on_scored: called with the rows that were scored, if any: symbol, session, and their split's scores.

    Returns:
        (scores, audit); no row where the month goes on with an earlier fold's model.
    """
    table, plan = study.cross_validation, study.training.cross_validate
    assert plan is not None
    record = store.read(study.models, months=(month, month))
    if record["fitted"][0] != month:
        reused = {"rows": 0, "note": f"goes on with the model of {record['fitted'][0][:7]}"}
        return table.empty(), AuditReport((), {"folds": reused})
    rows = recorded_rows(store, replace(study, train_stride=1), month, record, calendar)
    windows = training_windows(store, study, rows, calendar, int(record["snapshot"][0]))
    training = training_context(study, record["size"][0], int(record["epochs"][0] or 0), threads)
    ledger = FitLedger(month)
    scores, evidence = cross_validate(
        study.training.base_learners[0], study.task, windows, training, plan, ledger=ledger
    )
    if scores.is_empty():
        nothing = {"rows": 0, "note": f"no symbol has {plan.min_rows} rows, or no split enough before it"}
        return table.empty(), AuditReport((), {"folds": nothing})
    if on_scored is not None:
        tested = pl.concat([test for _, test in evidence])
        splits = tested.join(scores, on="symbol").filter(
            pl.col("session").is_between("test_start", "test_end")
        )
        on_scored(splits.select("symbol", "session", "split", "auc", "accuracy", "correlation"))
    report = audit_fit_ledger(ledger, rows.fold, train=rows.train)
    for train, test in evidence:
        report = report + audit_folds(train, test, embargo=0, calendar=calendar_of(study, calendar))
    return scores.with_columns(pl.lit(month).alias("fold")).select(list(table.columns)), report


def cross_validation_months(store: Lake, study: StudySpec, run: RunInfo, calendar: str, threads: int) -> Body:
    """Return what cross-validates and publishes one month of a study that asks for it.

    Args:
        store: the lake.
        study: the study; its `training.cross_validate` is set.
        run: that publishes.
        calendar: of the data set.
        threads: of a fit; 0: one a core.
    """

    def month_of(month: str) -> MonthResult:
        clock = before_the_first_decision(month, calendar_of(study, calendar))
        view = view_of(store, study.cross_validation.name, month, cross_validation_reads(study), clock=clock)
        looked: list[pl.DataFrame] = []
        with view.sealed():
            frame, report = cross_validated(view, study, month, calendar, threads, looked.append)
        models = store.read(study.models, months=(month, month))
        record_scored(
            store, study, run, month, [cross_validation_scored(study, rows, models) for rows in looked]
        )
        published = publish(run, store, study.cross_validation, frame, month, lambda _: report)
        auc = frame["auc"].mean()
        shown: Metadata = {
            **month_metadata(published, frame),
            "symbols": int(frame["symbol"].n_unique()),
            "reads": reads_shown(view.reads),
            **({"mean_auc": float(auc)} if isinstance(auc, float) else {}),
        }
        return result_of(published, shown)

    return month_of


def cross_validation_reads(study: StudySpec) -> dict[str, Lookback]:
    """Return which months of which assets the cross-validation of a month reads."""
    return {study.models.name: SAME_MONTH, **training_reads(study)}
