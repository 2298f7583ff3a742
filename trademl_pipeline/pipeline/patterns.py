"""Consolidation patterns: one row for each session on which a pattern is active."""

from typing import Any, cast

import polars as pl

from trademl_pipeline.features.consolidation import PATTERN_WARMUP, RULES
from trademl_pipeline.features.pattern_month import bars_start, pattern_month
from trademl_pipeline.leakage import AuditReport, audit_features, audit_knowledge
from trademl_pipeline.market.calendar import month_sessions
from trademl_pipeline.pipeline.gate import Sample
from trademl_pipeline.pipeline.inputs import bars_from
from trademl_pipeline.pipeline.lookback import sessions_back
from trademl_pipeline.pipeline.stage import Stage, of_the_month
from trademl_pipeline.tables import PATTERNS
from trademl_pipeline.tables.descriptions import KEY_COLUMNS

COLUMNS = {
    **KEY_COLUMNS,
    "pattern": "Name of the pattern: <symbol>@<activation>.",
    "start": "First of the qualifying sessions.",
    "activation": f"Session on which {RULES.sessions} qualifying ones in a row were complete.",
    "days_since_activation": "Sessions since the activation; 0 on it.",
    "upper": "Highest high of the qualifying sessions, as a price of the session's share.",
    "lower": "Lowest low of the qualifying sessions, as a price of the session's share.",
    "power": f"{RULES.power} upper: a close above it is the breakout.",
    "baseline_bbw": "Mean of bbw_20 over the qualifying sessions (ratio).",
    "baseline_volume_ratio": "Mean of volume_ratio_20 over the qualifying sessions (ratio).",
    "baseline_volatility": "Mean of volatility_20 over the qualifying sessions (per session).",
}


def on_every_session(active: pl.DataFrame, bars: pl.DataFrame, month: str, calendar: str) -> pl.DataFrame:
    """Return a row for every bar of the month, with the pattern observation of its session where there is one.

    Args:
        active: pattern observations of the month.
        bars: whose sessions count.
        month: month key.
        calendar: of the data set.

    Returns:
        symbol, session, the observation's values, and `active`: 1.0 where there is one, else 0.0.
    """
    sessions = month_sessions(month, calendar)
    rows = bars.filter(pl.col("session").is_between(sessions[0], sessions[-1])).select("symbol", "session")
    values = active.drop("pattern", "decision_time", "knowledge_time").with_columns(
        pl.lit(1.0).alias("active")
    )
    return rows.join(values, on=["symbol", "session"], how="left").with_columns(
        pl.col("active").fill_null(0.0)
    )


def audit_pattern_month(
    published: pl.DataFrame, bars: pl.DataFrame, month: str, sample: Sample, calendar: str
) -> AuditReport:
    """Audit T and P on every session of the month, active or not, so that a pattern can neither appear nor vanish.

    Args:
        published: the month's pattern observations.
        bars: that they were made of.
        month: month key.
        sample: how hard the gate looks.
        calendar: of the data set.
    """

    def states(frame: pl.DataFrame) -> pl.DataFrame:
        return on_every_session(pattern_month(frame, month), frame, month, calendar)

    audited = audit_features(
        states,
        bars,
        probes=("truncation", "perturbation"),
        cutoffs=sample.cutoffs,
        sessions=month_sessions(month, calendar),
        seed=sample.seed_of(PATTERNS.name, month),
        published=on_every_session(published, bars, month, calendar),
    )
    if published.is_empty():
        return audited + AuditReport((), {"knowledge": {"rows": 0, "note": "no pattern is active"}})
    return audited + audit_knowledge(published)


def pattern_figures(frame: pl.DataFrame) -> dict[str, Any]:
    """Return how many patterns there are, and how old."""
    ages = frame["days_since_activation"]
    return {
        "patterns": int(frame["pattern"].n_unique()),
        "activated": int((ages == 0).sum()),
        "median_sessions_since_activation": float(cast(float, ages.median() or 0.0)),
    }


def pattern_stage(calendar: str) -> Stage:
    """Return the table of patterns as a stage."""
    prices = ("high", "low", "close", "split_factor")
    lineage = {
        **{c: [("raw_bars", c)] for c in ("symbol", "session", "knowledge_time")},
        "decision_time": [("raw_bars", "event_time")],
        **{
            c: [("raw_bars", bar) for bar in (*prices, "volume")]
            for c in PATTERNS.columns
            if c not in KEY_COLUMNS
        },
    }
    return Stage(
        schema=PATTERNS,
        description="Consolidation patterns: a row for each session on which one is active (an observation).\n\n"
        f"{RULES.sessions} qualifying sessions in a row activate a pattern; it is active until a close above its "
        f"power or below its lower boundary, or for {RULES.max_sessions} sessions. A session qualifies by narrow "
        "Bollinger bands, a weak trend, and a quiet volume or range. Each month is computed alone from "
        f"its warm-up of {PATTERN_WARMUP} sessions.",
        group="patterns",
        reads={"raw_bars": sessions_back(PATTERN_WARMUP)},
        read=lambda store, month: {
            "bars": bars_from(store, bars_start(month, calendar), month, reader=PATTERNS.name)
        },
        compute=lambda inputs, month: pattern_month(inputs["bars"], month),
        audit=lambda written, inputs, month, sample: audit_pattern_month(
            written, inputs["bars"], month, sample, calendar
        ),
        figures=of_the_month(pattern_figures),
        lineage=lineage,
        columns=COLUMNS,
    )
