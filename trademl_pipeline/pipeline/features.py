"""Feature sets, one table per set."""

import polars as pl

from trademl_pipeline.features import FEATURE_SETS, FEATURES, feature_inputs, warmup
from trademl_pipeline.features.declared_at import declared_at
from trademl_pipeline.features.panel import as_decided, feature_month, warmup_start
from trademl_pipeline.features.registry import reference_inputs
from trademl_pipeline.lake.view import LakeReader
from trademl_pipeline.leakage import AuditReport, audit_features, audit_knowledge
from trademl_pipeline.leakage.feature_audit.origins import with_origins
from trademl_pipeline.market.calendar import month_sessions
from trademl_pipeline.pipeline.feature_figures import FeatureFigures
from trademl_pipeline.pipeline.gate import Sample
from trademl_pipeline.pipeline.inputs import bars_from, references_from
from trademl_pipeline.pipeline.lookback import sessions_back
from trademl_pipeline.pipeline.stage import Inputs, Stage
from trademl_pipeline.tables import RAW_BARS, REFERENCE_BARS, feature_table
from trademl_pipeline.tables.descriptions import KEY_COLUMNS


def feature_inputs_of(store: LakeReader, set_name: str, month: str, calendar: str) -> Inputs:
    """Read the bars and references that the month's features may read: its warm-up and itself.

    Args:
        store: the lake.
        set_name: name of the feature set.
        month: month key.
        calendar: of the data set.

    Raises:
        MissingMonthsError: one of these months is not published.
    """
    start, reader = warmup_start(set_name, month, calendar), f"features_{set_name}"
    bars = bars_from(store, start, month, reader=reader)
    if not reference_inputs(set_name):
        return {"bars": bars}
    return {"bars": bars, **references_from(store, start, month, reader=reader)}


def features_of_month(inputs: Inputs, set_name: str, month: str) -> pl.DataFrame:
    """Compute the month of a set; columns that read references are null where there are none."""
    references = {name: frame for name, frame in inputs.items() if name != "bars"}
    return feature_month(inputs["bars"], set_name, month, **references)


def audit_feature_month(
    published: pl.DataFrame, inputs: Inputs, set_name: str, month: str, sample: Sample, calendar: str
) -> AuditReport:
    """Audit T and P at sampled sessions of the month, the rows against a computation anew, K and plausibility on all.

    The function that made the published rows is audited, so that nothing between the formulas and the table escapes.
    References are cut with the bars.

    Args:
        published: the month's rows.
        inputs: the frames that they were computed from.
        set_name: name of the feature set.
        month: month key.
        sample: how hard the gate looks.
        calendar: of the data set.
    """

    def extract(bars: pl.DataFrame, **references: pl.DataFrame) -> pl.DataFrame:
        rows = features_of_month({"bars": bars, **references}, set_name, month)
        return rows.drop("decision_time", "knowledge_time")

    audited = audit_features(
        extract,
        as_decided(inputs["bars"]),
        sources={name: frame for name, frame in inputs.items() if name != "bars"},
        probes=("truncation", "perturbation", "plausibility"),
        cutoffs=sample.cutoffs,
        sessions=month_sessions(month, calendar),
        seed=sample.seed_of(f"features_{set_name}", month),
        published=published,
    )
    return with_origins(audited, declared_at) + audit_knowledge(published)


def bar_columns(feature: str) -> list[str]:
    """Return the columns of the raw bars that a feature is made from, behind the panel that its formula names."""
    stored = set(RAW_BARS.columns)
    behind = {
        "wealth": ("close", "split_factor", "dividend"),
        **{name: (name, "split_factor") for name in ("open", "high", "low", "close", "volume")},
    }
    columns: dict[str, None] = {}
    for column in feature_inputs(feature):
        columns |= dict.fromkeys(behind.get(column, (column,) if column in stored else ()))
    return list(columns)


def sources_of(feature: str) -> list[tuple[str, str]]:
    """Return the upstream columns that a feature is made from, references included."""
    columns = [("raw_bars", column) for column in bar_columns(feature)]
    if reference_inputs(feature):
        columns += [(REFERENCE_BARS.name, c) for c in ("close", "split_factor", "dividend")]
    return columns


def column_doc(feature: str) -> str:
    """Return formula, unit and warm-up of a feature, for its column."""
    definition = FEATURES[feature]
    return (
        f"{definition.formula} ({definition.unit}; warm-up {definition.warmup} sessions; {definition.source})"
    )


def feature_stage(set_name: str, calendar: str) -> Stage:
    """Return one feature set as a stage."""
    names = FEATURE_SETS[set_name]
    schema = feature_table(set_name, names)
    lineage = {
        "symbol": [("raw_bars", "symbol")],
        "session": [("raw_bars", "session")],
        "decision_time": [("raw_bars", "event_time")],
        "knowledge_time": [("raw_bars", "knowledge_time")],
        **{name: sources_of(name) for name in names},
    }
    back = sessions_back(warmup(set_name))
    reads = ["raw_bars", *([REFERENCE_BARS.name] if reference_inputs(set_name) else [])]
    return Stage(
        schema=schema,
        description=f"Feature set `{set_name}`: {len(names)} causal values per symbol and session.\n\nEach month "
        f"is computed alone from its warm-up of {warmup(set_name)} sessions. Formulas: docs/features.md.",
        group="features",
        reads=dict.fromkeys(reads, back),
        read=lambda store, month: feature_inputs_of(store, set_name, month, calendar),
        compute=lambda inputs, month: features_of_month(inputs, set_name, month),
        audit=lambda written, inputs, month, sample: audit_feature_month(
            written, inputs, set_name, month, sample, calendar
        ),
        figures=lambda: FeatureFigures(schema, names),
        lineage=lineage,
        columns={**KEY_COLUMNS, **{name: column_doc(name) for name in names}},
    )
