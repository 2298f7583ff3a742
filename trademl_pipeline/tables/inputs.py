"""Tables that models learn from: labels, features, patterns, windows."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import polars as pl

from trademl_pipeline.lake.schema import UTC_TIME, GatedTable
from trademl_pipeline.tables.audits import AUDITS
from trademl_pipeline.tables.keys import PANEL_KEY

# Of values that are functions of bars.
CAUSAL = ("truncation", "perturbation", "incremental", "knowledge")


def label_table(
    target: str,
    values: Mapping[str, Any] | None = None,
    *,
    nullable: Iterable[str] = (),
    description: str = "",
) -> GatedTable:
    """Table `labels_<target>`: what became of every decision, filed under the month of its label_end.

    Args:
        target: name of the target.
        values: the target's columns and their types; None takes those of a direction: forward_return,
            threshold and target.
        nullable: values that may be missing in a row.
        description: of the values.
    """
    if values is None:
        values = {"forward_return": pl.Float64, "threshold": pl.Float64, "target": pl.Int8}
    return GatedTable(
        name=f"labels_{target}",
        columns={
            "symbol": pl.String,
            "session": pl.Date,
            "label_start": pl.Date,
            "label_end": pl.Date,
            **values,
            "horizon": pl.Int16,
            "last_price": pl.Boolean,
            "knowledge_time": UTC_TIME,
        },
        key=PANEL_KEY,
        nullable=frozenset(nullable),
        month_column="label_end",
        may_be_empty=True,
        probes=("truncation", "incremental", "knowledge"),
        ledger=AUDITS,
        description=f"{description} A label reads (label_start, label_end] and is filed under the month of its "
        "label_end, the month in which it became known. last_price: the name did not trade at label_end, and its "
        "last price stands in.".strip(),
    )


LABEL_DIRECTION = label_table("direction", description="Sell (0), Hold (1), Buy (2) by the log return.")


def feature_table(set_name: str, feature_names: Sequence[str]) -> GatedTable:
    """Table `features_<set_name>`: the panel key, the decision and knowledge times, one Float64 per feature.

    A feature is null while it warms up. Adding a name adds a column to an existing table; dropping one is
    refused.
    """
    return GatedTable(
        name=f"features_{set_name}",
        columns={
            "symbol": pl.String,
            "session": pl.Date,
            "decision_time": UTC_TIME,
            "knowledge_time": UTC_TIME,
            **dict.fromkeys(feature_names, pl.Float64),
        },
        key=PANEL_KEY,
        nullable=frozenset(feature_names),
        month_column="session",
        probes=(*CAUSAL, "plausibility"),
        ledger=AUDITS,
        description=f"Features of the set {set_name!r}, known at decision_time (the session's close).",
    )


PATTERNS = GatedTable(
    name="patterns",
    columns={
        "symbol": pl.String,
        "session": pl.Date,
        "decision_time": UTC_TIME,
        "knowledge_time": UTC_TIME,
        "pattern": pl.String,
        "start": pl.Date,
        "activation": pl.Date,
        "days_since_activation": pl.Int32,
        "upper": pl.Float64,
        "lower": pl.Float64,
        "power": pl.Float64,
        "baseline_bbw": pl.Float64,
        "baseline_volume_ratio": pl.Float64,
        "baseline_volatility": pl.Float64,
    },
    key=PANEL_KEY,
    month_column="session",
    may_be_empty=True,
    probes=CAUSAL,
    ledger=AUDITS,
    description="Observations of consolidation patterns: one row for each session on which one is active.",
)


def sequence_table(study: str, *, pattern_observations: bool = False) -> GatedTable:
    """Table `sequences_<study>`: one row per decision, saying which sessions its window spans.

    Args:
        study: name of the study.
        pattern_observations: decisions are active sessions of consolidation patterns, whose start and activation the
            rows name; a month may have none.
    """
    pattern = (
        {"pattern": pl.String, "pattern_start": pl.Date, "activation": pl.Date}
        if pattern_observations
        else {}
    )
    return GatedTable(
        name=f"sequences_{study}",
        columns={
            "symbol": pl.String,
            "session": pl.Date,
            "window_start": pl.Date,
            "n_valid": pl.Int32,
            **pattern,
            "decision_time": UTC_TIME,
            "knowledge_time": UTC_TIME,
        },
        key=PANEL_KEY,
        month_column="session",
        may_be_empty=pattern_observations,
        probes=("truncation", "incremental", "knowledge"),
        ledger=AUDITS,
        description=f"Windows of the study {study!r}: window_start is the session of the first of n_valid "
        "rows.",
    )
