"""Set `pattern` (the pattern confidence design): 17 features that meta-labelling judges technical signals by."""

import polars as pl

from trademl_pipeline.features import operators as op
from trademl_pipeline.features.common import BY_NAME, VOLUME, R, also
from trademl_pipeline.features.feature import Feature, Series, recursive_warmup

SOURCE = "pattern confidence"

ALPHA, BETA, TARGET_SESSIONS = 0.05, 0.90, 250

_sign = pl.col("drift_sign_5")
_shock = (1 - ALPHA - BETA) * op.variance(R, TARGET_SESSIONS) + ALPHA * R**2

_drift = op.mean(R, 5)

SERIES: tuple[Series, ...] = (
    # A rise and a fall that cancel are no drift, whatever their rounding leaves.
    Series("drift_sign_5", pl.when(_drift.abs() > 1e-12).then(_drift.sign()).otherwise(_drift * 0)),
    Series("log_volume", pl.when(VOLUME > 0).then(VOLUME).log()),
)


def _sessions_with(sign: int) -> pl.Expr:
    return op.total((_sign == sign).cast(pl.Float64), 7)


FEATURES: tuple[Feature | str, ...] = (
    Feature(
        name="price_acceleration",
        expr=pl.col("return_3") - op.lag("return_3", 3),
        formula="return_3 - return_3 of 3 sessions ago",
        warmup=6,
        unit="ratio",
        source=SOURCE,
    ),
    Feature(
        name="volume_price_divergence",
        expr=-op.correlation(R, pl.col("log_volume") - op.lag("log_volume", 1), 20),
        formula="- correlation20 of return_1 and the change of log volume; null if a session did not trade",
        warmup=20,
        unit="-1 to 1",
        source=SOURCE,
        low=-1,
        high=1,
    ),
    Feature(
        name="volatility_regime_change",
        expr=op.divide("volatility_20", op.mean("volatility_20", 60)) - 1,
        formula="volatility_20 / its mean60 - 1",
        warmup=79,
        unit="ratio",
        source=SOURCE,
        low=-1,
        high=59,
    ),
    Feature(
        name="return_skewness_7",
        expr=op.skewness(R, 7),
        formula="adjusted Fisher-Pearson skewness of return_1 over 7 sessions",
        warmup=7,
        unit="skewness",
        source=SOURCE,
        low=-2.65,
        high=2.65,
    ),
    Feature(
        name="momentum_persistence_7",
        expr=pl.when(_sign > 0)
        .then(_sessions_with(1))
        .when(_sign < 0)
        .then(_sessions_with(-1))
        .when(_sign == 0)
        .then(_sessions_with(0))
        / 7,
        formula="share of the last 7 sessions on which the sign of mean5 return_1 was today's",
        warmup=11,
        unit="0-1",
        source=SOURCE,
        low=1 / 7,
        high=1,
    ),
    Feature(
        name="volatility_clustering",
        expr=op.divide(op.mean(R.abs(), 5), op.mean(R.abs(), 20)),
        formula="mean5 |return_1| / mean20 |return_1|",
        warmup=20,
        unit="ratio",
        source=SOURCE,
        low=0,
        high=4,
    ),
    Feature(
        name="trend_exhaustion",
        expr=op.divide(op.mean(R, 10).abs(), op.std(R, 10)),
        formula="|mean10 return_1| / sample std10 return_1",
        warmup=10,
        unit="ratio",
        source=SOURCE,
        low=0,
    ),
    Feature(
        name="garch_volatility_forecast",
        expr=op.decaying_sum(_shock, BETA).sqrt(),
        formula="GARCH(1,1) volatility of the next session: omega + 0.05 return_1^2 + 0.90 today's variance; "
        "omega = 0.05 of the sample variance over 250 sessions",
        warmup=TARGET_SESSIONS + recursive_warmup(BETA),
        unit="per session",
        source="Bollerslev (1986)",
        low=0,
    ),
    also("intraday_range_expansion", BY_NAME["range_ratio_20"], SOURCE),
    Feature(
        name="overnight_gap",
        expr=op.divide("gap", "atr_ratio_14"),
        formula="gap / (ATR14 / close)",
        warmup=recursive_warmup(13 / 14, after=14),
        unit="average true ranges",
        source=SOURCE,
    ),
    Feature(
        name="end_of_day_momentum",
        expr=2 * pl.col("close_location") - 1,
        formula="2 close_location - 1",
        warmup=0,
        unit="-1 to 1",
        source=SOURCE,
        low=-1,
        high=1,
    ),
    Feature(
        name="sector_relative_strength",
        expr=pl.col("return_20") - op.change("sector_wealth", 20),
        formula="return_20 - total return of the sector's fund over the same sessions",
        warmup=20,
        unit="ratio",
        source=SOURCE,
    ),
    Feature(
        name="market_beta_instability",
        expr=(op.beta(R, "index_return_1", 20) - op.beta(R, "index_return_1", 60)).abs(),
        formula="|beta over 20 sessions - beta over 60 sessions| to the index",
        warmup=60,
        unit="ratio",
        source=SOURCE,
        low=0,
    ),
    Feature(
        name="vix_term_structure",
        expr=pl.coalesce(pl.col("vix") / pl.col("vix3m"), pl.col("vix") / op.mean("vix", 60)) - 1,
        formula="VIX / VIX3M - 1; VIX / its mean60 - 1 where VIX3M is missing",
        warmup=59,
        unit="ratio",
        source=SOURCE,
        low=-1,
    ),
    "return_1",
    "return_3",
    "return_7",
)
