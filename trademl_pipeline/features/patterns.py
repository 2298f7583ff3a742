"""The consolidation patterns: one row per pattern, one per observation, and the view that their windows have."""

import numpy as np
import polars as pl

from trademl_pipeline.features.consolidation import PATTERN_FEATURES, RULES, pattern_steps
from trademl_pipeline.features.engine import evaluate
from trademl_pipeline.features.feature import Feature, Series
from trademl_pipeline.features.operators import AGE
from trademl_pipeline.features.prepare import prepare
from trademl_pipeline.features.registry import DECLARED
from trademl_pipeline.features.rules import PatternRules


def with_rules(rules: PatternRules, *, hindsight: bool = False) -> dict[str, Feature | Series]:
    """All declared features and series, those of patterns by the rules; see `consolidation.pattern_steps`."""
    return {**DECLARED, **{step.name: step for step in pattern_steps(rules, hindsight=hindsight)}}


BOUNDARIES = ("pattern_age", "pattern_upper", "pattern_lower", "pattern_power")


def pattern_observations(panel: pl.DataFrame, rules: PatternRules = RULES) -> pl.DataFrame:
    """Every session on which a pattern was active.

    Args:
        panel: from `prepare`.
        rules: thresholds.

    Returns:
        symbol, session, row (Int64, in the panel), days_since_activation (Int32), start_row and activation_row
        (Int64), upper, lower, power (boundaries, on the panel's share basis); sorted by symbol and session.
    """
    return active_rows(evaluate(panel, BOUNDARIES, with_rules(rules)), rules)


def active_rows(values: pl.DataFrame, rules: PatternRules) -> pl.DataFrame:
    """`pattern_observations` from values of the panel that hold the `BOUNDARIES`."""
    rows = values.with_row_index("row").filter(pl.col("pattern_age").is_not_null())
    row, age = pl.col("row").cast(pl.Int64), pl.col("pattern_age").cast(pl.Int64)
    return rows.select(
        "symbol",
        "session",
        row,
        age.cast(pl.Int32).alias("days_since_activation"),
        (row - age - rules.sessions + 1).alias("start_row"),
        (row - age).alias("activation_row"),
        *(pl.col(f"pattern_{b}").alias(b) for b in ("upper", "lower", "power")),
    )


def consolidations(bars: pl.DataFrame, rules: PatternRules = RULES) -> pl.DataFrame:
    """The table of patterns, one row each.

    Returns:
        symbol, start (first qualifying session), activation, last_active, active_sessions (Int32), ended
        (the session that ended it; null while it is open), outcome ("breakout", "breakdown", "expired",
        "renewed" by the next pattern, "open"), upper, lower, power (prices as traded on the activation's
        session); sorted by symbol and activation.
    """
    panel = prepare(bars)
    raw = panel.select("symbol", "session").join(
        bars.select("symbol", "session", pl.col("close").cast(pl.Float64).alias("traded")),
        on=["symbol", "session"],
        how="left",
        maintain_order="left",
    )["traded"]
    marked = pattern_observations(panel, rules)
    patterns = marked.group_by("activation_row", maintain_order=True).agg(
        pl.col("symbol", "start_row", "upper", "lower", "power").first(),
        pl.col("row").last().alias("last_row"),
    )
    activation, last = patterns["activation_row"].to_numpy(), patterns["last_row"].to_numpy()
    close, age = panel["close"].to_numpy(), panel[AGE].to_numpy()
    after = np.minimum(last + 1, panel.height - 1)
    open_still = (last + 1 >= panel.height) | (age[after] == 0)
    renewed = np.isin(after, activation) & (close[after] <= patterns["power"].to_numpy())
    renewed &= (close[after] >= patterns["lower"].to_numpy()) & (after - activation < rules.max_sessions)
    outcome = np.select(
        [
            open_still,
            renewed,
            close[after] > patterns["power"].to_numpy(),
            close[after] < patterns["lower"].to_numpy(),
        ],
        ["open", "renewed", "breakout", "breakdown"],
        "expired",
    )
    session = panel["session"]
    per_share = pl.Series(raw.to_numpy()[activation] / close[activation])
    return patterns.select(
        "symbol",
        session.gather(patterns["start_row"]).alias("start"),
        session.gather(activation).alias("activation"),
        session.gather(last).alias("last_active"),
        pl.Series("active_sessions", last - activation + 1, dtype=pl.Int32),
        pl.when(pl.Series(~open_still)).then(session.gather(after)).alias("ended"),
        pl.Series("outcome", outcome),
        *(patterns[b] * per_share for b in ("upper", "lower", "power")),
    )


def pattern_view(panel: pl.DataFrame, rules: PatternRules = RULES) -> pl.DataFrame:
    """The pattern features as windows see them on the qualifying sessions before an activation.

    A row before an activation shows what became known at the activation. Read such rows only in windows of that
    pattern's observations, which lie at or after the activation (see `sequences.breakout`).

    Returns:
        symbol, session and the 20 pattern features, one row per panel row.
    """
    return evaluate(panel, [f.name for f in PATTERN_FEATURES], with_rules(rules, hindsight=True))
