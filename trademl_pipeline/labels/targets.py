"""All targets. To add one, declare it here: it is then computed, stored, audited and documented.

The main return of a target, against which reports rank its predictions, is its column `forward_return`.
"""

import polars as pl

from trademl_pipeline.features.consolidation import PATTERN_WARMUP
from trademl_pipeline.features.registry import warmup
from trademl_pipeline.labels.barrier import triple_barrier_labels
from trademl_pipeline.labels.breakout import CLASSES, FirstPassageRules, breakout_labels
from trademl_pipeline.labels.direction import direction_labels
from trademl_pipeline.labels.forward import forecast_labels
from trademl_pipeline.labels.hybrid import HORIZONS, hybrid_labels
from trademl_pipeline.labels.target import Target
from trademl_pipeline.labels.validation import FEATURE_OF, HORIZON, LOOKBACK, pattern_validations

VOLATILITY_WARMUP = warmup("volatility_20")
SIDES = {0: "sell", 1: "hold", 2: "buy"}

_LOG = "log total return from close to close"
_RMS = "root mean square of the daily log returns over the next {} sessions, per session"

DIRECTION = Target(
    name="direction",
    title="Sell, Hold or Buy by the return over the next 5 sessions, against half its expected volatility",
    values={"forward_return": pl.Float64, "threshold": pl.Float64, "target": pl.Int8},
    horizon=5,
    lookback=VOLATILITY_WARMUP,
    compute=lambda bars, sessions: direction_labels(bars, horizon=5, k=0.5, sessions=sessions),
    column_docs={
        "forward_return": f"{_LOG} over the next 5 sessions",
        "threshold": "half width of the Hold band: 0.5 volatility_20 sqrt(5), known at the decision",
        "target": "sell 0, hold 1, buy 2",
    },
    classes={"target": SIDES},
    source="direction",
)

FORECAST = Target(
    name="forecast",
    title="Return and volatility over the next session and over the next 30",
    values=dict.fromkeys(
        ("forward_return", "return_1", "volatility_1", "return_30", "volatility_30"), pl.Float64
    ),
    horizon=30,
    lookback=0,
    compute=lambda bars, sessions: forecast_labels(bars, horizons=(1, 30), sessions=sessions),
    column_docs={
        "forward_return": f"{_LOG} over the next session, = return_1",
        "return_1": f"{_LOG} over the next session",
        "volatility_1": _RMS.format(1),
        "return_30": f"{_LOG} over the next 30 sessions",
        "volatility_30": _RMS.format(30),
    },
    source="forecaster",
)

BREAKOUT = Target(
    name="breakout",
    title="What became of a consolidation within 100 sessions of an observation: K0 to K5",
    values={"forward_return": pl.Float64, "best_gain": pl.Float64, "target": pl.Int8},
    horizon=FirstPassageRules().horizon,
    lookback=PATTERN_WARMUP,
    compute=lambda bars, sessions: breakout_labels(bars, sessions=sessions),
    column_docs={
        "forward_return": f"{_LOG} from the observation to the session that decided its class",
        "best_gain": "highest price before the failure or the horizon / upper boundary - 1",
        "target": "class 0 to 5: stagnant, gains of 5, 15, 35, 75 % above the upper boundary, failed",
    },
    classes={"target": dict(enumerate(CLASSES))},
    decisions="pattern_observations",
    source="breakout",
)

PATTERN = Target(
    name="pattern",
    title="Whether the market did within 5 sessions what four pattern features said",
    values={"forward_return": pl.Float64, **dict.fromkeys(FEATURE_OF, pl.Int8)},
    horizon=HORIZON,
    lookback=LOOKBACK,
    compute=lambda bars, sessions: pattern_validations(bars, sessions=sessions),
    column_docs={
        "forward_return": f"{_LOG} over the next 5 sessions",
        "momentum_persistence": "1: most of the next 5 returns keep the sign of mean5 r; null: no trigger",
        "volatility_regime": "1: volatility goes where its regime change points; null: no trigger",
        "trend_exhaustion": "1: the return has the opposite sign of the last 10 sessions'; null: no trigger",
        "volume_divergence": "1: the return has the opposite sign of the last 5 sessions'; null: no trigger",
    },
    nullable=frozenset(FEATURE_OF),
    classes={name: {0: "failed", 1: "came true"} for name in FEATURE_OF},
    source="pattern confidence",
)

HYBRID = Target(
    name="hybrid",
    title="Returns over 1, 4 and 24 bars with direction, size, volatility and risk of the longest",
    values={
        "forward_return": pl.Float64,
        **{f"return_{h}": pl.Float64 for h in HORIZONS},
        "threshold": pl.Float64,
        "target": pl.Int8,
        **dict.fromkeys(("position", "volatility_24", "drawdown_24"), pl.Float64),
    },
    horizon=HORIZONS[-1],
    lookback=VOLATILITY_WARMUP,
    compute=lambda bars, sessions: hybrid_labels(bars, sessions=sessions),
    column_docs={
        "forward_return": f"{_LOG} over the next 24 sessions, = return_24",
        **{f"return_{h}": f"{_LOG} over the next {h} sessions" for h in HORIZONS},
        "threshold": "half width of the Hold band: 0.5 volatility_20 sqrt(24), known at the decision",
        "target": "sell 0, hold 1, buy 2, by return_24",
        "position": "return_24 in units of 2 volatility_20 sqrt(24), within -1 and 1",
        "volatility_24": _RMS.format(24),
        "drawdown_24": "deepest log return below the decision's close, on closes; 0 or less",
    },
    classes={"target": SIDES},
    source="hybrid",
)

TRIPLE_BARRIER = Target(
    name="triple_barrier",
    title="Which comes first within 10 sessions: a gain or a loss of one expected volatility, or neither",
    values={
        **dict.fromkeys(("forward_return", "threshold_up", "threshold_down"), pl.Float64),
        "target": pl.Int8,
    },
    horizon=10,
    lookback=VOLATILITY_WARMUP,
    compute=lambda bars, sessions: triple_barrier_labels(bars, horizon=10, sessions=sessions),
    column_docs={
        "forward_return": f"{_LOG} up to the touch or the horizon",
        "threshold_up": "upper barrier as a log return: volatility_20 sqrt(10)",
        "threshold_down": "lower barrier as a log return",
        "target": "1 the upper barrier first, -1 the lower, 0 neither",
    },
    classes={"target": {-1: "loss", 0: "neither", 1: "gain"}},
    source="López de Prado, Advances in Financial Machine Learning, ch. 3",
)

TARGETS: dict[str, Target] = {
    target.name: target for target in (DIRECTION, FORECAST, BREAKOUT, PATTERN, HYBRID, TRIPLE_BARRIER)
}
