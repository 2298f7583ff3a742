"""Input windows of a study: which rows of the feature table each decision sees."""

from typing import Any

import dagster as dg
import polars as pl

from trademl_pipeline.defs.gate import each_month, gate_checks, publish
from trademl_pipeline.defs.history import require_months
from trademl_pipeline.defs.metadata import OWNERS, column_lineage, month_metadata, table_metadata
from trademl_pipeline.defs.partitions import MONTHS, ONE_RUN, months_back, trailing
from trademl_pipeline.defs.resources import GateResource, LakeResource
from trademl_pipeline.features import FEATURE_SETS
from trademl_pipeline.lake import Lake
from trademl_pipeline.lake.schemas import feature_table, sequence_table
from trademl_pipeline.leakage import AuditReport, audit_features, audit_knowledge
from trademl_pipeline.leakage.published import audit_published
from trademl_pipeline.market.calendar import month_key, month_sessions, offset
from trademl_pipeline.sequences import window_index
from trademl_pipeline.studies import StudySpec

PROBES = ("truncation", "incremental", "knowledge")
CLOCKS = ("decision_time", "knowledge_time")


def window_rows(store: Lake, study: StudySpec, month: str) -> pl.DataFrame:
    """Keys and clocks of the feature rows that the month's windows may span."""
    start = offset(month_sessions(month)[0], -(study.window - 1))
    table = feature_table(study.feature_set, FEATURE_SETS[study.feature_set])
    require_months(store, table.name, month_key(start), month, reader=f"sequences_{study.name} {month[:7]}")
    rows = store.read(table, months=(month_key(start), month), columns=["symbol", "session", *CLOCKS])
    return rows.filter(pl.col("session") >= start)


def sequence_month(rows: pl.DataFrame, study: StudySpec, month: str) -> pl.DataFrame:
    """The windows that end in the month, with the latest knowledge time of any row inside."""
    sessions = month_sessions(month)
    windows = window_index(rows, study.window).drop("row")
    clocks = rows.sort("symbol", "session").select(
        "symbol",
        "session",
        "decision_time",
        pl.col("knowledge_time").cum_max().over("symbol"),
    )
    return (
        windows.filter(pl.col("session").is_between(sessions[0], sessions[-1]))
        .join(clocks, on=["symbol", "session"], how="left")
        .select(list(sequence_table(study.name).columns))
        .sort("symbol", "session")
    )


def audit_sequence_month(
    published: pl.DataFrame, rows: pl.DataFrame, study: StudySpec, month: str, cutoffs: int, seed: int
) -> AuditReport:
    """Windows must not move when later rows are deleted, and span nothing known after the decision."""

    def windows(frame: pl.DataFrame) -> pl.DataFrame:
        return sequence_month(frame, study, month).select("symbol", "session", "window_start", "n_valid")

    return (
        audit_features(
            windows, rows, probes=("truncation",), cutoffs=cutoffs, sessions=month_sessions(month), seed=seed
        )
        + audit_published(published, sequence_month(rows, study, month))
        + audit_knowledge(published)
    )


def sequence_assets(study: StudySpec) -> list[dg.AssetsDefinition | dg.AssetChecksDefinition]:
    """The asset and the gate checks of a study's windows."""
    schema = sequence_table(study.name)
    upstream = f"features_{study.feature_set}"
    lineage = column_lineage(
        {
            **{c: [(upstream, c)] for c in ("symbol", "session", *CLOCKS)},
            **{c: [(upstream, "session")] for c in ("window_start", "n_valid")},
        }
    )

    @dg.asset(
        name=schema.name,
        description=f"{study.title}: the window of up to {study.window} sessions behind every decision.\n\nAn index "
        f"into `{upstream}`, not a copy of it; windows are padded only before a symbol's first row.",
        partitions_def=MONTHS,
        backfill_policy=ONE_RUN,
        deps=[dg.AssetDep(upstream, partition_mapping=trailing(months_back(study.window - 1)))],
        group_name="sequences",
        kinds={"duckdb", "parquet", "polars"},
        owners=OWNERS,
        tags={"study": study.name},
        metadata=table_metadata(schema, lineage),
    )
    def sequences(context: dg.AssetExecutionContext, lake: LakeResource, gate: GateResource) -> None:
        store = lake.open()

        def month_of(month: str) -> dict[str, Any]:
            rows = window_rows(store, study, month)
            frame = sequence_month(rows, study, month)
            published = publish(
                context,
                store,
                schema,
                frame,
                month,
                lambda written: audit_sequence_month(written, rows, study, month, gate.cutoffs, gate.seed),
            )
            full = float((frame["n_valid"] == study.window).sum()) / max(frame.height, 1)
            return {**month_metadata(published, frame), "full_windows_share": full}

        each_month(context, month_of)

    def audit_month(store: Lake, month: str) -> AuditReport:
        settings = GateResource()
        written = store.read(schema, months=(month, month))
        rows = window_rows(store, study, month)
        return audit_sequence_month(written, rows, study, month, settings.cutoffs, settings.seed)

    return [sequences, gate_checks(schema.name, schema.name, PROBES, audit_month)]
