"""Gapped cross-validation by symbol within a fold's training rows, as the seed of pattern confidence asks for.

It says on which symbols the study's first model tells anything, and how much that hangs on the stretch of time. Nothing
is chosen by it. Made where a fold is trained; months that go on with a quarter's model have an empty partition.
"""

from dataclasses import replace
from typing import Any

import dagster as dg
import polars as pl

from trademl_pipeline.defs.calendars import calendar_of
from trademl_pipeline.defs.gate import each_month, publish
from trademl_pipeline.defs.metadata import OWNERS, month_metadata, table_metadata
from trademl_pipeline.defs.models.fold import fold_rows, windows_of_keys
from trademl_pipeline.defs.models.model import kinds_of, setting_of
from trademl_pipeline.defs.partitions import MONTHS, RUN_PER_MONTH, earlier, same_month
from trademl_pipeline.defs.resources import LakeResource
from trademl_pipeline.lake import Lake
from trademl_pipeline.leakage import AuditReport, audit_fit_ledger, audit_folds
from trademl_pipeline.market.calendar import offset_month
from trademl_pipeline.studies import StudySpec
from trademl_pipeline.tables.descriptions import CROSS_VALIDATION
from trademl_pipeline.training.cross_validation import cross_validate
from trademl_pipeline.training.ledger import FitLedger


def cross_validated(store: Lake, study: StudySpec, month: str) -> tuple[pl.DataFrame, AuditReport]:
    """The month's scores by symbol and split, with L on every split and F on every model.

    Reads what the month's model read, every session of it: the study's stride thins what is learned from, and here the
    effort does.

    Args:
        store: the lake.
        study: the study; its `fit.cross_validate` is set.
        month: month key, of which there is a model.

    Returns:
        (scores, audit); no row where the month goes on with an earlier fold's model.
    """
    table, plan = study.cross_validation, study.fit.cross_validate
    assert plan is not None
    record = store.read(study.models, months=(month, month))
    if record["fitted"][0] != month:
        carried = {"rows": 0, "note": f"goes on with the model of {record['fitted'][0][:7]}"}
        return table.empty(), AuditReport((), {"folds": carried})
    snapshot = int(record["snapshot"][0])
    only = frozenset(filter(None, (record["only_symbols"][0] or "").split(",")))
    rows = fold_rows(
        store, replace(study, train_stride=1), month, snapshot, fitted=record["fitted"][0], symbols=only
    )
    windows = windows_of_keys(store, study, rows.train, offset_month(month, -1), snapshot)
    setting = setting_of(study, record["size"][0], int(record["epochs"][0] or 0))
    ledger = FitLedger(month)
    scores, evidence = cross_validate(study.fit.voters[0], study.task, windows, setting, plan, ledger=ledger)
    if scores.is_empty():
        nothing = {"rows": 0, "note": f"no symbol has {plan.least} rows, or no split enough before it"}
        return table.empty(), AuditReport((), {"folds": nothing})
    report = audit_fit_ledger(ledger, rows.fold, train=rows.train)
    for train, test in evidence:
        report = report + audit_folds(train, test, embargo=0, calendar=calendar_of(study))
    return scores.with_columns(pl.lit(month).alias("fold")).select(list(table.columns)), report


def cross_validation_assets(study: StudySpec) -> list[dg.AssetsDefinition]:
    """The asset of a study that is cross-validated by symbol; none of another."""
    if study.fit.cross_validate is None:
        return []
    schema = study.cross_validation

    @dg.asset(
        name=schema.name,
        description=f"{study.title}: how each symbol does in gapped cross-validation.\n\n{__doc__}",
        partitions_def=MONTHS,
        backfill_policy=RUN_PER_MONTH,
        deps=[
            dg.AssetDep(study.models.name, partition_mapping=same_month()),
            *(
                dg.AssetDep(table.name, partition_mapping=earlier())
                for table in (study.features, study.labels, study.windows)
            ),
        ],
        group_name="models",
        kinds=kinds_of(study),
        owners=OWNERS,
        tags={"study": study.name},
        pool="gpu",
        metadata=table_metadata(schema, descriptions=CROSS_VALIDATION),
    )
    def cross_validation(context: dg.AssetExecutionContext, lake: LakeResource) -> None:
        store = lake.open()

        def month_of(month: str) -> dict[str, Any]:
            frame, report = cross_validated(store, study, month)
            published = publish(context, store, schema, frame, month, lambda _: report)
            auc = frame["auc"].mean()
            return {
                **month_metadata(published, frame),
                "symbols": int(frame["symbol"].n_unique()),
                **({"mean_auc": float(auc)} if isinstance(auc, float) else {}),
            }

        each_month(context, month_of)

    return [cross_validation]
