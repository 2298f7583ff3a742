"""Feature sets as assets, one table per set."""

from typing import Any

import dagster as dg
import polars as pl

from trademl_pipeline.defs.inputs import KEY_COLUMNS, bars_from
from trademl_pipeline.defs.metadata import column_lineage
from trademl_pipeline.defs.partitions import ONE_RUN_APART, months_back, trailing
from trademl_pipeline.defs.stage import Sample, Stage, stage_assets
from trademl_pipeline.features import FEATURE_SETS, FEATURES, feature_inputs, warmup
from trademl_pipeline.features.panel import feature_month, warmup_start
from trademl_pipeline.lake.schemas import RAW_BARS, feature_table
from trademl_pipeline.leakage import AuditReport, audit_features, audit_knowledge
from trademl_pipeline.market.calendar import month_sessions

PROBES = ("truncation", "perturbation", "incremental", "knowledge")


def audit_feature_month(
    published: pl.DataFrame, bars: pl.DataFrame, set_name: str, month: str, sample: Sample
) -> AuditReport:
    """T and P at sampled sessions of the month, the rows against a computation anew, K on every row.

    What is audited is the function that made the published rows, so that nothing between the formulas and the table
    escapes.
    """

    def extract(frame: pl.DataFrame) -> pl.DataFrame:
        return feature_month(frame, set_name, month).drop("decision_time", "knowledge_time")

    return audit_features(
        extract,
        bars,
        probes=("truncation", "perturbation"),
        cutoffs=sample.cutoffs,
        sessions=month_sessions(month),
        seed=sample.seed,
        published=published,
    ) + audit_knowledge(published)


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


def described(feature: str) -> str:
    """Formula, unit and warm-up of a feature, for its column."""
    said = FEATURES[feature]
    return f"{said.formula} ({said.unit}; warm-up {said.warmup} sessions; {said.source})"


def feature_figures(set_name: str, frame: pl.DataFrame) -> dict[str, Any]:
    """What the month's values look like."""
    missing = frame.select(pl.mean_horizontal(pl.col(FEATURE_SETS[set_name]).is_null().mean())).item()
    return {"null_share": float(missing or 0.0)}


def feature_stage(set_name: str) -> Stage:
    """One feature set as a stage."""
    names = FEATURE_SETS[set_name]
    schema = feature_table(set_name, names)
    lineage = column_lineage(
        {
            "symbol": [("raw_bars", "symbol")],
            "session": [("raw_bars", "session")],
            "decision_time": [("raw_bars", "event_time")],
            "knowledge_time": [("raw_bars", "knowledge_time")],
            **{name: [("raw_bars", column) for column in bar_columns(name)] for name in names},
        }
    )
    return Stage(
        schema=schema,
        description=f"Feature set `{set_name}`: {len(names)} causal values per symbol and session.\n\nEach month "
        f"is computed alone from its warm-up of {warmup(set_name)} sessions. Formulas: docs/features.md.",
        group="features",
        deps=[dg.AssetDep("raw_bars", partition_mapping=trailing(months_back(warmup(set_name))))],
        backfill=ONE_RUN_APART,
        probes=PROBES,
        read=lambda store, month: {
            "bars": bars_from(store, warmup_start(set_name, month), month, reader=schema.name)
        },
        compute=lambda inputs, month: feature_month(inputs["bars"], set_name, month),
        audit=lambda written, inputs, month, sample: audit_feature_month(
            written, inputs["bars"], set_name, month, sample
        ),
        figures=lambda store, inputs, frame, month: feature_figures(set_name, frame),
        lineage=lineage,
        columns={**KEY_COLUMNS, **{name: described(name) for name in names}},
    )


def feature_assets(set_name: str) -> list[dg.AssetsDefinition | dg.AssetChecksDefinition]:
    """The asset and the gate checks of one feature set."""
    return stage_assets(feature_stage(set_name))
