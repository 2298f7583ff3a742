"""Set `breakout` (the breakout design), third part: 20 features of the consolidation pattern that a session lies in.

The state machine gives one number per session, `pattern_age`: sessions since the pattern was activated, null
outside of one. Everything else of a pattern is read at its activation: the channel is the range of the
qualifying sessions that end there, the baselines are their means. So nothing about a pattern is known before
it is activated; the qualifying sessions themselves have 0, and so has every session outside of a pattern.

Ten qualifying sessions in a row activate a pattern also where an older one is still active: it is renewed,
with new boundaries. So the state at t depends on the last 130 sessions only, and a month computed alone equals
the full run; a machine that waits for the older one to end would never forget how it was started.

A window of an observation shows the same columns with the boundaries known at the observation also on the qualifying
sessions (`patterns.pattern_view`, `sequences.breakout`); there `pattern_age` is negative: -1 on the last
session before the activation.
"""

import polars as pl

from trademl_pipeline.features import operators as op
from trademl_pipeline.features.common import CLOSE, HIGH, LOW
from trademl_pipeline.features.feature import Feature, Series, recursive_warmup
from trademl_pipeline.features.rules import PatternRules

SOURCE = "breakout"
RULES = PatternRules()
SLACK = 1e-9

AGE_IN_PATTERN = pl.col("pattern_age")
UPPER, LOWER, POWER = (pl.col(f"pattern_{b}") for b in ("upper", "lower", "power"))
_channel = UPPER - LOWER


def qualifies(rules: PatternRules) -> pl.Expr:
    """Does the session look like a consolidation? Null while its features warm up."""
    # A ratio that is 1 up to rounding, as of a constant volume, must not fall on either side by its last bit.
    quiet = (pl.col("volume_ratio_20") < rules.max_volume_ratio - SLACK) | (
        pl.col("range_ratio_20") < rules.max_range_ratio - SLACK
    )
    return (
        (pl.col("bbw_percentile_100") < rules.max_bbw_percentile) & (pl.col("adx_14") < rules.max_adx) & quiet
    )


def pattern_steps(rules: PatternRules = RULES, *, hindsight: bool = False) -> tuple[Series, ...]:
    """The series that the pattern features are made of.

    Args:
        rules: thresholds.
        hindsight: also mark the qualifying sessions of patterns that were activated later, with a negative
            `pattern_age`. For windows of pattern observations only, which lie at or after the activation.
    """

    def at_activation(x: pl.Expr) -> pl.Expr:
        return op.back(x, "pattern_age")

    n = rules.sessions
    touches = [
        ((HIGH / UPPER - 1).abs() <= rules.touch) & (AGE_IN_PATTERN >= 0),
        ((LOW / LOWER - 1).abs() <= rules.touch) & (AGE_IN_PATTERN >= 0),
    ]
    return (
        Series("pattern_qualifies", qualifies(rules).cast(pl.Float64)),
        Series("channel_high", op.highest(HIGH, n)),
        Series("channel_low", op.lowest(LOW, n)),
        Series(
            "pattern_age",
            op.pattern_age(
                "pattern_qualifies", CLOSE, "channel_high", "channel_low", rules=rules, hindsight=hindsight
            ),
        ),
        Series("pattern_upper", at_activation(pl.col("channel_high"))),
        Series("pattern_lower", at_activation(pl.col("channel_low"))),
        Series("pattern_power", rules.power * UPPER),
        Series("pattern_start_close", at_activation(op.lag(CLOSE, n - 1))),
        Series("baseline_bbw_step", at_activation(op.mean("bbw_20", n))),
        Series("baseline_volume_step", at_activation(op.mean("volume_ratio_20", n))),
        Series("baseline_volatility_step", at_activation(op.mean("volatility_20", n))),
        Series("range_10", op.highest(HIGH, 10) - op.lowest(LOW, 10)),
        *(
            Series(f"touches_{side}_step", op.count_since(touch.cast(pl.Float64), "pattern_age"))
            for side, touch in zip(("upper", "lower"), touches, strict=True)
        ),
        Series(
            "qualified_since_step",
            op.count_since((pl.col("pattern_qualifies") == 1).cast(pl.Float64), "pattern_age"),
        ),
    )


PATTERN_SERIES = pattern_steps()

# The activation of the oldest pattern that can be active, the sessions that led to it, and the one before them.
PATTERN_WARMUP = recursive_warmup(13 / 14, after=40, tolerance=1e-6) + RULES.max_sessions + RULES.sessions


