"""One month of the table of consolidation patterns as it is published: a row per active session of each pattern.

A month is computed alone from its warm-up: what the indicators need that qualify a session, and before that the
longest life of a pattern. Its rows are then those of the full history, see `consolidation`.
"""

from datetime import date

import polars as pl

from trademl_pipeline.features.consolidation import PATTERN_WARMUP, RULES
from trademl_pipeline.features.engine import evaluate
from trademl_pipeline.features.panel import clock
from trademl_pipeline.features.patterns import BOUNDARIES, active_rows, with_rules
from trademl_pipeline.features.prepare import prepare
from trademl_pipeline.features.rules import PatternRules
from trademl_pipeline.market.calendar import DEFAULT_CALENDAR, month_bounds, sessions_before

BASELINES = {
    "baseline_bbw": "baseline_bbw_step",
    "baseline_volume_ratio": "baseline_volume_step",
    "baseline_volatility": "baseline_volatility_step",
}


def bars_start(month: str, calendar: str = DEFAULT_CALENDAR) -> date:
    """First session whose bars the month's patterns may read."""
    return sessions_before(month, PATTERN_WARMUP, calendar)


def pattern_month(bars: pl.DataFrame, month: str, rules: PatternRules = RULES) -> pl.DataFrame:
    """Every session of the month on which a pattern is active.

    Args:
        bars: raw bars from `bars_start` to the end of the month, with event_time and knowledge_time.
        month: partition key, `YYYY-MM-01`.
        rules: thresholds of the patterns.

    Returns:
        symbol, session, decision_time, knowledge_time, pattern (`<symbol>@<activation>`), start (first qualifying
        session), activation, days_since_activation (Int32), upper, lower, power (prices as traded on the session:
        a split moves them with the price), baseline_bbw, baseline_volume_ratio, baseline_volatility (means over the
        qualifying sessions); sorted by symbol and session.
    """
    panel = prepare(bars)
    values = evaluate(panel, [*BOUNDARIES, *BASELINES.values()], with_rules(rules))
    per_share = panel.select(pl.col("traded_close") / pl.col("close")).to_series()
    rows = active_rows(values, rules)
    at, session = rows["row"], panel["session"]
    patterns = rows.with_columns(
        session.gather(rows["start_row"]).alias("start"),
        session.gather(rows["activation_row"]).alias("activation"),
        *(rows[b] * per_share.gather(at) for b in ("upper", "lower", "power")),
        *(values[step].gather(at).alias(name) for name, step in BASELINES.items()),
    )
    return (
        patterns.filter(pl.col("session").is_between(*month_bounds(month)))
        .join(clock(bars), on=["symbol", "session"], how="left")
        .select(
            "symbol",
            "session",
            "decision_time",
            "knowledge_time",
            pl.format("{}@{}", "symbol", "activation").alias("pattern"),
            "start",
            "activation",
            "days_since_activation",
            "upper",
            "lower",
            "power",
            *BASELINES,
        )
        .sort("symbol", "session")
    )
