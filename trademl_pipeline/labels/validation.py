"""Pattern validations (the pattern confidence design): did the market do within 5 sessions what a pattern feature said?

Each of the four is defined only where its trigger fires: the feature's percentile rank among its own last 250
sessions is above 0.70. The trigger reads nothing after t, and never the whole sample.
"""

from typing import Final

import polars as pl

from trademl_pipeline.features import operators as op
from trademl_pipeline.features.common import R
from trademl_pipeline.features.engine import evaluate
from trademl_pipeline.features.feature import Series
from trademl_pipeline.features.prepare import prepare
from trademl_pipeline.features.registry import DECLARED, FEATURES
from trademl_pipeline.labels.horizon import KEY, Sessions, at_horizon

HORIZON: Final = 5
TRIGGER_SESSIONS: Final = 250
TRIGGER_PERCENTILE: Final = 0.70
PERSISTENCE_SHARE: Final = 0.60

FEATURE_OF: Final[dict[str, str]] = {
    "momentum_persistence": "momentum_persistence_7",
    "volatility_regime": "volatility_regime_change",
    "trend_exhaustion": "trend_exhaustion",
    "volume_divergence": "volume_price_divergence",
}

# Sessions before t: the trigger ranks a feature among 250 of its values, each with its own warm-up.
LOOKBACK: Final = TRIGGER_SESSIONS - 1 + max(FEATURES[f].warmup for f in FEATURE_OF.values())

USUAL_STD: Final = Series("usual_std_5", op.mean(op.std(R, 5), 20))
_COUNTS = ("returns", "rises", "falls", "sum_r", "sum_r2")
_STEPS = (
    Series("returns", op.cumulative(R.is_not_null().cast(pl.Float64))),
    Series("rises", op.cumulative((R > 0).cast(pl.Float64))),
    Series("falls", op.cumulative((R < 0).cast(pl.Float64))),
    Series("sum_r", op.cumulative(R)),
    Series("sum_r2", op.cumulative(R**2)),
    Series("return_10", op.change("wealth", 10)),
    USUAL_STD,
    *(Series(f"rank_of_{f}", op.rank(f, TRIGGER_SESSIONS)) for f in FEATURE_OF.values()),
)


def _next(column: str) -> pl.Expr:
    return pl.col(f"{column}_end") - pl.col(column)


def _outcomes() -> dict[str, pl.Expr]:
    """For each validation whether it came true; null where the next sessions cannot tell."""
    drift, moves = pl.col("drift_sign_5"), _next("rises") + _next("falls")
    same_sign = pl.when(drift > 0).then(_next("rises")).when(drift < 0).then(_next("falls"))
    n = _next("returns")
    variance = (_next("sum_r2") - _next("sum_r") ** 2 / n) / (n - 1)
    std = pl.when(n >= 2).then(variance.clip(lower_bound=0.0).sqrt())
    ahead = (pl.col("wealth_end") / pl.col("wealth") - 1).sign()
    return {
        "momentum_persistence": pl.when(moves > 0).then(same_sign / moves > PERSISTENCE_SHARE),
        "volatility_regime": (std > pl.col("usual_std_5")) == (pl.col("volatility_regime_change") > 0),
        "trend_exhaustion": ahead * pl.col("return_10").sign() < 0,
        "volume_divergence": ahead * pl.col("return_5").sign() < 0,
    }


def pattern_validations(bars: pl.DataFrame, *, sessions: Sessions = None) -> pl.DataFrame:
    """The four validations of the 5 sessions after t.

    - momentum_persistence: more than 60 % of the non-zero returns keep the sign of mean5 return_1.
    - volatility_regime: the returns' standard deviation is on the side of its usual one (mean20 of std5, at t)
      that the sign of volatility_regime_change says.
    - trend_exhaustion: the return has the opposite sign of that of the last 10 sessions.
    - volume_divergence: the return has the opposite sign of that of the last 5 sessions.

    Args:
        bars: as for `features.compute`.
        sessions: the exchange's sessions up to the end of the history; None takes those on which anything
            traded.

    Returns:
        symbol, session, label_start, label_end, forward_return (log total return over the 5 sessions), the four
        as Int8 (1 came true, 0 did not, null: no trigger, or not to be told), last_price (see `horizon`); rows
        with at least one of the four, sorted by symbol and session.
    """
    panel = prepare(bars)
    declared = {**DECLARED, **{s.name: s for s in _STEPS}}
    names = [*(s.name for s in _STEPS), "drift_sign_5", "return_5", *FEATURE_OF.values()]
    values = evaluate(panel, names, declared).drop(KEY)
    rows = at_horizon(pl.concat([panel, values], how="horizontal"), ["wealth", *_COUNTS], HORIZON, sessions)
    targets = [
        pl.when(pl.col(f"rank_of_{FEATURE_OF[name]}") > TRIGGER_PERCENTILE)
        .then(outcome)
        .cast(pl.Int8)
        .alias(name)
        for name, outcome in _outcomes().items()
    ]
    forward_return = (pl.col("wealth_end") / pl.col("wealth")).log().alias("forward_return")
    labels = rows.select(*KEY, "label_start", "label_end", forward_return, *targets, "last_price")
    return labels.filter(pl.any_horizontal(pl.col(list(FEATURE_OF)).is_not_null()))
