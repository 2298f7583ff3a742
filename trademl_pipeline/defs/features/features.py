"""Feature sets as assets, one table per set."""

from typing import Any

import dagster as dg
import polars as pl

from trademl_pipeline.defs.gate import each_month, gate_checks, publish
from trademl_pipeline.defs.history import require_months
from trademl_pipeline.defs.metadata import OWNERS, column_lineage, month_metadata, table_metadata
from trademl_pipeline.defs.partitions import MONTHS, ONE_RUN_APART, months_back, trailing
from trademl_pipeline.defs.resources import GateResource, LakeResource
from trademl_pipeline.features import FEATURE_SETS, feature_inputs, warmup
from trademl_pipeline.features.panel import feature_month, warmup_start
from trademl_pipeline.lake import Lake
from trademl_pipeline.lake.schemas import RAW_BARS, feature_table
from trademl_pipeline.leakage import AuditReport, audit_features, audit_knowledge
from trademl_pipeline.leakage.published import audit_published
from trademl_pipeline.market.calendar import month_key, month_sessions

PROBES = ("truncation", "perturbation", "incremental", "knowledge")


def audit_feature_month(
    published: pl.DataFrame, bars: pl.DataFrame, set_name: str, month: str, cutoffs: int, seed: int
) -> AuditReport:
    """T and P at sampled sessions of the month, the rows against a computation anew, K on every row.

    What is audited is the function that made the published rows, so that nothing between the formulas and the table
    escapes.
    """

    def extract(frame: pl.DataFrame) -> pl.DataFrame:
        return feature_month(frame, set_name, month).drop("decision_time", "knowledge_time")

    return (
        audit_features(
            extract,
            bars,
            probes=("truncation", "perturbation"),
            cutoffs=cutoffs,
            sessions=month_sessions(month),
            seed=seed,
        )
        + audit_published(published, extract(bars))
        + audit_knowledge(published)
    )


def feature_bars(store: Lake, set_name: str, month: str) -> pl.DataFrame:
    """The bars that the month's features may read: its warm-up and itself."""
    start = warmup_start(set_name, month)
    require_months(store, RAW_BARS.name, month_key(start), month, reader=f"features_{set_name} {month[:7]}")
    bars = store.read(RAW_BARS, months=(month_key(start), month))
    return bars.filter(pl.col("session") >= start)


def bar_columns(feature: str) -> list[str]:
    """Columns of the raw bars that a feature is made from, behind the panel that its formula names."""
    stored = set(RAW_BARS.columns)
    behind = {
        "wealth": ("close", "split_factor", "dividend"),
        **{name: (name, "split_factor") for name in ("open", "high", "low", "close", "volume")},
    }
    found: dict[str, None] = {}
    for column in feature_inputs(feature):
        found |= dict.fromkeys(behind.get(column, (column,) if column in stored else ()))
    return list(found)


def feature_assets(set_name: str) -> list[dg.AssetsDefinition | dg.AssetChecksDefinition]:
    """The asset and the gate checks of one feature set."""
    names = FEATURE_SETS[set_name]
    schema = feature_table(set_name, names)
    asset_name = schema.name
    lineage = column_lineage(
        {
            "symbol": [("raw_bars", "symbol")],
            "session": [("raw_bars", "session")],
            "decision_time": [("raw_bars", "event_time")],
            "knowledge_time": [("raw_bars", "knowledge_time")],
            **{name: [("raw_bars", column) for column in bar_columns(name)] for name in names},
        }
    )

    @dg.asset(
        name=asset_name,
        description=f"Feature set `{set_name}`: {len(names)} causal values per symbol and session.\n\nEach month is "
        f"computed alone from its warm-up of {warmup(set_name)} sessions. Formulas: docs/features.md.",
        partitions_def=MONTHS,
        backfill_policy=ONE_RUN_APART,
        deps=[dg.AssetDep("raw_bars", partition_mapping=trailing(months_back(warmup(set_name))))],
        group_name="features",
        kinds={"duckdb", "parquet", "polars"},
        owners=OWNERS,
        metadata=table_metadata(schema, lineage),
    )
    def features(context: dg.AssetExecutionContext, lake: LakeResource, gate: GateResource) -> None:
        store = lake.open()

        def month_of(month: str) -> dict[str, Any]:
            bars = feature_bars(store, set_name, month)
            frame = feature_month(bars, set_name, month)
            published = publish(
                context,
                store,
                schema,
                frame,
                month,
                lambda written: audit_feature_month(written, bars, set_name, month, gate.cutoffs, gate.seed),
            )
            missing = frame.select(pl.mean_horizontal(pl.col(list(names)).is_null().mean())).item()
            return {**month_metadata(published, frame), "null_share": float(missing or 0.0)}

        each_month(context, month_of)

    def audit_month(store: Lake, month: str) -> AuditReport:
        settings = GateResource()
        bars = feature_bars(store, set_name, month)
        written = store.read(schema, months=(month, month))
        return audit_feature_month(written, bars, set_name, month, settings.cutoffs, settings.seed)

    return [features, gate_checks(asset_name, schema.name, PROBES, audit_month)]