def _pattern(
    name: str, expr: pl.Expr, formula: str, unit: str, low: float = 0.0, high: float = float("inf")
) -> Feature:
    inside = pl.when(AGE_IN_PATTERN.is_not_null()).then(expr)
    known = pl.col("bbw_percentile_100").is_not_null() & pl.col("adx_14").is_not_null()
    return Feature(
        name=name,
        expr=pl.when(known).then(inside.otherwise(0.0)),
        formula=f"{formula}; 0 outside of a pattern",
        warmup=PATTERN_WARMUP,
        unit=unit,
        source=SOURCE,
        low=low,
        high=high,
    )


_bbw_ratio = op.divide("bbw_20", "baseline_bbw_step")
_volume_ratio = op.divide("volume_ratio_20", "baseline_volume_step")
_since = AGE_IN_PATTERN.clip(lower_bound=0)

PATTERN_FEATURES: tuple[Feature, ...] = (
    _pattern(
        "days_qualifying",
        RULES.sessions + pl.min_horizontal(AGE_IN_PATTERN, pl.col("qualified_since_step") - 1),
        "sessions of the pattern so far that qualified",
        "sessions",
        high=RULES.sessions + RULES.max_sessions,
    ),
    _pattern(
        "days_since_activation", _since, "sessions since the activation", "sessions", high=RULES.max_sessions
    ),
    _pattern(
        "days_in_pattern",
        AGE_IN_PATTERN + RULES.sessions,
        "sessions since the first qualifying one, that one included",
        "sessions",
        high=RULES.sessions + RULES.max_sessions,
    ),
    _pattern("channel_width", _channel / LOWER, "upper / lower - 1", "ratio"),
    _pattern(
        "price_position_in_range",
        op.divide(CLOSE - LOWER, _channel),
        "(close - lower) / (upper - lower)",
        "ratio",
        low=float("-inf"),
    ),
    _pattern("distance_from_upper", UPPER / CLOSE - 1, "upper / close - 1", "ratio", low=-1),
    _pattern("distance_from_lower", 1 - LOWER / CLOSE, "1 - lower / close", "ratio", high=1),
    _pattern("distance_from_power", POWER / CLOSE - 1, "1.005 upper / close - 1", "ratio"),
    _pattern(
        "baseline_bbw", pl.col("baseline_bbw_step"), "mean of bbw_20 over the qualifying sessions", "ratio"
    ),
    _pattern(
        "baseline_volume_ratio",
        pl.col("baseline_volume_step"),
        "mean of volume_ratio_20 over the qualifying sessions",
        "ratio",
        high=20,
    ),
    _pattern(
        "baseline_volatility",
        pl.col("baseline_volatility_step"),
        "mean of volatility_20 over the qualifying sessions",
        "per session",
    ),
    _pattern("bbw_compression_ratio", _bbw_ratio, "bbw_20 / baseline_bbw", "ratio"),
    _pattern("volume_compression_ratio", _volume_ratio, "volume_ratio_20 / baseline_volume_ratio", "ratio"),
    _pattern(
        "volatility_compression_ratio",
        op.divide("volatility_20", "baseline_volatility_step"),
        "volatility_20 / baseline_volatility",
        "ratio",
    ),
    _pattern(
        "start_price_ratio",
        CLOSE / pl.col("pattern_start_close") - 1,
        "close / close of the first qualifying session - 1",
        "ratio",
        low=-1,
    ),
    _pattern(
        "touches_upper",
        pl.col("touches_upper_step"),
        "sessions since the activation with the high within 1 % of upper",
        "sessions",
        high=RULES.max_sessions,
    ),
    _pattern(
        "touches_lower",
        pl.col("touches_lower_step"),
        "sessions since the activation with the low within 1 % of lower",
        "sessions",
        high=RULES.max_sessions,
    ),
    _pattern(
        "narrowing",
        op.divide("range_10", _channel),
        "range of the last 10 sessions / (upper - lower)",
        "ratio",
    ),
    _pattern(
        "consolidation_quality",
        (
            (1 - _bbw_ratio.clip(0.0, 1.0))
            + (1 - (_volume_ratio / 2).clip(0.0, 1.0))
            + (1 - (pl.col("adx_14") / 50).clip(0.0, 1.0))
        )
        / 3,
        "mean of 1 - bbw ratio, 1 - volume ratio / 2 and 1 - adx_14 / 50, each within 0 and 1",
        "0-1",
        high=1,
    ),
    _pattern(
        "is_active", (AGE_IN_PATTERN >= 0).cast(pl.Float64), "1 from the activation on", "0 or 1", high=1
    ),
)
