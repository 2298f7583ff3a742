"""Direction labels of a study, filed under the month in which they became known."""

from typing import Any

import dagster as dg
import polars as pl

from trademl_pipeline.defs.gate import each_month, gate_checks, publish
from trademl_pipeline.defs.history import require_months
from trademl_pipeline.defs.metadata import OWNERS, column_lineage, month_metadata, table_metadata
from trademl_pipeline.defs.partitions import MONTHS, ONE_RUN_APART, months_back, trailing
from trademl_pipeline.defs.resources import GateResource, LakeResource
from trademl_pipeline.features import warmup
from trademl_pipeline.labels import direction_labels
from trademl_pipeline.lake import Lake
from trademl_pipeline.lake.schemas import RAW_BARS, label_table
from trademl_pipeline.leakage import AuditReport, audit_features, audit_knowledge
from trademl_pipeline.leakage.published import audit_published
from trademl_pipeline.market.calendar import month_key, month_sessions, offset
from trademl_pipeline.studies import StudySpec

PROBES = ("truncation", "incremental", "knowledge")
LOOKBACK = warmup("volatility_20")


def label_bars(store: Lake, study: StudySpec, month: str) -> pl.DataFrame:
    """The bars that the labels known in a month may read."""
    start = offset(month_sessions(month)[0], -(LOOKBACK + study.horizon))
    require_months(store, RAW_BARS.name, month_key(start), month, reader=f"labels_{study.name} {month[:7]}")
    bars = store.read(RAW_BARS, months=(month_key(start), month))
    return bars.filter(pl.col("session") >= start)


def label_month(bars: pl.DataFrame, study: StudySpec, month: str) -> pl.DataFrame:
    """Labels whose interval ends in the month, with the moment they became known."""
    sessions = month_sessions(month)
    labels = direction_labels(bars, horizon=study.horizon, k=study.k)
    # A name that did not trade at its label's end has no bar there; that it did not is known with the others' bars.
    known = bars.group_by(pl.col("session").alias("label_end")).agg(pl.col("knowledge_time").max())
    return (
        labels.filter(pl.col("label_end").is_between(sessions[0], sessions[-1]))
        .join(known, on="label_end", how="left")
        .with_columns(pl.lit(study.horizon).cast(pl.Int16).alias("horizon"))
        .select(list(label_table(study.name).columns))
        .sort("symbol", "session")
    )


def audit_label_month(
    published: pl.DataFrame, bars: pl.DataFrame, study: StudySpec, month: str, cutoffs: int, seed: int
) -> AuditReport:
    """A label keyed by the session at which it became known must not move when what came later is deleted."""

    values = ["forward_return", "threshold", "target"]

    def known(frame: pl.DataFrame) -> pl.DataFrame:
        labels = label_month(frame, study, month)
        keyed = labels.select("symbol", pl.col("label_end").alias("session"), *values)
        # The probe wants every row to be a bar's. The labels of a name that stopped trading end on sessions without
        # a bar of its own; they are left to the comparison with a computation anew.
        return keyed.join(frame.select("symbol", "session"), on=["symbol", "session"], how="semi")

    recomputed = label_month(bars, study, month)
    same = audit_published(published, recomputed)
    if recomputed.is_empty():
        # The first month of a history: volatility warms up, and there is nothing that could know the future.
        nothing = {"rows": 0, "note": "no label became known in this month"}
        return same + AuditReport((), {"truncation": nothing, "knowledge": nothing})
    # The clock: a label is not known before its last session has closed.
    closes = bars.group_by(pl.col("session").alias("label_end")).agg(pl.col("event_time").max())
    clock = published.join(closes, on="label_end", how="left")
    return (
        audit_features(
            known, bars, probes=("truncation",), cutoffs=cutoffs, sessions=month_sessions(month), seed=seed
        )
        + same
        + audit_knowledge(clock, decision_time="knowledge_time", knowledge_time="event_time")
    )


def label_assets(study: StudySpec) -> list[dg.AssetsDefinition | dg.AssetChecksDefinition]:
    """The asset and the gate checks of a study's direction labels."""
    schema = label_table(study.name)
    lineage = column_lineage(
        {
            "symbol": [("raw_bars", "symbol")],
            **{c: [("raw_bars", "session")] for c in ("session", "label_start", "label_end")},
            **{
                c: [("raw_bars", "close"), ("raw_bars", "split_factor"), ("raw_bars", "dividend")]
                for c in ("forward_return", "threshold", "target")
            },
            "last_price": [("raw_bars", "session")],
            "knowledge_time": [("raw_bars", "knowledge_time")],
        }
    )

    @dg.asset(
        name=schema.name,
        description=f"Sell, Hold or Buy by the return over the next {study.horizon} sessions, against "
        f"{study.k} volatilities.\n\nA label is filed under the month of its last session, in which it became "
        "known, so no partition needs a later month.",
        partitions_def=MONTHS,
        backfill_policy=ONE_RUN_APART,
        deps=[dg.AssetDep("raw_bars", partition_mapping=trailing(months_back(LOOKBACK + study.horizon)))],
        group_name="labels",
        kinds={"duckdb", "parquet", "polars"},
        owners=OWNERS,
        metadata=table_metadata(schema, lineage),
    )
    def labels(context: dg.AssetExecutionContext, lake: LakeResource, gate: GateResource) -> None:
        store = lake.open()

        def month_of(month: str) -> dict[str, Any]:
            bars = label_bars(store, study, month)
            frame = label_month(bars, study, month)
            published = publish(
                context,
                store,
                schema,
                frame,
                month,
                lambda written: audit_label_month(written, bars, study, month, gate.cutoffs, gate.seed),
            )
            shares = {
                f"share_{name}": float((frame["target"] == value).sum()) / max(frame.height, 1)
                for value, name in enumerate(("sell", "hold", "buy"))
            }
            return {**month_metadata(published, frame), **shares}

        each_month(context, month_of)

    def audit_month(store: Lake, month: str) -> AuditReport:
        settings = GateResource()
        written = store.read(schema, months=(month, month))
        bars = label_bars(store, study, month)
        return audit_label_month(written, bars, study, month, settings.cutoffs, settings.seed)

    return [labels, gate_checks(schema.name, schema.name, PROBES, audit_month)]
